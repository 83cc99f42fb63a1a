"""Each way past a gate that is known to work on a DAG alone, tried for real. None gets through.

Real DVC and git; the pipeline is in tests/gated.py. A bypass fails if neither `gate check` nor
`gate promote` exits 0 and no tag appears, whatever DVC says.
"""

import json
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.errors import AdmissionError, EvidenceError, ExitCode
from gate.files import digest_of_files, hashed
from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.policy.waivers import load_waivers
from gate.strict_json import read_json
from gate.trust.admission import admit
from gate.trust.require import Grounds
from gate.values import Evidence
from tests.builders import evidence, measurement
from tests.gated import BAD, GOOD, PEM, WEAK, Gated, today_in_utc


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Gated:
    """A good model, admitted, checked and deployed; its admission is kept as ``kept.json``."""
    gated = Gated.create(tmp_path_factory.mktemp("accepted") / "repository")
    gated.must("dvc", "repro", "deploy")
    gated.must("dvc", "push", "--quiet")
    shutil.copy(gated.folder / "out" / "admission.json", gated.folder / "kept.json")
    gated.commit()
    assert gated.check().returncode == 0
    assert gated.promote("--dry-run").returncode == 0
    return gated


@pytest.fixture
def gated(accepted: Gated, tmp_path: Path) -> Gated:
    return Gated(Path(shutil.copytree(accepted.folder, tmp_path / "repository", symlinks=True)))


@pytest.fixture
def replaced(gated: Gated) -> Gated:
    """The same, with a bad model committed in the place of the good one."""
    gated.model(BAD)
    gated.must("dvc", "add", "--quiet", "model.bin")
    gated.commit()
    return gated


def refused(gated: Gated, says: str, *more: str) -> None:
    """No admission that lies about lets the artefact through, by either command."""
    for admission in ("out/admission.json", "kept.json"):
        there = (gated.folder / admission).exists()
        for done in (
            gated.check(*more, admission=admission),
            gated.promote(*more, admission=admission),
        ):
            assert done.returncode == ExitCode.ERROR, done.stdout + done.stderr
            assert (says if there else "cannot be read") in done.stderr
            assert done.stdout == ""
    assert gated.tags() == []


def deployed_badly(gated: Gated) -> bool:
    """Whether the bad model went where deploy puts things; the good one may lie there still."""
    deployed = gated.folder / "out" / "deployed.bin"
    return deployed.exists() and deployed.read_text().startswith(BAD)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.chmod(0o644)
    path.write_text(json.dumps(content))


def test_commit_f_of_an_older_admission(replaced: Gated) -> None:
    assert replaced.run("dvc", "repro", "admit").returncode == 255
    shutil.copy(replaced.folder / "kept.json", replaced.folder / "out" / "admission.json")

    replaced.must("dvc", "commit", "-f", "admit")
    deployed = replaced.run("dvc", "repro", "-s", "deploy")

    assert deployed.returncode == 255
    assert not deployed_badly(replaced)
    refused(replaced, "changed or swapped after it was admitted")


def test_repro_s_of_admit_on_an_older_verdict(replaced: Gated) -> None:
    done = replaced.run("dvc", "repro", "-s", "admit")

    assert done.returncode == 255
    assert "give the file that was judged" in done.stderr
    assert not (replaced.folder / "out" / "admission.json").exists()
    refused(replaced, "changed or swapped after it was admitted")


def test_repro_s_of_deploy_on_an_older_admission(replaced: Gated) -> None:
    done = replaced.run("dvc", "repro", "-s", "deploy")

    assert done.returncode == 255
    assert not deployed_badly(replaced)
    refused(replaced, "changed or swapped after it was admitted")


def test_ignore_errors(replaced: Gated) -> None:
    done = replaced.run("dvc", "repro", "--ignore-errors", "deploy")

    assert done.returncode == 0  # DVC calls it a success
    assert not deployed_badly(replaced)
    refused(replaced, "changed or swapped after it was admitted")


