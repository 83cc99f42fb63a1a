"""Exit codes, and the line on stderr that goes with them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gate import Verdict, __version__, files
from gate.errors import AdmissionError, ExitCode
from gate.policy.rules import load_policy
from tests.builders import evidence, measurement
from tests.conftest import Gate

POLICY = """\
name: test
version: 1
allow_unsigned: true
rules:
  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}
"""


@pytest.fixture
def case(tmp_path: Path) -> Callable[[float], list[object]]:
    """Arguments of a decide on evidence whose interval starts at ``low``."""
    (tmp_path / "policy.yaml").write_text(POLICY)

    def make(low: float, high: float = 0.95) -> list[object]:
        found = evidence(measurement(low, max(low, min(0.5, high)), high))
        files.write(tmp_path / "evidence" / "clean_accuracy.json", found.to_json())
        return [
            "--policy",
            tmp_path / "policy.yaml",
            "--evidence",
            tmp_path / "evidence",
            "--out",
            tmp_path / "verdict.json",
        ]

    return make


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["decide"], "Missing option"),
        (["polcy"], "No such command"),
        (["decide", "--polcy", "x"], "No such option"),
        (["policy", "lint", "absent.yaml"], "absent.yaml: no such file"),
        (["validate", "absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_a_wrong_call_exits_2_and_says_what_is_wrong(
    gate: Gate, arguments: list[str], says: str
) -> None:
    code, out, err = gate(*arguments)

    assert code == ExitCode.USAGE
    assert says in err
    assert not out


def test_evidence_that_is_none_exits_3(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    arguments = case(0.9)
    (tmp_path / "evidence" / "clean_accuracy.json").write_text("{}")

    code, _, err = gate("decide", *arguments)

    assert code == ExitCode.ERROR
    assert "clean_accuracy.json: probe: Field required" in err
    assert not (tmp_path / "verdict.json").exists()


def test_a_bug_exits_3_and_never_1(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gate.policy.rules.load_policy", broken)

    code, _, err = gate("policy", "lint", "policies/digits.yaml")

    assert code == 3
    assert "unexpected ZeroDivisionError: division by zero; this is a bug in gate" in err


def test_a_closed_pipe_is_no_rejection() -> None:
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        [sys.executable, "-m", "gate", "policy", "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (ExitCode.ERROR, b"")


def test_exit_codes_are_printed_from_the_table(gate: Gate) -> None:
    _, out, _ = gate("exit-codes")

    assert [line.split()[:2] for line in out.splitlines()] == [
        [str(code.value), code.name] for code in ExitCode
    ]


def test_an_accepted_artefact_is_admitted_and_checked_and_a_changed_one_is_not(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path
) -> None:
    artefact, admission = tmp_path / "model.onnx", tmp_path / "admission.json"
    artefact.write_bytes(b"weights")
    arguments = case(0.85)
    from gate.errors import BackboneError

    found = evidence(measurement(), backbone=files.sha256_of(artefact, BackboneError))
    files.write(tmp_path / "evidence" / "clean_accuracy.json", found.to_json())
    assert gate("decide", *arguments)[0] == 0
    verdict, policy = tmp_path / "verdict.json", tmp_path / "policy.yaml"
    admit = ["admit", verdict, "--artefact", artefact, "--policy", policy, "--out", admission]

    assert gate(*admit)[0] == 0
    check = ["check", artefact, "--admission", admission, "--policy", policy]
    assert gate(*check)[0] == 0

    artefact.write_bytes(b"other weights")
    code, _, err = gate(*check)
    assert code == ExitCode.ERROR
    assert "changed or swapped" in err
    assert gate(*admit)[0] == ExitCode.ERROR
    assert not admission.exists()


@pytest.mark.parametrize(("low", "high", "code"), [(0.1, 0.3, 1), (0.5, 0.95, 4)])
def test_what_is_not_accepted_leaves_no_admission_not_even_an_old_one(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path,
    low: float, high: float, code: int,
) -> None:  # fmt: skip
    assert gate("decide", *case(low, high))[0] == code
    admission = tmp_path / "admission.json"
    admission.write_text("old")

    found, _, err = gate(
        "admit", tmp_path / "verdict.json", "--artefact", tmp_path / "policy.yaml",
        "--policy", tmp_path / "policy.yaml", "--out", admission,
    )  # fmt: skip

    assert found == code
    assert err
    assert not admission.exists()


def test_the_version_is_the_packages(gate: Gate) -> None:
    assert gate("--version")[1] == f"gate {__version__}\n"


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


def test_the_shipped_policies_are_linted(gate: Gate) -> None:
    paths = sorted(Path("policies").glob("*.yaml"))

    code, out, _ = gate("policy", "lint", *paths)

    assert code == 0
    assert len(out.splitlines()) == len(paths)
    assert str(len(load_policy(paths[0]).rules)) in out


def test_every_faulty_policy_is_told_and_not_the_first_alone(gate: Gate, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"nmae: {name}\n")

    code, out, err = gate(
        "policy", "lint", tmp_path / "one.yaml", "policies/digits.yaml", tmp_path / "two.yaml"
    )

    assert code == ExitCode.USAGE
    assert out.startswith("policies/digits.yaml: digits v1")
    for name in ("one", "two"):
        assert f"{name}.yaml:1:1: nmae: unknown key; did you mean 'name'?" in err


def test_nothing_is_written_where_the_command_runs(
    gate: Gate, case: Callable[..., list[object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "here"
    empty.mkdir()
    arguments = case(0.9)
    monkeypatch.chdir(empty)

    gate("decide", *arguments)

    assert not list(empty.iterdir())


@pytest.fixture
def judged(gate: Gate, case: Callable[..., list[object]], tmp_path: Path) -> list[object]:
    """Arguments that admit an accepted artefact."""
    artefact = tmp_path / "model.onnx"
    artefact.write_bytes(b"weights")
    arguments = case(0.85)
    found = evidence(measurement(), backbone=files.sha256_of(artefact, AdmissionError))
    files.write(tmp_path / "evidence" / "clean_accuracy.json", found.to_json())
    assert gate("decide", *arguments)[0] == 0
    return [
        "admit", tmp_path / "verdict.json", "--artefact", artefact,
        "--policy", tmp_path / "policy.yaml", "--out", tmp_path / "admission.json",
    ]  # fmt: skip


def test_admit_finds_evidence_beside_the_verdict_or_where_it_is_told(
    gate: Gate, judged: list[object], tmp_path: Path
) -> None:
    (tmp_path / "evidence").rename(tmp_path / "elsewhere")

    code, _, err = gate(*judged)
    assert code == ExitCode.ERROR
    assert "evidence: no evidence (*.json)" in err
    assert not (tmp_path / "admission.json").exists()

    assert gate(*judged, "--evidence", tmp_path / "elsewhere")[0] == 0


def test_the_key_may_come_from_the_environment(
    gate: Gate, judged: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.gated import PEM, PUBLIC

    (tmp_path / "key.pem").write_bytes(PEM)
    (tmp_path / "public.pem").write_bytes(PUBLIC)
    monkeypatch.setenv("GATE_KEY", str(tmp_path / "key.pem"))

    code, out, _ = gate(*judged)

    assert code == 0
    assert out.endswith("signed\n")
    check = ["check", tmp_path / "model.onnx", "--admission", tmp_path / "admission.json"]
    assert gate(*check, "--public-key", tmp_path / "public.pem", "--max-age", 0)[0] == 0
    code, out, err = gate(*check)
    assert (code, out) == (ExitCode.ERROR, "")
    assert "is signed, and nothing says whom to trust" in err


def test_a_waived_verdict_is_admitted_only_with_its_waivers(
    gate: Gate, judged: list[object], tmp_path: Path
) -> None:
    digest = files.sha256_of(tmp_path / "model.onnx", AdmissionError)
    weak = evidence(measurement(0.5), backbone=digest)
    files.write(tmp_path / "evidence" / "clean_accuracy.json", weak.to_json())
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        f"waivers: [{{id: W, rule: clean_accuracy.accuracy, backbone: '{digest}', reason: known, "
        "owner: ml-team, expires: 2999-12-31}]\n"
    )
    decide = [
        "decide", "--policy", tmp_path / "policy.yaml", "--evidence", tmp_path / "evidence",
        "--out", tmp_path / "verdict.json", "--waivers", waivers,
    ]  # fmt: skip
    assert gate(*decide)[0] == 0

    code, _, err = gate(*judged)
    assert code == ExitCode.ERROR
    assert "waiver W is not among the given ones; pass --waivers" in err

    assert gate(*judged, "--waivers", waivers)[0] == 0
    check = ["check", tmp_path / "model.onnx", "--admission", tmp_path / "admission.json"]
    code, out, _ = gate(*check, "--policy", tmp_path / "policy.yaml")
    assert code == 0
    assert "until 2999-12-31" in out


INPUTS = {
    "verdict.json": "verdict.json",
    "model.onnx": "model.onnx",
    "policy.yaml": "policy.yaml",
    "waivers.yaml": "waivers.yaml",
    "key.pem": "key.pem",
    "evidence/clean_accuracy.json": "evidence",
    "linked.pem": "key.pem",
}


@pytest.mark.parametrize("name", INPUTS)
def test_admit_takes_nothing_that_it_reads_for_an_older_admission(
    gate: Gate, judged: list[object], tmp_path: Path, name: str
) -> None:
    from tests.gated import PEM

    (tmp_path / "key.pem").write_bytes(PEM)
    (tmp_path / "linked.pem").symlink_to("key.pem")
    (tmp_path / "waivers.yaml").write_text("waivers: []\n")
    before = (tmp_path / name).read_bytes()
    more = ["--waivers", tmp_path / "waivers.yaml", "--key", tmp_path / "key.pem"]

    code, out, err = gate(*judged[:-1], tmp_path / name, *more)

    assert (code, out) == (ExitCode.USAGE, "")
    assert f"{tmp_path / name} is, or lies in, {tmp_path / INPUTS[name]}, which is read" in err
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("name", ["admission.json", "custom/admission.json"])
def test_no_admission_is_written_into_the_folder_that_it_admits(
    gate: Gate, judged: list[object], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_text("weights")
    judged[judged.index("--artefact") + 1] = folder

    code, _, err = gate(*judged[:-1], folder / name)

    assert code == ExitCode.USAGE
    assert f"lies in, {folder}, which is read" in err
    assert [path.name for path in folder.iterdir()] == ["weights.bin"]


def test_an_out_that_is_no_file_is_a_wrong_call(
    gate: Gate, case: Callable[..., list[object]], judged: list[object], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for command in (judged[:-1], ["decide", *case(0.9)[:-1]]):
        for out in (tmp_path / "folder", tmp_path / "pipe"):
            code, _, err = gate(*command, out)

            assert code == ExitCode.USAGE
            assert f"{out} is a folder or a device; name a file to write" in err
            assert out.exists()


def test_an_older_result_that_cannot_be_removed_is_an_error(
    gate: Gate, judged: list[object], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")

    code, _, err = gate(*judged[:-1], tmp_path / "file" / "admission.json")

    assert code == ExitCode.ERROR
    assert "admission.json: cannot be removed: Not a directory" in err


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


def test_a_run_that_fails_leaves_no_older_verdict(gate: Gate, tmp_path: Path) -> None:
    results = ("verdict.json", "report.md", "report.html")
    for name in results:
        (tmp_path / name).write_text("of an older run")
    (tmp_path / "policy.yaml").write_text("name: [")
    policy = ["--policy", tmp_path / "policy.yaml"]

    code, _, _ = gate("run", "pipelines/digits.yaml", *policy, "--out", tmp_path)

    assert code == ExitCode.USAGE
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]


def test_admit_warns_of_a_waiver_that_matches_nothing(
    gate: Gate, judged: list[object], tmp_path: Path
) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        f"waivers: [{{id: W, rule: other, backbone: 'sha256:{'0' * 64}', reason: known, "
        "owner: ml-team, expires: 2999-12-31}]\n"
    )

    assert gate(*judged)[2] == ""
    code, _, err = gate(*judged, "--waivers", waivers)
    assert code == 0
    assert err.startswith("gate: warning: waiver W matches nothing: policy test has no rule")


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (["report", "FILE"], "{}"),
        (["validate", "FILE"], "tasks: {}"),
        (["probe", "clean_accuracy", "--plan", "FILE"], "tasks: {}"),
        (["prior", "--labels", "FILE", "--logits", "other.npy"], "0\n1\n"),
    ],
)
def test_no_command_writes_its_result_over_what_it_reads(
    gate: Gate, tmp_path: Path, command: list[str], content: str
) -> None:
    path = tmp_path / "file"
    path.write_text(content)

    code, _, err = gate(*(str(path) if each == "FILE" else each for each in command), "--out", path)

    assert code == ExitCode.USAGE
    assert f"{path} is, or lies in, {path}, which is read" in err
    assert path.read_text() == content
