"""Heads against scikit-learn, and out-of-fold logits."""

import numpy as np
import pytest

from gate.backbone.heads import LinearHead
from gate.errors import EvidenceError
from gate.measure.head import fit_linear, fit_nearest_class_mean, out_of_fold_logits


def blobs(
    counts: tuple[int, ...], seed: int = 0, distance: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian classes with unit covariance; the last feature never changes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(counts), 6)) * distance
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
