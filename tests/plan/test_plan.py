"""Plans: what is refused, and how another candidate is put in place."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gate.errors import PlanError
from gate.plan.backbone import BackbonePlan, OnnxBackbone, WeightsBackbone
from gate.plan.plan import load_plan
from gate.plan.task import Task
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid

PLAN: dict[str, Any] = yaml.safe_load(Path("pipelines/digits.yaml").read_text())


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Callable[[Any], object]], Path]:
    def write(edit: Callable[[Any], object]) -> Path:
        content = yaml.safe_load(yaml.safe_dump(PLAN))
        edit(content)
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("path", ["pipelines/digits.yaml", "pipelines/cifar/plan.yaml"])
def test_every_shipped_plan_loads(path: str) -> None:
    assert load_plan(Path(path)).probes.named()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda p: p.update(sede=0), "sede: unknown key; did you mean 'seed'"),
        (
            lambda p: p["probes"].update(triger_patch={}),
            "probes.triger_patch: unknown key; did you mean 'trigger_patch'",
        ),
        (
            lambda p: p["probes"]["trigger_patch"]["triggers"][0].update(palce=[]),
            "did you mean 'place'",
        ),
        (
            lambda p: p["splits"]["test"].update(atributes=[]),
            "splits.test.atributes: unknown key; did you mean 'attributes'",
        ),
        (
            lambda p: p["backbone"]["preprocessing"].update(sice=3),
            "backbone.preprocessing.sice: unknown key; did you mean 'size'",
        ),
        (lambda p: p.update(probes={}), "none is named, so nothing would be measured"),
        (
            lambda p: p["tasks"]["digits_6_to_9"].update(test="tset"),
            "unknown split 'tset'; did you mean 'test'",
        ),
        (
            lambda p: p["tasks"]["digits_6_to_9"].update(test="train"),
            "trains and tests on the same split",
        ),
        (lambda p: p["backbone"].pop("onnx"), "exactly one of onnx, exported and weights"),
        (
            lambda p: p["backbone"].update(onxx=p["backbone"].pop("onnx")),
            "backbone.onxx: unknown key; did you mean 'onnx'",
        ),
        (
            lambda p: p["backbone"].update(outptu="x"),
            "backbone.outptu: unknown key; did you mean 'output'",
        ),
        (lambda p: p["backbone"].update(layer="x"), "layer names a submodule"),
        (lambda p: p["backbone"].update(arch="a:b"), "weights and arch go together"),
        (lambda p: p["backbone"]["preprocessing"].update(mean=[1, 2]), "2 numbers for 3 channels"),
        (lambda p: p["backbone"]["preprocessing"].update(std=[0]), "greater than 0"),
        (
            lambda p: p["splits"]["test"].update(balanced=["x"]),
            "neither the label nor an attribute",
        ),
        (
            lambda p: p["splits"]["test"].update(shard={"index": 2, "count": 2}),
            "must be below count",
        ),
        (
            lambda p: p["tasks"].update({"../x": p["tasks"].pop("digits_6_to_9")}),
            "should match pattern",
        ),
        (
            lambda p: p.update(reference={"onnx": "x", "preprocessing": {"size": 31}}),
            "the same data must serve both",
        ),
        (
            lambda p: p.update(ancestor={"onnx": "x", "text": {"tokenizer": "t.json"}}),
            "ancestor: takes texts, and the backbone takes images",
        ),
    ],
)
def test_a_faulty_plan_is_refused_with_its_place(
    written: Callable[..., Path], edit: Callable[[Any], object], says: str
) -> None:
    path = written(edit)

    with pytest.raises(PlanError) as fault:
        load_plan(path)

    assert str(path) in str(fault.value)
    assert says in str(fault.value)


def test_with_another_candidate_a_plan_still_leaves_out_what_it_left_out() -> None:
    alone = load_plan(Path("pipelines/cifar/plan.yaml"))
    other = load_plan(Path("pipelines/cifar/plan.yaml"), Path("pipelines/cifar/wrn16.yaml"))

    for probe in alone.probes.named():
        stated = [plan.probes.settings(probe).model_fields_set for plan in (alone, other)]
        assert stated[0] == stated[1]


def test_another_candidate_of_the_same_kind_takes_the_plans_place() -> None:
    plan = load_plan(Path("pipelines/digits.yaml"), Path("other.onnx"))

    assert plan.backbone.path == Path("other.onnx")
    assert isinstance(plan.backbone, OnnxBackbone)
    assert plan.backbone.output == "features"


def test_a_candidate_may_bring_its_whole_description() -> None:
    card = Path("pipelines/cifar/wrn16_safetensors.yaml")

    plan = load_plan(Path("pipelines/cifar/plan.yaml"), card)

    assert isinstance(plan.backbone, WeightsBackbone)
    assert plan.backbone.arch == "pipelines.cifar.architectures:wide_resnet_16_1"
    assert plan.backbone.preprocessing
    assert plan.backbone.preprocessing.mean is None


def test_a_key_of_another_format_that_says_nothing_is_none(written: Callable[..., Path]) -> None:
    path = written(lambda p: p["backbone"].update(layer=None, weights=None))

    assert load_plan(path).backbone == load_plan(Path("pipelines/digits.yaml")).backbone


@pytest.mark.parametrize(
    ("described", "key", "says"),
    [
        ({"onnx": "a.onnx"}, "arch", "weights and arch go together"),
        ({"onnx": "a.onnx"}, "layer", "layer names a submodule"),
        ({"exported": "a.pt2"}, "arch", "weights and arch go together"),
        ({"exported": "a.pt2"}, "output", "output names an ONNX output"),
        ({"exported": "a.pt2"}, "layer", "layer names a submodule"),
        ({"exported": "a.pt2"}, "logits", "an exported file gives one output; export it to ONNX"),
        ({"weights": "a.safetensors", "arch": "a:b"}, "output", "for torch say layer"),
    ],
)
def test_a_key_of_another_format_is_refused_with_what_to_say_instead(
    described: dict[str, str], key: str, says: str
) -> None:
    content = {**described, "preprocessing": {"size": 8}}
    assert BackbonePlan.model_validate(content)

    with pytest.raises(ValidationError, match=says):
        BackbonePlan.model_validate({**content, key: "a:b"})


def test_a_candidate_that_does_not_suit_the_plans_data_is_refused(tmp_path: Path) -> None:
    card = tmp_path / "card.yaml"
    card.write_text("{onnx: words.onnx, text: {tokenizer: tokenizer.json}}")

    with pytest.raises(PlanError, match=r"card\.yaml: .*the backbone takes texts"):
        load_plan(Path("pipelines/digits.yaml"), card)


def test_a_candidate_of_another_kind_is_refused() -> None:
    with pytest.raises(PlanError, match="give a file of the same kind"):
        load_plan(Path("pipelines/digits.yaml"), Path("other.safetensors"))


@pytest.mark.parametrize(
    ("grids", "says"),
    [
        (
            [{"pattern": "noise", "size": [0.01], "place": ["centre"]}],
            "noise: size 0.01 of 32.*raise",
        ),
        (
            [{"pattern": "noise", "size": [0.5], "place": ["centre"], "opacity": [0.2, 0.204]}],
            "two different triggers are called 'noise 16px centre 20%'",
        ),
    ],
)
def test_a_bank_that_makes_no_sense_is_refused(grids: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        bank(tuple(TriggerGrid.model_validate(grid) for grid in grids), 32, 3, 0, ("a", "b"))


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ({"pattern": "square"}, "square needs a colour"),
        ({"pattern": "noise", "colour": ["red"]}, "noise has no colour; drop it"),
        ({"pattern": "text", "colour": ["red"]}, "text needs a text"),
        ({"pattern": "overlay"}, "overlay needs a picture"),
        ({"pattern": "sinusoid"}, "is added to the image; state its opacity"),
        ({"pattern": "checkerboard", "size": [1.1]}, "less than or equal to 1"),
    ],
)
def test_a_grid_has_what_its_pattern_needs(grid: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TriggerGrid.model_validate({"size": [0.1], "place": ["centre"], **grid})


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ({}, "name a split to train on, or say head: own"),
        ({"head": "own", "train": "train"}, "own trains nothing"),
        ({"train": "train", "head": {"l2": 9}, "transfer": {"mode": "full_network"}}, "drop it"),
        (
            {"train": "train", "transfer": {"mode": "from_scratch", "batch_norm": "adapting"}},
            "always adapts in from_scratch transfer",
        ),
        ({"train": "train", "transfer": {"training": {}}}, "logistic regression"),
    ],
)
def test_a_task_says_one_thing(task: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Task.model_validate({"test": "test", **task})
