"""Heads against scikit-learn, and the label prior against a planted truth."""

from collections.abc import Callable

import numpy as np
import pytest

from gate import label_prior as priors
from gate.errors import EvidenceError
from gate.measure.head import LinearHead, fit_linear, fit_nearest_class_mean, out_of_fold_logits


def blobs(
    counts: tuple[int, ...], seed: int = 0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes with unit covariance; the last feature never changes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), 6)) * spread
    labels = np.repeat(np.arange(len(counts)), counts)
    features = centres[labels] + rng.normal(size=(len(labels), 6))
    constant = np.full((len(labels), 1), 3.0)
    return np.hstack([features, constant]).astype(np.float32), labels


@pytest.mark.parametrize("counts", [(50, 60, 40), (80, 70)])
def test_a_linear_head_predicts_what_scikit_learn_predicts(counts: tuple[int, ...]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = blobs(counts)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(features, labels)

    head = fit_linear(features, labels, l2=2.0)

    logits = head.logits(features).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert head.weight.shape == (7, len(counts))
    np.testing.assert_allclose(shares, expected.predict_proba(features), atol=2e-3)


def test_the_nearest_class_mean_is_the_nearest_class_mean() -> None:
    features, labels = blobs((50, 60, 40))
    scale = np.where(features.std(axis=0) > 0, features.std(axis=0), 1)
    standard = (features - features.mean(axis=0)) / scale
    means = np.stack([standard[labels == k].mean(axis=0) for k in range(3)])
    distances = ((standard[:, None] - means) ** 2).sum(axis=2)

    head = fit_nearest_class_mean(features, labels)

    np.testing.assert_array_equal(head.predict(features), distances.argmin(axis=1))


def test_out_of_fold_logits_never_saw_their_image() -> None:
    features, labels = blobs((20, 20, 20))
    seen: list[set[bytes]] = []

    def remember(fitted: np.ndarray, of: np.ndarray) -> LinearHead:
        seen.append({row.tobytes() for row in fitted})
        head = fit_nearest_class_mean(fitted, of)
        original = head.logits

        class Watching(LinearHead):
            def logits(self, features: np.ndarray) -> np.ndarray:
                assert not {row.tobytes() for row in features} & seen[-1]
                return original(features)

        return Watching(head.weight, head.bias)

    logits = out_of_fold_logits(remember, features, labels, seed=0)

    assert len(seen) == 5
    assert np.isfinite(logits).all()


def test_folds_need_as_many_images_of_each_class() -> None:
    features, labels = blobs((20, 4))

    with pytest.raises(EvidenceError, match="a class has 4 training images, and 5 folds need 5"):
        out_of_fold_logits(fit_nearest_class_mean, features, labels, seed=0)


def exact_logits(
    prior: np.ndarray, counts: np.ndarray, seed: int, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Log-posteriors under a planted prior, for samples drawn with other frequencies."""
    rng = np.random.default_rng(seed)
    classes = len(prior)
    centres = np.random.default_rng(5).normal(size=(classes, 4)) * 1.2
    labels = np.repeat(np.arange(classes), counts)
    x = centres[labels] + rng.normal(size=(len(labels), 4))
    likelihood = -((x[:, None] - centres) ** 2).sum(axis=2) / 2
    return ((likelihood + np.log(prior)) * scale).astype(np.float32), labels


PLANTED = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("counts", [(600,) * 5, (1500, 700, 400, 300, 100)])
def test_a_planted_prior_is_found_whatever_the_scale_and_balance(
    scale: float, counts: tuple[int, ...]
) -> None:
    logits, labels = exact_logits(PLANTED, np.array(counts), 0, scale)

    found = priors.estimate(logits, labels)

    assert np.abs(found.shares - PLANTED).sum() / 2 < 0.05
    assert found.scale * scale == pytest.approx(1, abs=0.1)


def test_the_estimate_agrees_with_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    logits, labels = exact_logits(PLANTED, np.array([200] * 5), 1)

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
        logits, labels = exact_logits(PLANTED, np.array([150] * 5), seed)
        found = priors.estimate(logits, labels)
        covered += int((np.abs(found.shares - PLANTED) <= 1.96 * found.errors).sum())
    assert 0.91 <= covered / (5 * len(simulations)) <= 0.99


def test_each_measure_of_leaning_has_an_interval_around_the_truth() -> None:
    logits, labels = exact_logits(PLANTED, np.array([600] * 5), 2)

    lean = priors.lean(priors.estimate(logits, labels), seed=0)

    kl = np.log(5) + (PLANTED * np.log(PLANTED)).sum()
    truths = (np.abs(PLANTED - 0.2).sum() / 2, kl, PLANTED.max() / PLANTED.min(), 5 * np.exp(-kl))
    for truth, (value, low, high) in zip(truths, lean, strict=True):
        assert 0 < low <= truth <= high
        assert low < value < high


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
        priors.estimate(*spoil(*exact_logits(PLANTED, np.array([50] * 5), 3)))


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
