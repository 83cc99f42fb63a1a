"""The commands that judge: their codes, and what they leave behind."""

import json
import re
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gate import Verdict, decide, files
from gate.errors import ExitCode
from tests.builders import evidence, measurement, policy, rule
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


@pytest.fixture
def shown(gate: Gate, judged: list[object], tmp_path: Path) -> list[object]:
    """Arguments that report on an admitted artefact."""
    assert gate(*judged)[0] == 0
    return ["report", tmp_path / "verdict.json"]


def test_what_a_report_is_given_beside_the_verdict_must_belong_to_it(
    gate: Gate, shown: list[object], tmp_path: Path
) -> None:
    admission, policy = tmp_path / "admission.json", tmp_path / "policy.yaml"
    whole = [*shown, "--policy", policy, "--admission", admission, "--candidate", "resnet 50"]
    assert gate(*whole, "--as-of", "2026-01-01")[0] == 0

    (tmp_path / "stricter.yaml").write_text(policy.read_text().replace("0.8", "0.81"))
    code, _, err = gate(*shown, "--policy", tmp_path / "stricter.yaml")
    assert (code, err.count("sha256:")) == (ExitCode.USAGE, 2)
    assert "give that policy, or decide again under this one" in err

    judged = json.loads((tmp_path / "verdict.json").read_text())
    judged["findings"][0]["why"] = "edited"
    (tmp_path / "verdict.json").write_text(json.dumps(judged))
    code, _, err = gate(*shown, "--admission", admission)
    assert code == ExitCode.ERROR
    assert "the admission carries verdict sha256:" in err


@pytest.mark.parametrize(("name", "says"), [(" ", "is empty"), ("a\nb", "does not show as text")])
def test_a_candidates_name_is_a_name(gate: Gate, shown: list[object], name: str, says: str) -> None:
    code, _, err = gate(*shown, "--candidate", name)

    assert code == ExitCode.USAGE
    assert says in err


@pytest.mark.parametrize("option", ["--policy", "--admission"])
def test_a_report_is_not_written_over_what_it_shows(
    gate: Gate, shown: list[object], tmp_path: Path, option: str
) -> None:
    given = tmp_path / {"--policy": "policy.yaml", "--admission": "admission.json"}[option]

    code, _, err = gate(*shown, option, given, "--out", given)

    assert code == ExitCode.USAGE
    assert "which is read" in err
    assert given.exists()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, of which one rejects, and a page beside that."""
    for name, verdict in (
        ("good", decide(policy(), [evidence()], date(2026, 1, 1))),
        ("bad", decide(policy(rule(at_least=0.99)), [evidence()], date(2026, 1, 1))),
    ):
        files.write(tmp_path / name / "verdict.json", verdict.to_json())
        files.write(tmp_path / name / "evidence" / "clean_accuracy.json", evidence().to_json())
    files.write(tmp_path / "bad" / "report.html", "a page")
    return tmp_path


def test_an_index_has_all_runs_those_that_block_first_and_links_from_where_it_lies(
    gate: Gate, runs: Path
) -> None:
    out = runs / "pages" / "index.html"

    code, _, err = gate("report", runs / "good", runs / "bad", "--index", "--out", out)

    assert (code, err) == (0, "")
    page = out.read_text()
    assert page.index(">bad<") < page.index(">good<")
    assert re.findall(r'<a href="([^#"]+)"', page) == ["../bad/report.html"]
    assert "1 reject, 1 accept" in page


def test_an_index_is_not_written_where_a_run_has_no_verdict(gate: Gate, runs: Path) -> None:
    (runs / "good" / "verdict.json").unlink()

    code, _, err = gate(
        "report", runs / "good", runs / "bad", "--index", "--out", runs / "index.html"
    )

    assert code == ExitCode.ERROR
    assert "good/verdict.json: cannot be read: No such file" in err
    assert not (runs / "index.html").exists()


def test_several_runs_are_no_report_without_an_index(gate: Gate, runs: Path) -> None:
    code, _, err = gate("report", runs / "good", runs / "bad")

    assert code == ExitCode.USAGE
    assert "2 runs: one at a time, or all with --index" in err


def test_a_runs_folder_is_enough_for_its_report(gate: Gate, runs: Path) -> None:
    page = runs / "bad" / "report.html"

    code, _, err = gate("report", runs / "bad", "--format", "html", "--out", page)

    assert (code, err) == (0, "")
    assert '<h2 id="measurements">' in page.read_text()
    assert (runs / "bad" / "evidence" / "clean_accuracy.json").exists()


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


def test_a_report_refuses_evidence_that_the_verdict_was_not_reached_on(
    gate: Gate, shown: list[object], tmp_path: Path
) -> None:
    assert gate(*shown, "--evidence", tmp_path / "evidence")[0] == 0
    other = evidence(measurement(0.86))
    (tmp_path / "evidence" / "clean_accuracy.json").write_text(other.to_json())

    code, _, err = gate(*shown, "--evidence", tmp_path / "evidence")

    assert code == ExitCode.ERROR
    assert "evidence of probe clean_accuracy is sha256:" in err
    assert "give the evidence that it was decided on, or decide again" in err


def test_an_index_replaces_no_runs_own_page(gate: Gate, runs: Path) -> None:
    page = runs / "bad" / "report.html"

    code, _, err = gate("report", runs / "good", runs / "bad", "--index", "--out", page)

    assert code == ExitCode.USAGE
    assert "is the page of one of the runs" in err
    assert page.read_text() == "a page"


def test_an_index_is_html_and_no_other_format(gate: Gate, runs: Path) -> None:
    code, _, err = gate("report", runs / "good", "--index", "--format", "json")

    assert code == ExitCode.USAGE
    assert "--index is a page of HTML; drop --format json" in err


def test_runs_of_one_name_are_told_apart_by_their_paths(gate: Gate, runs: Path) -> None:
    (runs / "other").mkdir()
    (runs / "good").rename(runs / "other" / "bad")

    _, page, _ = gate("report", runs / "other" / "bad", runs / "bad", "--index")

    assert f"{runs}/other/bad<" in page
    assert f"{runs}/bad<" in page
