"""Files of calibrated heads: they load, say what made them, and none is left out in silence."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from safetensors import safe_open

from gate.backbone.artefact import Artefact
from gate.backbone.backbone import Backbone
from gate.backbone.heads import JoinedHead, LinearHead
from gate.backbone.onnx_heads import with_head
from gate.errors import BackboneError, DataError
from gate.files import sha256_of
from gate.measure.bench import Bench
from gate.measure.head_files import require_heads, write_heads
from gate.measure.trial import Trial
from gate.plan.backbone import OnnxBackbone
from gate.plan.plan import Plan
from gate.policy.rules import Policy
from tests import tiny, tiny_text
from tests.builders import rule
from tests.conftest import Gate, PlanMaker
from tests.measure.test_zero_shot import SOURCE, with_own_head
from tests.probes.test_label_prior import TASK, changed

MakeTrial = Callable[[str], Trial]
FLOAT16, DOUBLE = onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE
HEAD = LinearHead(np.ones((5, 2), np.float32), np.zeros(2, np.float32))


def with_backbone(trial: Trial, **changes: Any) -> Trial:
    """The trial with its backbone described otherwise."""
    content = trial.plan.model_dump()
    content["backbone"] |= changes
    return Trial(Bench(Plan.model_validate(content), trial.bench.folder))


def logits(trial: Trial, name: str, whole: Path) -> NDArray[np.float32]:
    """What the file of backbone and head gives for the test split."""
    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    split = trial.split(trial.plan.tasks[name].test)
    fed: list[dict[str, NDArray[Any]]]
    if trial.plan.backbone.text:
        tokens = map(trial.backbone.tokens, split.texts(16))
        fed = [{each: batch[each] for each in names} for batch in tokens]
    else:
        wanted = trial.backbone.preprocessing
        batches = split.batches(64, wanted.size, wanted.channels)
        fed = [{names[0]: trial.backbone.inputs(batch)} for batch in batches]
    return np.concatenate([session.run(None, each)[0] for each in fed])


# --- backbone and head in one file ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [FLOAT16, DOUBLE])
def test_features_and_own_logits_of_another_precision_are_cast_as_gate_does(
    digits_trial: MakeTrial, tmp_path: Path, kind: int
) -> None:
    trial = with_own_head(digits_trial("clean"), tmp_path)
    model, path = onnx.load_model(trial.plan.backbone.path), tmp_path / "cast.onnx"
    for given, cast in (("features", "features cast"), ("own", "own cast")):
        model.graph.node.append(onnx.helper.make_node("Cast", [given], [cast], to=kind))
    onnx.save_model(model, path)
    trial = with_backbone(trial, onnx=path, output="features cast", logits="own cast")

    *_, whole = write_heads(trial, tmp_path, with_backbone=True)

    found = trial.calibrated(TASK)
    expected = found.adjustment.scores(*trial.both_logits(TASK, "test"))["gla"]
    np.testing.assert_allclose(logits(trial, TASK, whole), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_text_backbone_without_a_mask_is_pooled_by_the_mask_of_its_tokenizer(
    tmp_path: Path, pooling: str
) -> None:
    content = tiny_text.write_plan(tmp_path)
    content["backbone"]["onnx"] = tiny_text.write_onnx(tmp_path, ("input_ids",))
    content["backbone"]["text"]["pooling"] = pooling
    trial = Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    *_, whole = write_heads(trial, tmp_path, with_backbone=True)

    expected = trial.calibrated("topics").logits(trial.outputs("test"))
    np.testing.assert_allclose(logits(trial, "topics", whole), expected, rtol=1e-3, atol=1e-3)
    inputs = [given.name for given in onnx.load_model(whole).graph.input]
    assert inputs == (["input_ids", "attention_mask"] if pooling == "mean" else ["input_ids"])


def test_a_head_goes_behind_a_file_that_has_a_head_of_gate_already(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = digits_trial("clean")

    for folder in ("one", "two", "three"):
        *_, whole = write_heads(trial, tmp_path / folder, with_backbone=True)
        expected = trial.calibrated(TASK).logits(trial.outputs("test"))
        np.testing.assert_allclose(logits(trial, TASK, whole), expected, rtol=1e-3, atol=2e-3)
        trial = with_backbone(trial, onnx=whole, output=None)


def old_format() -> onnx.ModelProto:
    model = tiny.onnx_model()
    model.ir_version = 3
    weight = onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, [5, 3, 3, 3])
    model.graph.input.append(weight)
    return model


def both_names_of_the_standard_operators() -> onnx.ModelProto:
    model = tiny.onnx_model()
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 17))
    return model


def described(folder: Path, model: onnx.ModelProto) -> OnnxBackbone:
    path = tiny.write_onnx(folder / "m.onnx", model)
    return OnnxBackbone.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})


@pytest.mark.parametrize("made", [old_format, both_names_of_the_standard_operators])
def test_an_unusual_backbone_that_gate_runs_takes_a_head(
    tmp_path: Path, images: NDArray[np.uint8], made: Callable[[], onnx.ModelProto]
) -> None:
    file = described(tmp_path, made())
    backbone = Backbone(file)

    whole = with_head(file, backbone.artefact, JoinedHead(HEAD, None), {})

    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    (found,) = session.run(["calibrated_logits"], {"images": backbone.inputs(images)})
    np.testing.assert_allclose(found, HEAD.logits(backbone.features(images)), rtol=1e-4)


def test_what_does_not_load_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    content = tiny_text.write_plan(tmp_path)
    path = tiny_text.write_onnx(tmp_path, ("input_ids",))
    model = onnx.load_model(path)
    model.graph.node.append(onnx.helper.make_node("Sign", ["input_ids"], ["attention_mask"]))
    onnx.save_model(model, path)
    trial = Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    with pytest.raises(BackboneError, match=r"words\.onnx: .* does not load .*'attention_mask'"):
        list(write_heads(trial, tmp_path / "heads", with_backbone=True))

    assert not (tmp_path / "heads").exists()


def test_what_onnx_runtime_refuses_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    file = described(tmp_path, tiny.onnx_model(domain="com.microsoft"))

    with pytest.raises(BackboneError, match=r"m\.onnx: .*Relu.*leave out --with-backbone"):
        with_head(file, Artefact(file.path), JoinedHead(HEAD, None), {})


# --- what made it ---------------------------------------------------------------------------------

PROMPTS = {"prompts": ["the {}"], "names": {"sport": "ball", "money": "stock"}}


def about(trial: Trial, folder: Path) -> str:
    """Metadata of the only head, the same in both files."""
    tensors, graph = write_heads(trial, folder)
    with safe_open(tensors, "numpy") as file:
        metadata: dict[str, str] = file.metadata()
    (of_graph,) = onnx.load_model(graph).metadata_props
    assert metadata == {of_graph.key: of_graph.value}
    return metadata["gate"]


def texts(folder: Path, zero_shot: dict[str, Any], **changes: Any) -> Trial:
    """A trial of texts with one part of its plan changed."""
    content = {**tiny_text.write_plan(folder, zero_shot=PROMPTS | zero_shot), **changes}
    return Trial(Bench(Plan.model_validate(content), folder / "features"))


def test_the_same_head_says_the_same_bytes_of_itself_wherever_it_was_made(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()

    one, two = (about(texts(folder, {}), folder / "heads") for folder in folders)

    assert one == two
    said = json.loads(one)
    assert said["seed"] == 0
    assert said["tokenizers"] == {"backbone": sha256_of(folders[0] / "tokenizer.json", DataError)}
    assert said["settings"]["backbone"]["text"] == {
        "max_tokens": 10,
        "pooling": "mean",
        "length": None,
    }


@pytest.mark.parametrize(
    "zero_shot",
    [{"prompts": ["of {}"]}, {"names": {"sport": "goal", "money": "stock"}}, {"scale": 50.0}],
)
def test_another_zero_shot_classifier_is_another_head_by_its_metadata(
    tmp_path: Path, zero_shot: dict[str, Any]
) -> None:
    one, two = (about(texts(tmp_path, each), tmp_path / "heads") for each in ({}, zero_shot))

    assert json.loads(one)["settings"] != json.loads(two)["settings"]


def test_other_members_of_the_own_head_are_another_head_by_its_metadata(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = with_own_head(digits_trial("clean"), tmp_path)
    other = changed(trial, tasks={TASK: {"zero_shot": {"source": {**SOURCE, "6": [0]}}}})

    one, two = (json.loads(about(each, tmp_path / "heads")) for each in (trial, other))

    assert one["zero_shot"] == two["zero_shot"]
    members = [said["settings"]["task"]["zero_shot"]["source"]["6"] for said in (one, two)]
    assert members == [[0, 4], [0]]


def test_preprocessing_output_and_seed_are_in_the_metadata(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = digits_trial("clean")
    trial = Trial(
        Bench(Plan.model_validate({**trial.plan.model_dump(), "seed": 3}), trial.bench.folder)
    )

    said = json.loads(about(trial, tmp_path))

    assert said["seed"] == 3
    assert said["settings"]["backbone"]["output"] == "features"
    assert said["settings"]["backbone"]["preprocessing"]["mean"] == [0.5]
    assert said["settings"]["task"]["head"]["l2"] == 10
    assert said["tokenizers"] == {}


def test_tokenizers_of_the_backbone_and_of_the_encoder_are_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "encoder.json"
    path.write_text(tiny_text.write_tokenizer(tmp_path).read_text().replace("goal", "gaol"))
    encoder = {"onnx": tiny_text.write_onnx(tmp_path), "text": {"tokenizer": path}}

    said = json.loads(about(texts(tmp_path, {"encoder": encoder}), tmp_path / "heads"))

    assert said["tokenizers"] == {
        "backbone": sha256_of(tmp_path / "tokenizer.json", DataError),
        "encoder": sha256_of(path, DataError),
    }


def test_a_head_names_the_tokenizer_that_was_used_and_not_one_written_since(tmp_path: Path) -> None:
    trial = texts(tmp_path, {})
    path = tmp_path / "tokenizer.json"
    used = sha256_of(path, DataError)
    (task,) = trial.plan.tasks
    trial.calibrated(task)
    path.write_text(path.read_text().replace("goal", "gaol"))

    said = json.loads(about(trial, tmp_path / "heads"))

    assert said["tokenizers"] == {"backbone": used}


def test_shares_of_rare_classes_keep_six_digits(
    digits_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = digits_trial("clean")
    found = trial.calibrated(TASK)
    shares = np.array([1.43e-6, 2.1234567e-9, 0.25, 0.75])
    prior = replace(found.adjustment.prior, shares=shares)
    rare = replace(
        found, adjustment=replace(found.adjustment, prior=prior, frequencies=shares[::-1])
    )
    monkeypatch.setattr(trial, "calibrated", lambda _: rare)

    said = json.loads(about(trial, tmp_path))

    assert said["label_prior"] == [1.43e-6, 2.12346e-9, 0.25, 0.75]
    assert said["train_frequencies"] == said["label_prior"][::-1]


# --- tasks without a head -------------------------------------------------------------------------

OWN = {"test": "test", "head": "own"}
TRAINED = {"train": "train", "test": "test", "transfer": {"mode": "full_network"}}
REMEDIED = {"train": "train", "test": "test", "head": {"balanced_by": "photograph"}}


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (OWN, "its own head is not fine-tuned on anything.*; calibrate a task that has train"),
        (TRAINED, "its transfer changes the network, .*; drop transfer"),
        ({**TRAINED, "held_out": "known"}, "its transfer changes the network, .*; drop transfer"),
        (REMEDIED, r"would undo head\.balanced_by; use the task's head as it is"),
    ],
)
def test_each_task_without_a_head_is_told_with_its_reason(
    digits_trial: MakeTrial,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    task: dict[str, Any],
    why: str,
) -> None:
    trial = with_own_head(digits_trial("clean"), tmp_path)
    content = trial.plan.model_dump()
    content["tasks"]["other"] = task
    content["splits"]["known"] = content["splits"]["test"]
    trial = Trial(Bench(Plan.model_validate(content), trial.bench.folder))

    written = list(write_heads(trial, tmp_path / "heads"))

    assert [path.name for path in written] == [f"{TASK}.safetensors", f"{TASK}.onnx"]
    (said,) = caplog.messages
    assert re.match(f"tasks.other: no calibrated head: .*{why}", said)
    require_heads(trial.plan)


def test_calibrate_fails_where_it_has_no_head_to_write_and_names_every_task(
    digits_plan: PlanMaker, gate: Gate, tmp_path: Path
) -> None:
    plan = digits_plan(tasks={"remedied": REMEDIED, "trained": TRAINED})

    code, out, err = gate("calibrate", plan, "--out", tmp_path / "heads")

    assert (code, out) == (2, "")
    first, remedied, trained = err.splitlines()
    assert first == "gate: digits: none of its tasks has a head to write"
    assert remedied.startswith("tasks.remedied: calibration adds a zero-shot head")
    assert trained.startswith("tasks.trained: its transfer changes the network")
    assert not (tmp_path / "heads").exists()


def test_a_run_without_a_head_to_write_comes_to_its_verdict(
    digits_plan: PlanMaker, gate: Gate, tmp_path: Path
) -> None:
    plan = digits_plan(tasks={TASK: REMEDIED}, probes={"clean_accuracy": {}})
    policy = tmp_path / "policy.yaml"
    policy.write_text(Policy(name="p", version=1, rules=[rule(at_least=0.3)]).to_json())

    code, _, err = gate("run", plan, "--policy", policy, "--out", tmp_path / "out")

    assert code == 0
    assert f"gate: tasks.{TASK}: no calibrated head: " in err
    assert (tmp_path / "out" / "verdict.json").exists()
    assert not (tmp_path / "out" / "heads").exists()
