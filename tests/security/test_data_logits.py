"""Logits of any size that floats can have: the same prior, or a refusal."""

import numpy as np
import pytest

from gate.arrays import Floats, Labels
from gate.errors import EvidenceError
from gate.label_prior.comparison import sample_results
from gate.label_prior.prior import estimate

LABELS = np.arange(800) % 4


def logits(dtype: str = "f4") -> Floats:
    drawn = np.random.default_rng(5).normal(size=(800, 4)) + np.log([0.5, 0.3, 0.15, 0.05])
    drawn[np.arange(800), LABELS] += 2
    return drawn.astype(dtype)


def shares(of: Floats, labels: Labels = LABELS) -> list[float]:
    prior = estimate(of, labels)
    assert np.isfinite([*prior.errors, *np.concatenate(prior.bounds), prior.scale]).all()
    return list(prior.shares.tolist())


@pytest.mark.parametrize(
    ("dtype", "times"),
    [("f4", 1e20), ("f4", 1e30), ("f4", 1e37), ("f4", 1e-30), ("f8", 1e300), ("f8", 1e-300)],
)
def test_the_size_of_logits_does_not_change_the_prior(dtype: str, times: float) -> None:
    np.testing.assert_allclose(shares(logits(dtype) * times), shares(logits(dtype)), atol=1e-4)


@pytest.mark.parametrize("mask", [1e9, 1e12, 1e20, 1e30, float(np.finfo("f4").max)])
def test_a_masked_class_has_no_share_however_deep_the_mask(mask: float) -> None:
    masked = np.random.default_rng(6).random((800, 4)) < 0.2
    masked[np.arange(800), LABELS] = False
    shallow = np.where(masked, np.float32(-1e4), logits())

    deep = np.where(masked, np.float32(-mask), logits())

    np.testing.assert_allclose(shares(deep), shares(shallow), atol=1e-4)


def test_logits_near_the_least_float_are_refused() -> None:
    with pytest.raises(EvidenceError, match="no estimate"):
        estimate(logits("f8") * 1e-320, LABELS)


def test_a_loss_that_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(EvidenceError, match="divide the logits by a number"):
        sample_results(logits("f8") * 1e300, LABELS)
