"""Label prior: every estimator on planted priors, streaming, few samples, coverage.

``python -m tests.benchmarks.priors [table] [stream] [few] [coverage]``, all unless some are named.
Total variation (TV) is to the planted prior, imbalance 50:1; classes are Gaussian, so that the
logits are exact log-posteriors.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate import priors
from gate.priors.joint import cross_fit, fit, with_curvature
from gate.priors.likelihood import Likelihood
from tests.planted import Planted, planted, total_variation

SETTINGS = ((10, 32), (10, 200), (10, 1000), (100, 32), (100, 200))  # K, samples a class
SPREADS = (0.25, 0.5, 1.0, 2.0, 4.0)
SEEDS = 5
FEW = (1, 2, 3, 4)
SIMULATIONS = 200

Estimator = Callable[[Planted], NDArray[np.float64]]


def ridge_by_cross_validation(of: Planted) -> NDArray[np.float64]:
    """The joint estimate at the spread whose cross-fitted log loss is least."""
    likelihood = Likelihood(of.logits, of.labels)
    fits = [with_curvature(likelihood, fit(likelihood, spread)) for spread in SPREADS]
    losses = [cross_fit(likelihood, each, seed=0).after.log_loss.mean() for each in fits]
    return np.exp(fits[int(np.argmin(losses))].x[1:])


AUTHORS = "authors' solver"
ESTIMATORS: dict[str, Estimator] = {
    AUTHORS: lambda of: priors.authors_solver(of.logits, of.labels),
    "joint, no ridge": lambda of: priors.estimate(of.logits, of.labels, spread=1e3, folds=0).shares,
    "joint, ridge by CV": ridge_by_cross_validation,
    "gate": lambda of: priors.estimate(of.logits, of.labels, folds=0).shares,
    "gate, cross-fitted": lambda of: priors.estimate(of.logits, of.labels).shares,
    "eigenvector": lambda of: priors.eigenvector(of.logits, of.labels),
    "without labels": lambda of: priors.label_free(of.logits),
    "mean predicted": lambda of: priors.mean_predicted_share(of.logits),
}


def table() -> None:
    """TV (mean over seeds) and time (least of them) of each estimator."""
    print(f"| K, a class | uniform | {' | '.join(ESTIMATORS)} | time, gate / authors' |")
    print("|---" * (len(ESTIMATORS) + 3) + "|")
    priors.estimate(*planted(10, 10, 0)[:2])  # whatever is loaded at first use
    for classes, each in SETTINGS:
        samples = [planted(classes, each, seed) for seed in range(SEEDS)]
        distances: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
        seconds = dict.fromkeys(ESTIMATORS, float("inf"))
        for of in samples:
            for name, estimator in ESTIMATORS.items():
                # the baseline's time is known after one run of the large settings
                if name == AUTHORS and classes * each > 5000 and of is not samples[0]:
                    continue
                start = time.perf_counter()
                shares = estimator(of)
                seconds[name] = min(seconds[name], time.perf_counter() - start)
                distances[name].append(total_variation(shares, of.shares))
        uniform = np.full(classes, 1 / classes)
        cells = [f"{np.mean(distances[n]):.3f}, {seconds[n] * 1e3:.1f} ms" for n in ESTIMATORS]
        print(
            f"| {classes}, {each} | {total_variation(uniform, samples[0].shares):.3f} | "
            f"{' | '.join(cells)} | 1/{seconds[AUTHORS] / seconds['gate']:.0f} |",
            flush=True,
        )


STREAM = """
import resource, sys, time
import numpy as np
from gate import priors
logits, labels = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
priors.estimate(np.array(logits[:64, :2]), np.arange(64) % 2)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.perf_counter()
found = priors.estimate(logits, labels, folds=int(sys.argv[3]))
print(time.perf_counter() - start, (peak() - before) / logits.nbytes, found.scale)
"""


def stream() -> None:
    """Time and growth of peak resident memory, as a multiple of the logits."""
    for classes, each, folds in ((1000, 50, 0), (1000, 50, 5), (21_000, 2, 0)):
        with tempfile.TemporaryDirectory() as folder:
            logits, labels = Path(folder) / "logits.npy", Path(folder) / "labels.npy"
            write(classes, each, logits, labels)
            run = [sys.executable, "-c", STREAM, str(logits), str(labels), str(folds)]
            done = subprocess.run(run, check=True, capture_output=True, text=True)
        seconds, ratio, scale = map(float, done.stdout.split())
        print(
            f"K = {classes}, N = {classes * each}, {folds} folds: {seconds:.1f} s, peak memory "
            f"{ratio:.2f} x the logits (temperature scale {scale:.3f})",
            flush=True,
        )


def write(classes: int, each: int, logits: Path, labels: Path) -> None:
    """As ``planted``, block by block, so that it need not fit in memory."""
    rng = np.random.default_rng(0)
    log_shares = rng.permutation(np.linspace(0, -np.log(50), classes)).astype(np.float32)
    centres = rng.standard_normal((classes, 16), np.float32)
    y = np.tile(np.arange(classes), each)
    shape = (len(y), classes)
    into = np.lib.format.open_memmap(logits, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(y), 1000):
        own = y[start : start + 1000]
        x = centres[own] + rng.standard_normal((len(own), 16), np.float32)
        into[start : start + 1000] = x @ centres.T - (centres**2).sum(axis=1) / 2 + log_shares
    into.flush()
    np.save(labels, y)


def few() -> None:
    """Points of accuracy gained on balanced samples over no correction, at few samples a class."""
    print("| K, imbalance | " + " | ".join(f"{n} a class" for n in FEW) + " |")
    print("|---" * (len(FEW) + 1) + "|")
    for classes, ratio in ((10, 50), (10, 1), (100, 50), (100, 1)):
        cells = []
        for n in FEW:
            gains = []
            for seed in range(20):
                of = planted(classes, n + 2000 // classes, seed, ratio=ratio)
                known = np.arange(len(of.labels)) % (n + 2000 // classes) < n
                found = priors.estimate(of.logits[known], of.labels[known], seed=seed)
                f, y = of.logits[~known], of.labels[~known]
                after = (found.scale * f - found.removed).argmax(axis=1) == y
                gains.append(100 * (after.mean() - (f.argmax(axis=1) == y).mean()))
            cells.append(f"{np.mean(gains):+.2f} (least {min(gains):+.2f})")
        print(f"| {classes}, {ratio}:1 | {' | '.join(cells)} |", flush=True)


def coverage() -> None:
    """How often the 95 % intervals of q hold the planted shares."""
    for classes, each, ratio in (
        (10, 32, 50),
        (10, 100, 50),
        (10, 200, 50),
        (10, 100, 5),
        (100, 10, 50),
    ):
        held = []
        for seed in range(SIMULATIONS):
            of = planted(classes, each, seed, ratio=ratio)
            low, high = priors.estimate(of.logits, of.labels, folds=0).bounds
            held.append(((low <= of.shares) & (of.shares <= high)).mean())
        print(
            f"K = {classes}, {each} a class, {ratio}:1: {100 * np.mean(held):.1f} % of intervals "
            f"in {SIMULATIONS} simulations",
            flush=True,
        )


def main() -> None:
    """Print the parts that were named, or all."""
    parts = {"table": table, "stream": stream, "few": few, "coverage": coverage}
    for name in sys.argv[1:] or parts:
        print(f"\n{name}: {parts[name].__doc__}")
        parts[name]()


if __name__ == "__main__":
    main()
