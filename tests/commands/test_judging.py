"""The commands that judge: their codes, and what they leave behind."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate import Verdict
from gate.errors import ExitCode
from tests.builders import evidence
from tests.conftest import Gate


@pytest.mark.parametrize(
    ("low", "high", "code", "decision"),
    [(0.85, 0.95, 0, "accept"), (0.1, 0.3, 1, "reject"), (0.5, 0.95, 4, "inconclusive")],
)
@pytest.mark.parametrize("shown", ["text", "json", "markdown", "html"])
def test_decide_exits_with_the_verdicts_code_in_every_format(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path,
    low: float, high: float, code: int, decision: str, shown: str,
) -> None:  # fmt: skip
    found, out, err = gate("decide", *case(low, high), "--format", shown)

    assert found == code
    assert (
        Verdict.model_validate_json((tmp_path / "verdict.json").read_bytes()).decision == decision
    )
    assert decision in out.lower()
    assert bool(err) == (code != 0)
    if code:
        assert err.startswith(f"gate: {decision}: 1 findings")
    if shown == "json":
        assert json.loads(out)["decision"] == decision


def test_only_reject_and_inconclusive_can_be_silenced(
    gate: Gate, case: Callable[..., list[object]]
) -> None:
    assert gate("decide", *case(0.1, 0.3), "--exit-zero-on", "reject,inconclusive")[0] == 0
    assert gate("decide", *case(0.1, 0.3), "--exit-zero-on", "inconclusive")[0] == 1

    code, _, err = gate("decide", *case(0.1, 0.3), "--exit-zero-on", "error")

    assert code == ExitCode.USAGE
    assert "only reject and inconclusive can be silenced" in err


def test_evidence_that_is_none_exits_3(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    arguments = case(0.9)
    (tmp_path / "evidence" / "clean_accuracy.json").write_text("{}")

    code, _, err = gate("decide", *arguments)

    assert code == ExitCode.ERROR
    assert "clean_accuracy.json: probe: Field required" in err
    assert not (tmp_path / "verdict.json").exists()


def test_waivers_can_be_left_out(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    arguments = case(0.1, 0.3)
    (tmp_path / "waivers.yaml").write_text(
        f"waivers: [{{id: W, rule: clean_accuracy.accuracy, backbone: '{evidence().backbone}', "
        "reason: known, owner: me, expires: 2026-12-31}]"
    )
    waived = [*arguments, "--waivers", tmp_path / "waivers.yaml", "--as-of", "2026-12-31"]

    assert gate("decide", *waived)[0] == 0
    assert gate("decide", *waived, "--no-waivers")[0] == 1
    assert gate("decide", *waived[:-1], "2027-01-01")[0] == 1


def test_nothing_is_written_where_the_command_runs(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "here"
    empty.mkdir()
    arguments = case(0.9)
    monkeypatch.chdir(empty)

    gate("decide", *arguments)

    assert not list(empty.iterdir())


FAULTS: dict[str, tuple[str, str]] = {
    "a broken policy": ("policy.yaml", "name: ["),
    "broken evidence": ("evidence/clean_accuracy.json", "{}"),
    "broken waivers": ("waivers.yaml", "waivers: 1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_decide_that_fails_leaves_no_older_verdict(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, fault: str
) -> None:
    (tmp_path / "waivers.yaml").write_text("waivers: []\n")
    arguments = ["decide", *case(0.85), "--waivers", tmp_path / "waivers.yaml"]
    assert gate(*arguments)[0] == 0
    name, content = FAULTS[fault]
    (tmp_path / name).write_text(content)

    assert gate(*arguments)[0] in (ExitCode.USAGE, ExitCode.ERROR)

    assert not (tmp_path / "verdict.json").exists()


@pytest.mark.parametrize("name", ["policy.yaml", "evidence/clean_accuracy.json"])
def test_decide_takes_nothing_that_it_reads_for_an_older_verdict(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, name: str
) -> None:
    arguments = case(0.85)
    before = (tmp_path / name).read_bytes()

    code, _, err = gate("decide", *arguments[:-1], tmp_path / name)

    assert code == ExitCode.USAGE
    assert "which is read; write it somewhere else" in err
    assert (tmp_path / name).read_bytes() == before


def test_quiet_prints_one_line_and_says_only_why_it_blocks(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    (tmp_path / "waivers.yaml").write_text(
        f"waivers: [{{id: W, rule: nothing, backbone: '{evidence().backbone}', "
        "reason: known, owner: me, expires: 2999-12-31}]"
    )
    arguments = [*case(0.1, 0.3), "--waivers", tmp_path / "waivers.yaml"]

    code, out, err = gate("decide", *arguments, "-q")

    assert code == ExitCode.REJECT
    assert out.count("\n") == err.count("\n") == 1
    assert out.startswith("REJECT  clean_accuracy.accuracy: 0.300 [0.100, 0.300], wanted at least")
    assert err.startswith("gate: reject: 1 findings: 1 fail; clean_accuracy.accuracy: ")
    assert "waiver W matches nothing" in gate("decide", *arguments)[2]
    accepted = gate("decide", *case(0.9), "--quiet")
    assert accepted == (0, "ACCEPT  1 findings: 1 pass\n", "")


def test_verbose_says_why(gate: Gate, case: Callable[..., list[object]], tmp_path: Path) -> None:
    assert "why: because" in gate("decide", *case(0.1, 0.3), "-v")[1]
    assert "why: because" not in gate("decide", *case(0.1, 0.3))[1]
    assert "why: because" in gate("report", tmp_path / "verdict.json", "--verbose")[1]
    assert gate("report", tmp_path / "verdict.json", "-q")[1].count("\n") == 1


def test_verbose_tells_what_probes_remarked_and_other_formats_stay_as_they_are(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    arguments = case(0.9)
    path = tmp_path / "evidence" / "clean_accuracy.json"
    path.write_text(path.read_text().replace('"remarks": []', '"remarks": ["look!"]'))

    assert "clean_accuracy: look!" in gate("decide", *arguments, "-v")[1]
    assert "look!" not in gate("decide", *arguments)[1]
    for shown in ("json", "metrics"):
        usual = gate("decide", *arguments, "--format", shown)[1]
        for less_or_more in ("-q", "-v"):
            assert gate("decide", *arguments, "--format", shown, less_or_more)[1] == usual


@pytest.mark.parametrize("command", ["decide", "report"])
def test_quiet_and_verbose_at_once_are_a_wrong_call(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, command: str
) -> None:
    arguments = case(0.9)
    gate("decide", *arguments)
    call = arguments if command == "decide" else [tmp_path / "verdict.json"]

    code, _, err = gate(command, *call, "-q", "-v")

    assert code == ExitCode.USAGE
    assert "--quiet and --verbose: give one of them" in err


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "0"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_a_terminal_that_wants_them(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool,
) -> None:  # fmt: skip
    arguments = case(0.9)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert "\x1b[" not in gate("decide", *arguments)[1]  # no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert ("\x1b[" in gate("decide", *arguments)[1]) == coloured
    out = tmp_path / "report.txt"
    gate("report", tmp_path / "verdict.json", "--out", out)
    assert "\x1b[" not in out.read_text()
