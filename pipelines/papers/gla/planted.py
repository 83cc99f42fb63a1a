"""The paper in small, on exact posteriors: a planted prior is found, and GLA is best of all.

``python -m pipelines.papers.gla.planted --out FOLDER``. K = 100 Gaussian classes; a zero-shot
classifier sees some features under a prior of imbalance 50:1, a fine-tuned one sees others under
the long tail of its training set, independent given the class. Both are exact but for a temperature
that they do not know.

Source: Zhu et al. 2023, arXiv 2310.08106, table 1 and figure 3 in shape.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate import files
from gate.label_prior import gla
from gate.label_prior.comparison import by_prior, compare_methods
from pipelines.papers.gla.baselines import authors_solver, eigenvector, mean_predicted_share

CLASSES, KNOWN, TEST, SEED = 100, 50, 200, 0  # samples a class
RATIO = 50
PARTS = ("head", "medium", "tail")


class Evidence:
    """One half of the evidence on each sample, and what a classifier makes of it."""

    def __init__(self, features: int, distance: float, scale: float, rng: np.random.Generator):
        self.centres = rng.normal(size=(CLASSES, features)) * distance
        self.scale, self._rng = scale, rng

    def logits(self, labels: NDArray[np.int64], prior: NDArray[np.float64]) -> NDArray[np.float32]:
        """Log-posteriors under a prior ``(N, K)``, times 1 / scale, of new samples."""
        x = self.centres[labels] + self._rng.normal(size=(len(labels), self.centres.shape[1]))
        exact = x @ self.centres.T - (self.centres**2).sum(axis=1) / 2 + np.log(prior)
        return np.asarray(exact / self.scale, np.float32)


def run() -> dict[str, Any]:
    """Estimates of the prior, and what each method is worth on a balanced test set."""
    rng = np.random.default_rng(SEED)
    shares = RATIO ** (-np.arange(CLASSES) / (CLASSES - 1))
    shares /= shares.sum()
    q, p = shares, rng.permutation(shares)  # the two long tails are not the same
    pretrained, tuned = Evidence(10, 1.0, 2.0, rng), Evidence(10, 1.0, 0.5, rng)
    known, test = (np.repeat(np.arange(CLASSES), each) for each in (KNOWN, TEST))
    f_zs, f_ft = pretrained.logits(known, q), tuned.logits(known, p)
    how = gla.adjustment(f_zs, f_ft, known, p, seed=0)
    scale = how.prior.scale
    estimates = {
        "uniform guess": np.full(CLASSES, 1 / CLASSES),
        "mean predicted share": mean_predicted_share(f_zs, scale),
        "the authors' solver": authors_solver(f_zs, known),
        "eigenvector": eigenvector(f_zs, known, scale),
        "gate": how.prior.shares,
    }
    low, high = how.prior.bounds
    return {
        "total_variation": {
            name: round(float(np.abs(each / each.sum() - q).sum() / 2), 4)
            for name, each in estimates.items()
        },
        "coverage": round(float(((low <= q) & (q <= high)).mean()), 4),
        "temperature_scales": {
            "zero_shot": [round(scale, 3), pretrained.scale],
            "fine_tuned": [round(how.fine_tuned_scale, 3), tuned.scale],
        },
        "methods": {
            method: {"accuracy": one.accuracy, **one.groups}
            for method, one in compare_methods(
                how,
                pretrained.logits(test, q),
                tuned.logits(test, p),
                test,
                by_prior(how.prior.shares),
            ).methods.items()
        },
    }


def tables(result: dict[str, Any]) -> str:
    """Both tables, as Markdown."""
    lines = [f"| estimate of q, {KNOWN} a class | total variation |", "|---|---|"]
    lines += [f"| {name} | {value:.3f} |" for name, value in result["total_variation"].items()]
    methods, columns = result["methods"], ("accuracy", *PARTS)
    lines += [
        "",
        "| % classified correctly (95 %) | all | head | medium | tail |",
        "|---" * 5 + "|",
    ]
    for method, row in methods.items():
        cells = ["{:.1f} ({:.1f}, {:.1f})".format(*(100 * x for x in row[c])) for c in columns]
        lines.append(f"| {method.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables, and write them as planted.md."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True)
    written = tables(run()) + "\n"
    files.write(parser.parse_args().out / "planted.md", written)
    print(written, end="")


if __name__ == "__main__":
    main()
