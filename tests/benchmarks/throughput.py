"""Wall time of `gate run` on the CIFAR plan, against the same forward passes in a bare loop.

``python -m tests.benchmarks.throughput [CARD]``; needs ../shared/data. Imports are left out.
"""

import argparse
import json
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import onnxruntime

from gate import load_policy
from gate.limits import Limits
from gate.measure.passes import InProcess
from gate.plan.backbone import OnnxBackbone
from gate.plan.plan import load_plan
from gate.progress import Progress
from gate.run import run_all

PLAN, POLICY = Path("pipelines/cifar/plan.yaml"), Path("policies/cifar.yaml")
BATCHES = (8, 16, 32, 64, 128, 256)


def bare_rate(file: OnnxBackbone, images: int = 2048) -> tuple[int, float]:
    """Best batch size of a bare ONNX Runtime loop, and its images a second."""
    session = onnxruntime.InferenceSession(file.path, providers=["CPUExecutionProvider"])
    best = (0, 0.0)
    for batch in BATCHES:
        inputs = {"images": np.random.default_rng(0).random((batch, 3, 32, 32), np.float32)}
        session.run([file.output], inputs)
        start = time.perf_counter()
        for _ in range(images // batch):
            session.run([file.output], inputs)
        rate = images // batch * batch / (time.perf_counter() - start)
        best = max(best, (batch, rate), key=lambda found: found[1])
    return best


def main() -> None:
    """Print the ratio, and where the rest goes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("card", type=Path, nargs="?", default=Path("pipelines/cifar/resnet20.yaml"))
    card = parser.parse_args().card
    import_what_a_run_imports()
    plan, policy = load_plan(PLAN, card), load_policy(POLICY)
    assert isinstance(plan.backbone, OnnxBackbone)
    assert isinstance(plan.reference, OnnxBackbone)
    before = [bare_rate(plan.backbone), bare_rate(plan.reference)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run_all(
            PLAN,
            policy,
            Path(folder),
            backbone=card,
            limits=Limits(),
            engine=InProcess,
            waivers=(),
            today=date(2026, 1, 1),
            progress=Progress(),
            images=False,
        )
        wall = time.perf_counter() - start
        information = json.loads((Path(folder) / "run-info.json").read_text())
    after = [bare_rate(plan.backbone), bare_rate(plan.reference)]
    passed = information["forward_passes"]
    # other work on the machine comes and goes: the loop's rate is the mean of before and after
    bare = sum(
        n / ((a[1] + b[1]) / 2)
        for n, a, b in zip((passed["backbone"], passed["reference"]), before, after, strict=True)
    )
    print(f"bare loop: {passed} images in {bare:.1f} s, best batches {[b[0] for b in before]}")
    print(f"gate run: {wall:.1f} s, ratio {wall / bare:.2f}")
    for step, seconds in information["seconds"].items():
        print(f"  {step}: {seconds:.1f} s")


def import_what_a_run_imports() -> None:
    """Everything heavy that a run loads on its way."""
    import great_expectations  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import rich.progress  # noqa: F401
    import sklearn.linear_model
    import sklearn.model_selection  # noqa: F401
    from scipy import optimize, stats  # noqa: F401


if __name__ == "__main__":
    main()
