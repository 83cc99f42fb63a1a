"""Passes in actors of Ray, on this machine or on a cluster. Only this file imports ray.

gate's own process reads the examples, as it does without Ray, and sends each block together with a
few of the variants, so that even one block keeps several workers busy; no more than two such items
a worker are under way. Workers last as long as the engine. They need no data, but gate, and the
files of the backbone in the same place, which they open by themselves. Each number comes about as
it does in one process, so evidence does not tell where it was measured.

Where a worker dies, Ray starts another in its place and repeats its items, three times and not for
ever. (Actors and not Ray Data: its datasets start their actors anew for each of a probe's looks.)
"""

import gc
import logging
import os
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any

from gate.arrays import Images, Int64
from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, GateError, first_line
from gate.limits import Limits
from gate.measure.passes import Examples, Part, Pass, blocks
from gate.plan.backbone import BackbonePlan
from gate.progress import Advance

_VARIANTS = 16  # of an item; its block is decoded once for all items, and normalised once for each
_UNDER_WAY = 2  # items a worker: one that it passes, and one that waits for it
_REPEATS = 3
_SECONDS = 10  # until a cluster's port must answer
# gate sends nothing; and what goes wrong is said once, by an exception
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class OnRay:
    """The engine of Ray: a worker for each GPU if the backbone runs on one, else for each CPU.

    Args:
        opened: Gives the backbone of a description, opened.

    Raises:
        GateError: Ray is not installed, or no cluster is reached.
    """

    def __init__(self, opened: Callable[[BackbonePlan], Backbone]) -> None:
        self.passes: Counter[str] = Counter()
        self._opened = opened
        self._workers: dict[str, list[Any]] = {}  # by their device
        _connect()

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        """A pass over examples, block by block; see `Engine`.

        Raises:
            GateError: Ray gives up, such as on a worker that died once more than it may.
        """
        from ray.exceptions import RayError, RayTaskError

        backbone = self._opened(work.backbone)
        digest = work.on(backbone).digest
        kept: dict[str, list[Any]] = {name: [] for name in work.readers}
        done = 0
        try:
            for part in self._parts(work, backbone, examples, size):
                more = len(next(iter(part.kept.values())))
                for name, values in kept.items():
                    values += part.kept[name]
                advance(len(part.rows) * more)
                done += more
                if done == len(work.variants):
                    self.passes[digest] += len(part.rows) * done
                    yield Part(part.rows, kept)
                    kept, done = {name: [] for name in work.readers}, 0
        except RayTaskError as fault:  # the worker's own, which lives on
            raise fault.cause from fault
        except RayError as fault:
            # Ray tells the reason last, and then what may be behind it
            why = str(fault).strip().splitlines()[-1].partition(" Some common causes")[0]
            raise GateError(
                f"--engine ray: Ray gave up, after {_REPEATS} repeats where a worker died: {why} "
                "See /tmp/ray/session_latest/logs on its machine and how much memory that has; "
                "run again, or without --engine"
            ) from fault

    def close(self, backbone: BackbonePlan) -> None:
        """Let every worker forget the backbone of a description; see `Engine`."""
        import ray

        ray.get([one.close.remote(backbone) for these in self._workers.values() for one in these])

    def _parts(
        self, work: Pass, backbone: Backbone, examples: Examples, size: int
    ) -> Iterator[Part]:
        """What becomes of each item of a pass, in their order."""
        import ray

        workers, where = self._workers_of(backbone), _Where.of(backbone)
        sent = ray.put((work, where))
        under_way: deque[Any] = deque()
        turns = cycle(workers)
        for rows, block in blocks(work.backbone, examples, size):
            block_sent = ray.put(block)
            for first in range(0, len(work.variants), _VARIANTS):
                if len(under_way) == _UNDER_WAY * len(workers):
                    yield ray.get(under_way.popleft())
                under_way.append(next(turns).part.remote(sent, rows, block_sent, first))
        while under_way:
            yield ray.get(under_way.popleft())

    def _workers_of(self, backbone: Backbone) -> list[Any]:
        """The workers on the device of a backbone, started when they are first asked for.

        Raises:
            GateError: The cluster has no such device.
        """
        import ray

        device = "GPU" if "cuda" in backbone.versions["runtime"].lower() else "CPU"
        if device not in self._workers:
            number = int(ray.cluster_resources().get(device, 0))
            if not number:
                raise GateError(
                    f"--engine ray: {backbone.plan.path} runs on a {device}, and the cluster has 0 "
                    f"of these; add workers with a {device}"
                )
            actor = ray.remote(_Worker).options(
                num_cpus=int(device == "CPU"),
                num_gpus=int(device == "GPU"),
                max_restarts=_REPEATS,
                max_task_retries=_REPEATS,
            )
            self._workers[device] = [actor.remote() for _ in range(number)]
        return self._workers[device]


