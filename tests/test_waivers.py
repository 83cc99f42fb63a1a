"""Waivers that match nothing are told, whichever way they came to match nothing."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gate import files
from gate.errors import ExitCode, PolicyError
from gate.policy import Waiver
from gate.waivers import require_matched, unmatched
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy
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
    assert unmatched(policy(), BAD, TODAY, [waiver(), waiver(id="W-2")]) == {}


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

    assert idle == {"W-1": f"all that it covers of {RULE} passes without it; remove it"}


def test_a_waiver_of_one_candidate_among_several_is_needed() -> None:
    other = [evidence(measurement(), backbone=OTHER_BACKBONE)]

    require_matched(policy(), [other, BAD], TODAY, [waiver()])
    with pytest.raises(PolicyError, match="W-1 matches nothing: it is for"):
        require_matched(policy(), [other], TODAY, [waiver()])


def test_a_waiver_that_lasts_too_long_is_refused_even_where_it_is_needed() -> None:
    with pytest.raises(PolicyError, match="lets none last longer than 30"):
        require_matched(policy(waivers={"longest_days": 30}), [BAD], TODAY, [waiver()])


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
