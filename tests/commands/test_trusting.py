"""The commands that issue an admission and check it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gate import files
from gate.errors import AdmissionError, ExitCode
from tests.builders import evidence, measurement
from tests.conftest import Gate


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
    code, out, _ = gate(*check)
    assert (code, out) == (0, f"{artefact}: admitted under policy test v1\n")
    more = gate(*check, "--verbose")[1].removeprefix(out)
    assert more.startswith("ACCEPT  1 findings: 1 pass\n")

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
