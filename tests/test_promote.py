"""Real git, DVC, GTO and a real MLflow server on loopback: what moves a registry, and what not."""

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gate import promote
from gate.admission import Admitted, Grounds, admit, check
from gate.decide import decide
from gate.errors import AdmissionError, PromotionError
from gate.files import digest_of_files, hashed
from tests.builders import evidence, measurement, policy
from tests.gated import BAD, GOOD, Gated

needs_mlflow = pytest.mark.skipif(
    not (find_spec("mlflow") and find_spec("flask")),
    reason="mlflow and its server are not installed: pip install mlflow",
)


def admitted(artefact: Path) -> tuple[bytes, Admitted]:
    """An unsigned admission of any artefact, and what its check gives."""
    from datetime import date

    files, today, judge = (
        hashed(artefact, AdmissionError),
        date.today(),
        policy(allow_unsigned=True),
    )
    found = [evidence(measurement(), backbone=digest_of_files(files))]
    grounds = Grounds(judge, found)
    content = admit(
        decide(judge, found, today), grounds, artefact.name, files, today, None
    ).encode()
    return content, check(content, files, today, judge)


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Gated:
    gated = Gated.create(tmp_path_factory.mktemp("accepted") / "repository")
    gated.must("dvc", "repro", "admit")
    gated.commit()
    return gated


@pytest.fixture
def gated(accepted: Gated, tmp_path: Path) -> Gated:
    return Gated(Path(shutil.copytree(accepted.folder, tmp_path / "repository", symlinks=True)))


def test_an_admitted_artefact_is_promoted_by_a_tag_that_names_its_admission(gated: Gated) -> None:
    done = gated.promote()

    assert done.returncode == 0, done.stderr
    assert gated.tags() == ["resnet#prod#1", "resnet@v0.0.1"]
    message = gated.must("git", "tag", "-l", "-n9", "resnet#prod#1")
    for name in ("model.bin", "out/admission.json"):
        (digest,) = hashed(gated.folder / name, AdmissionError).values()
        assert digest in message
    shown = gated.must("gto", "show", "resnet@latest")
    assert "prod" in shown


def test_a_dry_run_checks_all_and_tags_nothing(gated: Gated) -> None:
    done = gated.promote("--dry-run")

    assert done.returncode == 0, done.stderr
    assert "would assign resnet prod to " in done.stdout
    assert gated.tags() == []
    gated.model(BAD)
    assert gated.promote("--dry-run").returncode == 3


def test_the_commit_is_what_counts_and_not_the_workspace(gated: Gated) -> None:
    gated.model(BAD)
    gated.must("dvc", "add", "--quiet", "model.bin")
    gated.commit()
    gated.model(GOOD)
    assert gated.check().returncode == 0

    done = gated.promote()

    assert done.returncode == 3
    assert " holds sha256:" in done.stderr
    assert "was admitted; commit (and dvc add) the artefact" in done.stderr
    assert gated.tags() == []


def test_a_file_that_git_holds_itself_is_promoted_too(gated: Gated) -> None:
    gated.must("dvc", "remove", "--quiet", "model.bin.dvc")
    gated.commit()

    done = gated.promote("--dry-run")

    assert done.returncode == 0, done.stderr


def test_an_artefact_that_the_commit_lacks_is_refused(gated: Gated) -> None:
    (gated.folder / ".gitignore").write_text("/out\n/model.bin\n")
    (gated.folder / "model.bin.dvc").unlink()
    gated.commit()

    done = gated.promote()

    assert done.returncode == 3
    assert "does not hold model.bin; commit it" in done.stderr


def test_a_folder_is_promoted_whole(gated: Gated) -> None:
    folder = gated.folder / "shards"
    (folder / "b").mkdir(parents=True)
    (folder / "a.bin").write_text("1")
    (folder / "b" / "x").write_text("2")
    gated.must("dvc", "add", "--quiet", "shards")
    gated.commit()
    _, through = admitted(folder)

    assert promote.with_gto(folder, through, "shards", "prod")[0].startswith("shards#prod#1: gate:")
    (folder / "c").write_text("3")
    gated.must("dvc", "add", "--quiet", "shards")
    gated.commit()
    with pytest.raises(PromotionError, match="was admitted; commit"):
        promote.with_gto(folder, through, "shards", "prod")


