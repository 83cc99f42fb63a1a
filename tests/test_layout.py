"""The straight flow, held by the imports; and how fast the light commands start."""

import ast
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.plan.backbone import FORMATS
from gate.probes import PROBES
from gate.reports import Format

HEAVY = {
    "torch",
    "onnxruntime",
    "great_expectations",
    "pandas",
    "pyarrow",
    "dvc",
    "gto",
    "mlflow",
    "ray",
    "sklearn",
    "scipy",
    "matplotlib",
}
# Wings from the ground up: each may import of those before it, and of itself. What is named with a
# dot is one module of a wing that stands apart from the rest of it.
ORDER = (
    {"errors", "frozen", "limits", "printable", "stats"},
    {"values", "files"},
    {"strict_yaml", "contact_sheets"},
    {"strict_json", "progress"},
    {"triggers.grid", "triggers.phrase_grid", "probes.probe"},
    {"probes"},  # the table of probes: settings and metrics
    {"policy"},  # the judging half: values <- policy <- reports, trust;
    {""},  # and what the package itself offers, its version too
    {"checkpoints.plateau"},  # from what was classified correctly,
    {"checkpoints.choice"},
    {"comparison"},  # a candidate against the champion
    {"reports", "trust"},
    {"plan"},  # the measuring half, in five steps: descriptions,
    {"arrays", "triggers"},
    {"lineage"},  # arithmetic on weights and activations
    {"data", "backbone"},
    {"label_prior"},
    {
        "measure.blocks",
        "measure.class_order",
        "measure.preprocessed",
        "measure.head",
        "measure.readers",
        "measure.shuffle",
        "measure.passes",
        "measure.embed",
        "measure.stability",
    },
    {"measure.ray_engine"},  # another place where passes happen
    {"measure.bench", "measure.responses", "measure.first_batch"},  # a plan opened,
    {"measure.transfer", "measure.zero_shot", "measure.calibrate"},
    {"measure.interpolation", "measure.altered", "measure.alterations", "measure.path_norm"},
    {"measure.trial", "measure.count"},  # classifiers trained on it, and what that passes,
    {  # answers turned into measurements,
        "probes.skews",
        "probes.rates",
        "probes.directions",
        "probes.collapse",
        "probes.looks",
        "probes.measure",
    },
    {"probes.evidence", "measure.head_files"},  # and what they depend on
    {"probes.estimate", "illustration"},  # what findings look like
    {"inspection"},  # files that nobody described yet, and plans for them
    {"starter"},
    {"run", "checkpoints"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
# The torch line: what is above reaches nothing below it, not even in a function. `run` joins both
# halves, and the commands that measure call what is below once they run.
ABOVE = {module for wings in ORDER[:12] for module in wings} | {
    "commands.judging", "commands.trusting", "commands.policies",
    "commands.options", "commands.results",
}  # fmt: skip
HEAVY_FILES = (
    "measure",
    "data",
    "backbone",
    "label_prior",
    "probes.evidence",
    "probes.estimate",
    "probes.skews",
    "lineage",
    "illustration",
)
KNOWS = {
    "onnxruntime": {"backbone/onnx_runtime.py"},
    "onnx": {
        "backbone/onnx_file.py",
        "backbone/onnx_description.py",
        "backbone/onnx_layers.py",
        "backbone/onnx_weights.py",
        "backbone/onnx_runtime.py",
        "backbone/onnx_summary.py",
        "backbone/onnx_heads.py",
        "backbone/onnx_gradients.py",
        "backbone/onnx_operators.py",
        "backbone/onnx_unstable.py",
    },
    "google": {"backbone/onnx_file.py"},
    # three run weights, one reads their layers, one alters and one trains them, three compute
    # gradients with respect to images
    "torch": {
        "backbone/torch_layers.py",
        "backbone/torch_runtime.py",
        "backbone/exported_runtime.py",
        "backbone/weights_runtime.py",
        "backbone/fine_tune.py",
        "backbone/altered_weights.py",
        "backbone/input_gradients.py",
        "backbone/onnx_gradients.py",
        "backbone/onnx_operators.py",
    },
    "great_expectations": {"data/expectations.py"},
    "pandas": {"data/expectations.py"},
    "pyarrow": {"data/arrow.py", "inspection/tables.py", "label_prior/array_files.py"},
    "threadpoolctl": {"label_prior/likelihood.py"},
    "sklearn": {"data/near_duplicates.py", "measure/head.py"},
    "tokenizers": {"backbone/tokens.py"},
    "jinja2": {"reports/template.py"},
    "markupsafe": {"reports/template.py"},
    "matplotlib": {"reports/pictures/figure.py"},
    "securesystemslib": {"trust/envelope.py"},
    "dvc": {"trust/gto.py"},
    "gto": {"trust/gto.py"},
    "mlflow": {"trust/mlflow.py"},
    "ray": {"measure/ray_engine.py"},
    "scmrepo": {"trust/gto.py"},
    "yaml": {"strict_yaml.py"},
}
FILES = sorted(Path("gate").rglob("*.py"))


def module(path: Path) -> str:
    """A file's name as it is imported, less ``gate.``; that of the package itself is empty."""
    parts = path.relative_to("gate").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: say the whole name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(name: str) -> set[str]:
    """Modules of gate that a module imports: also in functions, for types alone, and by a table."""
    found = set()
    for full in imports(MODULES[name]):
        if full == "gate" or full.startswith("gate."):
            inner = full.removeprefix("gate").removeprefix(".")
            while inner not in MODULES:
                inner = inner.rpartition(".")[0]
            found.add(inner)
    # tables that name files, which importlib loads
    if name == "probes":
        found |= {f"probes.{probe}" for probe in PROBES}
    if name in ("probes.evidence", "probes.estimate"):
        found |= {f"probes.{probe}.measure" for probe in PROBES}
    if name == "backbone.backbone":
        found |= {f"backbone.{known}_runtime" for known in FORMATS}
    if name == "reports":
        found |= {f"reports.{shown.replace('-', '_')}" for shown in Format}
    return found - {name}


def test_no_import_leads_back() -> None:
    """A circle is one, wherever its imports stand."""
    waiting = {name: imported_modules(name) for name in MODULES}

    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        waiting = {name: needs for name, needs in waiting.items() if name not in free}

    assert not waiting, f"on a circle, or above one: {sorted(waiting)}"


def place(name: str) -> int:
    """How far from the ground a module stands."""
    wing = name.split(".")[0]
    if wing == "probes" and name.count(".") == 2:
        wing = "probes.measure"
    for named in (name, wing):
        for height, wings in enumerate(ORDER):
            if named in wings:
                return height
    raise AssertionError(f"{name} has no room: put it into ORDER, and into DESIGN's layout")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_knows_only_those_before_it(name: str) -> None:
    later = {other for other in imported_modules(name) if place(other) > place(name)}

    assert not later


def test_nothing_above_the_torch_line_reaches_below_it() -> None:
    for name in (name for name in MODULES if name in ABOVE or name.split(".")[0] in ABOVE):
        if name.startswith("probes.") and place(name) > place("probes"):
            continue  # what measures
        reached, waiting = set(), {name}
        while waiting:
            reached |= waiting
            waiting = {inner for one in waiting for inner in imported_modules(one)} - reached
        below = {one for one in reached if one.startswith(HEAVY_FILES) or one.endswith(".measure")}
        assert not below, f"{name} reaches {sorted(below)}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_one_file_knows_each_heavy_library(path: Path) -> None:
    inside = path.relative_to("gate").as_posix()
    for name in imports(path):
        library = name.split(".")[0]
        assert inside in KNOWS.get(library, {inside}), f"{inside} imports {library}"


def test_nobody_imports_the_command_line() -> None:
    importing = {name for name in MODULES if "cli" in imported_modules(name)}

    assert importing == {"__main__"}


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
    ["explain", "trigger_patch.worst_attack_success_rate"],
    ["decide", "--policy", "policies/digits.yaml", "--evidence", "{evidence}", "--out", "{out}"],
    ["compare", "{evidence}", "{admission}"],
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
    from gate.trust.admission import admit
    from gate.trust.require import Grounds
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


def test_a_command_that_lays_out_no_report_loads_nothing_to_do_so(
    imported: dict[str, tuple[set[str], int]],
) -> None:
    assert "rich.console" not in imported["exit-codes"][0]
    assert "rich.console" in imported["explain trigger_patch.worst_attack_success_rate"][0]


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
