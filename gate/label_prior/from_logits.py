"""`gate prior` and `gate calibrate` on files of logits: no model is needed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate import files, stats
from gate import label_prior as priors
from gate.errors import DataError
from gate.label_prior import Prior, gla, logits

_WORST = 5
_JOINT = (
    "temperature and bias by penalised maximum likelihood, ridge by marginal likelihood, "
    "cross-fitted over 5 folds"
)


def label_prior(scores: Path, labels: Path, clusters: Path | None, seed: int = 0) -> dict[str, Any]:
    """The label prior of a classifier, from logits and labels of samples it was not fitted on.

    Raises:
        GateError: Files that cannot be read, or nothing can be estimated from.
    """
    f = logits.read_logits(scores)
    y = _one_each(labels, "labels", scores, len(f))
    _counts(labels, y, f.shape[1])
    ids = _one_each(clusters, "clusters", scores, len(f)) if clusters else None
    prior = priors.estimate(f, y, clusters=ids, seed=seed)
    given = {"logits": scores, "labels": labels, "clusters": clusters}
    return {"schema": 1, **describe(prior, ids is not None, seed), "files": _digests(given)}


def describe(prior: Prior, clustered: bool = False, seed: int = 0) -> dict[str, Any]:
    """All that is known of a prior, as JSON takes it."""
    q = prior.shares
    low, high = prior.bounds
    lean = priors.lean(prior, seed)
    source = "curvature" if prior.covariance.ndim == 2 else "diagonal of the curvature"
    said = {
        "method": _JOINT,
        "shares": files.rounded(q),
        "standard_errors": files.rounded(prior.errors),
        "low": files.rounded(low),
        "high": files.rounded(high),
        "standard_errors_from": f"{source}, each cluster as one sample" if clustered else source,
        "temperature_scale": prior.scale,
        "spread": prior.spread,
        "total_variation_to_uniform": _interval(lean.total_variation),
        "kl_to_uniform": _interval(lean.kl),
        "largest_over_smallest": _interval(lean.largest_over_smallest),
        "effective_classes": _interval(lean.effective_classes),
        "separable": prior.separable,
        "removed": prior.helps,
        "remarks": priors.remarks(prior),
    }
    if prior.cross_fit:
        said["cross_fitted"] = {
            "log_loss_gain": _interval(prior.cross_fit.log_loss_gain),
            "balanced_accuracy_gain": _interval(prior.cross_fit.balanced_accuracy_gain),
        }
    return said


@dataclass(frozen=True)
class Pair:
    """Zero-shot and fine-tuned logits of the same samples, and their labels if they are known."""

    zero_shot: Path
    fine_tuned: Path
    labels: Path | None

    def read(self) -> tuple[gla.Floats, gla.Floats, gla.Labels | None]:
        """The three arrays.

        Raises:
            GateError: Files that cannot be read, or that do not fit each other.
        """
        f_zs, f_ft = logits.read_logits(self.zero_shot), logits.read_logits(self.fine_tuned)
        if f_zs.shape != f_ft.shape:
            raise DataError(
                f"{self.zero_shot}: {f_zs.shape} logits, and {self.fine_tuned}: {f_ft.shape}; both "
                "must be (N, K), of the same samples and classes"
            )
        if self.labels is None:
            return f_zs, f_ft, None
        labels = _one_each(self.labels, "labels", self.zero_shot, len(f_zs))
        _counts(self.labels, labels, f_zs.shape[1])
        return f_zs, f_ft, labels


def calibrate(
    known: Pair, train: Path, counted: bool, test: Pair | None, out: Path, seed: int = 0
) -> list[Path]:
    """Write GLA logits and predictions, and a JSON of how they were made and what they are worth.

    Args:
        known: Labelled samples that neither classifier was fitted on.
        train: Labels of the fine-tuning set if ``counted``, else its class shares.
        counted: Which of both.
        test: Samples to adjust and, if their labels are known, to judge by; else ``known`` are
            adjusted, and nothing is judged, because q was estimated on them.
        out: Folder of both files.
        seed: Of the folds and of the intervals that are drawn.

    Raises:
        GateError: Files that cannot be read, do not fit each other, or would be written over.
    """
    ending = known.zero_shot.suffix.replace(".npy", ".npz")
    adjusted, about = out / f"gla{ending}", out / "gla.json"
    given = {
        "zero_shot": known.zero_shot,
        "fine_tuned": known.fine_tuned,
        "labels": known.labels,
        "train": train,
    }
    if test:
        given |= {
            "test_zero_shot": test.zero_shot,
            "test_fine_tuned": test.fine_tuned,
            "test_labels": test.labels,
        }
    for path in filter(None, given.values()):
        if path.resolve() in (adjusted.resolve(), about.resolve()):
            raise DataError(f"{path}: the results would be written over it; choose another --out")
    f_zs, f_ft, labels = known.read()
    if labels is None:
        raise DataError(f"{known.zero_shot}: q is estimated with labels; give --labels")
    classes = f_zs.shape[1]
    if counted:
        counts = _counts(train, logits.read_labels(train), classes)
        frequencies = np.asarray(counts / counts.sum())
    elif len(frequencies := logits.read_shares(train)) != classes:
        raise DataError(
            f"{train}: {len(frequencies)} shares, and {known.zero_shot}: {classes} classes; give "
            "one each, in the order of the logits' columns"
        )
    wanted = test.read() if test else (f_zs, f_ft, None)
    if test and wanted[0].shape[1] != classes:
        raise DataError(
            f"{test.zero_shot}: {wanted[0].shape[1]} classes, and {known.zero_shot}: {classes}; "
            "both must be of the same classes"
        )
    how = gla.adjustment(f_zs, f_ft, labels, frequencies, seed)
    gla_logits = np.concatenate(
        [scores["gla"].astype(np.float32) for _, scores in gla.combined(how, *wanted[:2])]
    )
    told = {
        "schema": 1,
        "method": "generalized logit adjustment (arXiv 2310.08106)",
        "prior": describe(how.prior, seed=seed),
        "train_frequencies": files.rounded(frequencies),
        "temperature_scales": {"zero_shot": how.prior.scale, "fine_tuned": how.fine_tuned_scale},
        "adjusted": "test" if test else "estimation set",
        "files": _digests(given),
    }
    if test and wanted[2] is not None:
        thirds = gla.by_prior(how.prior.shares)
        told["test"] = _worth(gla.worth(how, *wanted[:2], wanted[2], thirds, seed=seed))
    logits.write(adjusted, {"logits": gla_logits, "predictions": gla_logits.argmax(axis=1)})
    files.write(about, files.json_of(told))
    return [adjusted, about]


def _worth(found: gla.Worth) -> dict[str, Any]:
    """As JSON takes it, with the classes that are worst after the adjustment."""
    before, after = (found.methods[name].classes for name in ("fine_tuned", "gla"))
    worst = sorted(range(len(after)), key=lambda k: after[k].value)[:_WORST]
    return {
        "methods": {
            name: {
                "accuracy": _interval(one.accuracy),
                "balanced_accuracy": _interval(one.balanced_accuracy),
                **{group: _interval(each) for group, each in one.groups.items()},
                "log_loss": _interval(one.log_loss),
                "expected_calibration_error": _interval(one.calibration_error),
            }
            for name, one in found.methods.items()
        },
        **{
            name: _interval(getattr(found, name))
            for name in (
                "accuracy_gain",
                "balanced_accuracy_gain",
                "tail_gain",
                "head_loss",
                "log_loss_gain",
            )
        },
        "worst_classes": [
            {"class": k, "before": _interval(before[k]), "after": _interval(after[k])}
            for k in worst
        ],
    }


def _one_each(path: Path, name: str, scores: Path, rows: int) -> gla.Labels:
    """Labels or cluster ids, as many as there are rows of logits."""
    found = logits.read_labels(path, name)
    if len(found) != rows:
        raise DataError(
            f"{path}: {len(found)} {name}, and {scores}: {rows} rows of logits; give one a row (of "
            "a .csv, a first line 0,1,..,K-1 is read as names and a lone 0 as a label: name the "
            f"columns logits_0, logits_1, .. and {name})"
        )
    return found


def _counts(path: Path, labels: gla.Labels, classes: int) -> NDArray[np.int64]:
    """How many samples there are of each class, none of which may be without."""
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{path}: labels {labels.min()} .. {labels.max()}; the logits' classes are "
            f"0 .. {classes - 1}"
        )
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise DataError(
            f"{path}: class {counts.argmin()} has no sample ({(counts == 0).sum()} of {classes} "
            "have none); add some, or leave the class out of the logits"
        )
    return counts


def _digests(given: dict[str, Path | None]) -> dict[str, str]:
    return {name: files.sha256_of(path, DataError) for name, path in given.items() if path}


def _interval(found: stats.Interval) -> dict[str, float]:
    return {name: round(value, 6) for name, value in found._asdict().items()}
