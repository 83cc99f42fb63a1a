"""A git repository with DVC whose tiny pipeline calls the real ``gate``; needs no torch."""

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gate import decide, files
from gate.errors import AdmissionError
from gate.policy.load import load_policy
from gate.policy.waivers import Waiver
from gate.trust.admission import admit
from gate.trust.check import Admitted, check
from gate.trust.require import Grounds
from tests.builders import evidence, measurement, policy
from tests.conftest import ROOT

GOOD, WEAK, BAD = "0.9", "0.7", "0.3"  # a model is a text that says how accurate it is
POLICY = """\
name: test
version: 1
rules:
  - {probe: clean_accuracy, metric: accuracy, at_least: 0.8, why: because}
"""
MEASURE = """\
import hashlib, json, pathlib
model = pathlib.Path("model.bin").read_bytes()
accuracy = float(model.split()[0])
evidence = {
    "schema": "gate.evidence/v1", "probe": "clean_accuracy", "settings": {}, "seed": 0,
    "backbone": "sha256:" + hashlib.sha256(model).hexdigest(),
    "data": {"test": "sha256:" + "01" * 32}, "versions": {},
    "measurements": [{
        "metric": "accuracy", "about": {"task": "t"}, "value": accuracy, "n": 1000,
        "low": accuracy - 0.02, "high": accuracy + 0.02, "unit": "fraction",
    }],
}
path = pathlib.Path("out/evidence/clean_accuracy.json")
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(evidence))
"""
# deploy is what a team might write: it checks, because what it depends on protects nothing
STAGES = """\
stages:
  probe:
    cmd: python measure.py
    deps: [measure.py, model.bin]
    outs: [out/evidence/clean_accuracy.json]
  decide:
    cmd: >-
      gate decide --policy policy.yaml --evidence out/evidence --out out/verdict.json
      --waivers waivers.yaml --exit-zero-on reject,inconclusive
    deps: [out/evidence/clean_accuracy.json, policy.yaml, waivers.yaml]
    outs: [out/verdict.json]
  admit:
    cmd: >-
      gate admit out/verdict.json --artefact model.bin --policy policy.yaml
      --waivers waivers.yaml --out out/admission.json
    deps: [model.bin, out/verdict.json, policy.yaml]
    outs: [out/admission.json]
    always_changed: true
  deploy:
    cmd: >-
      gate check model.bin --admission out/admission.json --policy policy.yaml
      --public-key public.pem && cp model.bin out/deployed.bin
    deps: [model.bin, out/admission.json]
    outs: [out/deployed.bin]
    always_changed: true
"""
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
Done = subprocess.CompletedProcess[str]


def today_in_utc() -> date:
    """The day on which commands judge, wherever the tests run."""
    return datetime.now(UTC).date()


class Gated:
    """The repository: ``model.bin`` by DVC, all else by git; key and DVC's remote lie outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, folder: Path) -> "Gated":
        folder.mkdir()
        gated = cls(folder)
        for name, content in (
            ("policy.yaml", POLICY), ("waivers.yaml", "waivers: []\n"), ("measure.py", MEASURE),
            ("dvc.yaml", STAGES), ("public.pem", PUBLIC.decode()), (".gitignore", "/out\n"),
        ):  # fmt: skip
            (folder / name).write_text(content)
        gated.model(GOOD)
        gated.must("git", "init", "--quiet")
        gated.must("git", "config", "user.name", "t")
        gated.must("git", "config", "user.email", "t@t")
        gated.must("dvc", "init", "--quiet")
        store = str(folder.parent / "store")
        gated.must("dvc", "remote", "add", "--quiet", "--default", "store", store)
        gated.must("dvc", "add", "--quiet", "model.bin")
        return gated

    def run(self, *command: str) -> Done:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        key = self.folder.parent / "key.pem"
        key.write_bytes(PEM)
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False,
            env={
                **os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1",
                "GATE_KEY": str(key), "COLUMNS": "200",
            },
        )  # fmt: skip

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self) -> str:
        self.must("git", "add", ".")
        self.must("git", "commit", "--quiet", "--allow-empty", "-m", "a commit")
        return self.must("git", "rev-parse", "HEAD").strip()

    def model(self, accuracy: str) -> None:
        (self.folder / "model.bin").write_text(f"{accuracy} and weights\n")

    def waive(self, expires: str) -> None:
        digest = hashlib.sha256((self.folder / "model.bin").read_bytes()).hexdigest()
        waiver = {
            "id": "W", "rule": "clean_accuracy.accuracy", "backbone": f"sha256:{digest}",
            "reason": "known", "owner": "ml-team", "expires": expires,
        }  # fmt: skip
        (self.folder / "waivers.yaml").write_text(json.dumps({"waivers": [waiver]}))

    def check(self, *more: str, admission: str = "out/admission.json") -> Done:
        return self.run(
            "gate", "check", "model.bin", "--admission", admission,
            "--policy", "policy.yaml", "--public-key", "public.pem", *more,
        )  # fmt: skip

    def promote(self, *more: str, admission: str = "out/admission.json") -> Done:
        return self.run(
            "gate", "promote", "gto", "model.bin", "--name", "resnet", "--stage", "prod",
            "--admission", admission, "--policy", "policy.yaml", "--public-key", "public.pem",
            *more,
        )  # fmt: skip

    def tags(self) -> list[str]:
        return self.must("git", "tag").split()


def issue(
    folder: Path,
    artefact: str = "model.bin",
    day: date | None = None,
    low: float = 0.85,
    waivers: tuple[Waiver, ...] = (),
) -> Path:
    """Put an artefact, its policy, its key and its signed admission into a folder."""
    if not (folder / artefact).exists():
        (folder / artefact).write_bytes(b"weights")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "public.pem").write_bytes(PUBLIC)
    today = day or today_in_utc()
    hashes = files.hashed(folder / artefact, AdmissionError)
    found = [evidence(measurement(low), backbone=files.digest_of_files(hashes))]
    judge = load_policy(folder / "policy.yaml")
    verdict = decide(judge, found, today, waivers)
    text = admit(verdict, Grounds(judge, found, waivers), artefact, hashes, today, PEM)
    (folder / "admission.json").write_text(text)
    return folder


def admitted(artefact: Path) -> Admitted:
    """What the check of an artefact gives, whose admission is unsigned."""
    today, judge = today_in_utc(), policy(allow_unsigned=True)
    hashes = files.hashed(artefact, AdmissionError)
    found = [evidence(measurement(), backbone=files.digest_of_files(hashes))]
    verdict = decide(judge, found, today)
    text = admit(verdict, Grounds(judge, found), artefact.name, hashes, today, None)
    return check(text.encode(), hashes, today, judge)
