"""Evidence by file, by admission, and by the name of what was promoted to GTO."""

import json
import logging
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gate.errors import AdmissionError, EvidenceError, PromotionError
from gate.strict_json import read_evidence
from gate.trust.admission import read
from gate.trust.envelope import opened, sealed
from gate.trust.sides import evidence_of
from tests.gated import PEM, PUBLIC, Gated, issue
from tests.trust.admissions import key_pair


def test_a_folder_a_file_a_run_and_an_admission_are_read_alike(tmp_path: Path) -> None:
    admission = issue(tmp_path) / "admission.json"
    (carried,) = read(opened(admission.read_bytes()).payload).carried.evidence
    place = tmp_path / "run" / "evidence" / "clean_accuracy.json"
    place.parent.mkdir(parents=True)
    place.write_text(carried.to_json())

    for source in (place, place.parent, place.parent.parent, admission):
        assert evidence_of(str(source)) == [carried]


def test_that_nobody_looked_at_a_signature_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admission = issue(tmp_path) / "admission.json"

    with caplog.at_level(logging.WARNING, "gate"):
        evidence_of(str(admission), [PUBLIC])
        assert not caplog.messages
        evidence_of(str(admission))

    assert "the admission's signature was not checked" in caplog.text


def test_a_signature_by_somebody_else_is_refused(tmp_path: Path) -> None:
    admission = issue(tmp_path) / "admission.json"
    _, other = key_pair(Ed25519PrivateKey.generate())

    with pytest.raises(AdmissionError, match="no valid signature by a given public key"):
        evidence_of(str(admission), [other])


def test_evidence_that_nobody_signed_is_refused_where_a_signature_is_wanted(
    tmp_path: Path,
) -> None:
    carried = read(opened((issue(tmp_path) / "admission.json").read_bytes()).payload).carried
    place = tmp_path / "evidence.json"
    place.write_text(carried.evidence[0].to_json())

    with pytest.raises(AdmissionError, match="is evidence, which nobody signs"):
        evidence_of(str(place), [PUBLIC])


def test_an_admission_that_carries_evidence_of_another_backbone_is_refused(tmp_path: Path) -> None:
    admission = issue(tmp_path) / "admission.json"
    statement = json.loads(opened(admission.read_bytes()).payload)
    statement["subject"][0]["digest"]["sha256"] = "00" * 32
    admission.write_text(sealed(json.dumps(statement).encode(), PEM))

    with pytest.raises(AdmissionError, match="carries evidence of another backbone"):
        evidence_of(str(admission), [PUBLIC])


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", '{"payloadType": 1}'])
def test_what_is_neither_evidence_nor_an_admission_is_refused(tmp_path: Path, content: str) -> None:
    place = tmp_path / "side.json"
    place.write_text(content)

    with pytest.raises((EvidenceError, AdmissionError)):
        evidence_of(str(place))


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="cannot be read"):
        evidence_of(str(tmp_path / "absent"))


@pytest.mark.parametrize("source", ["gto:", "gto:resnet", "mlflow:@champion", "mlflow:resnet@"])
def test_a_name_without_a_place_is_refused(source: str) -> None:
    with pytest.raises(EvidenceError, match=r"write (gto|mlflow):NAME@(STAGE|ALIAS)"):
        evidence_of(source)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Gated:
    """A repository with a model in a stage, whose admission is DVC's."""
    gated = Gated.create(tmp_path_factory.mktemp("promoted") / "repository")
    gated.must("dvc", "repro", "admit")
    gated.must("dvc", "push", "--quiet")
    gated.commit()
    done = gated.promote()
    assert done.returncode == 0, done.stderr
    return gated


@pytest.fixture
def gated(promoted: Gated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gated:
    folder = shutil.copytree(promoted.folder, tmp_path / "repository", symlinks=True)
    monkeypatch.chdir(folder)
    return Gated(Path(folder))


def test_the_champion_of_a_stage_is_found_though_the_workspace_went_on(gated: Gated) -> None:
    before = read_evidence(gated.folder / "out" / "evidence")
    gated.model("0.7")
    gated.must("dvc", "repro", "probe")
    (gated.folder / "out" / "admission.json").unlink(missing_ok=True)
    gated.commit()

    assert evidence_of("gto:resnet@prod", [PUBLIC]) == before
    done = gated.run("gate", "compare", "out", "gto:resnet@prod", "--public-key", "public.pem")
    assert done.returncode == 0, done.stderr
    assert "1 worse, 0 better" in done.stdout
    assert "0.900 → 0.700, -0.200 [-0.228, -0.172]" in done.stdout


def test_an_admission_that_git_holds_is_found_too(gated: Gated) -> None:
    shutil.copy(gated.folder / "out" / "admission.json", gated.folder / "admission-7.json")
    (gated.folder / "dvc.lock").unlink()
    gated.commit()
    done = gated.promote()
    assert done.returncode == 0, done.stderr

    assert evidence_of("gto:resnet@prod") == read_evidence(gated.folder / "out" / "evidence")


def test_an_admission_that_the_commit_does_not_hold_is_not_found(gated: Gated) -> None:
    (gated.folder / "dvc.lock").unlink()
    (gated.folder / "admission.json").write_text("{}")
    gated.commit()
    done = gated.promote()
    assert done.returncode == 0, done.stderr

    with pytest.raises(PromotionError, match=r"none of its 2 files .*, of which 1 are in no cache"):
        evidence_of("gto:resnet@prod")


def test_a_stage_that_nothing_is_in_has_no_champion(gated: Gated) -> None:
    with pytest.raises(PromotionError, match=r"GTO does not give|no version of .* is in stage"):
        evidence_of("gto:vit@prod")
    with pytest.raises(PromotionError, match="no version of resnet is in stage dev"):
        evidence_of("gto:resnet@dev")


def test_a_stage_that_was_assigned_by_hand_names_no_admission(gated: Gated) -> None:
    gated.must("gto", "assign", "resnet", "--stage", "staging", "--version", "v0.0.1")

    with pytest.raises(PromotionError, match=r"tag resnet#staging.* names no admission"):
        evidence_of("gto:resnet@staging")


def test_outside_a_repository_gto_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PromotionError, match="GTO does not give resnet@prod"):
        evidence_of("gto:resnet@prod")
