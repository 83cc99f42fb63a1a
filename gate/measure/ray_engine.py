"""Passes in actors of Ray Data, on this machine or on a cluster. Only this file imports ray.

One task, on the machine where gate runs, reads the examples: by the same code and against the same
digests as in one process, and no faster than they are used. What it sends are items: a block of
examples just as one process would pass it, with a few of the variants, so that even one block keeps
several workers busy. A worker needs no data, but gate, and the files of the backbone in the same
place; it opens them by itself. Each number comes about as it does in one process, so evidence does
not tell where it was measured.

An error of gate's is sent along as a value, and raised where it is its turn. Whatever else ends a
worker, Ray starts another in its place and repeats the item, three times and not for ever.
"""

import logging
import os
import pickle
import socket
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, GateError, first_line
from gate.limits import Limits
from gate.measure.passes import Examples, Part, Pass, blocks
from gate.plan.backbone import BackbonePlan
from gate.progress import Advance

_VARIANTS = 16  # of an item; its block is decoded once for all items, and normalised once for each
_REPEATS = 3
_SECONDS = 10  # until a cluster's port must answer
# gate sends nothing; and what goes wrong is said once, by an exception
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
}
_Batch = dict[str, Any]  # as Ray Data has it: columns, here of one row


class OnRay:
    """The engine of Ray: an actor for each GPU if the backbone runs on one, else for each CPU.

    Args:
        opened: Gives the backbone of a description, opened.

    Raises:
        GateError: Ray is not installed, or no cluster is reached.
    """

    def __init__(self, opened: Callable[[BackbonePlan], Backbone]) -> None:
        self.passes: Counter[str] = Counter()
        self._opened = opened
        _connect()

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        """A pass over examples, block by block; see `Engine`.

        Raises:
            GateError: Ray gives up, such as on a worker that died once more than it may.
        """
        from ray.exceptions import RayError

        backbone = self._opened(work.backbone)
        kept: dict[str, list[Any]] = {name: [] for name in work.readers}
        try:
            for row in _dataset(work, backbone, examples, size).iter_rows():
                part = _unpacked(row["item"])
                for name, values in kept.items():
                    values += part.kept[name]
                done, more = (len(next(iter(of.values()))) for of in (kept, part.kept))
                advance(len(part.rows) * more)
                if done == len(work.variants):
                    self.passes[backbone.digest] += len(part.rows) * done
                    yield Part(part.rows, kept)
                    kept = {name: [] for name in work.readers}
        except RayError as fault:
            # Ray tells the reason last, and then what may be behind it
            why = str(fault).strip().splitlines()[-1].partition(" Some common causes")[0]
            raise GateError(
                f"--engine ray: Ray gave up, after {_REPEATS} repeats where a worker died: {why} "
                "See /tmp/ray/session_latest/logs on its machine and how much memory that has; "
                "run again, or without --engine"
            ) from fault


def _connect() -> None:
    """Join the cluster at RAY_ADDRESS; without one, start one on this machine.

    Raises:
        GateError: Ray is not installed, or no cluster is reached.
    """
    for name, value in _QUIET.items():  # read when ray is imported
        os.environ.setdefault(name, value)
    try:
        import ray.data
    except ImportError as fault:
        raise GateError(
            f"--engine ray: Ray Data is not installed ({first_line(fault)}); in a checkout of "
            "gate, pip install '.[ray]'"
        ) from fault
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    try:
        if address:  # Ray itself would knock for minutes
            socket.create_connection((host, int(port)), _SECONDS).close()
        ray.init(
            address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            ignore_reinit_error=True,
        )
    except (OSError, RuntimeError, ValueError) as fault:
        raise GateError(
            f"--engine ray: no cluster answers at RAY_ADDRESS {address!r}: {first_line(fault)}; "
            "give the head's host:port, and its token as RAY_AUTH_TOKEN, on one of its machines, "
            "or unset RAY_ADDRESS to use this machine alone"
        ) from fault


