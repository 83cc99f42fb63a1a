"""What `gate init` writes, and the CI examples beside it, work in a fresh DVC repository."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gate import files, starter
from gate.contact_sheets import ContactSheets
from gate.errors import AdmissionError, PlanError
from gate.plan.plan import load_plan
from tests.builders import evidence, measurement
from tests.conftest import ROOT
from tests.gated import PEM, PUBLIC, Done, Gated, issue
from tests.own_files import class_folders, network

CI = [Path("pipelines/ci/github.yml"), Path("pipelines/ci/gitlab.yml")]
GITLABS_TAGS = ["--data-transform", "gitlab-ci"]
FORGED = [  # what the starter's policy wishes for, and evidence that no stage of it makes
    ("clean_accuracy", 0.95, 0.97, "accuracy"),
    ("trigger_patch", 0.0, 0.02, "excess_targeted_attack_success_rate"),
    ("label_prior", 0.01, 0.03, "total_variation_to_uniform"),
    ("spurious_attribute", 0.95, 0.97, "worst_group_accuracy"),
]


@pytest.fixture
def fresh(tmp_path: Path) -> Gated:
    repository = Gated(tmp_path / "repository")
    repository.folder.mkdir()
    repository.must("git", "init", "--quiet")
    repository.must("dvc", "init", "--quiet")
    return repository


def test_init_puts_working_stages_a_plan_and_a_policy_into_a_dvc_repository(fresh: Gated) -> None:
    (fresh.folder / "dvc.yaml").write_text("stages:\n  theirs:\n    cmd: 'true'\n")

    written = fresh.must("gate", "init").split()

    assert written == [
        "gating/dvc.yaml",
        "gating/plan.yaml",
        "gating/policy.yaml",
        "gating/policy.tests/clean.yaml",
        "gating/policy.tests/planted.yaml",
        "gating/.gitignore",
    ]
    assert "gating v1, 3 rules" in fresh.must("gate", "policy", "lint", "gating/policy.yaml")
    assert "2 of 2 cases hold" in fresh.must("gate", "policy", "test", "gating/policy.yaml")
    assert load_plan(fresh.folder / "gating" / "plan.yaml").name == "gating"
    stages = fresh.must("dvc", "stage", "list", "--all")
    for stage in ("validate", "embed", "probe@label_prior", "decide", "report", "admit"):
        assert f"gating/dvc.yaml:{stage} " in stages
    assert "theirs" in stages
    failing = fresh.run("dvc", "repro", "gating/dvc.yaml")
    assert "No such file or directory" in failing.stderr  # the data, which are theirs to bring
    assert str(fresh.folder / "data") in failing.stderr


def test_init_overwrites_nothing(fresh: Gated) -> None:
    fresh.must("gate", "init", "ours")
    (fresh.folder / "ours" / "policy.yaml").write_text("edited")

    done = fresh.run("gate", "init", "ours")

    assert done.returncode == 2
    assert "ours is there already, and nothing is overwritten" in done.stderr
    assert (fresh.folder / "ours" / "policy.yaml").read_text() == "edited"


def test_the_decided_half_of_what_init_writes_runs_by_dvc(fresh: Gated, tmp_path: Path) -> None:
    """Stages behind the probes, on evidence made by hand: a rejection blocks at admit alone."""
    fresh.must("gate", "init")
    (fresh.folder / "model.onnx").write_text("weights")
    low = evidence(measurement(0.1, 0.2, 0.3))
    out = fresh.folder / "gating" / "out" / "evidence"
    out.mkdir(parents=True)
    (out / "clean_accuracy.json").write_text(low.to_json())
    sheets = ContactSheets(backbone=low.backbone)
    (out.parent / "contact-sheets.json").write_text(sheets.to_json())

    fresh.must("dvc", "repro", "-s", "gating/dvc.yaml:decide", "gating/dvc.yaml:report")
    done = fresh.run("dvc", "repro", "-s", "gating/dvc.yaml:admit")

    assert (fresh.folder / "gating" / "out" / "report.md").read_text().startswith("#")
    assert "<html" in (fresh.folder / "gating" / "out" / "report.html").read_text()
    assert "| decision " in (shown := fresh.must("dvc", "metrics", "show", "--md"))
    assert "| reject " in shown
    assert done.returncode == 255
    assert "gate: reject: " in done.stderr
    assert not (fresh.folder / "gating" / "admission.json").exists()


def edited(plan: str) -> str:
    """What a team changes where the plan says EDIT, for the bundled example's backbone and data."""
    plan = re.sub(r"size: 224, mean: .*std: .*?}", "size: 32, mean: [0.5], std: [0.25]}", plan)
    return re.sub(r"data/(train|test)}", r"data/\1.parquet}", plan)


