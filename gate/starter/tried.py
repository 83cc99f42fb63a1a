"""A plan that was just written, tried on one batch: that it runs, and how long it takes."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gate.backbone.heads import LinearHead
from gate.errors import BackboneError
from gate.limits import Limits
from gate.measure.bench import Bench
from gate.measure.first_batch import first_batch
from gate.measure.passes import InProcess
from gate.plan.plan import load_plan
from gate.probes.estimate import Estimate, estimate
from gate.progress import Progress, duration

_PATIENCE = 900.0  # seconds at the most, beyond which nothing is searched for unasked
_WAITING = 240.0  # seconds at the least, beyond which few triggers are tried unasked


class Tried(NamedTuple):
    """What a trial of a plan showed.

    Args:
        line: What its probes cost, in words; where triggers are not to be searched for, without.
        no_search: Why they are not; empty where they are.
        slow: Why few triggers are to be tried, and not the whole bank; empty where that is quick.
    """

    line: str
    no_search: str = ""
    slow: str = ""


def tried(plan: Path, limits: Limits) -> Tried:
    """Open a plan's model and splits, pass a batch, and count what is to be passed.

    Raises:
        GateError: What `gate run` would stop at before it measures.
    """
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        loaded = load_plan(plan)
        bench = Bench(loaded, Path(folder) / "features", Progress("lines"), limits, InProcess)
        probes = loaded.probes.named()
        price, no_search = estimate(bench, probes, calibrates=True), ""
        if "trigger_search" in probes:
            if price.time.at_most > _PATIENCE:
                no_search = f"all would take {_shown(price)} here with it"
            else:
                no_search = _gradient_obstacle(bench)
            if no_search:
                probes.remove("trigger_search")
                price = estimate(bench, probes, calibrates=True)
        slow = f"with the whole bank all takes {_shown(price)} here"
        return Tried(price.line, no_search, slow if price.time.at_least > _WAITING else "")


def _shown(price: Estimate) -> str:
    least, most = (duration(seconds) for seconds in price.time)
    return f"{least} to {most}"


def _gradient_obstacle(bench: Bench) -> str:
    """Why no trigger can be searched for by gradient; empty where one can."""
    batch = first_batch(bench, bench.backbone)
    assert isinstance(batch.inputs, np.ndarray)  # noqa: S101  # searches are of images
    random = np.random.default_rng(0)
    weight = random.normal(size=(batch.outputs.features.shape[1], 2)).astype(np.float32)
    head = LinearHead(weight, np.zeros(2, np.float32))
    try:
        bench.backbone.input_gradients(batch.inputs, np.zeros(len(batch.inputs), np.int64), head)
    except BackboneError as fault:
        return str(fault)
    return ""
