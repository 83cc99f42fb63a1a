"""What it costs that a model is opened and run in a process of its own.

``python -m tests.benchmarks.child [MODEL SIDE]``: an ONNX file on images of 3 channels, by default
a tiny one. Opening is timed in fresh processes, passes in this one, both ways in turns.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from gate.backbone.artefact import Artefact
from gate.backbone.runtime import Runtime
from gate.plan.backbone import OnnxBackbone
from tests import tiny

BATCH, TURNS = 64, 15
WAYS = ("here", "child")


def opened(way: str, model: Path, side: int) -> Runtime:
    """A runtime; imports what this way of opening it imports."""
    plan = OnnxBackbone.model_validate({"onnx": model, "preprocessing": {"size": side}})
    artefact = Artefact(model)
    if way == "here":
        from gate.backbone.onnx_runtime import OnnxRuntime

        return OnnxRuntime(plan, artefact)
    from gate.backbone.child import Child
    from gate.limits import Limits

    return Child(plan, artefact, Limits())


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(model: Path, side: int) -> None:
    """Print both costs."""

    def open_in_fresh_process(way: str) -> None:
        script = [sys.executable, "-m", "tests.benchmarks.child", way, str(model), str(side)]
        subprocess.run(script, check=True)

    opening = [[seconds(lambda: open_in_fresh_process(way)) for way in WAYS] for _ in range(TURNS)]  # noqa: B023
    here, child = map(median, zip(*opening, strict=True))
    print(f"to open: {here:.2f} s here, {child:.2f} s in a child: {child - here:+.2f} s")

    runtimes = [opened(way, model, side) for way in WAYS]
    images = np.random.default_rng(0).random((BATCH, 3, side, side), np.float32)
    repeats = 1 + int(0.2 / seconds(lambda: runtimes[0].run(images)))

    def passes(runtime: Runtime) -> float:
        return seconds(lambda: [runtime.run(images) for _ in range(repeats)]) / repeats

    taken = [[passes(runtime) for runtime in runtimes] for _ in range(TURNS)]
    here, child = map(median, zip(*taken, strict=True))
    print(f"a batch of {BATCH} images of {side} pixels: {1e3 * here:.2f} ms here")
    print(f"in a child: {child / here:.3f} x, {1e6 * (child - here) / BATCH:+.1f} us an image")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        opened(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    elif len(sys.argv) == 3:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(tiny.write_onnx(Path(folder) / "m.onnx"), tiny.SIDE)
