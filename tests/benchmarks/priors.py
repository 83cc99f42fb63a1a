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

from gate.label_prior import prior as priors
from gate.label_prior.imbalance import imbalance_of
from gate.label_prior.joint import cross_fit, fit
from gate.label_prior.likelihood import Likelihood, one_blas_thread
from pipelines.papers.gla.baselines import (
    authors_solver,
    confidence_matching_scale,
    eigenvector,
    label_free,
    mean_predicted_share,
)
from tests.planted import Planted, planted, total_variation

SETTINGS = ((10, 32), (10, 200), (10, 1000), (100, 32), (100, 200))  # K, samples a class
SEEDS = {10: 100, 100: 20}  # for each K
TIMES = 5  # runs, of which the quickest counts
SPREADS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
FEW = (1, 2, 3, 4)
SIMULATIONS = 200

Estimator = Callable[[Planted], NDArray[np.float64]]


def ridge_by_cross_validation(of: Planted) -> float:
    """The spread at which the joint estimate's cross-fitted log loss is least."""
    likelihood = Likelihood(of.logits, of.labels)
    fits = [fit(likelihood, spread) for spread in SPREADS]
    losses = [cross_fit(likelihood, each, seed=0).after.log_loss.mean() for each in fits]
    return SPREADS[int(np.argmin(losses))]


def with_cross_validated_ridge(of: Planted) -> NDArray[np.float64]:
    """The joint estimate at that spread."""
    spread = ridge_by_cross_validation(of)
    return priors.estimate(of.logits, of.labels, spread=spread, folds=0).shares


def authors_as_they_run_it(of: Planted, steps: int = 1000) -> NDArray[np.float64]:
    """The authors' solver as their code has it: PyTorch's SGD on q, gradients by autograd.

    ``authors_solver`` finds the same without PyTorch, with exponentials that are taken once.
    """
    import torch
    from torch.nn.functional import cross_entropy

    f = of.logits - of.logits.max(axis=1, keepdims=True)
    f *= f.dtype.type(confidence_matching_scale(f, of.labels))
    logits, labels = torch.from_numpy(f), torch.from_numpy(of.labels)
    n, classes = f.shape
    rate = 1e-5 * (n / classes) / 50
    q, multiplier = torch.full((classes,), 1 / classes, requires_grad=True), torch.zeros(())
    descent = torch.optim.SGD([q], lr=rate)
    for _ in range(steps):
        descent.zero_grad()
        loss = cross_entropy(logits - q.log(), labels) + multiplier * (q.sum() - 1)
        loss.backward()  # type: ignore[no-untyped-call]  # PyTorch leaves it without types
        with torch.no_grad():
            multiplier += rate * (q.sum() - 1)
            descent.step()
            q.clamp_(min=1e-8)
    return np.asarray(q.detach().numpy().astype(np.float64))


def shares_alone(of: Planted) -> NDArray[np.float64]:
    """The estimate of gate without standard errors and intervals: all that the solver gives."""
    return priors.shares_of(fit(Likelihood(of.logits, of.labels)).x[1:])


AUTHORS, QUICKER = "authors' solver, PyTorch", "the same, exponentials once"
ESTIMATORS: dict[str, Estimator] = {
    AUTHORS: authors_as_they_run_it,
    QUICKER: lambda of: authors_solver(of.logits, of.labels),
    "joint, no ridge": lambda of: priors.estimate(of.logits, of.labels, spread=1e3, folds=0).shares,
    "joint, ridge by CV": with_cross_validated_ridge,
    "gate, shares alone": one_blas_thread(shares_alone),
    "gate": lambda of: priors.estimate(of.logits, of.labels, folds=0).shares,
    "gate, cross-fitted": lambda of: priors.estimate(of.logits, of.labels).shares,
    "eigenvector": lambda of: eigenvector(of.logits, of.labels),
    "without labels": lambda of: label_free(of.logits),
    "mean predicted": lambda of: mean_predicted_share(of.logits),
}