def _connect() -> None:
    """Join the cluster at RAY_ADDRESS; without one, start one on this machine.

    Raises:
        GateError: Ray is not installed, or no cluster is reached.
    """
    for name, value in _QUIET.items():  # read when ray is imported
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as fault:
        raise GateError(
            f"--engine ray: Ray is not installed ({first_line(fault)}); in a checkout of gate, "
            "pip install '.[ray]'"
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


@dataclass(frozen=True)
class _Where:
    """What a worker must find, so that it passes what gate would.

    Args:
        folder: Where gate runs; paths in plans are relative to it.
        limits: What a model may take that holds a program of its own.
        identity: What evidence says of the backbone: its digest, and versions of what runs it.
    """

    folder: Path
    limits: Limits
    identity: dict[str, str]

    @classmethod
    def of(cls, backbone: Backbone) -> "_Where":
        """Here."""
        return cls(Path.cwd(), backbone.limits, _identity(backbone))


class _Worker:
    """An actor: backbones are opened when they are first asked for, and once."""

    def __init__(self) -> None:
        self._backbones: dict[BackbonePlan, Backbone] = {}
        self._altered: tuple[Pass, Backbone] | None = None  # the last one under other weights

    def part(
        self, sent: tuple[Pass, _Where], rows: Int64, block: Images | list[str], first: int
    ) -> Part:
        """What readers keep of a block, under the variants of one item, from its first on."""
        work, where = sent
        of_item = replace(work, variants=work.variants[first : first + _VARIANTS])
        return of_item.opened(self._under_weights(work, where))(rows, block, lambda _done: None)

    def _under_weights(self, work: Pass, where: _Where) -> Backbone:
        """What the blocks of a pass go through; under other weights it is made once for all."""
        if work.weights is None:
            return self._opened(work.backbone, where)
        last = self._altered
        if last is None or (last[0].backbone, last[0].weights) != (work.backbone, work.weights):
            self._altered = last = work, work.on(self._opened(work.backbone, where))
        return last[1]

    def close(self, plan: BackbonePlan) -> None:
        """Forget a backbone, so that its memory is free."""
        self._backbones.pop(plan, None)
        self._altered = None
        gc.collect()  # a module and the hooks that read it hold each other

    def _opened(self, plan: BackbonePlan, where: _Where) -> Backbone:
        """The backbone, opened here.

        Raises:
            GateError: Its files are not here, or are not those that gate has, or run otherwise.
        """
        host = socket.gethostname()
        if plan in self._backbones:
            return self._backbones[plan]
        try:
            os.chdir(where.folder)
        except OSError as fault:
            raise GateError(
                f"--engine ray: a worker on {host} has no folder {where.folder}; give workers the "
                "backbone's files, and the repository, where gate has them"
            ) from fault
        backbone = Backbone(plan, where.limits)
        for what, found in _identity(backbone).items():
            if found != where.identity[what]:
                raise BackboneError(
                    f"{plan.path}: its {what} is {found} in a worker on {host}, and "
                    f"{where.identity[what]} where gate runs, and evidence names one; give workers "
                    "the same file, packages and device"
                )
        self._backbones[plan] = backbone
        return backbone


def _identity(backbone: Backbone) -> dict[str, str]:
    return {"digest": backbone.digest, **backbone.versions}
