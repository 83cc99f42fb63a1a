"""No stage is skipped when a file that the plan names has become another."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from gate.plan.backbone import FORMATS
from gate.plan.inputs import inputs
from gate.plan.plan import Plan, load_plan
from gate.strict_json import read_evidence
from gate.values import Evidence
from tests.conftest import ROOT, Gate
from tests.gated import Gated

PREPROCESSING = {"size": 8}
TEXT = {"tokenizer": "TOKENIZER"}
GRID = {"pattern": "overlay", "picture": ["ball", "p.png"], "size": [0.5], "place": ["centre"]}
# a plan, or several, that names a file in every place that there is
NAMED: dict[str, dict[str, Any]] = {
    "images": {
        "backbone": {
            "weights": "w.safetensors",
            "arch": "pipelines.cifar.architectures:resnet20",
            "preprocessing": PREPROCESSING,
        },
        "reference": {"exported": "r.pt2", "preprocessing": PREPROCESSING},
        "ancestor": {"onnx": "a.onnx", "preprocessing": PREPROCESSING},
        "tasks": {
            "prompted": {
                "train": "train",
                "test": "test",
                "zero_shot": {"prompts": ["{}"], "encoder": {"onnx": "e.onnx", "text": TEXT}},
            },
            "embedded": {
                "train": "train",
                "test": "test",
                "zero_shot": {"embeddings": "k.npz"},
                "debias": {"triggers": [GRID]},
            },
            "ignoring": {
                "train": "train",
                "test": "test",
                "head": {"ignore": {"triggers": [GRID]}},
            },
        },
        "splits": {
            "train": {"path": "train.npz", "classes": "names.json"},
            "test": {"path": "test/list.csv"},
        },
        "probes": {"trigger_patch": {"triggers": [GRID]}, "natural_overlay": {"overlays": [GRID]}},
    },
    "texts": {
        "backbone": {"onnx": "b.onnx", "text": TEXT},
        "tasks": {"t": {"train": "train", "test": "test"}},
        "splits": {
            "train": {"path": "train.csv", "text": "text"},
            "test": {"path": "test.csv", "text": "text"},
        },
        "probes": {"clean_accuracy": {}},
    },
}


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that stands somewhere in a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def path_fields() -> set[tuple[str, str]]:
    """Every field of the plan's schema, and of what stands in it, whose type is or holds a path."""
    waiting: list[type[BaseModel]] = [Plan, *FORMATS.values()]
    seen: set[type[BaseModel]] = set()
    fields = set()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            waiting += models(field.annotation)
            if re.search(r"\bPath\b", str(field.annotation)):
                fields.add((model.__name__, name))
    assert {"Task", "ZeroShot", "TriggerGrid", "NaturalOverlay"} <= {m.__name__ for m in seen}
    return fields


def all_inputs() -> list[tuple[str, Path]]:
    plans = [Plan.model_validate({"name": name, **content}) for name, content in NAMED.items()]
    return [pair for plan in plans for pair in inputs(plan).items()]


def test_every_field_of_the_schema_that_holds_a_path_is_an_input() -> None:
    named = {place.rstrip("0123456789.").split(".")[-1] for place, _ in all_inputs()}

    # a file of preprocessing is read with the plan: tests/plan/test_preprocessing.py
    assert {name for _, name in path_fields()} - {"source"} <= named
    assert {"arch", "picture"} <= named  # files by another type


def test_the_inputs_of_a_plan_are_the_files_that_it_names() -> None:
    names = {str(path) for _, path in all_inputs()}

    assert names == {
        "w.safetensors", "pipelines/cifar/architectures.py", "r.pt2", "a.onnx", "e.onnx",
        "TOKENIZER", "k.npz", "p.png", "train.npz", "names.json", "test", "b.onnx", "train.csv",
        "test.csv",
    }  # fmt: skip


PLANS = [
    ("dvc.yaml", "pipelines/digits.yaml", []),
    ("pipelines/cifar/dvc.yaml", "pipelines/cifar/plan.yaml", "candidates"),
]


@pytest.mark.parametrize(("stages", "plan", "candidates"), PLANS)
def test_every_file_that_a_shipped_plan_names_is_a_dependency_of_what_reads_it(
    stages: str, plan: str, candidates: str | list[str]
) -> None:
    content = yaml.safe_load((ROOT / stages).read_text())
    variables = {name: value for each in content["vars"] for name, value in each.items()}
    for candidate in variables[candidates] if isinstance(candidates, str) else [None]:
        known = {**variables, "candidate": candidate}
        given = f"pipelines/cifar/{candidate}.yaml" if candidate else None
        named = inputs(load_plan(ROOT / plan, ROOT / given if given else None)).values()
        for name in ("embed", "probe"):
            deps = [
                Template(dep.replace("item.", "")).substitute(known)
                for dep in content["stages"][name]["deps"]
            ]
            for path in named:
                assert any(path.is_relative_to(dep) for dep in deps), (name, path)


