"""Generalized logit adjustment (GLA) of two classifiers' logits.

Source: Zhu et al. 2023, arXiv 2310.08106. ``f_gla = a_zs f_zs - log q + a_ft f_ft - log p``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gate.arrays import ROWS, Float64, Floats, Labels, first_not_finite
from gate.errors import EvidenceError
from gate.label_prior.prior import Prior, estimate

METHODS = ("zero_shot", "debiased", "fine_tuned", "logit_adjustment", "plain_ensemble", "gla")


@dataclass(frozen=True)
class Adjustment:
    """All that turns two classifiers' logits into calibrated ones; K classes each.

    ``frequencies`` (K,) are p, of the fine-tuning set.
    """

    prior: Prior
    fine_tuned_scale: float
    frequencies: Float64

    def scores(self, zero_shot: Floats, fine_tuned: Floats) -> dict[str, Float64]:
        """Scores ``(n, K)`` by each of ``METHODS``, for classes equally likely.

        Both classifiers by themselves are as they stand; whatever is combined is at its own
        temperature, which favours the plain ensemble too.
        """
        zero_shot, fine_tuned = np.asarray(zero_shot, float), np.asarray(fine_tuned, float)
        f_zs, f_ft = self.prior.scale * zero_shot, self.fine_tuned_scale * fine_tuned
        debiased, adjusted = f_zs - self.prior.removed, f_ft - np.log(self.frequencies)
        scores = (zero_shot, debiased, fine_tuned, adjusted, f_zs + f_ft, debiased + adjusted)
        return dict(zip(METHODS, scores, strict=True))


def adjustment(
    zero_shot: Floats, fine_tuned: Floats, labels: Labels, frequencies: Float64, seed: int
) -> Adjustment:
    """Estimate q and both temperatures on samples that neither classifier was fitted on.

    Args:
        zero_shot: ``(N, K)``.
        fine_tuned: ``(N, K)``.
        labels: ``(N,)``, every class present.
        frequencies: ``(K,)``, of the fine-tuning set.
        seed: Of the folds that say whether removing q helps.

    Raises:
        EvidenceError: Logits, labels or frequencies that do not fit each other, or no estimate.
    """
    same_shape(zero_shot, fine_tuned)
    if len(frequencies) != zero_shot.shape[1]:
        raise EvidenceError(
            f"calibrate: {len(frequencies)} train frequencies for {zero_shot.shape[1]} classes; "
            "give one each, in the order of the logits' columns"
        )
    prior = estimate(zero_shot, labels, seed=seed)
    scale = estimate(fine_tuned, labels, folds=0).scale
    return Adjustment(prior, scale, frequencies)


def same_shape(zero_shot: Floats, fine_tuned: Floats) -> None:
    """Refuse logits of different samples or classes.

    Raises:
        EvidenceError: Their shapes differ.
    """
    if zero_shot.shape != fine_tuned.shape:
        raise EvidenceError(
            f"calibrate: zero-shot logits {zero_shot.shape} and fine-tuned logits "
            f"{fine_tuned.shape}; both must be (N, K), of the same samples and classes"
        )


def scores_by_block(
    how: Adjustment, zero_shot: Floats, fine_tuned: Floats
) -> Iterator[tuple[slice, dict[str, Float64]]]:
    """Scores by each of ``METHODS``, with the rows that they are of, block by block.

    Raises:
        EvidenceError: Shapes that do not fit, or a logit that is not finite.
    """
    same_shape(zero_shot, fine_tuned)
    if zero_shot.shape[1] != len(how.frequencies):
        raise EvidenceError(
            f"calibrate: logits of {zero_shot.shape[1]} classes, and a prior of "
            f"{len(how.frequencies)}; both must be of the same classes"
        )
    for start in range(0, len(zero_shot), ROWS):
        rows = slice(start, start + ROWS)
        for name, logits in (("zero-shot", zero_shot), ("fine-tuned", fine_tuned)):
            if wrong := first_not_finite(logits[rows]):
                raise EvidenceError(
                    f"calibrate: {name} logits are not finite in row {start + wrong[0]}; "
                    "check the classifier"
                )
        yield rows, how.scores(zero_shot[rows], fine_tuned[rows])
