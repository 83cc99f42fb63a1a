"""Label prior: invariances, ridge, cross-fit, errors, streaming."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.errors import EvidenceError
from gate.label_prior import joint, likelihood, uncertainty
from gate.label_prior import prior as priors
from gate.label_prior.imbalance import imbalance_of
from gate.label_prior.joint import cross_fit, fit
from gate.label_prior.likelihood import Likelihood
from tests.planted import planted, total_variation


def close(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.abs(np.log(one / other)).max() < 0.02)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), shift=st.floats(-50, 50))
def test_a_shift_of_each_row_changes_nothing(seed: int, shift: float) -> None:
    of = planted(4, 40, seed, features=4)
    shifts = shift * np.random.default_rng(seed).normal(size=(160, 1)).astype(np.float32)

    expected, found = (
        priors.estimate(f, of.labels, folds=0) for f in (of.logits, of.logits + shifts)
    )

    assert close(found.shares, expected.shares)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100))
def test_the_temperature_takes_up_the_scale(seed: int, scale: float) -> None:
    of = planted(4, 40, seed, features=4)

    expected = priors.estimate(of.logits, of.labels, folds=0)
    found = priors.estimate(of.logits * np.float32(scale), of.labels, folds=0)

    assert close(found.shares, expected.shares)
    assert found.scale * scale == pytest.approx(expected.scale, rel=0.02)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), order=st.permutations(range(4)))
def test_classes_in_another_order_have_the_same_shares(seed: int, order: list[int]) -> None:
    of = planted(4, 40, seed, features=4)

    expected = priors.estimate(of.logits, of.labels, folds=0)
    found = priors.estimate(of.logits[:, order], np.argsort(order)[of.labels], folds=0)

    assert close(found.shares, expected.shares[order])
    np.testing.assert_allclose(found.errors, expected.errors[order], rtol=0.02)


@pytest.mark.parametrize("ratio", [50, 1])
def test_few_samples_do_no_harm(ratio: int) -> None:
    gains = []
    for seed in range(10):
        of = planted(10, 102, seed, ratio=ratio)
        known = np.arange(1020) % 102 < 2
        found = priors.estimate(of.logits[known], of.labels[known])
        f, y = of.logits[~known], of.labels[~known]
        after = ((found.scale * f - found.removed).argmax(axis=1) == y).mean()
        gains.append(after - (f.argmax(axis=1) == y).mean())
    assert np.mean(gains) > -0.003


def test_a_prior_whose_removal_does_not_help_is_not_removed() -> None:
    of = planted(10, 2, 1, ratio=1)

    found = priors.estimate(of.logits, of.labels)

    assert not found.helps
    assert not found.removed.any()


def test_the_cross_fit_gains_what_removing_the_truth_gains() -> None:
    of = planted(10, 200, 0)

    found = priors.estimate(of.logits, of.labels)

    def loss(f: np.ndarray) -> float:
        f = f - np.log(np.exp(f).sum(axis=1, keepdims=True))
        return float(-f[np.arange(len(f)), of.labels].mean())

    truth = loss(of.logits.astype(float)) - loss(of.unbiased.astype(float))
    assert found.cross_fit is not None
    gain = found.cross_fit.log_loss_gain
    assert gain.low - 0.02 < truth < gain.high + 0.02
    assert found.cross_fit.balanced_accuracy_gain.low > 0


def test_out_of_fold_logits_come_from_the_fit_without_the_fold() -> None:
    of = planted(4, 25, 0, features=4)
    likelihood = Likelihood(of.logits, of.labels)

    crossed = cross_fit(likelihood, fit(likelihood), seed=0)

    for number, each in enumerate(crossed.fits):
        kept = np.flatnonzero(crossed.folds != number)
        alone = fit(Likelihood(of.logits, of.labels, kept), each.spread)
        np.testing.assert_allclose(each.x, alone.x, atol=0.02)
    first = crossed.fits[crossed.folds[0]].x
    expected = first[0] * of.logits[:1] - first[1:]
    np.testing.assert_allclose(crossed.logits(of.logits, slice(0, 1)), expected, rtol=1e-6)
    assert (np.bincount(crossed.folds) == 20).all()


@pytest.mark.parametrize("limit", ["BLOCK", "CACHED"])
def test_blocks_give_what_the_whole_gives(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = planted(10, 200, 0)
    x = np.append(0.8, np.linspace(-1, 1, 10))
    whole = Likelihood(of.logits, of.labels).at(x, "full")

    monkeypatch.setattr(likelihood, "BLOCK", 700)
    monkeypatch.setattr(likelihood, limit, 700)
    blocks = Likelihood(of.logits, of.labels).at(x, "full")

    assert blocks.loss == pytest.approx(whole.loss, rel=1e-4)
    np.testing.assert_allclose(blocks.slope, whole.slope, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(blocks.curvature, whole.curvature, rtol=1e-4, atol=1e-2)


def test_slopes_and_curvature_are_those_of_the_loss() -> None:
    of = planted(4, 20, 0, features=4)
    at = Likelihood(of.logits.astype(np.float64), of.labels).at
    x, step = np.array([0.7, 0.5, -0.2, 0.1, -0.4]), 1e-5

    found = at(x, "full")

    for k, unit in enumerate(np.eye(5) * step):
        slope = (at(x + unit).loss - at(x - unit).loss) / (2 * step)
        bend = (at(x + unit).slope - at(x - unit).slope) / (2 * step)
        assert found.slope[k] == pytest.approx(slope, abs=1e-4)
        np.testing.assert_allclose(found.curvature[k], bend, atol=1e-4)
    np.testing.assert_allclose(at(x, "diagonal").curvature, np.diag(found.curvature))


def test_many_classes_are_fitted_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    of = planted(20, 50, 0)
    expected = priors.estimate(of.logits, of.labels)

    monkeypatch.setattr(joint, "DENSE", 5)
    found = priors.estimate(of.logits, of.labels)

    assert total_variation(found.shares, expected.shares) < 0.01
    assert found.covariance.shape == (20,)
    assert (found.errors < 1.2 * expected.errors).all()
    assert imbalance_of(found, 0).total_variation.value > 0.3


@pytest.mark.coverage(full=100, sampled=20)
def test_intervals_hold_the_truth_in_95_of_100_cases(simulations: range) -> None:
    held = []
    for seed in simulations:
        of = planted(10, 150, seed)
        low, high = priors.estimate(of.logits, of.labels, folds=0).bounds
        held.append((low <= of.shares) & (of.shares <= high))
    assert 0.92 <= np.mean(held) <= 0.98


@pytest.mark.coverage(full=200, sampled=60)
def test_intervals_hold_rare_and_frequent_classes_alike_at_few_samples(simulations: range) -> None:
    held = []
    for seed in simulations:
        of = planted(10, 32, seed)
        found = priors.estimate(of.logits, of.labels, folds=0)
        low, high = found.bounds
        assert (low <= found.shares).all()
        assert (found.shares <= high).all()
        held.append(((low <= of.shares) & (of.shares <= high))[np.argsort(of.shares)])
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.mean(held, axis=0).min() > 0.9


@pytest.mark.coverage(full=60, sampled=20)
def test_intervals_hold_a_dominant_class(simulations: range) -> None:
    held = []
    for seed in simulations:
        of = planted(50, 30, seed, largest=0.3, distance=0.7)
        low, high = priors.estimate(of.logits, of.labels, folds=0).bounds
        held.append(low[of.shares.argmax()] <= 0.3 <= high[of.shares.argmax()])
    assert np.mean(held) > 0.85


def test_intervals_are_normal_in_log_odds() -> None:
    two = priors.Prior(np.array([0.8, 0.2]), np.diag([0.3, 0.06]), 1.0)
    three = priors.Prior(np.array([0.5, 0.3, 0.2]), np.diag([0.0, 0.1, 0.0]), 1.0)

    odds = [low / (1 - low) for low in (two.bounds[0][0], two.bounds[1][0])]
    low, high = three.bounds[0][0], three.bounds[1][0]

    np.testing.assert_allclose(odds, 4 * np.exp([-1.96 * 0.6, 1.96 * 0.6]), rtol=1e-3)
    # of the others, which are as frequent, 0.6 have variance 0.1: sd 0.6 sqrt(0.1), mean 0.24 of it
    reach, shift = 1.96 * 0.6 * 0.1**0.5, 0.5 * 0.24 * 0.1
    np.testing.assert_allclose(np.log(low / (1 - low)), shift - reach, rtol=1e-3)
    np.testing.assert_allclose(np.log(high / (1 - high)), shift + reach, rtol=1e-3)


def test_bias_reduced_log_shares_are_off_by_less_than_the_shares() -> None:
    errors: dict[str, list[np.ndarray]] = {"ridge": [], "bias reduced": []}
    for seed in range(100):
        of = planted(5, 100, seed, features=8)
        found = priors.estimate(of.logits, of.labels, folds=0)
        order = np.argsort(of.shares)
        assert found.bias_reduced is not None
        for name, logs in (("ridge", np.log(found.shares)), ("bias reduced", found.bias_reduced)):
            off = (logs - np.log(of.shares))[order]
            errors[name].append(off - off.mean())
    bias = {name: np.abs(np.mean(each, axis=0)).max() for name, each in errors.items()}
    assert bias["bias reduced"] < 0.06
    assert bias["ridge"] > 3 * bias["bias reduced"]


def test_logits_that_say_nothing_leave_the_counts_and_no_doubt() -> None:
    labels = np.repeat(np.arange(3), [40, 20, 4])
    logits = np.random.default_rng(0).normal(size=(64, 3)) * 1e-6
    likelihood = Likelihood(logits, labels)
    start = joint.Fit(np.array([1.0, 0, 0, 0]), np.full(4, 1e-4))
    at = start._replace(curvature=likelihood.at(start.x, "full").curvature)

    logs, found = uncertainty.uncertainty(likelihood, at)

    # q is uniform whatever the counts: the model has nothing else to explain them by
    np.testing.assert_allclose(logs - logs.mean(), 0, atol=2e-3)
    np.testing.assert_allclose(found, 0, atol=5e-3)  # 1 / counts are 0.25 to 0.025


def test_nor_do_they_where_only_the_diagonal_is_known() -> None:
    labels = np.repeat(np.arange(40), 5)
    logits = np.random.default_rng(0).normal(size=(200, 40)) * 1e-6
    at = joint.Fit(np.append(1.0, np.zeros(40)), np.full(41, 1e-4))

    _, found = uncertainty.uncertainty(Likelihood(logits, labels), at)

    assert (found < 0.1 / 5).all()


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_slope_of_the_log_determinant_is_that_of_differences(diagonal: bool) -> None:
    of = planted(4, 20, 0, features=4)
    likelihood = Likelihood(of.logits.astype(np.float64), of.labels)
    x, step = np.array([0.7, 0.5, -0.2, 0.1, -0.4]), 1e-5
    root = np.random.default_rng(0).normal(size=(5, 5))
    inverse = np.diag(root[0] ** 2) if diagonal else root @ root.T

    given = np.diag(inverse) if diagonal else inverse
    found = uncertainty._slope_of_log_det(likelihood, x, given)

    for k, unit in enumerate(np.eye(5) * step):
        ends = [likelihood.at(x + side * unit, "full").curvature for side in (1, -1)]
        expected = np.trace(inverse @ (ends[0] - ends[1])) / (2 * step)
        assert found[k] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_slope_of_a_long_sample_is_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    of = planted(10, 400, 0, features=4)
    likelihood, x = Likelihood(of.logits, of.labels), np.append(1.0, np.log(of.shares))
    inverse = np.asarray(np.linalg.pinv(likelihood.at(x, "full").curvature))

    by_part = uncertainty._slope_of_log_det(likelihood, x, inverse)
    monkeypatch.setattr(uncertainty, "starting_size", lambda _: 4000)
    by_all = uncertainty._slope_of_log_det(likelihood, x, inverse)

    np.testing.assert_allclose(by_part, by_all, atol=0.3 * np.abs(by_all).max())


def test_the_spread_counts_what_the_sample_determines() -> None:
    at = joint.Fit(np.array([1.0, 1, -1, 0]), np.ones(4))

    # sums of squares: 2, and 2 of the classes before; of 3 classes, 2 are free, or none is
    assert joint._likeliest_spread(at, np.zeros(4)) == pytest.approx((4 / (2 + 2)) ** 0.5)
    assert joint._likeliest_spread(at, np.ones(4)) == pytest.approx((4 / (0 + 2)) ** 0.5)


def test_the_temperature_may_come_from_a_part_without_some_classes() -> None:
    of = planted(1000, 4, 0, features=8, ratio=1)
    whole = Likelihood(of.logits, of.labels)

    found = joint.fit_temperature(whole).x

    assert (whole.part(300).counts == 0).any()
    assert found[0] == pytest.approx(1, abs=0.1)


def test_a_class_of_one_sample_is_in_no_fit_without_it() -> None:
    of = planted(4, 30, 0, features=4)
    kept = np.flatnonzero((of.labels > 0) | (np.arange(120) == 0))

    found = priors.estimate(of.logits[kept], of.labels[kept])

    assert found.cross_fit is not None
    without = found.cross_fit.fits.fits[found.cross_fit.fits.folds[0]]
    assert np.isfinite(without.x).all()
    assert np.isfinite(found.cross_fit.log_loss_gain).all()


def test_the_temperature_alone_is_where_the_loss_is_least() -> None:
    of = planted(10, 40, 0)
    likelihood = Likelihood(of.logits * np.float32(7), of.labels)

    found = joint.fit_temperature(likelihood).x

    assert found[1:].tolist() == [0] * 10
    for factor in (0.9, 1.1):
        assert likelihood.at(found * factor).loss > likelihood.at(found).loss


@pytest.mark.parametrize("times", [1e-6, 0.2, 30.0])
def test_a_curvature_that_misleads_is_given_up(times: float) -> None:
    of = planted(10, 40, 0)
    likelihood = Likelihood(of.logits, of.labels)
    expected = fit(likelihood, 1.0)
    away = expected._replace(x=expected.x + 0.5 * np.sin(np.arange(11)))

    found = joint._again(likelihood, away, times, free=False)

    np.testing.assert_allclose(found.x, expected.x, atol=0.03)


def test_a_long_sample_is_fitted_though_its_part_is_almost_separable() -> None:
    of = planted(10, 200, 20)
    whole = Likelihood(of.logits, of.labels)

    found = fit(whole, 1e3)

    assert np.ptp(fit(whole.part(300), 1e3).x[1:]) > 10 > np.ptp(found.x[1:])
    slope = whole.at(found.x).slope
    assert slope @ np.linalg.pinv(whole.at(found.x, "full").curvature) @ slope < 0.05


def test_a_part_keeps_the_classes_in_proportion() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [700, 200, 100]))
    whole = Likelihood(np.eye(3)[labels], labels)

    assert whole.part(100).counts.tolist() == [70, 20, 10]
    assert whole.part(400) is whole


def test_copies_of_samples_change_nothing_if_their_clusters_are_told() -> None:
    of = planted(5, 60, 0, features=6)
    f, labels = np.repeat(of.logits, 4, axis=0), np.repeat(of.labels, 4)
    once = priors.estimate(of.logits, of.labels)

    naive = priors.estimate(f, labels, folds=0)
    told = priors.estimate(f, labels, clusters=np.arange(1200) // 4 * 7)

    assert (naive.errors < 0.7 * once.errors).all()
    np.testing.assert_allclose(told.shares, once.shares, rtol=0.02)
    np.testing.assert_allclose(told.errors, once.errors, rtol=0.05)
    np.testing.assert_allclose(told.bounds, once.bounds, rtol=0.05)
    assert told.spread == pytest.approx(once.spread, rel=0.05)
    for gain in ("log_loss_gain", "balanced_accuracy_gain"):
        np.testing.assert_allclose(
            getattr(told.cross_fit, gain), getattr(once.cross_fit, gain), atol=0.02
        )


def test_no_fold_cuts_a_cluster_in_two() -> None:
    of = planted(4, 50, 0)
    clusters = np.arange(200) // 2 % 40  # each over several classes

    found = priors.estimate(of.logits, of.labels, clusters=clusters).cross_fit

    assert found
    folds = found.fits.folds
    assert len(np.unique(folds)) == 5
    assert all(len(np.unique(folds[clusters == each])) == 1 for each in range(40))


def test_copies_do_not_make_a_prior_that_is_not_there_worth_removing() -> None:
    helped = 0
    for seed in range(20):
        of = planted(10, 3, seed, ratio=1)
        f, labels = np.repeat(of.logits, 10, axis=0), np.repeat(of.labels, 10)
        helped += priors.estimate(f, labels, clusters=np.arange(300) // 10).helps
    assert helped <= 3


def test_a_class_that_is_one_scene_counts_as_one_sample() -> None:
    of = planted(3, 100, 0)
    clusters = np.arange(300)
    clusters[of.labels == 1] = 1000

    errors = priors.estimate(of.logits, of.labels, clusters=clusters, folds=0).errors

    assert errors[1] > 4 * priors.estimate(of.logits, of.labels, folds=0).errors[1]


@pytest.mark.parametrize("masked", [-1e4, -1e9])
def test_masked_logits_of_other_classes_change_nothing(masked: float) -> None:
    of = planted(5, 60, 0, features=6)
    logits = of.logits.copy()
    rows = np.arange(0, 300, 10)
    logits[rows, of.logits[rows].argmin(axis=1)] = masked
    logits[rows, of.labels[rows]] = of.logits[rows, of.labels[rows]]

    found = priors.estimate(logits, of.labels)

    assert total_variation(found.shares, priors.estimate(of.logits, of.labels).shares) < 0.02


@pytest.mark.parametrize("masked", [-1e5, -1e9, -3e38])
@pytest.mark.parametrize("kept", [2, 4, 5])
def test_logits_of_which_half_the_classes_or_more_are_masked_are_refused(
    masked: float, kept: int
) -> None:
    of = planted(10, 60, 0)
    below = np.argsort(of.logits, axis=1)[:, : 10 - kept]
    logits = of.logits.copy()
    np.put_along_axis(logits, below, masked, axis=1)

    with pytest.raises(EvidenceError, match="half of the classes or more are masked, and the mask"):
        priors.estimate(logits, of.labels)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_many_classes_that_differ_by_little_are_not_taken_for_masked(classes: int) -> None:
    of = planted(classes, 2000 // classes, 0, distance=0.2)

    assert priors.estimate(of.logits, of.labels, folds=0).scale > 0


def test_the_first_two_classes_may_tie_in_most_rows() -> None:
    labels = np.arange(200) % 4
    logits = np.where(np.arange(4) // 2 == labels[:, None] // 2, 5.0, 0.0)
    logits[:60] += np.random.default_rng(0).normal(size=(60, 4))

    assert priors.estimate(logits, labels, folds=0).scale > 0


def test_an_estimate_does_not_depend_on_the_size_of_the_logits() -> None:
    of = planted(5, 60, 0, features=6)
    once = priors.estimate(of.logits, of.labels)

    for size in (1e-6, 1e6):
        found = priors.estimate(of.logits * np.float32(size), of.labels)
        np.testing.assert_allclose(found.shares, once.shares, rtol=1e-3)
        assert found.scale * size == pytest.approx(once.scale, rel=1e-3)


def test_logits_that_are_the_same_for_all_samples_are_refused() -> None:
    with pytest.raises(EvidenceError, match="do not tell the classes apart"):
        priors.estimate(np.tile([1.0, 2.0, 3.0], (30, 1)), np.arange(30) % 3)


@pytest.mark.coverage(full=60, sampled=30)
@pytest.mark.parametrize("ratio", [1, 20])
def test_intervals_hold_the_truth_of_hardly_any_mistakes_too(
    ratio: float, simulations: range
) -> None:
    missed, separable = 0, 0
    for seed in simulations:
        of = planted(2, 50, seed, ratio=ratio)
        found = priors.estimate(of.logits, of.labels, folds=0)
        low, high = found.bounds
        missed += not (low[0] <= of.shares[0] <= high[0])
        separable += found.separable
    assert missed <= len(simulations) / 10  # by chance half as many
    assert len(simulations) / 3 < separable < len(simulations)


@pytest.mark.coverage(full=40, sampled=10)
@pytest.mark.parametrize("ratio", [50, 5, 1])
def test_intervals_of_imbalance_hold_the_truth_at_few_samples_too(
    ratio: float, simulations: range
) -> None:
    missed = np.zeros(4)
    for seed in simulations:
        of = planted(10, 16, seed, ratio=ratio)
        q = of.shares
        kl = np.log(10) + (q * np.log(q)).sum()
        truths = (np.abs(q - 0.1).sum() / 2, max(kl, 0), q.max() / q.min(), 10 * np.exp(-kl))
        found = imbalance_of(priors.estimate(of.logits, of.labels, folds=0), 0, draws=300)
        missed += [
            not low - 1e-9 <= t <= high + 1e-9
            for t, (_, low, high) in zip(truths, found, strict=True)
        ]
    assert (missed <= len(simulations) / 10).all(), missed  # by chance half as many


def test_separable_samples_are_named_so() -> None:
    labels = np.repeat(np.arange(3), 30)

    found = priors.estimate(np.eye(3, dtype=np.float32)[labels] * 50, labels)

    assert found.separable
    assert np.isfinite(found.errors).all()
    assert (found.bounds[0] < 0.01).all()
    assert (found.bounds[1] > 0.99).all()
    assert not priors.estimate(*planted(10, 100, 0)[:2]).separable


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((4, 2)), np.array([0, 1, 0]), r"4 rows of logits and labels of shape \(3,\)"),
        (np.zeros((4, 2)), np.array([0, 1, 0, 2]), r"label 2 in row 3 is not in 0 \.\. 1"),
        (np.zeros((4, 2)), np.array([0, -1, 0, 1]), "label -1 in row 1"),
        (np.zeros((4, 2)), np.array([0.0, 1, 0, 1]), "labels of type float64"),
        (np.zeros((4, 3)), np.array([0, 1, 0, 1]), r"class 2 has no sample.*\(1 of 3"),
        (np.zeros(4), np.array([0, 1, 0, 1]), r"logits of shape \(4,\)"),
        (np.array([[0, 1], [0, np.inf]]), np.array([0, 1]), "the first in row 1, class 1"),
    ],
)
def test_what_does_not_fit_is_refused(logits: np.ndarray, labels: np.ndarray, says: str) -> None:
    with pytest.raises(EvidenceError, match=says):
        priors.estimate(logits, labels)


@pytest.mark.parametrize(
    ("clusters", "says"),
    [
        (np.arange(4), r"cluster ids of shape \(4,\).* for 15 samples"),
        (np.zeros((15, 2), int), r"cluster ids of shape \(15, 2\)"),
        (np.full(15, np.nan), "and type float64 for"),
        (np.zeros(15, int), "all samples are of one cluster"),
    ],
)
def test_clusters_that_do_not_fit_are_refused(clusters: np.ndarray, says: str) -> None:
    of = planted(3, 5, 0)

    with pytest.raises(EvidenceError, match=says):
        priors.estimate(of.logits, of.labels, clusters=clusters)
