"""What methods are worth: calibration error, groups of classes, and GLA on exact evidence."""

import numpy as np
import pytest

from gate.label_prior import comparison


def test_gla_is_worth_more_than_its_parts_on_exact_evidence() -> None:
    from pipelines.papers.gla import planted as paper

    rows = paper.run()["methods"]

    _, low, high = ({m: row["accuracy"][end] for m, row in rows.items()} for end in range(3))
    assert high["zero_shot"] < low["debiased"]
    assert high["fine_tuned"] < low["logit_adjustment"]
    assert high["logit_adjustment"] < low["plain_ensemble"]
    assert high["plain_ensemble"] < low["gla"]


def test_the_calibration_error_is_the_sum_over_bins() -> None:
    confidence, hits = np.array([0.95, 0.95, 0.55, 0.55]), np.array([1.0, 1, 0, 1])

    found = comparison.calibration_error(confidence, hits, seed=0)

    assert found.value == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert found.low <= found.value <= found.high


@pytest.mark.coverage(full=60, sampled=20)
@pytest.mark.parametrize("off", [0.0, 0.02, 0.1])
def test_the_interval_of_a_calibration_error_holds_it(off: float, simulations: range) -> None:
    rng, missed = np.random.default_rng(1), 0
    for seed in simulations:
        confidence = rng.uniform(0.3 + off, 1, 300)
        hits = (rng.uniform(size=300) < confidence - off).astype(float)
        found = comparison.calibration_error(confidence, hits, seed)
        missed += not found.low <= off <= found.high
    assert missed <= len(simulations) / 10  # by chance half as many


def test_classes_are_grouped_by_prior_or_by_training_count() -> None:
    thirds = comparison.by_prior(np.array([0.1, 0.4, 0.2, 0.05, 0.2, 0.05]))
    assert {name: which.tolist() for name, which in thirds.items()} == {
        "head": [1, 2],
        "medium": [4, 0],
        "tail": [3, 5],
    }
    assert list(comparison.by_prior(np.array([0.2, 0.8]))) == ["head", "tail"]
    by_count = comparison.by_count(np.array([101, 100, 20, 19]))
    assert {name: which.tolist() for name, which in by_count.items()} == {
        "many": [0],
        "medium": [1, 2],
        "few": [3],
    }
    assert list(comparison.by_count(np.array([500, 5]))) == ["many", "few"]
