"""Peak memory of `gate run` on 50,000 images, against 5,000.

``python -m tests.benchmarks.memory``; the images are random, the backbone is a small one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from tests import tiny

SMALL, LARGE, SIDE = 5_000, 50_000, 32


def write_case(folder: Path, images: int) -> Path:
    """A plan on random images, a tenth of them to train on."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, n in (("train", images // 10), ("test", images - images // 10)):
        path = folder / f"{name}.npz"
        pixels = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
        labels = np.arange(n) % 4
        pixels[:, :8, :8] //= (labels + 1).astype(np.uint8)[:, None, None, None]  # to be learnt
        np.savez(path, image=pixels, label=labels, class_names=np.array(list("abcd")))
        splits[name] = {"path": str(path)}
    model = tiny.onnx_model()
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = SIDE
    backbone = str(tiny.write_onnx(folder / "backbone.onnx", model))
    grid = {"pattern": "square", "colour": ["yellow"], "size": [0.2], "place": ["top_left"]}
    plan = {
        "name": "memory",
        "backbone": {"onnx": backbone, "preprocessing": {"size": SIDE}},
        "splits": splits,
        "tasks": {"task": {"train": "train", "test": "test"}},
        "probes": {"clean_accuracy": {}, "trigger_patch": {"triggers": [grid]}, "label_prior": {}},
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def peak(images: int) -> float:
    """Peak resident memory of a run in MiB, what it maps from disk included."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=False, capture_output=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        plan = write_case(Path(folder), images)
        run = [sys.executable, "-m", "gate", "run", str(plan), "--policy", "policies/cifar.yaml"]
        command = [sys.executable, "-c", code, *run, "--out", f"{folder}/out"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert (Path(folder) / "out" / "verdict.json").exists(), "the run did not reach a verdict"
    return float(done.stdout)


def main() -> None:
    """Print both peaks and their ratio."""
    small, large = peak(SMALL), peak(LARGE)
    print(f"{SMALL:,} images: {small:.0f} MiB; {LARGE:,} images: {large:.0f} MiB")
    print(f"ratio {large / small:.2f}")


if __name__ == "__main__":
    main()