def table() -> None:
    """TV (mean over seeds) and time (the least of some runs) of each estimator.

    "gate" is the estimate with its standard errors and intervals, "gate, shares alone" is without,
    as the solver is; "gate, cross-fitted" adds what removing the prior is worth.
    """
    print(f"| K, a class, seeds | uniform | {' | '.join(ESTIMATORS)} | gate's time |")
    print("|---" * (len(ESTIMATORS) + 3) + "|")
    for classes, each in SETTINGS:
        distances: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
        seconds = dict.fromkeys(ESTIMATORS, float("inf"))
        for seed in range(SEEDS[classes]):
            of = planted(classes, each, seed)
            for name, estimator in ESTIMATORS.items():
                if name == AUTHORS and seed >= (TIMES if classes * each < 5000 else 2):
                    continue  # what it finds, the quicker one does
                for _ in range(TIMES if seed < TIMES and name not in (AUTHORS, QUICKER) else 1):
                    start = time.perf_counter()
                    shares = estimator(of)
                    seconds[name] = min(seconds[name], time.perf_counter() - start)
                distances[name].append(total_variation(shares, of.shares))
        assert np.allclose(distances[AUTHORS], distances[QUICKER][: len(distances[AUTHORS])], 1e-3)
        distances[AUTHORS] = distances[QUICKER]
        uniform = total_variation(np.full(classes, 1 / classes), of.shares)
        cells = [f"{np.mean(distances[n]):.4f}, {seconds[n] * 1e3:.1f} ms" for n in ESTIMATORS]
        ratios = [
            f"1/{seconds[name] / seconds['gate, shares alone']:.0f} "
            f"(1/{seconds[name] / seconds['gate']:.0f} with errors)"
            for name in (AUTHORS, QUICKER)
        ]
        print(
            f"| {classes}, {each}, {SEEDS[classes]} | {uniform:.3f} | {' | '.join(cells)} | "
            f"{ratios[0]} of the authors', {ratios[1]} of the quicker |",
            flush=True,
        )


STREAM = """
import sys, threading, time
from pathlib import Path
import numpy as np
from gate.label_prior import prior as priors
from gate.label_prior.imbalance import imbalance_of
logits, labels = np.load(sys.argv[1], mmap_mode="r"), np.load(sys.argv[2])
priors.estimate(np.array(logits[:64, :2]), np.arange(64) % 2)  # loads what is loaded at first use
def resident():
    said = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return [1024 * int(said[name].split()[0]) for name in ("RssAnon", "VmRSS")]
peaks, over = [resident()], threading.Event()
def watch():
    while not over.wait(0.005):
        peaks.append(resident())
watcher = threading.Thread(target=watch)
watcher.start()
start, busy = time.perf_counter(), time.process_time()
found = priors.estimate(logits, labels, folds=int(sys.argv[3]))
seconds, busy = time.perf_counter() - start, time.process_time() - busy
over.set()
watcher.join()
own, all = (np.max(peaks, axis=0) - peaks[0]) / logits.nbytes
print(seconds, busy, own, all, found.scale)
"""


