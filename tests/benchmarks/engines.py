"""Wall time of the same passes in one process, with one worker of Ray, and with two.

``python -m tests.benchmarks.engines [IMAGES]``: random images under 48 stamps through resnet20,
which is in ../shared/data. Ray's own start is left out, that of its workers is not.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import ray

from gate.backbone.backbone import Backbone
from gate.data.split import Split, open_split
from gate.measure.passes import Engine, InProcess, Pass
from gate.measure.ray_engine import OnRay
from gate.measure.readers import Cosines
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import load_plan
from gate.plan.split import SplitPlan
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid

PLAN, CARD = Path("pipelines/cifar/plan.yaml"), Path("pipelines/cifar/resnet20.yaml")
SIDE, BATCH, STAMPS, TURNS = 32, 64, 48, 3
GRID = TriggerGrid(
    pattern="square",
    colour=("yellow", "red", "blue", "white"),
    size=(0.125, 0.25, 0.5),
    place=("top_left", "top_right", "bottom_left", "bottom_right"),
)


def random_split(folder: Path, images: int) -> Split:
    """A table of random images."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIDE, SIDE, 3), dtype=np.uint8)
    classes = np.array(["a", "b"])
    np.savez(folder / "t.npz", image=pixels, label=np.arange(images) % 2, class_names=classes)
    return open_split("test", SplitPlan(path=folder / "t.npz"))


def seconds(make: Callable[[], Engine], work: Pass, split: Split) -> float:
    """Wall time of a pass."""
    engine = make()
    start = time.perf_counter()
    for _part in engine.map(work, split, BATCH, lambda _done: None):
        pass
    return time.perf_counter() - start


def main(images: int) -> None:
    """Print the best of three turns of each."""
    backbone = Backbone(load_plan(PLAN, CARD).backbone)

    def opened(_plan: BackbonePlan) -> Backbone:
        return backbone

    stamps = tuple(trigger.stamp for trigger in bank((GRID,), SIDE, 3, 0, ()))[:STAMPS]
    work = Pass(backbone.plan, {"cosines": Cosines()}, stamps)
    taken: dict[str, list[float]] = {"in one process": [], "one worker": [], "two workers": []}
    with tempfile.TemporaryDirectory() as folder:
        split = random_split(Path(folder), images)
        for _ in range(TURNS):
            taken["in one process"].append(seconds(partial(InProcess, opened), work, split))
            for workers, name in ((1, "one worker"), (2, "two workers")):
                ray.init("local", num_cpus=workers, logging_level="ERROR", log_to_driver=False)
                taken[name].append(seconds(partial(OnRay, opened), work, split))
                ray.shutdown()
    passes = images * len(stamps)
    for name, each in taken.items():
        said = ", ".join(f"{one:.1f}" for one in each)
        print(f"{name}: {min(each):.1f} s ({said}), {passes / min(each):.0f} passes a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
