"""Estimators of the label prior that the paper in small holds gate's against."""

from collections.abc import Callable

import numpy as np
import pytest

from gate.errors import EvidenceError
from gate.label_prior import prior as priors
from pipelines.papers.gla import baselines
from tests.planted import planted, total_variation


def test_the_authors_solver_takes_their_steps() -> None:
    from tests.benchmarks.priors import authors_as_they_run_it

    of = planted(10, 20, 0)

    shares = baselines.authors_solver(of.logits, of.labels, steps=50)

    np.testing.assert_allclose(shares, authors_as_they_run_it(of, steps=50), rtol=1e-4)
    assert np.ptp(shares) > 0


def test_every_estimator_finds_the_prior_and_the_baselines_do_not() -> None:
    of = planted(10, 1000, 0, features=8)

    def distance(shares: np.ndarray) -> float:
        return total_variation(shares, of.shares)

    assert distance(priors.estimate(of.logits, of.labels).shares) < 0.05
    assert distance(baselines.eigenvector(of.logits, of.labels)) < 0.05
    assert distance(baselines.mean_predicted_share(of.logits)) > 0.15
    assert distance(baselines.authors_solver(of.logits, of.labels, steps=200)) > 0.15


def test_the_eigenvector_needs_no_balance() -> None:
    of = planted(5, 2000, 0, features=4)
    rows = np.arange(10_000) % 2000 < np.array([2000, 1000, 500, 300, 200])[of.labels]

    shares = baselines.eigenvector(of.logits[rows], of.labels[rows])

    assert total_variation(shares, of.shares) < 0.05


def test_without_labels_the_prior_is_found_in_a_balanced_sample() -> None:
    of = planted(5, 2000, 0, features=4)

    assert total_variation(baselines.label_free(of.logits), of.shares) < 0.03


def test_matrices_of_very_many_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of = planted(10, 20, 0)
    monkeypatch.setattr("pipelines.papers.gla.baselines.DENSE", 5)

    with pytest.raises(EvidenceError, match=r"10 classes; its \(K, K\) matrix is kept up to 5"):
        baselines.eigenvector(of.logits, of.labels)


def test_an_eigenvector_of_posteriors_that_never_mix_is_refused() -> None:
    labels = np.repeat(np.arange(3), 30)
    logits = np.eye(3, dtype=np.float32)[labels] * 1000

    with pytest.raises(EvidenceError, match="hardly mix the classes"):
        baselines.eigenvector(logits, labels)
    with pytest.raises(EvidenceError, match="hardly mix the classes"):
        baselines.label_free(logits)


@pytest.mark.parametrize(
    "estimator",
    [
        lambda f, y: baselines.eigenvector(f, y),
        lambda f, y: baselines.authors_solver(f, y, steps=2),
        lambda f, _: baselines.label_free(f),
        lambda f, _: baselines.mean_predicted_share(f),
    ],
)
def test_every_estimator_refuses_what_is_not_finite(
    estimator: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    of = planted(3, 5, 0)
    of.logits[7, 1] = np.nan

    with pytest.raises(EvidenceError, match="the first in row 7, class 1"):
        estimator(of.logits, of.labels)
