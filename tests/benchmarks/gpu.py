"""Images a second on a GPU: bare forward passes, and those of stamped images; ONNX Runtime, torch.

``python -m tests.benchmarks.gpu [IMAGES]``: resnet20 as ONNX and as safetensors, which are in
../shared/data. Without a GPU it says that it was not run.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from gate.backbone.backbone import Backbone
from gate.measure.passes import InProcess, Pass
from gate.measure.readers import Cosines
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import load_plan
from gate.triggers.bank import bank
from tests.benchmarks.engines import GRID, PLAN, SIDE, STAMPS, random_split, seconds

CARDS = ("resnet20", "resnet20_safetensors")
BATCH, OPERATIONS = 256, 82e6  # multiplications and additions of an image (He et al. 2016, table 6)


def bare(backbone: Backbone, images: int) -> float:
    """Images a second that are passed again and again, ready as they are."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    inputs = backbone.inputs(pixels)
    backbone.outputs(inputs)
    start = time.perf_counter()
    for _ in range(0, images, BATCH):
        backbone.outputs(inputs)
    return images / (time.perf_counter() - start)


def _opened(backbone: Backbone, _plan: BackbonePlan) -> Backbone:
    return backbone


def main(images: int) -> None:
    """Print a line for each runtime."""
    if not torch.cuda.is_available():
        print("not run: torch sees no GPU here")
        return
    print(torch.cuda.get_device_name())
    stamps = tuple(trigger.stamp for trigger in bank((GRID,), SIDE, 3, 0, ()))[:STAMPS]
    for name in CARDS:
        backbone = Backbone(load_plan(PLAN, PLAN.with_name(f"{name}.yaml")).backbone)
        passes = bare(backbone, images)
        with tempfile.TemporaryDirectory() as folder:
            split = random_split(Path(folder), images // STAMPS)
            work = Pass(backbone.plan, {"cosines": Cosines()}, stamps)
            taken = seconds(partial(InProcess, partial(_opened, backbone)), work, split)
        print(
            f"{backbone.versions['runtime']}: {passes:,.0f} images a second bare "
            f"({passes * OPERATIONS / 1e12:.2f} TFLOP/s), "
            f"{len(split) * len(stamps) / taken:,.0f} stamped"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 48 * 1024)