@pytest.mark.parametrize("stage", ["decide", "admit"])
def test_freeze(replaced: Gated, stage: str) -> None:
    replaced.must("dvc", "freeze", stage)

    done = replaced.run("dvc", "repro", "deploy")

    assert done.returncode == 255
    assert not deployed_badly(replaced)
    refused(replaced, "changed or swapped after it was admitted")


def test_an_edited_verdict(replaced: Gated) -> None:
    replaced.must("dvc", "repro", "decide")
    verdict = replaced.folder / "out" / "verdict.json"
    edit_json(verdict, lambda v: v.update(decision="accept"))
    replaced.must("dvc", "commit", "-f", "decide")
    naive = replaced.run("dvc", "repro", "-s", "admit")
    assert "does not follow from the findings" in naive.stderr

    def forge(content: Any) -> None:  # sound in itself, and not what the evidence says
        finding = content["findings"][0]
        finding["measurement"].update(value=0.9, low=0.88, high=0.92)
        finding["outcome"] = "pass"

    edit_json(verdict, forge)
    replaced.must("dvc", "commit", "-f", "decide")
    careful = replaced.run("dvc", "repro", "-s", "admit")

    assert careful.returncode == 255
    assert "the verdict does not follow from its evidence" in careful.stderr
    refused(replaced, "changed or swapped after it was admitted")


def test_evidence_of_another_model(replaced: Gated, accepted: Gated) -> None:
    replaced.must("dvc", "repro", "probe")
    for name in ("out/evidence/clean_accuracy.json", "out/verdict.json"):
        (replaced.folder / name).unlink()
        shutil.copy(accepted.folder / name, replaced.folder / name)
    replaced.must("dvc", "commit", "-f", "probe")
    replaced.must("dvc", "repro", "decide")
    assert (
        json.loads((replaced.folder / "out" / "verdict.json").read_text())["decision"] == "accept"
    )

    done = replaced.run("dvc", "repro", "admit")

    assert done.returncode == 255
    assert "give the file that was judged" in done.stderr
    refused(replaced, "changed or swapped after it was admitted")


def test_a_model_swapped_after_its_admission(gated: Gated) -> None:
    gated.model(BAD)

    refused(gated, "changed or swapped after it was admitted")


def test_a_model_swapped_in_the_commit_and_not_in_the_workspace(replaced: Gated) -> None:
    replaced.model(GOOD)
    shutil.copy(replaced.folder / "kept.json", replaced.folder / "out" / "admission.json")
    assert replaced.check().returncode == 0  # the workspace's file is the admitted one

    done = replaced.promote()

    assert done.returncode == ExitCode.ERROR
    assert "its bytes are others; commit" in done.stderr
    assert replaced.tags() == []


def test_an_old_policy(gated: Gated) -> None:
    policy = gated.folder / "policy.yaml"
    (gated.folder / "old.yaml").write_text(policy.read_text())
    policy.write_text(policy.read_text().replace("0.8", "0.95"))

    refused(gated, "decide again under the current policy")
    lax = gated.run(
        "gate", "admit", "out/verdict.json", "--artefact", "model.bin", "--policy", "old.yaml",
        "--out", "out/admission.json",
    )  # fmt: skip
    assert lax.returncode == 0
    refused(gated, "decide again under the current policy")
    assert gated.run("dvc", "repro", "admit").returncode == 255