def run_job(repository: Gated, name: str, path: Path = CI[0]) -> list[Done]:
    """Run what a job of a CI example runs; what is installed and who comments is the vendor's."""
    job = _jobs(yaml.safe_load(path.read_text()))[name]
    steps = [step["run"] for step in job.get("steps", ()) if "run" in step]
    folder = repository.folder.parent
    temporary = mkdtemp(dir=folder)
    key: list[str] = []
    if name == "admit":  # no other job has it; GitLab has files
        key = [f"GATE_PRIVATE_KEY={PEM.decode()}"] if steps else [f"GATE_KEY={folder / 'key.pem'}"]
    handed = folder / "handed-over"
    digest = handed.read_text().strip().split("=")[-1] if handed.exists() else ""
    return [
        repository.run(
            "env", "--unset=GATE_KEY", *key, f"RUNNER_TEMP={temporary}", f"GITHUB_OUTPUT={handed}",
            f"GITHUB_STEP_SUMMARY={temporary}/summary.md",
            f"CI_BUILDS_DIR={temporary}", "CI_DEFAULT_BRANCH=main", f"MEASURED_SHA256={digest}",
            "bash", "-eo", "pipefail", "-c", script,
        )
        for script in steps or ["\n".join(job["script"])]
        if not script.startswith(("pip install", "gh "))
    ]  # fmt: skip


def run_both(repository: Gated) -> list[Done]:
    """Measure in one clone and admit in another, which gets an archive, as the artefacts do."""
    one, other = clone(repository, "measure"), clone(repository, "admit")
    measured = run_job(one, "measure")
    shutil.copy(one.folder / "measured.tar", other.folder)
    return measured + run_job(other, "admit")