@pytest.mark.parametrize(
    "stages", ["dvc.yaml", "pipelines/cifar/dvc.yaml", "gate/starter/dvc.yaml"]
)
def test_every_key_of_a_plan_is_a_parameter_of_the_probes(stages: str) -> None:
    ((_, names),) = yaml.safe_load((ROOT / stages).read_text())["stages"]["probe"]["params"][
        0
    ].items()
    elsewhere = {"name", "probes"}  # a label; probes.NAME
    if "starter" in stages:  # in the digests, if there is one
        elsewhere |= {"ancestor", "reference"}
    elsewhere |= {"backbone"} if "cifar" in stages else set()  # each has a file of its own

    assert set(Plan.model_fields) - set(names) == elsewhere


@pytest.mark.parametrize(
    "stages", ["dvc.yaml", "pipelines/cifar/dvc.yaml", "gate/starter/dvc.yaml"]
)
def test_paths_from_variables_are_quoted_in_commands(stages: str) -> None:
    for name, stage in yaml.safe_load((ROOT / stages).read_text())["stages"].items():
        cmd = " && ".join(stage["cmd"]) if isinstance(stage["cmd"], list) else stage["cmd"]
        bare = re.findall(r'(?<![\w/"}.])\$\{(?:example|backbone|data|out)\}', cmd)
        assert not bare, name


def test_the_digests_leave_out_what_is_watched_and_name_the_rest(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("b.onnx", "TOKENIZER", "data/train.csv", "test.csv"):
        (tmp_path / name).write_text(name)
    content = json.loads(json.dumps(NAMED["texts"]).replace("train.csv", "data/train.csv"))
    (tmp_path / "plan.yaml").write_text(json.dumps({"name": "x", **content}))
    call = ["digests", "plan.yaml", "--watched", "b.onnx", "--watched", "data", "--out", "d.json"]

    assert gate(*call)[0] == 0
    before = json.loads((tmp_path / "d.json").read_text())
    (tmp_path / "TOKENIZER").write_text("another")
    assert gate(*call)[0] == 0

    assert set(before["files"]) == {"backbone.text.tokenizer", "splits.test.path"}
    after = json.loads((tmp_path / "d.json").read_text())
    assert after["files"]["backbone.text.tokenizer"] != before["files"]["backbone.text.tokenizer"]
    (tmp_path / "TOKENIZER").unlink()
    code, _, err = gate(*call)
    assert code == 2
    assert "TOKENIZER: cannot be read: " in err
    assert not (tmp_path / "d.json").exists()


def test_a_reference_that_became_another_is_measured_anew(example: Path, tmp_path: Path) -> None:
    """In the stages that `gate init` writes, as they are, with blanks in the names of files."""
    repository = Gated(tmp_path / "repository")
    repository.folder.mkdir()
    repository.must("git", "init", "--quiet")
    repository.must("dvc", "init", "--quiet")
    repository.must("gate", "init")
    backbones = example / "backbones"
    shutil.copytree(example / "data", repository.folder / "the data")
    shutil.copy(backbones / "clean.onnx", repository.folder / "a model.onnx")
    shutil.copy(backbones / "relabelled.onnx", repository.folder / "a reference.onnx")
    stages = repository.folder / "gating" / "dvc.yaml"
    edited = stages.read_text().replace("backbone: model.onnx", "backbone: a model.onnx")
    stages.write_text(edited.replace("data: data", "data: the data"))
    plan = repository.folder / "gating" / "plan.yaml"
    content = yaml.safe_load(plan.read_text())
    backbone = {"output": "features", "preprocessing": {"size": 32, "mean": [0.5], "std": [0.25]}}
    content["backbone"] = {"onnx": "a model.onnx", **backbone}
    content["reference"] = {"onnx": "a reference.onnx", **copy.deepcopy(backbone)}
    for split in ("train", "test"):
        content["splits"][split]["path"] = f"the data/{split}.parquet"
    content["probes"]["trigger_patch"]["triggers"] = [
        {"pattern": "square", "colour": ["yellow"], "size": [0.156], "place": ["bottom_right"]}
    ]
    plan.write_text(yaml.safe_dump(content))

    def reference() -> tuple[str, Evidence]:
        said = repository.must("dvc", "repro", "gating/dvc.yaml:probe@trigger_patch")
        (measured,) = read_evidence(repository.folder / "gating" / "out" / "evidence")
        return said, measured

    _, first = reference()
    said, again = reference()
    assert "Running stage 'gating/dvc.yaml:digests'" in said
    assert "Running stage 'gating/dvc.yaml:probe" not in said
    shutil.copy(backbones / "shortcut.onnx", repository.folder / "a reference.onnx")
    said, other = reference()

    assert "Running stage 'gating/dvc.yaml:probe@trigger_patch'" in said
    assert again == first
    assert other.reference != first.reference
    assert other.backbone == first.backbone
