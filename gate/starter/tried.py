"""A plan that was just written, tried on one batch: that it runs, and how long it takes."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gate.backbone.heads import LinearHead
from gate.errors import GateError
from gate.limits import Limits
from gate.measure.bench import Bench
from gate.measure.first_batch import first_batch
from gate.measure.passes import InProcess
from gate.plan.plan import load_plan
from gate.probes.estimate import estimate
from gate.progress import Progress


class Tried(NamedTuple):
    """What a trial of a plan showed.

    Args:
        line: What all of its probes cost, in words.
        seconds: At the most.
    """

    line: str
    seconds: float


def tried(plan: Path, limits: Limits) -> Tried:
    """Open a plan's model and splits, pass a batch, and count what is to be passed.

    Raises:
        GateError: What `gate run` would stop at before it measures.
    """
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        bench = _opened(plan, Path(folder), limits)
        price = estimate(bench, bench.plan.probes.named(), calibrates=True)
    return Tried(price.line, price.time.at_most)


def gradient_obstacle(plan: Path, limits: Limits) -> str:
    """Why no trigger can be searched for by gradient; empty where one can."""
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        bench = _opened(plan, Path(folder), limits)
        batch = first_batch(bench, bench.backbone)
        assert isinstance(batch.inputs, np.ndarray)  # noqa: S101  # only asked of images
        random = np.random.default_rng(0)
        weight = random.normal(size=(batch.outputs.features.shape[1], 2)).astype(np.float32)
        head = LinearHead(weight, np.zeros(2, np.float32))
        targets = np.zeros(len(batch.inputs), np.int64)
        try:
            bench.backbone.input_gradients(batch.inputs, targets, head)
        except GateError as fault:
            return str(fault)
    return ""


def _opened(plan: Path, folder: Path, limits: Limits) -> Bench:
    return Bench(load_plan(plan), folder / "features", Progress("lines"), limits, InProcess)
