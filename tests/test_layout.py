"""The straight flow, held by the imports; and how fast the light commands start."""

import ast
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "onnxruntime",
    "great_expectations",
    "pandas",
    "datasets",
    "dvc",
    "gto",
    "mlflow",
    "sklearn",
    "scipy",
    "matplotlib",
}
# module -> what it may import of gate; deeper modules count as their package
MAY_IMPORT = {
    "errors": set(),
    "stats": {"errors"},
    "values": {"stats"},
    "catalogue": {"strict_yaml", "values"},
    "strict_yaml": {"errors"},
    "files": {"errors", "strict_yaml", "values"},
    "policy": {"catalogue", "errors", "strict_yaml", "values"},
    "decide": {"catalogue", "errors", "policy", "stats", "values"},
    "pictures": {"errors", "values"},
    "waivers": {"decide", "errors", "policy", "strict_yaml", "values"},
    "policy_diff": {"decide", "errors", "files", "policy", "values"},
    "policy_tests": {
        "catalogue",
        "decide",
        "errors",
        "files",
        "policy",
        "strict_yaml",
        "values",
    },
    "report": {"pictures", "values"},
    "admission": {"decide", "errors", "files", "policy", "values"},
    "promote": {"admission", "errors", "files"},
    "starter": {"errors", "files"},
    "triggers": {"errors", "values"},
    "overlays": set(),
    "ahead": set(),
    "plan": {"errors", "probes", "strict_yaml", "triggers", "values"},
    "remedies": {"plan", "triggers"},
    "stamped": {"ahead", "backbone", "errors", "plan", "stats", "transfer", "trial", "triggers"},
    "transfer": {
        "backbone",
        "data",
        "embed",
        "errors",
        "files",
        "head",
        "plan",
        "strict_yaml",
        "trial",
        "triggers",
    },
    "data": {"ahead", "errors", "files", "plan", "strict_yaml"},
    "expectations": {"data", "errors", "trial", "values"},
    "backbone": {"backbone", "errors", "files", "head", "plan", "strict_yaml", "triggers"},
    "head": {"errors"},
    "embed": {"backbone", "data", "errors", "files"},
    "priors": {"errors", "priors", "stats"},
    "zero_shot": {
        "backbone",
        "errors",
        "files",
        "head",
        "logits",
        "plan",
        "strict_yaml",
        "trial",
    },
    "gla": {"errors", "priors", "stats"},
    "logits": {"errors", "files"},
    "from_logits": {"errors", "files", "gla", "logits", "priors", "stats"},
    "trial": {
        "backbone",
        "calibrate",
        "data",
        "embed",
        "errors",
        "head",
        "plan",
        "strict_yaml",
        "transfer",
        "triggers",
        "values",
        "zero_shot",
    },
    "probes": {
        "backbone",
        "calibrate",
        "errors",
        "gla",
        "head",
        "plan",
        "priors",
        "probes",
        "remedies",
        "stamped",
        "stats",
        "strict_yaml",
        "trial",
        "triggers",
        "values",
    },
    "calibrate": {
        "backbone",
        "data",
        "errors",
        "files",
        "gla",
        "head",
        "plan",
        "transfer",
        "trial",
    },
    "run": None,  # puts all together
    "cli": None,
    "__main__": None,
    "__init__": {"decide", "policy", "values"},
}
KNOWS = {
    "onnxruntime": {"backbone/onnx_runtime.py"},
    "onnx": {"backbone/onnx_runtime.py"},
    # one runs weights, the other trains them
    "torch": {"backbone/torch_runtime.py", "backbone/fine_tune.py"},
    "datasets": {"data.py"},
    "great_expectations": {"expectations.py"},
    "pandas": {"expectations.py"},
    "pyarrow": {"logits.py"},
    "threadpoolctl": {"priors/likelihood.py"},
    "sklearn": {"head.py"},
    "tokenizers": {"backbone/tokens.py"},
    "matplotlib": {"pictures.py"},
    "securesystemslib": {"admission.py"},
    "dvc": {"promote.py"},
    "gto": {"promote.py"},
    "mlflow": {"promote.py"},
    "scmrepo": {"promote.py"},
    "yaml": {"strict_yaml.py"},
}
FILES = sorted(Path("gate").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_follow_the_direction_of_the_flow(path: Path) -> None:
    module = path.relative_to("gate").parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[module]
    if allowed is None:
        return
    found = {
        name.split(".")[1] for name in imports(path) if name.startswith("gate.") and "." in name
    }

    assert found - {"__version__"} <= allowed


@pytest.mark.parametrize("path", FILES, ids=str)
def test_one_file_knows_each_heavy_library(path: Path) -> None:
    inside = path.relative_to("gate").as_posix()
    for name in imports(path):
        library = name.split(".")[0]
        assert inside in KNOWS.get(library, {inside}), f"{inside} imports {library}"


def test_nobody_imports_the_command_line() -> None:
    importing = {path.name for path in FILES if any("gate.cli" in name for name in imports(path))}

    assert importing == {"__main__.py"}


LIGHT = [
    ["--help"],
    ["exit-codes"],
    ["policy", "--help"],
    ["policy", "lint", "policies/digits.yaml"],
    ["policy", "schema"],
    ["policy", "show", "--resolved", "policies/production.yaml"],
    ["policy", "test", "policies/production.yaml"],
    ["policy", "diff", "policies/research.yaml", "policies/production.yaml"],
    ["policy", "backtest", "policies/digits.yaml", "--evidence", "{evidence}"],
    ["waiver", "check", "--help"],
    ["decide", "--policy", "policies/digits.yaml", "--evidence", "{evidence}", "--out", "{out}"],
    ["promote", "gto", "--help"],
    ["check", "LICENSE", "--admission", "README.md", "--policy", "policies/digits.yaml"],
    ["admit", "{verdict}", "--artefact", "LICENSE", "--policy", "{policy}", "--out", "{out}"],
    ["check", "LICENSE", "--admission", "{admission}", "--policy", "{policy}"],
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Evidence on LICENSE, and what follows from it."""
    from datetime import date

    from gate import decide, files
    from gate.errors import AdmissionError
    from gate.trust.admission import Grounds, admit
    from tests.builders import evidence, measurement, policy
    from tests.gated import POLICY

    hashes = files.hashed(Path("LICENSE"), AdmissionError)
    found = [evidence(measurement(), backbone=files.digest_of_files(hashes))]
    judge, today = policy(allow_unsigned=True), date.today()
    verdict = decide(judge, found, today)
    issued = admit(verdict, Grounds(judge, found), "LICENSE", hashes, today, None)
    contents = {
        "evidence/clean_accuracy.json": found[0].to_json(),
        "verdict.json": verdict.to_json(),
        "policy.yaml": POLICY + "allow_unsigned: true\n",
        "admission.json": issued,
    }
    folder = tmp_path_factory.mktemp("places")
    for name, content in contents.items():
        files.write(folder / name, content)
    places = {Path(name).parts[0].split(".")[0]: folder / name for name in contents}
    return places | {"evidence": folder / "evidence", "out": folder / "out.json"}


# One interpreter starts, and each command runs in a fork of it: none sees what another imported.
RUN_EACH = """\
import contextlib, io, json, os, sys
from gate import cli
for arguments in json.load(sys.stdin):
    if os.fork():
        os.wait()
        continue
    sys.argv, code = ["gate", *arguments], None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([sorted(sys.modules), code]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def imported(places: dict[str, Path]) -> dict[str, tuple[set[str], int]]:
    """For each light command the modules that it imports, and its exit code."""
    calls = [[part.format(**places) for part in command] for command in LIGHT]
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {
        " ".join(command): (set(modules), code)
        for command, (modules, code) in zip(LIGHT, lines, strict=True)
    }


@pytest.mark.parametrize("command", LIGHT, ids=" ".join)
def test_a_light_command_imports_nothing_heavy(
    command: list[str], imported: dict[str, tuple[set[str], int]]
) -> None:
    modules, code = imported[" ".join(command)]

    assert sorted(HEAVY & modules) == []
    if "{policy}" in command:  # it went through all of its steps
        assert code == 0


def test_an_onnx_backbone_on_parquet_is_probed_without_torch(
    digits_plan: Callable[..., Path], tmp_path: Path
) -> None:
    command = ["probe", "clean_accuracy", "--plan", str(digits_plan())]
    code = (
        "import sys; from gate import cli\n"
        f"sys.argv = ['gate', *{command}, '--out', '{tmp_path / 'out.json'}']\n"
        "try: cli.main()\n"
        "except SystemExit as ended: print(ended.code, 'torch' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_help_comes_at_once() -> None:
    """Usually 0.3 s; the ceiling is for a busy machine."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gate", "--help"], capture_output=True, check=True)
        best = min(best, time.perf_counter() - start)
    assert best < 2
