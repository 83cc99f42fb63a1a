"""Peak memory of `gate run` on 50,000 images, against 5,000.

``python -m tests.benchmarks.memory [ray]``; the images are random, the backbone is a small one.
With ``ray``, passes happen in the workers of a cluster of this machine, and gate's own process and
its workers, their reader and models included, are told apart.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
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


def peaks_on_ray(images: int) -> dict[str, float]:
    """Peak memory of a run on Ray in MiB, of pages that several processes map a share each."""
    peaks = {"gate": 0.0, "workers": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        plan = write_case(Path(folder), images)
        command = ["run", str(plan), "--policy", "policies/cifar.yaml", "--out", f"{folder}/out"]
        command = [sys.executable, "-m", "gate", *command, "--engine", "ray"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while run.poll() is None:
                found = {"gate": memory_of(run.pid), "workers": 0.0}
                for process, name in below(run.pid).items():
                    if "ray::" in name or "gate.backbone" in name:
                        found["workers"] += memory_of(process)
                peaks = {who: max(peaks[who], most) for who, most in found.items()}
                time.sleep(0.2)
        assert (Path(folder) / "out" / "verdict.json").exists(), "the run did not reach a verdict"
    return peaks


def below(process: int) -> dict[int, str]:
    """Command lines of all processes that a process started, and that these did."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
            names[int(place.name)] = (place / "cmdline").read_text()
    found: dict[int, str] = {}
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        children = [child for child, its in parents.items() if its == parent and child in names]
        found |= {child: names[child] for child in children}
        waiting += children
    return found


def memory_of(process: int) -> float:
    """Proportional set size in MiB; of what has ended, none."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
    return 0.0


def main() -> None:
    """Print both peaks and their ratio."""
    if sys.argv[1:] == ["ray"]:
        few, many = peaks_on_ray(SMALL), peaks_on_ray(LARGE)
        for who, most in many.items():
            print(f"{who}: {few[who]:.0f} MiB at {SMALL:,} images, {most:.0f} MiB at {LARGE:,}")
            print(f"ratio {most / few[who]:.2f}")
        return
    small, large = peak(SMALL), peak(LARGE)
    print(f"{SMALL:,} images: {small:.0f} MiB; {LARGE:,} images: {large:.0f} MiB")
    print(f"ratio {large / small:.2f}")


if __name__ == "__main__":
    main()
