"""Waivers that match nothing are told, whichever way they came to match nothing."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gate import files
from gate.errors import ExitCode, PolicyError
from gate.policy.decide import decide
from gate.policy.unmatched import require_matched, unmatched
from gate.policy.waivers import Waiver
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, rule
from tests.conftest import Gate

TODAY = date(2026, 11, 21)
BAD = [evidence(measurement(0.1, 0.2, 0.3))]
RULE = "clean_accuracy.accuracy"


def waiver(**changes: object) -> Waiver:
    return Waiver.model_validate(
        {
            "id": "W-1",
            "rule": RULE,
            "backbone": BACKBONE,
            "reason": "known",
            "owner": "ml-team",
            "expires": "2026-12-31",
            **changes,
        }
    )


def test_a_waiver_that_is_needed_matches() -> None:
    other = [evidence(measurement(0.1, 0.2, 0.3, task="a"), measurement(0.1, 0.2, 0.3, task="b"))]
    two = [waiver(where={"task": "a"}), waiver(id="W-2", where={"task": "b"})]

    assert unmatched(policy(), BAD, TODAY, [waiver()]) == {}
    assert unmatched(policy(), other, TODAY, two) == {}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rule": "clean_accuracy.acuracy"}, "no rule .* did you mean 'clean_accuracy.accuracy'"),
        ({"expires": "2026-11-20"}, "it ended on 2026-11-20, and the day is 2026-11-21; remove"),
        ({"backbone": OTHER_BACKBONE}, f"it is for {OTHER_BACKBONE}, .* is on {BACKBONE}"),
        ({"where": {"task": "cars"}}, "no finding of clean_accuracy.accuracy has .* task cars"),
    ],
)
def test_a_waiver_that_matches_nothing_says_why(changes: dict[str, object], says: str) -> None:
    with pytest.raises(PolicyError, match=f"waiver W-1 matches nothing: .*{says}"):
        require_matched(policy(), [BAD], TODAY, [waiver(**changes)])


def test_a_waiver_of_what_passes_is_not_needed() -> None:
    idle = unmatched(policy(), [evidence()], TODAY, [waiver()])

    assert idle == {"W-1": f"nothing that it covers of {RULE} blocks without it; remove it"}


@pytest.mark.parametrize("changes", [{"on_inconclusive": "warn"}, {"severity": "warn"}])
def test_a_waiver_of_what_only_warns_is_not_needed(changes: dict[str, object]) -> None:
    judged = policy(rule(**changes), rule(name="other", at_least=0.1))
    found = [evidence(measurement(0.5, 0.82, 0.9))]

    with pytest.raises(PolicyError, match=f"nothing that it covers of {RULE} blocks without it"):
        require_matched(judged, [found], TODAY, [waiver()])


def test_a_waiver_that_is_all_that_an_acceptance_rests_on_is_needed() -> None:
    judged, found = policy(rule(on_inconclusive="warn")), [evidence(measurement(0.5, 0.82, 0.9))]

    assert decide(judged, found, TODAY).decision == "inconclusive"
    assert unmatched(judged, found, TODAY, [waiver()]) == {}


@pytest.mark.parametrize("ends", ["2026-12-31", "2026-11-25"])
def test_a_waiver_of_what_another_lets_through_is_not_needed(ends: str) -> None:
    both = [waiver(id="W-2"), waiver(id="W-1", expires=ends)]

    with pytest.raises(PolicyError) as fault:
        require_matched(policy(), [BAD], TODAY, both)

    assert str(fault.value) == (
        "waiver W-1 matches nothing: all that it covers is let through by W-2, and no less long; "
        "remove it"
    )


def test_a_waiver_of_what_was_not_measured_lets_nothing_through() -> None:
    found = [evidence(probe="label_prior")]

    with pytest.raises(PolicyError, match=r"W-1 matches nothing: what .* was not measured, and"):
        require_matched(policy(), [found], TODAY, [waiver()])


def test_a_waiver_of_one_candidate_among_several_is_needed() -> None:
    other = [evidence(measurement(), backbone=OTHER_BACKBONE)]

    require_matched(policy(), [other, BAD], TODAY, [waiver()])
    with pytest.raises(PolicyError, match="W-1 matches nothing: it is for"):
        require_matched(policy(), [other], TODAY, [waiver()])


def test_a_waiver_that_lasts_too_long_is_refused_even_where_it_is_needed() -> None:
    with pytest.raises(PolicyError, match="lets none last longer than 30"):
        require_matched(policy(waivers={"longest_days": 30}), [BAD], TODAY, [waiver()])


def test_each_waiver_that_lasts_too_long_or_is_not_needed_has_a_line() -> None:
    waivers = [waiver(id="A"), waiver(id="B", rule="other", expires="2026-12-01"), waiver(id="C")]

    with pytest.raises(PolicyError) as fault:
        require_matched(policy(waivers={"longest_days": 30}), [BAD], TODAY, waivers)

    lines = str(fault.value).splitlines()
    assert [line[:24] for line in lines] == [
        "waiver A lasts until 202",
        "waiver B matches nothing",
        "waiver C lasts until 202",
    ]


@pytest.fixture
def places(tmp_path: Path) -> Callable[..., list[object]]:
    """Arguments of a command, with one waiver that is changed as asked."""
    (tmp_path / "policy.yaml").write_text(
        "name: test\nversion: 1\nrules:\n"
        "  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}\n"
    )
    files.write(tmp_path / "evidence" / "clean_accuracy.json", BAD[0].to_json())

    def make(**changes: object) -> list[object]:
        content = waiver(**changes).model_dump(mode="json")
        (tmp_path / "waivers.yaml").write_text(
            f"waivers:\n  - {{{', '.join(f'{k}: {v}' for k, v in content.items())}}}\n"
        )
        return [
            "--policy",
            tmp_path / "policy.yaml",
            "--evidence",
            tmp_path / "evidence",
            "--as-of",
            TODAY,
        ]

    return make


def test_waiver_check_exits_0_only_if_every_waiver_is_needed(
    gate: Gate, places: Callable[..., list[object]], tmp_path: Path
) -> None:
    waivers = tmp_path / "waivers.yaml"

    code, out, err = gate("waiver", "check", waivers, *places())
    assert (code, err) == (0, "")
    assert out == f"{waivers}: 1 waivers, each of them needed\n"

    code, out, err = gate("waiver", "check", waivers, *places(rule="other"))
    assert (code, out) == (ExitCode.USAGE, "")
    assert err.startswith("gate: waiver W-1 matches nothing: policy test has no rule 'other'")


def test_decide_warns_of_a_waiver_that_matches_nothing_and_decides(
    gate: Gate, places: Callable[..., list[object]], tmp_path: Path
) -> None:
    out = ["--out", tmp_path / "verdict.json", "--waivers", tmp_path / "waivers.yaml"]

    assert gate("decide", *places(), *out)[0::2] == (0, "")
    code, _, err = gate("decide", *places(expires="2026-11-20"), *out)
    assert code == ExitCode.REJECT
    assert err.splitlines()[0].startswith("gate: warning: waiver W-1 matches nothing: it ended on")
    code, _, err = gate("decide", *places(expires="2026-11-20"), *out, "--no-waivers")
    assert (code, "warning" in err) == (ExitCode.REJECT, False)
