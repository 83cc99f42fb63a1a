"""A real MLflow server on loopback, with a SQLite store: what moves an alias, and what does not."""

import contextlib
import os
import signal
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

from gate.errors import ExitCode, PromotionError
from gate.files import digest_of_files
from gate.trust import mlflow
from tests.conftest import Gate
from tests.gated import admitted, issue

pytestmark = pytest.mark.filterwarnings("ignore")  # mlflow's own
if not (find_spec("mlflow") and find_spec("flask")):  # mlflow-skinny has no server
    pytest.skip("no MLflow server here: pip install '.[dev]'", allow_module_level=True)


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
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # none is asked for
        )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait_for(uri, serving, folder / "log")
        yield uri
    finally:
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


def test_an_alias_moves_to_the_version_that_holds_what_was_admitted(
    client: Any, tmp_path: Path
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    version = registered(client, "resnet", artefact)
    through = admitted(artefact)

    (line,) = mlflow.promote(through, "resnet", version, "champion", dry_run=True)
    assert line.startswith(f"would point champion -> resnet v{version}: admitted under policy test")
    assert not client.get_registered_model("resnet").aliases
    mlflow.promote(through, "resnet", version, "champion")

    found = client.get_model_version_by_alias("resnet", "champion")
    assert int(found.version) == version
    assert found.tags["gate.admission"] == through.admission
    assert mlflow.admission_of("resnet", "champion") == through.envelope


def test_an_admission_that_was_changed_or_not_kept_is_not_the_champions(
    client: Any, tmp_path: Path
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    version = str(registered(client, "kept", artefact))
    through = admitted(artefact)
    mlflow.promote(through, "kept", int(version), "champion")
    place = client.get_model_version("kept", version).tags["gate.admission_file"]

    run = place.split("/")[1]
    client.log_text(run, through.envelope.decode() + " ", "admission.json")
    with pytest.raises(PromotionError, match=r"was recorded when it was promoted: it was changed"):
        mlflow.admission_of("kept", "champion")
    for elsewhere in ("file:///etc/passwd", f"runs:/{run}/../admission.json", ""):
        client.set_model_version_tag("kept", version, "gate.admission_file", elsewhere)
        with pytest.raises(PromotionError, match=r"kept v1, to which champion points, has no tags"):
            mlflow.admission_of("kept", "champion")
    client.set_registered_model_alias("kept", "by_hand", version)
    client.delete_model_version_tag("kept", version, "gate.admission")
    with pytest.raises(PromotionError, match=r"to which by_hand points, has no tags"):
        mlflow.admission_of("kept", "by_hand")
    with pytest.raises(PromotionError, match="MLflow does not give kept@nobody"):
        mlflow.admission_of("kept", "nobody")


def test_an_alias_that_is_refused_keeps_no_admission(client: Any, tmp_path: Path) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    version = registered(client, "unkept", artefact)

    with pytest.raises(PromotionError, match="MLflow does not point latest"):
        mlflow.promote(admitted(artefact), "unkept", version, "latest")

    kept = client.get_experiment_by_name("gate admissions")
    assert "unkept v1" not in {r.info.run_name for r in client.search_runs([kept.experiment_id])}


def test_a_version_that_holds_anything_else_moves_no_alias(client: Any, tmp_path: Path) -> None:
    artefact, folder = tmp_path / "model.bin", tmp_path / "folder"
    artefact.write_text("weights")
    through = admitted(artefact)
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    (folder / "loader.py").write_text("print('code that nobody judged')")
    artefact.write_text("other weights")

    alone = "register what was admitted, and it alone, as a new version, and promote again"
    for holds, differs in ((artefact, "its bytes are others"), (folder, "one is a file, the oth")):
        version = registered(client, "vit", holds)
        with pytest.raises(PromotionError, match=f"was admitted, .*: {differs}.*; {alone}"):
            mlflow.promote(through, "vit", version, "champion")
    with pytest.raises(PromotionError, match="MLflow does not give vit v99"):
        mlflow.promote(through, "vit", 99, "champion")
    assert not client.get_registered_model("vit").aliases
    assert mlflow.promote(admitted(folder), "vit", 2, "champion")


def test_a_file_changed_between_check_and_promotion_moves_no_alias(
    client: Any, tmp_path: Path
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    through = admitted(artefact)
    artefact.write_text("weights of another")
    version = registered(client, "raced", artefact)

    with pytest.raises(PromotionError, match=r"was admitted, .*: its bytes are others"):
        mlflow.promote(through, "raced", version, "champion")
    assert not client.get_registered_model("raced").aliases


def test_a_version_that_was_overwritten_is_said_to_hold_other_bytes(
    client: Any, tmp_path: Path
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    through, version = admitted(artefact), registered(client, "overwritten", artefact)
    artefact.write_text("weights of another")
    run = client.get_model_version("overwritten", str(version)).run_id
    client.log_artifact(run, str(artefact), "artefact")

    says = (
        f"overwritten v{version} holds {digest_of_files(admitted(artefact).files)}, and "
        f"{digest_of_files(through.files)} was "
        "admitted, so that what is served is not what was admitted: its bytes are others"
    )
    with pytest.raises(PromotionError, match=says):
        mlflow.promote(through, "overwritten", version, "champion")
    assert not client.get_registered_model("overwritten").aliases


@pytest.mark.parametrize("older", [None, "sha256:of-an-older-admission"])
def test_an_alias_that_is_refused_leaves_no_mark_on_the_version(
    client: Any, tmp_path: Path, older: str | None
) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    version = registered(client, "refused", artefact)
    if older:
        client.set_model_version_tag("refused", str(version), "gate.admission", older)
    before = client.get_model_version("refused", str(version)).tags

    with pytest.raises(PromotionError, match="MLflow does not point latest to refused v"):
        mlflow.promote(admitted(artefact), "refused", version, "latest")

    assert client.get_model_version("refused", str(version)).tags == before
    assert not client.get_registered_model("refused").aliases


@pytest.mark.parametrize("other", ["", "MLFLOW_REGISTRY_URI"])
def test_without_an_address_no_registry_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    artefact, empty = tmp_path / "model.bin", tmp_path / "here"
    artefact.write_text("weights")
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if other:  # MLflow makes a tracking store in the working folder even so
        monkeypatch.setenv(other, f"sqlite:///{tmp_path}/registry.db")

    with pytest.raises(PromotionError, match="MLFLOW_TRACKING_URI is not set"):
        mlflow.promote(admitted(artefact), "resnet", 1, "champion", dry_run=True)

    assert not list(empty.iterdir())


def test_a_server_that_does_not_answer_is_an_error_of_the_promotion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # discard: nobody listens
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")

    with pytest.raises(PromotionError, match="MLflow does not give resnet v1: "):
        mlflow.promote(admitted(artefact), "resnet", 1, "champion")


def test_the_command_moves_the_alias_only_for_a_checked_artefact(
    client: Any, gate: Gate, tmp_path: Path
) -> None:
    folder = issue(tmp_path)
    version = registered(client, "command", folder / "model.bin")
    command = [
        "promote", "mlflow", folder / "model.bin", "--name", "command", "--version", version,
        "--alias", "champion", "--admission", folder / "admission.json",
        "--policy", folder / "policy.yaml", "--public-key", folder / "public.pem",
    ]  # fmt: skip

    (folder / "model.bin").write_bytes(b"other weights")
    code, out, err = gate(*command)
    assert (code, out) == (ExitCode.ERROR, "")
    assert "changed or swapped" in err
    assert not client.get_registered_model("command").aliases

    (folder / "model.bin").write_bytes(b"weights")
    assert gate(*command, "--dry-run")[0] == 0
    assert not client.get_registered_model("command").aliases
    code, out, err = gate(*command)
    assert code == 0, err
    assert out.startswith(f"champion -> command v{version}: admitted")
    assert client.get_registered_model("command").aliases == {"champion": str(version)}
    code, out, err = gate(
        "compare", folder / "admission.json", "mlflow:command@champion", "--public-key",
        folder / "public.pem",
    )  # fmt: skip
    assert code == 0, err
    assert "both sides are the same backbone" in out