def _dataset(work: Pass, backbone: Backbone, examples: Examples, size: int) -> Any:
    """What becomes of each item of a pass, in their order."""
    import ray

    device = "GPU" if "cuda" in backbone.versions["runtime"].lower() else "CPU"
    actors = int(ray.cluster_resources().get(device, 0))
    items = ceil(len(examples) / size) * ceil(len(work.variants) / _VARIANTS)
    if not actors:
        raise GateError(
            f"--engine ray: {backbone.plan.path} runs on a {device}, and the cluster has 0 of "
            f"these; add workers with a {device}"
        )
    here, folder = ray.get_runtime_context().get_node_id(), Path.cwd()
    start = ray.data.from_items([None])
    # Each item is a block by itself. ``repartition(strict=True)`` would make them so as well, in
    # tasks that need a CPU of their own and wait for ever where actors have all of them.
    start.context.target_max_block_size = 1
    start.context.execution_options.preserve_order = True
    start.context.enable_progress_bars = start.context.print_on_execution_start = False
    with warnings.catch_warnings(action="ignore"):  # of ways to say this in releases to come
        return start.map_batches(
            _Reader(folder, work, examples, size),
            batch_size=1,
            num_cpus=0,
            max_retries=_REPEATS,
            label_selector={"ray.io/node-id": here},
        ).map_batches(
            _Worker,
            fn_constructor_args=(folder, work, backbone.limits, _identity(backbone)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, items)),
            num_cpus=int(device == "CPU"),
            num_gpus=int(device == "GPU"),
            max_restarts=_REPEATS,
            max_task_retries=_REPEATS,
        )


@dataclass(frozen=True)
class _Reader:
    """The task that reads."""

    folder: Path
    work: Pass
    examples: Examples
    size: int

    def __call__(self, _: _Batch) -> Iterator[_Batch]:
        os.chdir(self.folder)  # paths in plans are relative to it
        try:
            for rows, block in blocks(self.work.backbone, self.examples, self.size):
                for first in range(0, len(self.work.variants), _VARIANTS):
                    variants = slice(first, first + _VARIANTS)
                    yield _packed((rows, block, variants))
        except GateError as fault:
            yield _packed(fault)


class _Worker:
    """An actor.

    Args:
        folder: Where gate runs.
        work: The pass.
        limits: What its model may take.
        identity: Of the backbone that gate has.
    """

    def __init__(self, folder: Path, work: Pass, limits: Limits, identity: dict[str, str]) -> None:
        self._folder, self._work, self._limits, self._identity = folder, work, limits, identity

    def __call__(self, batch: _Batch) -> _Batch:
        try:
            rows, block, variants = _unpacked(batch["item"][0])
            work = replace(self._work, variants=self._work.variants[variants])
            return _packed(work.opened(self._backbone)(rows, block, lambda _done: None))
        except GateError as fault:
            return _packed(fault)

    @cached_property
    def _backbone(self) -> Backbone:
        """The backbone, opened here.

        Raises:
            GateError: Its files are not here, or are not those that gate has, or run otherwise.
        """
        host = socket.gethostname()
        try:
            os.chdir(self._folder)
        except OSError as fault:
            raise GateError(
                f"--engine ray: a worker on {host} has no folder {self._folder}; give workers the "
                "backbone's files, and the repository, where gate has them"
            ) from fault
        backbone = Backbone(self._work.backbone, self._limits)
        for what, found in _identity(backbone).items():
            if found != self._identity[what]:
                raise BackboneError(
                    f"{backbone.plan.path}: its {what} is {found} in a worker on {host}, and "
                    f"{self._identity[what]} where gate runs, and evidence names one; give workers "
                    "the same file, packages and device"
                )
        return backbone


def _identity(backbone: Backbone) -> dict[str, str]:
    """What evidence says of a backbone: its digest, and versions of what runs it."""
    return {"digest": backbone.digest, **backbone.versions}


def _packed(item: object) -> _Batch:
    return {"item": np.array([pickle.dumps(item)], object)}


def _unpacked(item: bytes) -> Any:
    """What was packed; raised, if it is an error."""
    unpacked = pickle.loads(item)  # noqa: S301  # from gate, on another machine
    if isinstance(unpacked, GateError):
        raise unpacked
    return unpacked
