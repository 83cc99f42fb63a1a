"""Label prior against a planted truth, whatever scale and balance the sample has."""

from collections.abc import Callable

import numpy as np
import pytest

from gate.errors import EvidenceError
from gate.label_prior import prior as priors
from tests.planted import SHARES, exact_logits


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("counts", [(600,) * 5, (1500, 700, 400, 300, 100)])
def test_a_planted_prior_is_found_whatever_the_scale_and_balance(
    scale: float, counts: tuple[int, ...]
) -> None:
    logits, labels = exact_logits(SHARES, np.array(counts), 0, scale)

    found = priors.estimate(logits, labels)

    assert np.abs(found.shares - SHARES).sum() / 2 < 0.05
    assert found.scale * scale == pytest.approx(1, abs=0.1)


def test_the_estimate_agrees_with_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    logits, labels = exact_logits(SHARES, np.array([200] * 5), 1)

    def loss(x: np.ndarray) -> float:
        scores = x[0] * logits.astype(float) - x[1:]
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return float(-scores[np.arange(len(labels)), labels].mean())

    b = minimize(loss, np.r_[1.0, np.zeros(5)], method="BFGS").x[1:]

    expected = np.exp(b) / np.exp(b).sum()
    np.testing.assert_allclose(
        priors.estimate(logits, labels, spread=30).shares, expected, atol=2e-3
    )


@pytest.mark.coverage(full=100, sampled=30)
def test_standard_errors_cover_the_truth_in_about_95_of_100_samples(simulations: range) -> None:
    covered = 0
    for seed in simulations:
        logits, labels = exact_logits(SHARES, np.array([150] * 5), seed)
        found = priors.estimate(logits, labels)
        covered += int((np.abs(found.shares - SHARES) <= 1.96 * found.errors).sum())
    assert 0.91 <= covered / (5 * len(simulations)) <= 0.99


def _no_class(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return logits[labels != 4], labels[labels != 4]


def _not_finite(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits[3, 2] = np.nan
    return logits, labels


def _upside_down(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return -logits, labels


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_class, "class 4 has no sample"),
        (_not_finite, "some logit is not finite"),
        (_upside_down, "do not tell the classes apart"),
    ],
)
def test_a_prior_that_cannot_be_estimated_is_refused(
    spoil: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], says: str
) -> None:
    with pytest.raises(EvidenceError, match=says):
        priors.estimate(*spoil(*exact_logits(SHARES, np.array([50] * 5), 3)))


def test_separable_data_give_a_finite_prior() -> None:
    labels = np.repeat(np.arange(3), 30)
    logits = np.eye(3, dtype=np.float32)[labels] * 50

    assert np.isfinite(priors.estimate(logits, labels).shares).all()


def test_removing_a_planted_prior_gains_accuracy_on_balanced_data() -> None:
    logits, labels = exact_logits(np.array([0.9, 0.04, 0.03, 0.02, 0.01]), np.array([400] * 5), 4)
    found = priors.estimate(logits, labels)

    before = (logits.argmax(axis=1) == labels).mean()
    after = ((logits - np.log(found.shares)).argmax(axis=1) == labels).mean()

    assert after > before + 0.05


def test_a_prior_whose_intervals_say_nothing_is_remarked_on_and_a_clear_one_is_not() -> None:
    logits, labels = exact_logits(SHARES, np.array([200] * 5), 0)
    few, of_few = exact_logits(SHARES, np.array([2] * 5), 0)

    clear = priors.remarks(priors.estimate(logits, labels))
    vague = priors.remarks(priors.estimate(few, of_few, folds=0, spread=3.0))

    assert not [remark for remark in clear if "says nearly nothing" in remark]
    (said,) = [remark for remark in vague if "says nearly nothing" in remark]
    assert said.startswith("of ")
    assert "of 5 classes the interval reaches from less than a third" in said
