"""Heads on what a backbone gives: linear, nearest class mean, zero-shot.

The only file that imports sklearn.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gate.arrays import standardised, unit_rows
from gate.errors import EvidenceError

_ITERATIONS = 2000


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight + bias``, weight ``(D, K)`` and bias ``(K,)``, float32.

    Like every head it ``reads`` features or, of a backbone with a head of its own, its logits.
    """

    reads: ClassVar[Literal["features", "logits"]] = "features"
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores ``(N, K)`` of features ``(N, D)``."""
        return np.asarray(features @ self.weight + self.bias)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classes ``(N,)`` of features ``(N, D)``."""
        return np.asarray(self.logits(features).argmax(axis=1))


def fit_linear(features: NDArray[np.float32], labels: NDArray[np.int64], l2: float) -> LinearHead:
    """Multinomial logistic regression on standardised features, folded into one linear layer.

    Args:
        features: ``(N, D)``.
        labels: ``(N,)`` in 0 .. K-1, every class present.
        l2: Strength of the penalty on the weights for standardised features.

    Raises:
        EvidenceError: It does not converge.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    standard, mean, scale = standardised(features)
    regression = LogisticRegression(C=1 / l2, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            regression.fit(standard, labels)
        except ConvergenceWarning as fault:
            raise EvidenceError(
                f"the linear head did not converge in {_ITERATIONS} steps at l2 {l2:g}; "
                "raise tasks.NAME.head.l2 in the plan"
            ) from fault
    weight, bias = regression.coef_.T, regression.intercept_
    if weight.shape[1] == 1:  # two classes: scikit-learn keeps one column, the second class's
        weight, bias = np.hstack([-weight / 2, weight / 2]), np.hstack([-bias / 2, bias / 2])
    weight = weight / scale[:, None]
    return LinearHead(weight.astype(np.float32), (bias - mean @ weight).astype(np.float32))


def main_directions(moves: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The few directions that hold most of the moves of features, their mean included.

    Args:
        moves: ``(N, D)``, stamped minus clean features.
        count: How many directions r; no more than D - 1, so that something is left.

    Returns:
        ``(D, r)`` orthonormal columns.

    Raises:
        EvidenceError: There are not so many directions.
    """
    if count >= moves.shape[1]:
        raise EvidenceError(
            f"ignore: {count} directions of {moves.shape[1]} features leave nothing to a head; "
            "lower directions"
        )
    _, vectors = np.linalg.eigh(moves.T.astype(np.float64) @ moves)
    return np.asarray(vectors[:, ::-1][:, :count], np.float32)


def fit_nearest_class_mean(features: NDArray[np.float32], labels: NDArray[np.int64]) -> LinearHead:
    """Nearest class mean, as a linear head: no training, so a stand-in for a zero-shot head.

    Logits are minus half the squared distance to each class's mean on standardised features,
    less the part that all classes share.

    Source:
        Mensink et al. 2013, "Distance-based image classification".
    """
    standard, mean, scale = standardised(features)
    counts = np.bincount(labels)
    means = np.stack([standard[labels == k].mean(axis=0) for k in range(len(counts))])  # (K, D)
    weight = means.T / scale[:, None]
    bias = -(means**2).sum(axis=1) / 2 - mean @ weight
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def out_of_fold_logits(
    fit: Callable[[NDArray[np.float32], NDArray[np.int64]], LinearHead],
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    seed: int,
    folds: int = 5,
) -> NDArray[np.float32]:
    """Logits ``(N, K)`` of each image by a head that was fitted without its fold.

    Folds hold the classes in proportion.

    Raises:
        EvidenceError: Some class has fewer images than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    fewest = np.bincount(labels).min()
    if fewest < folds:
        raise EvidenceError(
            f"a class has {fewest} training images, and {folds} folds need {folds}; add images"
        )
    logits = np.empty((len(labels), len(np.unique(labels))), np.float32)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for fitted, held_out in splitter.split(features, labels):
        logits[held_out] = fit(features[fitted], labels[fitted]).logits(features[held_out])
    return logits


# --- zero-shot ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CosineHead:
    """``logits = scale * cos(features, weight[:, k])``, weight ``(D, K)``: class embeddings.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision"
        (CLIP), figure 3.
    """

    reads: ClassVar[Literal["features", "logits"]] = "features"
    weight: NDArray[np.float32]
    scale: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores ``(N, K)`` of features ``(N, D)``."""
        return np.asarray(np.float32(self.scale) * (unit_rows(features) @ self.weight))


@dataclass(frozen=True)
class SourceHead:
    """The backbone's own head, whose classes are summed up to K classes: log-sum-exp of logits.

    ``members`` are, for each class, indices of the own head's classes.
    """

    reads: ClassVar[Literal["features", "logits"]] = "logits"
    members: tuple[tuple[int, ...], ...]
    scale: float = 1.0

    def logits(self, own: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores ``(N, K)`` of the own head's logits ``(N, S)``."""
        sums = [np.logaddexp.reduce(own[:, each], axis=1) for each in self.members]
        return np.asarray(np.float32(self.scale) * np.stack(sums, axis=1))

    def padded(self) -> NDArray[np.int64]:
        """The members as a matrix ``(K, G)``, -1 where a class has fewer than G."""
        most = max(map(len, self.members))
        return np.array([(*each, *[-1] * (most - len(each))) for each in self.members], np.int64)


ZeroShotHead = LinearHead | CosineHead | SourceHead