def stream() -> None:
    """Time, and growth of peak memory as a multiple of the logits, which are mapped from a file.

    What the process itself took (RssAnon) counts; the pages of the file that are mapped (the rest
    of VmRSS) are the system's to take back. Processor time is of all threads together; where
    others use the machine too, it says more than the time that passed.
    """
    for classes, each, folds in ((1000, 50, 0), (1000, 50, 5), (21_000, 2, 0)):
        with tempfile.TemporaryDirectory() as folder:
            logits, labels = Path(folder) / "logits.npy", Path(folder) / "labels.npy"
            write(classes, each, logits, labels)
            run = [sys.executable, "-c", STREAM, str(logits), str(labels), str(folds)]
            done = subprocess.run(run, check=True, capture_output=True, text=True)
        seconds, busy, own, resident, scale = map(float, done.stdout.split())
        print(
            f"K = {classes}, N = {classes * each}, {folds} folds: {seconds:.1f} s ({busy:.1f} s of "
            f"processor time), {own:.2f} x the logits ({resident:.2f} x with mapped pages); "
            f"temperature scale {scale:.3f}",
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
    """Points of accuracy gained on balanced samples over no correction, at few samples a class.

    Mean and least of 20 seeds; behind them, the mean with the ridge by cross-validation.
    """
    print("| K, imbalance | " + " | ".join(f"{n} a class" for n in FEW) + " |")
    print("|---" * (len(FEW) + 1) + "|")
    for classes, ratio in ((10, 50), (10, 1), (100, 50), (100, 1)):
        cells = []
        for n in FEW:
            gains: tuple[list[float], list[float]] = ([], [])
            for seed in range(20):
                of = planted(classes, n + 2000 // classes, seed, ratio=ratio)
                known = np.arange(len(of.labels)) % (n + 2000 // classes) < n
                part = of._replace(logits=of.logits[known], labels=of.labels[known])
                f, y = of.logits[~known], of.labels[~known]
                for into, spread in zip(
                    gains, (None, ridge_by_cross_validation(part)), strict=True
                ):
                    found = priors.estimate(part.logits, part.labels, spread=spread, seed=seed)
                    after = (found.scale * f - found.removed).argmax(axis=1) == y
                    into.append(100 * (after.mean() - (f.argmax(axis=1) == y).mean()))
            own, by_cv = gains
            cells.append(f"{np.mean(own):+.2f} (least {min(own):+.2f}); CV {np.mean(by_cv):+.2f}")
        print(f"| {classes}, {ratio}:1 | {' | '.join(cells)} |", flush=True)


def coverage() -> None:
    """How often the 95 % intervals of q hold the planted shares, and those of its imbalance.

    The last settings were first looked at when the intervals stood as they are.
    """
    seen: list[tuple[int, int, dict[str, float]]] = [
        (10, 32, {"ratio": 50}),
        (10, 100, {"ratio": 50}),
        (10, 200, {"ratio": 50}),
        (10, 100, {"ratio": 5}),
        (100, 10, {"ratio": 50}),
        (3, 60, {"ratio": 20, "features": 4}),
        (30, 20, {"ratio": 100}),
        (10, 50, {"ratio": 1}),
        (10, 100, {"largest": 0.7}),
        (10, 100, {"ratio": 50, "distance": 0.5}),
        (50, 30, {"largest": 0.3, "distance": 0.7}),
        (100, 32, {"ratio": 200}),
        (10, 1000, {"ratio": 50}),
    ]
    not_seen: list[tuple[int, int, dict[str, float]]] = [
        (5, 40, {"ratio": 10, "features": 8}),
        (20, 50, {"ratio": 1, "distance": 0.6}),
        (40, 15, {"ratio": 30, "distance": 0.8}),
        (15, 60, {"largest": 0.5, "features": 10}),
        (2, 100, {"ratio": 4, "features": 3}),
        (150, 20, {"ratio": 20, "distance": 0.8}),
    ]
    for name, settings in (("seen", seen), ("not seen", not_seen)):
        for classes, each, how in settings:
            held, above, covered = [], [], []
            for seed in range(SIMULATIONS):
                of = planted(classes, each, seed, **how)  # type: ignore[arg-type]  # features: int
                found = priors.estimate(of.logits, of.labels, folds=0)
                low, high = found.bounds
                q = of.shares
                kl = np.log(classes) + (q * np.log(q)).sum()
                truths = (np.abs(q - 1 / classes).sum() / 2, kl, q.max() / q.min())
                imbalance = imbalance_of(found, seed, draws=300)
                covered.append(
                    [a <= t <= b for t, (_, a, b) in zip(truths, imbalance, strict=False)]
                )
                order = np.argsort(-of.shares)
                held.append(((low <= of.shares) & (of.shares <= high))[order])
                above.append(of.shares > high)
            tv, kl, ratio = 100 * np.mean(covered, axis=0)
            said = ", ".join(f"{key} {value}" for key, value in how.items())
            print(
                f"K = {classes}, {each} a class, {said} ({name}): {100 * np.mean(held):.1f} % of "
                f"intervals in {SIMULATIONS} simulations ({100 * np.mean(above):.1f} % too low; "
                f"largest share {100 * np.mean(held, axis=0)[0]:.1f} %, "
                f"smallest {100 * np.mean(held, axis=0)[-1]:.1f} %); total variation {tv:.1f} %, "
                f"divergence {kl:.1f} %, ratio {ratio:.1f} %",
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