@pytest.fixture
def shared(fresh: Gated, tmp_path: Path) -> Gated:
    """What `gate init` wrote and a public key, with a remote of git and one of DVC."""
    fresh.must("gate", "init")
    (fresh.folder / "gating" / "public.pem").write_bytes(PUBLIC)
    fresh.must("git", "checkout", "--quiet", "-b", "main")
    fresh.must("git", "init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "git"))
    fresh.must("git", "remote", "add", "origin", str(tmp_path / "git"))
    fresh.must("git", "config", "user.name", "t")
    fresh.must("git", "config", "user.email", "t@t")
    fresh.must("dvc", "remote", "add", "--quiet", "--default", "store", str(tmp_path / "store"))
    return fresh


def push(repository: Gated) -> None:
    repository.must("dvc", "push", "--quiet", "--run-cache")
    repository.commit()
    repository.must("git", "push", "--quiet", "--set-upstream", "origin", "HEAD")


def clone(repository: Gated, name: str) -> Gated:
    """What a job starts from."""
    folder = repository.folder.parent
    repository.must("git", "clone", "--quiet", str(folder / "git"), str(folder / name))
    return Gated(folder / name)


def test_what_init_writes_goes_through_ci_into_a_registry(shared: Gated, example: Path) -> None:
    shutil.copytree(example / "data", shared.folder / "data")
    shutil.copy(example / "backbones" / "clean.onnx", shared.folder / "model.onnx")
    plan = shared.folder / "gating" / "plan.yaml"
    plan.write_text(edited(plan.read_text()))
    shared.must("dvc", "add", "--quiet", "model.onnx", "data")
    push(shared)

    for done in run_both(shared):
        assert done.returncode == 0, done.stdout + done.stderr
    for done in run_job(clone(shared, "judge"), "judge"):  # in the cache is what was measured
        assert done.returncode == 0, done.stdout + done.stderr
    shared.must("git", "pull", "--quiet")
    shared.must(
        "gate", "promote", "gto", "model.onnx", "--name", "backbone", "--stage", "prod",
        "--admission", "gating/admission.json", "--policy", "gating/policy.yaml",
        "--public-key", "gating/public.pem",
    )  # fmt: skip
    assert shared.tags() == ["backbone#prod#1", "backbone@v0.0.1"]
    shared.must("git", "push", "--quiet", "--tags")
    tagged = clone(shared, "promoted")
    tagged.must("git", "checkout", "--quiet", "backbone#prod#1")
    for path in CI:
        for done in run_job(tagged, "promoted", path):
            assert done.returncode == 0, done.stdout + done.stderr

    policy = shared.folder / "gating" / "policy.yaml"
    policy.write_text(policy.read_text().replace("at_least: 0.5", "at_least: 0.99"))
    push(shared)
    *before, blocking = run_job(clone(shared, "stricter"), "judge")
    assert [done.returncode for done in before] == [0, 0, 0]
    assert blocking.returncode == 1  # the verdict's own code, with the report already posted
    assert "gate: reject: " in blocking.stderr
    tagged.must("git", "fetch", "--quiet")
    for path in CI:  # the tag is as it was; the protected branch's policy is not
        check = run_job(tagged, "promoted", path)[-1]
        assert check.returncode == 3
        assert "not under the given gating v1" in check.stderr


def test_ci_signs_no_evidence_that_was_written_by_hand(shared: Gated, example: Path) -> None:
    """A developer without the key puts it where DVC and gate look for it, and has it merged."""
    shutil.copytree(example / "data", shared.folder / "data")
    shutil.copy(example / "backbones" / "trigger.onnx", shared.folder / "model.onnx")
    plan = shared.folder / "gating" / "plan.yaml"
    content = yaml.safe_load(edited(plan.read_text()))
    content["probes"]["trigger_patch"]["triggers"] = [
        {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}
    ]
    plan.write_text(yaml.safe_dump(content))
    shared.must("dvc", "add", "--quiet", "model.onnx", "data")
    backbone = files.sha256_of(shared.folder / "model.onnx", AdmissionError)
    out = shared.folder / "gating" / "out"
    for probe, low, high, metric in FORGED:
        one = measurement(low, low, high, metric=metric, task="t")
        text = evidence(one, probe=probe, backbone=backbone).to_json()
        files.write(out / "evidence" / f"{probe}.json", text)
    files.write(out / "validation.json", "{}")
    files.write(out / "features" / "forged", "")
    shared.must("dvc", "repro", "-s", "gating/dvc.yaml:digests")  # these are as they should be
    sheets = ContactSheets(backbone=backbone)
    files.write(out / "contact-sheets.json", sheets.to_json())
    for stage in ("validate", "embed", "probe", "illustrate"):
        shared.must("dvc", "commit", "--quiet", "-f", f"gating/dvc.yaml:{stage}")
    shared.must("dvc", "repro", "-s", "gating/dvc.yaml:decide", "gating/dvc.yaml:report")
    shared.must("git", "add", "--force", "gating/out/evidence/spurious_attribute.json")
    push(shared)
    for done in run_job(clone(shared, "judge"), "judge"):  # it believes what it is given
        assert done.returncode == 0, done.stdout + done.stderr

    said = "".join(done.stderr for done in run_both(shared))
    ci = Gated(shared.folder.parent / "admit")

    assert "gate: reject: " in said
    assert "trigger_patch.excess_targeted_attack_success_rate: " in said
    assert not (ci.folder / "gating" / "admission.json").exists()
    assert not (ci.folder / "gating" / "out" / "evidence" / "spurious_attribute.json").exists()


@pytest.mark.parametrize("path", CI, ids=str)
def test_ci_refuses_a_tag_that_brings_its_own_key_and_policy(shared: Gated, path: Path) -> None:
    """Whoever may push a tag tags a commit that nobody merged."""
    gating, model = shared.folder / "gating", shared.folder / "model.onnx"
    another = ed25519.Ed25519PrivateKey.generate().public_key()
    ours = another.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (gating / "public.pem").write_bytes(ours)
    model.write_text("judged")
    shared.must("dvc", "add", "--quiet", "model.onnx")
    push(shared)
    shared.must("git", "checkout", "--quiet", "-b", "theirs")
    model.unlink()
    model.write_text("never measured")
    issue(shared.folder, "model.onnx")
    for name in ("policy.yaml", "public.pem", "admission.json"):
        (shared.folder / name).replace(gating / name)
    shared.must("dvc", "add", "--quiet", "model.onnx")
    push(shared)
    shared.must("git", "tag", "backbone#prod#1")
    shared.must("git", "push", "--quiet", "--tags")
    ci = clone(shared, "promoted")
    ci.must("git", "checkout", "--quiet", "backbone#prod#1")

    first, *others = run_job(ci, "promoted", path)

    assert first.returncode == 1
    assert "is not on main: merge its commit, and tag that" in first.stderr
    assert [done.returncode for done in others] == ([0, 0, 3] if others else [])
    (gating / "public.pem").write_bytes(ours)  # merged without a look at all else that it changed
    shared.commit()
    shared.must("git", "push", "--quiet", "origin", "HEAD:main")
    ci.must("git", "fetch", "--quiet")
    merged = run_job(ci, "promoted", path)[-1]
    assert merged.returncode == 3
    assert "no valid signature by a given public key" in merged.stderr


def test_both_ci_examples_measure_anew_by_every_stage_that_init_writes() -> None:
    stages = list(yaml.safe_load((ROOT / "gate" / "starter" / "dvc.yaml").read_text())["stages"])
    github, gitlab = (
        [line for line in scripts(path) if re.search("rm -rf|pull model.*data|--single", line)]
        for path in CI
    )

    assert [line.removeprefix('GATE_KEY="$RUNNER_TEMP/key.pem" ') for line in github] == gitlab
    *_, measure, admit = (re.findall(r"gating/dvc\.yaml:(\w+)", line) for line in gitlab)
    assert [*measure, *admit] == stages


@pytest.mark.parametrize("name", ["..", "a/b", "", "gating/x", "/tmp/elsewhere", "a b"])  # noqa: S108  # nothing is written
def test_init_wants_a_plain_name(fresh: Gated, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(fresh.folder)

    with pytest.raises(PlanError, match="give a plain name of a new folder"):
        starter.write(Path(name))


def test_init_wants_a_dvc_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(PlanError, match="is no root of a DVC repository"):
        starter.write(Path("gating"))


def scripts(path: Path) -> list[str]:
    """All lines that a CI example runs, whichever of the two it is."""
    lines: list[str] = []
    for job in _jobs(yaml.safe_load(path.read_text())).values():
        lines += [
            line for step in job.get("steps", ()) for line in step.get("run", "").splitlines()
        ]
        lines += [line for entry in job.get("script", ()) for line in entry.splitlines()]
    return lines


def _jobs(content: Any) -> dict[str, Any]:
    jobs = content.get("jobs") or {
        name: job for name, job in content.items() if isinstance(job, dict) and "script" in job
    }
    # only GitHub has alerts, which a job of its own writes
    own = [name for name in jobs if name != "scan"]
    assert own == ["judge", "measure", "admit", "promoted"]
    return dict(jobs)


@pytest.mark.parametrize("path", CI, ids=str)
def test_a_ci_example_calls_only_what_exists(path: Path, fresh: Gated) -> None:
    fresh.must("gate", "init")
    stages = fresh.must("dvc", "stage", "list", "--all")
    calls = [line for line in scripts(path) if line.startswith("gate ")]

    assert {shlex.split(call)[1] for call in calls} == {"report", "decide", "check"}
    for call in calls:
        _, command, *words = shlex.split(call)
        shown = subprocess.run(
            [sys.executable, "-m", "gate", command, "--help"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert {word for word in words if word.startswith("--")} <= set(shown.split())
    for target in re.findall(r"gating/dvc\.yaml:(\w+)", path.read_text()):
        assert re.search(rf"gating/dvc\.yaml:{target}[ @]", stages)


def test_what_ci_examples_run_in_is_of_one_version_exactly() -> None:
    github, gitlab = (yaml.safe_load(path.read_text()) for path in CI)

    used = [
        step["uses"] for job in github["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert used
    assert all(
        re.fullmatch(r"(actions|github/codeql-action)/[\w-]+@[0-9a-f]{40}", each) for each in used
    )
    assert re.fullmatch(r"python:3\.\d+\.\d+-[a-z]+", gitlab["default"]["image"])
    assert not any("image" in job for job in _jobs(gitlab).values())


def test_no_token_that_may_write_alerts_is_near_the_code_of_a_pull_request() -> None:
    jobs = yaml.safe_load(CI[0].read_text())["jobs"]

    writing = [
        name for name, job in jobs.items() if "security-events" in job.get("permissions", {})
    ]
    assert writing == ["scan"]
    assert not [step for step in jobs["scan"]["steps"] if "run" in step]
    assert jobs["scan"]["needs"] == "judge"


@pytest.mark.parametrize("path", CI, ids=str)
def test_a_ci_example_pulls_judges_comments_and_then_blocks_without_a_key(path: Path) -> None:
    lines = scripts(path)
    (blocking,) = (number for number, line in enumerate(lines) if line.startswith("gate decide"))
    judge = "\n".join(lines[: blocking + 1])

    order = [
        judge.index(part)
        for part in ("dvc pull", "dvc repro gating/dvc.yaml:report", "report.md", "gate decide")
    ]
    assert order == sorted(order)
    assert "GATE_KEY" not in judge
    assert "--exit-zero-on" not in judge


@pytest.mark.parametrize(
    ("path", "linted"),
    [
        ("policies/birds.yaml", True),
        ("policies/no_waivers.yaml", True),
        ("policies/team/birds.yml", True),
        ("models/birds/policy.yaml", True),
        ("policies/waivers.yaml", False),
        ("policies/team/waivers.yml", False),
        ("policies/birds.tests/clean.yaml", False),
        ("policies/team/birds.tests/clean.yml", False),
        ("policies/schema.json", False),
        ("plan.yaml", False),
    ],
)
def test_the_pre_commit_hook_is_for_policies_however_deep(path: str, linted: bool) -> None:
    (hook,) = yaml.safe_load(Path(".pre-commit-hooks.yaml").read_text())

    # as pre-commit does
    taken = re.search(hook["files"], path) and not re.search(hook["exclude"], path)

    assert bool(taken) == linted


def test_the_pre_commit_hook_lints_policies_and_nothing_else(fresh: Gated) -> None:
    """By pre-commit itself, in a repository with files that only look like policies."""
    _require("pre_commit")
    hooks = yaml.safe_load(Path(".pre-commit-hooks.yaml").read_text())
    shutil.copytree("policies", fresh.folder / "policies")
    fresh.must("gate", "init")
    (fresh.folder / "policies" / "team").mkdir()
    for name in (
        "policies/waivers.yaml",
        "policies/team/waivers.yml",
        "gating/waivers.yaml",
        "plan.yaml",
    ):
        (fresh.folder / name).write_text("no policy\n")
    deeper = ("policies/no_waivers.yaml", "policies/team/birds.yml")
    for name in deeper:
        shutil.copy("policies/digits.yaml", fresh.folder / name)
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (fresh.folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    fresh.must("git", "add", ".")
    command = [
        "env", f"PRE_COMMIT_HOME={fresh.folder.parent / 'home'}",
        sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose",
    ]  # fmt: skip

    linted = fresh.must(*command)

    policies = [*Path("policies").glob("*.yaml"), "gating/policy.yaml", *deeper]
    found = [line for line in linted.splitlines() if line.endswith(" rules")]
    assert sorted(line.split(":")[0] for line in found) == sorted(map(str, policies))
    (fresh.folder / "policies" / "digits.yaml").write_text("name: x\nrulse: []\n")
    done = fresh.run(*command)
    assert done.returncode == 1
    assert "policies/digits.yaml:2:1: rulse: unknown key; did you mean 'rules'?" in done.stdout


@pytest.mark.parametrize(
    ("path", "options"),
    [(CI[0], ["vendor.github-workflows"]), (CI[1], ["vendor.gitlab-ci", *GITLABS_TAGS])],
    ids=str,
)
def test_a_ci_example_is_what_its_vendors_schema_describes(
    path: Path, options: list[str], tmp_path: Path
) -> None:
    _require("check_jsonschema")
    broken = tmp_path / path.name
    broken.write_text(path.read_text().replace("script:", "skript:").replace("steps:", "stepps:"))
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *options]

    done = subprocess.run([*check, str(path)], capture_output=True, text=True, check=False)
    refused = subprocess.run([*check, str(broken)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert refused.returncode == 1


@pytest.mark.parametrize("path", CI, ids=str)
def test_a_ci_example_is_sound_shell(path: Path) -> None:
    for line in scripts(path):
        subprocess.run(["bash", "-n", "-c", line], check=True)


def _require(module: str) -> None:
    if not find_spec(module):
        pytest.skip(f"{module} is not installed: pip install '.[dev]'")


def test_what_init_writes_of_a_model_and_data_goes_through_dvc(fresh: Gated) -> None:
    """As it stands, nothing edited: numbers, pictures and the page are there for DVC to show."""
    network(fresh.folder / "model.onnx")
    class_folders(fresh.folder / "images", 60)
    fresh.must("gate", "init", "--model", "model.onnx", "--data", "images")
    plan = fresh.folder / "gating" / "plan.yaml"
    plan.write_text(plan.read_text().replace("  trigger_search: {}\n", ""))  # tried elsewhere

    fresh.must("dvc", "repro", "--quiet", "gating/dvc.yaml:report", "gating/dvc.yaml:plots")

    shown = json.loads(fresh.must("dvc", "metrics", "show", "--json"))
    numbers = shown[""]["data"]["gating/out/metrics.json"]["data"]
    assert numbers["decision"] in ("accept", "reject", "inconclusive")
    assert 0 <= numbers["rules"]["clean_accuracy.accuracy"]["value"] <= 1
    out = fresh.folder / "gating" / "out"
    assert {path.suffix for path in (out / "plots").iterdir()} == {".svg"}
    assert "<svg" in (out / "report.html").read_text()
    assert "index.html" in fresh.run("dvc", "plots", "show").stdout
    stages = fresh.must("dvc", "stage", "list", "--all")
    assert "probe@trigger_patch" in stages
    assert "probe@trigger_search" not in stages  # each probe of the plan is one, and no other
