"""Heads fitted on frozen features: linear, nearest class mean. Only this file imports sklearn."""

import warnings
from collections.abc import Callable

import numpy as np

from gate.arrays import Float32, Int64, standardised
from gate.backbone.heads import LinearHead
from gate.errors import EvidenceError

Fit = Callable[[Float32, Int64], LinearHead]  # of features (N, D) and labels (N,)

_ITERATIONS = 2000


def fit_linear(features: Float32, labels: Int64, l2: float) -> LinearHead:
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


def main_directions(moves: Float32, count: int) -> Float32:
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


def fit_nearest_class_mean(features: Float32, labels: Int64) -> LinearHead:
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
    fit: Fit, features: Float32, labels: Int64, seed: int, folds: int = 5
) -> Float32:
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