def test_a_waiver_that_expired_behind_the_cache(gated: Gated) -> None:
    today, ended = today_in_utc(), today_in_utc() - timedelta(days=1)
    gated.model(WEAK)
    gated.must("dvc", "add", "--quiet", "model.bin")
    gated.waive(ended.isoformat())
    edited = (gated.folder / "dvc.yaml").read_text()
    (gated.folder / "dvc.yaml").write_text(
        edited.replace(
            "--waivers waivers.yaml --exit", f"--waivers waivers.yaml --as-of {ended} --exit"
        )
    )
    gated.must("dvc", "repro", "decide")
    gated.commit()
    assert "are up to date" in gated.must("dvc", "repro", "decide")
    done = gated.run("dvc", "repro", "admit")
    assert done.returncode == 255
    assert f"which ended on {ended}, and today is {today}" in done.stderr

    issued_in_time = issue(gated, ended)
    (gated.folder / "out" / "admission.json").write_text(issued_in_time)
    (gated.folder / "kept.json").write_text(issued_in_time)

    refused(gated, f"leans on waiver W, which ended on {ended}")


def issue(gated: Gated, day: date) -> str:
    """An admission of what lies in the workspace, as it would have been issued on a day."""
    policy = load_policy(gated.folder / "policy.yaml")
    waivers = load_waivers(gated.folder / "waivers.yaml")
    found = [read_json(gated.folder / "out/evidence/clean_accuracy.json", Evidence, EvidenceError)]
    verdict = decide(policy, found, day, waivers)
    files = hashed(gated.folder / "model.bin", AdmissionError)
    return admit(verdict, Grounds(policy, found, waivers), "model.bin", files, day, PEM)


def test_a_replayed_admission_of_another_model(gated: Gated) -> None:
    (gated.folder / "model.bin").write_text(f"{GOOD} and other weights, as good, and not judged")

    refused(gated, "changed or swapped after it was admitted")


def test_a_replayed_admission_from_long_ago(gated: Gated) -> None:
    old = issue(gated, today_in_utc() - timedelta(days=31))
    (gated.folder / "out" / "admission.json").write_text(old)
    (gated.folder / "kept.json").write_text(old)

    refused(gated, "31 days ago, and at most 30 are allowed", "--max-age", "30")


def test_an_admission_under_a_key_of_ones_own(gated: Gated, tmp_path: Path) -> None:
    gated.must("openssl", "genpkey", "-algorithm", "ed25519", "-out", "own.pem")
    for out in ("out/admission.json", "kept.json"):
        gated.must(
            "gate", "admit", "out/verdict.json", "--artefact", "model.bin",
            "--policy", "policy.yaml", "--key", "own.pem", "--out", out,
        )  # fmt: skip

    refused(gated, "no valid signature by a given public key")


def test_a_link_in_the_folder_of_an_artefact(gated: Gated, tmp_path: Path) -> None:
    folder = gated.folder / "model"
    folder.mkdir()
    for name in ("config.json", "weights.bin"):
        (folder / name).write_text(name)
    digest = digest_of_files(hashed(folder, AdmissionError))
    found = evidence(measurement(0.85), backbone=digest)
    out = gated.folder / "folder"
    (out / "evidence").mkdir(parents=True)
    (out / "evidence" / "clean_accuracy.json").write_text(found.to_json())
    gated.must(
        "gate", "decide", "--policy", "policy.yaml", "--evidence", "folder/evidence",
        "--out", "folder/verdict.json",
    )  # fmt: skip
    issue_it = (
        "gate", "admit", "folder/verdict.json", "--artefact", "model", "--policy", "policy.yaml",
        "--out", "folder/admission.json",
    )  # fmt: skip
    check = (
        "gate", "check", "model", "--admission", "folder/admission.json",
        "--policy", "policy.yaml", "--public-key", "public.pem",
    )  # fmt: skip
    gated.must(*issue_it)
    assert "admitted" in gated.must(*check)
    outside = tmp_path / "weights.bin"  # the same bytes for now, and others after the check
    shutil.move(folder / "weights.bin", outside)
    (folder / "weights.bin").symlink_to(outside)

    for done in (
        gated.run(*check),
        gated.run(*check[:1], "promote", "gto", *check[2:], "--name", "m", "--stage", "prod"),
        gated.run(*issue_it),
    ):
        assert done.returncode == ExitCode.ERROR
        assert "a link inside an artefact is refused" in done.stderr
    assert gated.tags() == []
