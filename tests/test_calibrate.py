"""Files of calibrated heads: they load, say what made them, and none is left out in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from gate import calibrate
from gate.backbone import Backbone
from gate.backbone.onnx_runtime import with_head
from gate.errors import BackboneError
from gate.head import LinearHead
from gate.plan import BackboneFile, Plan
from gate.trial import Trial
from tests import tiny, tiny_text
from tests.probes.test_label_prior import TASK
from tests.test_zero_shot import with_own_head

MakeTrial = Callable[[str], Trial]
FLOAT16, DOUBLE = onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE
HEAD = LinearHead(np.ones((5, 2), np.float32), np.zeros(2, np.float32))


def with_backbone(trial: Trial, **changes: Any) -> Trial:
    """The trial with its backbone described otherwise."""
    content = trial.plan.model_dump()
    content["backbone"] |= changes
    return Trial(Plan.model_validate(content), trial.folder)


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

    *_, whole = calibrate.write_heads(trial, tmp_path, with_backbone=True)

    found = trial.calibrated(TASK)
    expected = found.how.scores(*found.both(trial, "test"))["gla"]
    np.testing.assert_allclose(logits(trial, TASK, whole), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_text_backbone_without_a_mask_is_pooled_by_the_mask_of_its_tokenizer(
    tmp_path: Path, pooling: str
) -> None:
    content = tiny_text.write_plan(tmp_path)
    content["backbone"]["onnx"] = tiny_text.write_onnx(tmp_path, ("input_ids",))
    content["backbone"]["text"]["pooling"] = pooling
    trial = Trial(Plan.model_validate(content), tmp_path / "features")

    *_, whole = calibrate.write_heads(trial, tmp_path, with_backbone=True)

    expected = trial.calibrated("topics").logits(trial.outputs("test"))
    np.testing.assert_allclose(logits(trial, "topics", whole), expected, rtol=1e-3, atol=1e-3)
    inputs = [given.name for given in onnx.load_model(whole).graph.input]
    assert inputs == (["input_ids", "attention_mask"] if pooling == "mean" else ["input_ids"])


def test_a_head_goes_behind_a_file_that_has_a_head_of_gate_already(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = digits_trial("clean")

    for folder in ("one", "two", "three"):
        *_, whole = calibrate.write_heads(trial, tmp_path / folder, with_backbone=True)
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


def described(folder: Path, model: onnx.ModelProto) -> BackboneFile:
    path = tiny.write_onnx(folder / "m.onnx", model)
    return BackboneFile.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})


@pytest.mark.parametrize("made", [old_format, both_names_of_the_standard_operators])
def test_an_unusual_backbone_that_gate_runs_takes_a_head(
    tmp_path: Path, images: NDArray[np.uint8], made: Callable[[], onnx.ModelProto]
) -> None:
    file = described(tmp_path, made())
    backbone = Backbone(file)

    whole = with_head(file, HEAD, None, {})

    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    (found,) = session.run(["calibrated_logits"], {"images": backbone.inputs(images)})
    np.testing.assert_allclose(found, HEAD.logits(backbone.features(images)), rtol=1e-4)


def test_what_does_not_load_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    content = tiny_text.write_plan(tmp_path)
    path = tiny_text.write_onnx(tmp_path, ("input_ids",))
    model = onnx.load_model(path)
    model.graph.node.append(onnx.helper.make_node("Sign", ["input_ids"], ["attention_mask"]))
    onnx.save_model(model, path)
    trial = Trial(Plan.model_validate(content), tmp_path / "features")

    with pytest.raises(BackboneError, match=r"words\.onnx: .* does not load .*'attention_mask'"):
        list(calibrate.write_heads(trial, tmp_path / "heads", with_backbone=True))

    assert not (tmp_path / "heads").exists()


def test_what_onnx_runtime_refuses_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    file = described(tmp_path, tiny.onnx_model(domain="com.microsoft"))

    with pytest.raises(BackboneError, match=r"m\.onnx: .*Relu.*leave out --with-backbone"):
        with_head(file, HEAD, None, {})
