"""How far a prior is from uniform."""

import numpy as np

from gate.label_prior import prior as priors
from gate.label_prior.imbalance import imbalance_of
from tests.planted import SHARES, exact_logits


def test_each_measure_of_imbalance_has_an_interval_around_the_truth() -> None:
    logits, labels = exact_logits(SHARES, np.array([600] * 5), 2)

    imbalance = imbalance_of(priors.estimate(logits, labels), seed=0)

    kl = np.log(5) + (SHARES * np.log(SHARES)).sum()
    truths = (np.abs(SHARES - 0.2).sum() / 2, kl, SHARES.max() / SHARES.min(), 5 * np.exp(-kl))
    for truth, (value, low, high) in zip(truths, imbalance, strict=True):
        assert 0 < low <= truth <= high
        assert low < value < high