def test_gto_says_why_it_does_not_assign(gated: Gated) -> None:
    assert gated.promote().returncode == 0

    done = gated.promote()

    assert done.returncode == 3
    assert "GTO does not assign prod to resnet: Version 'v0.0.1' is already in stage" in done.stderr


def test_outside_of_git_nothing_is_promoted(tmp_path: Path) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")

    with pytest.raises(PromotionError, match="lies in no git repository with a commit"):
        promote.with_gto(artefact, admitted(artefact)[1], "resnet", "prod")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote, "find_spec", lambda _: None)
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    through = admitted(artefact)[1]

    with pytest.raises(PromotionError, match=r"pip install 'gate\[gto\]'"):
        promote.with_gto(artefact, through, "resnet", "prod")
    with pytest.raises(PromotionError, match=r"pip install 'gate\[mlflow\]'"):
        promote.with_mlflow(through, "resnet", 1, "champion")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server with a SQLite store, and artefacts on disk."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        serving = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                "--port", str(port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{folder}/store.db",
                "--artifacts-destination", str(folder / "artifacts"),
            ],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(uri, serving, folder / "log")
        yield uri
    finally:
        import os
        import signal

        os.killpg(serving.pid, signal.SIGTERM)
        serving.wait(30)


def _wait_for(uri: str, serving: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        assert serving.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=1):  # noqa: S310  # our own server
                return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(server)


def registered(client: Any, name: str, artefact: Path) -> int:
    """A version of a registered model whose source is the artefact."""
    from mlflow.exceptions import MlflowException

    run = client.create_run("0")
    if artefact.is_dir():
        client.log_artifacts(run.info.run_id, str(artefact), "artefact")
    else:
        client.log_artifact(run.info.run_id, str(artefact), "artefact")
    with contextlib.suppress(MlflowException):
        client.create_registered_model(name)
    source = f"{run.info.artifact_uri}/artefact"
    return int(client.create_model_version(name, source, run.info.run_id).version)


@needs_mlflow
@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_an_alias_moves_to_the_version_that_holds_what_was_admitted(
    client: Any, tmp_path: Path
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    version = registered(client, "resnet", artefact)
    through = admitted(artefact)[1]

    (line,) = promote.with_mlflow(through, "resnet", version, "champion", dry_run=True)
    assert line.startswith(f"would point champion -> resnet v{version}: admitted under policy test")
    assert not client.get_registered_model("resnet").aliases
    promote.with_mlflow(through, "resnet", version, "champion")

    found = client.get_model_version_by_alias("resnet", "champion")
    assert int(found.version) == version
    assert found.tags["gate.admission"] == through.admission


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_a_version_that_holds_anything_else_moves_no_alias(client: Any, tmp_path: Path) -> None:
    artefact, folder = tmp_path / "model.bin", tmp_path / "folder"
    artefact.write_text("weights")
    through = admitted(artefact)[1]
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    (folder / "loader.py").write_text("print('code that nobody judged')")
    artefact.write_text("other weights")

    for version in (registered(client, "vit", artefact), registered(client, "vit", folder)):
        with pytest.raises(PromotionError, match="was admitted; register the artefact alone"):
            promote.with_mlflow(through, "vit", version, "champion")
    with pytest.raises(PromotionError, match="MLflow does not give vit v99"):
        promote.with_mlflow(through, "vit", 99, "champion")
    assert not client.get_registered_model("vit").aliases
    _, whole = admitted(folder)
    assert promote.with_mlflow(whole, "vit", 2, "champion")


@needs_mlflow
@pytest.mark.filterwarnings("ignore")
def test_the_command_moves_the_alias_only_for_a_checked_artefact(client: Any, gated: Gated) -> None:
    version = registered(client, "command", gated.folder / "model.bin")

    def call() -> subprocess.CompletedProcess[str]:
        return gated.run(
            "gate", "promote", "mlflow", "model.bin", "--name", "command",
            "--version", str(version), "--alias", "champion",
            "--admission", "out/admission.json", "--policy", "policy.yaml",
            "--public-key", "public.pem",
        )  # fmt: skip

    gated.model(BAD)
    done = call()
    assert done.returncode == 3
    assert "changed or swapped" in done.stderr
    assert not client.get_registered_model("command").aliases
    gated.model(GOOD)
    done = call()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"champion -> command v{version}: admitted")
