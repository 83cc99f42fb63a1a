"""`gate prior` and `gate calibrate` on files of logits: no model is needed."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gate import files
from gate.arrays import Float64, Floats, Int64, Labels
from gate.errors import DataError
from gate.label_prior import array_files, gla
from gate.label_prior.comparison import by_prior, compare_methods
from gate.label_prior.prior import estimate
from gate.label_prior.summary import describe_comparison, describe_prior

_FEW_COPIES = 0.01  # of the rows: they change no interval
log = logging.getLogger("gate")


def label_prior(scores: Path, labels: Path, clusters: Path | None, seed: int = 0) -> dict[str, Any]:
    """The label prior of a classifier, from logits and labels of samples it was not fitted on.

    Raises:
        GateError: Files that cannot be read, or nothing can be estimated from.
    """
    inputs = {"logits": scores, "labels": labels, "clusters": clusters}
    with array_files.hashed(inputs) as digests:
        f = array_files.read_logits(scores)
        y = _one_each(labels, "labels", scores, len(f))
        _counts(labels, y, f.shape[1])
        ids = _one_each(clusters, "clusters", scores, len(f)) if clusters else None
        prior = estimate(f, y, clusters=ids, seed=seed)
        copies = [] if clusters else _remark_on_copies(scores, f, y)
    said = describe_prior(prior, ids is not None, seed)
    return {"schema": 1, **said, "remarks": copies + said["remarks"], "files": digests}


def _remark_on_copies(path: Path, logits: Floats, labels: Labels) -> list[str]:
    """A sentence on rows that stand there more than once, with their labels, if these are many.

    Source:
        Kish 1965: n samples in groups of m_i copies count as many as ``n^2 / sum m_i^2``.
    """
    times, n = array_files.distinct_rows(logits, labels), len(logits)
    if n - len(times) <= _FEW_COPIES * n:
        return []
    narrow = float((times**2).sum() / n) ** 0.5
    return [
        f"{path}: {n:,} rows are {len(times):,} distinct ones: a copy says nothing new, and "
        f"intervals are about {narrow:.1f} times too narrow; give each sample once, or, to gate "
        "prior, --clusters that say which are copies of each other"
    ]


class BothLogits(NamedTuple):
    """Zero-shot and fine-tuned logits of the same samples, and their labels if they are known."""

    zero_shot: Floats  # (N, K)
    fine_tuned: Floats  # (N, K)
    labels: Labels | None  # (N,)


@dataclass(frozen=True)
class LogitFiles:
    """Files of zero-shot and fine-tuned logits of the same samples, and of labels if known."""

    zero_shot: Path
    fine_tuned: Path
    labels: Path | None

    def read(self) -> BothLogits:
        """The three arrays.

        Raises:
            GateError: Files that cannot be read, or that do not fit each other.
        """
        f_zs = array_files.read_logits(self.zero_shot)
        f_ft = array_files.read_logits(self.fine_tuned)
        if f_zs.shape != f_ft.shape:
            raise DataError(
                f"{self.zero_shot}: {f_zs.shape} logits, and {self.fine_tuned}: {f_ft.shape}; both "
                "must be (N, K), of the same samples and classes"
            )
        labels = None
        if self.labels:
            labels = _one_each(self.labels, "labels", self.zero_shot, len(f_zs))
            _counts(self.labels, labels, f_zs.shape[1])
        return BothLogits(f_zs, f_ft, labels)


@dataclass(frozen=True)
class AdjustmentFiles:
    """All that logits are adjusted from.

    Args:
        known: Labelled samples that neither classifier was fitted on.
        train_labels: Labels of the fine-tuning set; or give ``train_shares``.
        train_shares: Class shares of the fine-tuning set.
        test: Samples to adjust and, if their labels are known, to judge by; else ``known`` are
            adjusted, and nothing is judged, because q was estimated on them.
    """

    known: LogitFiles
    train_labels: Path | None
    train_shares: Path | None
    test: LogitFiles | None

    def named(self) -> dict[str, Path | None]:
        """Every file, by the name that it has in what is written."""
        return {**vars(self.known), "train": self.train_labels or self.train_shares} | {
            f"test_{name}": path for name, path in (vars(self.test) if self.test else {}).items()
        }

    def read_known(self) -> tuple[Floats, Floats, Labels]:
        """Both logits ``(N, K)`` and the labels ``(N,)`` to estimate q with."""
        f_zs, f_ft, labels = self.known.read()
        if labels is None:
            raise DataError(f"{self.known.zero_shot}: q is estimated with labels; give --labels")
        return f_zs, f_ft, labels

    def read_frequencies(self, classes: int) -> Float64:
        """Class frequencies ``(K,)`` of the fine-tuning set."""
        if self.train_labels:
            labels = array_files.read_labels(self.train_labels)
            counts = _counts(self.train_labels, labels, classes)
            return np.asarray(counts / counts.sum())
        assert self.train_shares  # noqa: S101  # the command line asks for one of both
        shares = array_files.read_shares(self.train_shares)
        if len(shares) != classes:
            raise DataError(
                f"{self.train_shares}: {len(shares)} shares, and {self.known.zero_shot}: {classes} "
                "classes; give one each, in the order of the logits' columns"
            )
        return shares

    def read_test(self, classes: int) -> BothLogits | None:
        """The samples to adjust, if they are others than those that q is estimated on."""
        if not self.test:
            return None
        pair = self.test.read()
        if pair.zero_shot.shape[1] != classes:
            raise DataError(
                f"{self.test.zero_shot}: {pair.zero_shot.shape[1]} classes, and "
                f"{self.known.zero_shot}: {classes}; both must be of the same classes"
            )
        return pair


def adjust_logits(inputs: AdjustmentFiles, out: Path, seed: int = 0) -> list[Path]:
    """Write GLA logits and predictions, and a JSON of how they were made and what they are worth.

    Args:
        inputs: Files of logits and labels.
        out: Folder of both files.
        seed: Of the folds and of the intervals that are drawn.

    Raises:
        GateError: Files that cannot be read, do not fit each other, or would be written over.
    """
    ending = inputs.known.zero_shot.suffix.replace(".npy", ".npz")
    adjusted, about = out / f"gla{ending}", out / "gla.json"
    _refuse_overwriting(inputs, adjusted, about)
    with array_files.hashed(inputs.named()) as digests:
        f_zs, f_ft, labels = inputs.read_known()
        frequencies = inputs.read_frequencies(f_zs.shape[1])
        test = inputs.read_test(f_zs.shape[1])
        how = gla.adjustment(f_zs, f_ft, labels, frequencies, seed)
        blocks = gla.scores_by_block(how, *(test[:2] if test else (f_zs, f_ft)))
        logits = np.concatenate([scores["gla"].astype(np.float32) for _, scores in blocks])
        said = _described(how, seed)
        said["prior"]["remarks"][:0] = _remark_on_copies(inputs.known.zero_shot, f_zs, labels)
        remarks = [*said["prior"]["remarks"]]
        said |= {"adjusted": "test" if test else "estimation set", "files": digests}
        if inputs.test and test and test.labels is not None:
            thirds = by_prior(how.prior.shares)
            compared = compare_methods(how, *test[:2], test.labels, thirds, seed=seed)
            copies = _remark_on_copies(inputs.test.zero_shot, test.zero_shot, test.labels)
            said["test"] = {**describe_comparison(compared), "remarks": copies}
            remarks += copies
    for remark in remarks:
        log.warning("%s", remark)
    array_files.write(adjusted, {"logits": logits, "predictions": logits.argmax(axis=1)})
    files.write(about, files.json_of(said))
    return [adjusted, about]


def _refuse_overwriting(inputs: AdjustmentFiles, *results: Path) -> None:
    for path in filter(None, inputs.named().values()):
        if os.path.realpath(path) in map(os.path.realpath, results):
            raise DataError(f"{path}: the results would be written over it; choose another --out")


def _described(how: gla.Adjustment, seed: int) -> dict[str, Any]:
    return {
        "schema": 1,
        "method": "generalized logit adjustment (arXiv 2310.08106)",
        "prior": describe_prior(how.prior, seed=seed),
        "train_frequencies": files.rounded(how.frequencies),
        "temperature_scales": {"zero_shot": how.prior.scale, "fine_tuned": how.fine_tuned_scale},
    }


def _one_each(path: Path, name: str, scores: Path, rows: int) -> Labels:
    """Labels or cluster ids, as many as there are rows of logits."""
    numbers = array_files.read_labels(path, name)
    if len(numbers) != rows:
        raise DataError(
            f"{path}: {len(numbers)} {name}, and {scores}: {rows} rows of logits; give one a row "
            "(of a .csv, a first line 0,1,..,K-1 is read as names and a lone 0 as a label: name "
            f"the columns logits_0, logits_1, .. and {name})"
        )
    return numbers


def _counts(path: Path, labels: Labels, classes: int) -> Int64:
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
