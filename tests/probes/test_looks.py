"""Looks: a trigger is passed no further than its rate needs, and intervals hold all the same."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gate import decide, load_policy, stats
from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.probes.looks import Sample, look_ends, order_of
from gate.probes.trigger_patch import TriggerPatch
from gate.values import Evidence

MakeTrial = Callable[[str], Trial]


def passes(trial: Trial) -> int:
    return trial.bench.engine.passes[trial.backbone.digest]


def looked(trial: Trial, **settings: object) -> tuple[Evidence, int]:
    """Evidence of the trigger probe with other settings, and the passes that it took."""
    content = trial.plan.model_dump()
    content["probes"]["trigger_patch"].update({"remedies": [], **settings})
    changed = Trial(Bench(Plan.model_validate(content), trial.bench.folder))
    changed.features("test")
    before = passes(changed)
    found = run_probe("trigger_patch", changed)
    return found, passes(changed) - before


@given(st.integers(1, 5000), st.integers(1, 1_000_000))
def test_looks_double_until_all_images_are_seen(first: int, total: int) -> None:
    first = min(first, total)

    ends = look_ends(first, total)

    assert ends[0] == first
    assert ends[-1] == total
    assert all(later == min(2 * former, total) for former, later in zip(ends, ends[1:]))  # noqa: B905, RUF007
    assert len(ends) == math.ceil(math.log2(total / first)) + 1


def test_the_order_is_of_the_seed_and_the_split_alone() -> None:
    one = order_of(0, "sha256:ab", 1000)

    assert sorted(one) == list(range(1000))
    assert (one == order_of(0, "sha256:ab", 1000)).all()
    assert not (one == order_of(1, "sha256:ab", 1000)).all()
    assert not (one == order_of(0, "sha256:cd", 1000)).all()


@pytest.mark.parametrize("rate", [0.2, 0.4, 0.6])
def test_at_the_bound_looks_accept_as_rarely_as_they_may_and_peeking_does_not(rate: float) -> None:
    draws, ends = 20_000, look_ends(64, 1000)
    steps = np.diff((0, *ends))
    hits = np.random.default_rng(0).binomial(steps, rate, (draws, len(ends))).cumsum(axis=1)

    def wrong(looks: int) -> float:
        """Share of draws in which some look's upper end lies below the truth."""
        accepted = np.zeros(draws, bool)
        for place, n in enumerate(ends):
            highs = np.array([stats.rate(k, n, searched_high=looks).high for k in range(n + 1)])
            accepted |= highs[hits[:, place]] < rate
        return float(accepted.mean())

    slack = 3 * math.sqrt(0.025 * 0.975 / draws)
    assert wrong(len(ends)) <= 0.025 + slack
    assert wrong(1) > 0.05


def test_a_trigger_that_may_be_the_worst_goes_on_and_others_stay_at_the_first_look(
    digits_trial: MakeTrial,
) -> None:
    trial = digits_trial("trigger")

    found, taken = looked(trial, resolution=0.1)

    rates = [m for m in found.measurements if m.metric == "attack_success_rate"]
    worst = max(m.low for m in found.measurements if m.metric.startswith("targeted"))
    images, bank = len(trial.split("test")), _triggers(trial)
    stamps = len({stamp.key for t in bank for stamp in (t.stamp, *t.controls)})
    seen = {m.about["trigger"]: m.n for m in rates}
    assert seen["yellow square 5px bottom_right"] == max(seen.values()) > 0.8 * images
    stayed = {trigger for trigger, n in seen.items() if n <= 64}
    assert len(stayed) > len(bank) / 2
    assert 64 * stamps < taken < images * stamps / 2
    for m in found.measurements:
        if m.metric == "targeted_attack_success_rate" and m.about["trigger"] in stayed:
            assert m.high <= worst + 0.1


def _triggers(trial: Trial) -> list:  # type: ignore[type-arg]
    settings = trial.plan.probes.settings("trigger_patch")
    assert isinstance(settings, TriggerPatch)
    return trial.bank(settings.triggers, "test")


@pytest.mark.parametrize("backbone", ["clean", "trigger", "shortcut", "relabelled"])
def test_looks_decide_as_all_images_do_by_fewer_passes(
    digits_trial: MakeTrial, backbone: str
) -> None:
    policy = load_policy(Path("policies/digits.yaml"))
    (few, taken), (every, whole) = (
        looked(digits_trial(backbone), first_look=first) for first in (64, "all")
    )

    def outcomes(found: Evidence) -> set[str]:
        verdict = decide(policy, [found], digits_day)
        return {f.outcome for f in verdict.findings if f.probe == "trigger_patch"}

    from datetime import date

    digits_day = date(2026, 1, 1)
    assert (
        ("fail" in outcomes(few))
        == ("fail" in outcomes(every))
        == (backbone in ("trigger", "relabelled"))
    )
    assert taken < whole / 2


def test_what_is_seen_in_looks_is_what_is_seen_at_once(digits_trial: MakeTrial) -> None:
    trial = digits_trial("trigger")
    tasks = {"digits_6_to_9": trial.plan.tasks["digits_6_to_9"]}
    trigger, other, *_ = _triggers(trial)
    stamps = [trigger.stamp, other.stamp]
    sample = Sample(trial, "test", tasks, stamps, TriggerPatch(first_look=50))

    sample.reach([trigger.stamp], 100)
    sample.reach(stamps, 200)
    before = passes(trial)
    sample.reach(stamps, 200)

    assert passes(trial) == before
    hits = sample.hits["digits_6_to_9"]
    at_once = trial.responses("test", tasks, stamps).hits["digits_6_to_9"]
    rows = sample.rows
    assert (hits.labels == at_once.labels[rows]).all()
    assert (hits.clean == at_once.clean[rows]).all()
    for stamp in stamps:
        assert hits.seen(stamp) == 200
        # batches of another size may differ in a feature's last bits, so an image may tip over
        same = hits.stamped[stamp.key] == at_once.stamped[stamp.key][rows[:200]]
        assert same.mean() > 0.98


def test_a_first_look_above_the_split_is_refused_where_the_plan_asks_for_it(
    digits_trial: MakeTrial,
) -> None:
    with pytest.raises(PlanError, match="first_look: 5000 examples, and split test has 426; lower"):
        looked(digits_trial("clean"), first_look=5000)


@pytest.mark.parametrize(
    "settings",
    [{"first_look": 39}, {"first_look": "some"}, *({"resolution": r} for r in (0, 1, -0.1, "nan"))],
)
def test_looks_that_measure_nothing_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TriggerPatch.model_validate(settings)
