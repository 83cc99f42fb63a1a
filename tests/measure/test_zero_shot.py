"""Zero-shot classifiers of a plan, and calibrated heads that are no single linear layer."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from gate.backbone.heads import CosineHead, SourceHead
from gate.errors import GateError, PlanError
from gate.measure.bench import Bench
from gate.measure.head_files import write_heads
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.policy.decide import decide
from gate.policy.rules import Policy
from gate.probes.evidence import run_probe
from gate.reports import markdown
from tests import tiny_text
from tests.builders import rule
from tests.probes.test_label_prior import TASK, changed, with_embeddings

TODAY = date(2026, 1, 1)
MakeTrial = Callable[[str], Trial]
SOURCE = {"6": [0, 4], "7": [1], "8": [2, 3, 5], "9": [7]}


def test_cosines_and_sums_of_posteriors_are_as_by_hand() -> None:
    rng = np.random.default_rng(0)
    features, embeddings, own = (
        rng.normal(size=s).astype(np.float32) for s in ((5, 3), (2, 3), (5, 4))
    )
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = [[f @ e / np.linalg.norm(f) for e in unit] for f in features]
    posteriors = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(
        CosineHead(unit.T, 20).logits(features), 20 * np.array(cosines), rtol=1e-4
    )
    found = np.exp(SourceHead(((0, 2), (3,))).logits(own))
    expected = np.stack([posteriors[:, 0] + posteriors[:, 2], posteriors[:, 3]], axis=1)
    np.testing.assert_allclose(
        found / found.sum(axis=1, keepdims=True),
        expected / expected.sum(axis=1, keepdims=True),
        rtol=1e-5,
    )


def with_own_head(trial: Trial, folder: Path) -> Trial:
    """The backbone with a linear head of eight classes behind its features."""
    model = onnx.load_model(trial.plan.backbone.path)
    features, labels = np.asarray(trial.features("test")), trial.split("test").labels
    noise = np.random.default_rng(1).normal(size=(features.shape[1], 8))
    weight = (noise * features.std(axis=0).mean() / 4).astype(np.float32)
    for k, members in enumerate(SOURCE.values()):
        weight[:, members] += (features[labels == k].mean(axis=0) - features.mean(axis=0))[:, None]
    model.graph.initializer.append(numpy_helper.from_array(weight, "own.weight"))
    model.graph.node.append(
        onnx.helper.make_node("MatMul", [model.graph.output[0].name, "own.weight"], ["own"])
    )
    path = folder / "with_own_head.onnx"
    onnx.save_model(model, path)
    content = trial.plan.model_dump()
    content["backbone"] |= {"onnx": path, "logits": "own", "output": model.graph.output[0].name}
    return changed(
        Trial(Bench(Plan.model_validate(content), trial.bench.folder)),
        tasks={TASK: {"zero_shot": {"source": SOURCE}}},
    )


@pytest.fixture(params=["nearest class mean", "embeddings", "source"])
def trial(request: pytest.FixtureRequest, digits_trial: MakeTrial, tmp_path: Path) -> Trial:
    clean = digits_trial("clean")
    if request.param == "embeddings":
        return with_embeddings(clean, tmp_path)
    return with_own_head(clean, tmp_path) if request.param == "source" else clean


def test_files_of_the_calibrated_head_give_what_gla_gives(trial: Trial, tmp_path: Path) -> None:
    outputs = trial.outputs("test")
    found = trial.calibrated(TASK)
    f_zs, f_ft = trial.both_logits(TASK, "test")
    prior, scale = found.adjustment.prior, found.adjustment.fine_tuned_scale
    expected = (
        prior.scale * f_zs - prior.removed + scale * f_ft - np.log(found.adjustment.frequencies)
    )

    tensors_path, head, whole = write_heads(trial, tmp_path, with_backbone=True)

    provider = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(head, providers=provider)
    fed = {"features": np.asarray(outputs.features), "own_logits": outputs.logits}
    names = [given.name for given in session.get_inputs()]
    (logits,) = session.run(["logits"], {name: np.asarray(fed[name]) for name in names})
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-3)

    session = onnxruntime.InferenceSession(whole, providers=provider)
    (given,) = session.get_inputs()
    preprocessing = trial.backbone.preprocessing
    batches = trial.split("test").batches(64, preprocessing.size, preprocessing.channels)
    logits = np.concatenate(
        [
            session.run(["calibrated_logits"], {given.name: trial.backbone.inputs(b)})[0]
            for b in batches
        ]
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=2e-3)

    tensors = load_file(tensors_path)
    by_hand = outputs.features @ tensors["weight"] + tensors["bias"]
    if "zero_shot.weight" in tensors:
        unit = outputs.features / np.linalg.norm(outputs.features, axis=1, keepdims=True)
        by_hand = by_hand + tensors["zero_shot.scale"] * (unit @ tensors["zero_shot.weight"])
    if "zero_shot.members" in tensors:
        assert outputs.logits is not None
        own = np.exp(np.asarray(outputs.logits, float))
        sums = [own[:, each[each >= 0]].sum(axis=1) for each in tensors["zero_shot.members"]]
        by_hand = by_hand + tensors["zero_shot.scale"] * np.log(np.stack(sums, axis=1))
    np.testing.assert_allclose(by_hand, expected, rtol=1e-3, atol=2e-3)


def test_metadata_say_what_the_zero_shot_classifier_was_made_from(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    trial = with_embeddings(digits_trial("clean"), tmp_path)

    _, head = write_heads(trial, tmp_path)

    session = onnxruntime.InferenceSession(head, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["gate"])
    evidence = run_probe("label_prior", trial)
    assert about["zero_shot"] == evidence.data[f"zero_shot of {TASK}"]
    assert about["zero_shot"].startswith("sha256:")


def test_names_in_a_file_of_embeddings_put_it_in_the_order_of_the_task(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    plain = with_embeddings(digits_trial("clean"), tmp_path)
    embeddings = np.load(tmp_path / "embeddings.npy")
    path = tmp_path / "named.npz"
    np.savez(path, embeddings=embeddings[::-1], classes=np.array(["9", "8", "7", "6"]))
    named = changed(plain, tasks={TASK: {"zero_shot": {"embeddings": path, "scale": 10.0}}})

    one, other = plain.zero_shot(TASK), named.zero_shot(TASK)

    assert isinstance(one, CosineHead)
    assert isinstance(other, CosineHead)
    np.testing.assert_array_equal(one.weight, other.weight)


def _embeddings(folder: Path, **content: Any) -> dict[str, Any]:
    np.savez(folder / "faulty.npz", **content)
    return {"embeddings": folder / "faulty.npz"}


def _tensor(folder: Path, shape: tuple[int, ...]) -> dict[str, Any]:
    save_file({"embeddings": np.ones(shape, np.float32)}, folder / "faulty.safetensors")
    return {"embeddings": folder / "faulty.safetensors"}


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda f: _tensor(f, (3, 16)), "class embeddings (3, 16); 4 classes and features of"),
        (lambda f: _tensor(f, (4, 5)), "class embeddings (4, 5)"),
        (lambda f: _tensor(f, (4,)), "class embeddings are (K, D)"),
        (lambda f: _embeddings(f, embeddings=np.full((4, 16), np.nan)), "row 0 of the class emb"),
        (
            lambda f: _embeddings(f, embeddings=np.diag([1, 1, 1e300, 1])),
            "row 2 of the class embeddings is not finite as float32",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.eye(4, 128) * [[1], [1], [0], [1]]),
            "the embedding of class '8' is all zeros",
        ),
        (
            lambda f: _embeddings(
                f, embeddings=np.eye(4, 128)[[0, 1, 2, 1]] * [[1], [2], [3], [4]]
            ),
            "classes '7' and '9' have the same embedding",
        ),
        (
            lambda f: _embeddings(
                f, embeddings=np.eye(4, 16), classes=np.array(list("6789"), dtype=object)
            ),
            "is no .npz file that classes can be read from: Object arrays cannot be loaded",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.eye(1, 16), classes=np.array(list("67"))),
            "classes of shape (2,) for 1 rows of embeddings; give one name a row",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.eye(4, 16), classes=np.array(list("67"))),
            "classes of shape (2,) for 4 rows",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.ones((4, 16)), classes=np.array(list("678x"))),
            "unknown class 'x'; known: 6, 7, 8, 9",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.ones((3, 16)), classes=np.array(list("678"))),
            "class '9' of the task is missing",
        ),
        (
            lambda f: _embeddings(f, embeddings=np.ones((5, 16)), classes=np.array(list("67899"))),
            "names a class twice",
        ),
        (lambda f: {"embeddings": f / "absent.npy"}, "absent.npy"),
    ],
)
def test_embeddings_that_do_not_match_the_classes_are_refused(
    digits_trial: MakeTrial, tmp_path: Path, made: Callable[[Path], dict[str, Any]], says: str
) -> None:
    trial = changed(digits_trial("clean"), tasks={TASK: {"zero_shot": made(tmp_path)}})

    with pytest.raises(GateError) as fault:
        list(write_heads(trial, tmp_path / "heads"))

    assert says in str(fault.value)
    assert not (tmp_path / "heads").exists()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({**SOURCE, "9": [8]}, "class 8 of the own head, which has 8; indices begin at 0"),
        ({k: v for k, v in SOURCE.items() if k != "7"}, "class '7' of the task is missing"),
        ({**SOURCE, "five": [6]}, "unknown class 'five'"),
    ],
)
def test_source_classes_that_do_not_match_are_refused(
    digits_trial: MakeTrial, tmp_path: Path, source: dict[str, list[int]], says: str
) -> None:
    trial = with_own_head(digits_trial("clean"), tmp_path)

    with pytest.raises(PlanError, match=says):
        changed(trial, tasks={TASK: {"zero_shot": {"source": source}}}).calibrated(TASK)


@pytest.mark.parametrize(
    ("described", "says"),
    [
        ({}, "one of embeddings, prompts and source; found none"),
        ({"embeddings": "a.npy", "prompts": ["a {}"]}, "found .'embeddings', 'prompts'"),
        ({"prompts": ["a photo"]}, "'a photo' has 0 places for the class"),
        ({"prompts": ["{} and {}"]}, "has 2 places for the class"),
        ({"prompts": ["a {}"]}, "name the text encoder that belongs to it"),
        ({"source": {"6": [0], "7": [0]}}, "class 0 of the own head belongs to two classes"),
        ({"source": {"6": []}}, "no class of the own head"),
        ({"source": SOURCE}, "needs backbone.logits"),
        ({"embeddings": "a.npy", "names": {"6": "six"}}, "encoder and names go with prompts"),
        (
            {"prompts": ["a {}"], "encoder": {"onnx": "a.onnx", "preprocessing": {"size": 8}}},
            "encoder: takes images",
        ),
    ],
)
def test_a_faulty_zero_shot_classifier_is_refused_with_the_plan(
    digits_trial: MakeTrial, described: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        changed(digits_trial("clean"), tasks={TASK: {"zero_shot": described}})


# --- texts ----------------------------------------------------------------------------------------

PROMPTS = {
    "prompts": ["the {}", "news of {}"],
    "names": {"sport": "ball goal", "money": "stock price"},
}


def test_prompts_are_encoded_by_the_text_backbone_itself(tmp_path: Path) -> None:
    plan = Plan.model_validate(tiny_text.write_plan(tmp_path, zero_shot=PROMPTS))
    trial = Trial(Bench(plan, tmp_path / "features"))

    head = trial.zero_shot("topics")

    assert isinstance(head, CosineHead)
    for k, called in enumerate(("ball goal", "stock price")):
        vectors = [tiny_text.by_hand(p.replace("{}", called)) for p in PROMPTS["prompts"]]
        mean = np.mean([v / np.linalg.norm(v) for v in vectors], axis=0)
        np.testing.assert_allclose(head.weight[:, k], mean / np.linalg.norm(mean), rtol=1e-4)
    found = run_probe("label_prior", trial).measurements
    accuracy = {m.about["method"]: m.value for m in found if m.metric == "accuracy"}
    assert accuracy["zero_shot"] > 0.7
    assert not [m for m in found if m.about.get("method") == "wise_ft"]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": ["the news of the {}"]},
        {"names": {"sport": "ball", "money": "ball"}},
        {"names": {}},
    ],
    ids=["cut off before the class", "the same name", "names of unknown words"],
)
def test_prompts_that_come_out_the_same_are_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    content = tiny_text.write_plan(tmp_path, zero_shot={**PROMPTS, **changes})
    content["backbone"]["text"]["max_tokens"] = 4
    trial = Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    with pytest.raises(PlanError, match="classes 'sport' and 'money' have the same embedding"):
        trial.zero_shot("topics")


def test_evidence_says_that_only_the_ridge_kept_the_estimate_finite(tmp_path: Path) -> None:
    plan = tiny_text.write_plan(tmp_path, zero_shot=PROMPTS)
    words = {"sport": "ball goal", "money": "stock price"}
    rows = [(f"{words[name]} x{i}", name) for i in range(30) for name in tiny_text.CLASSES]
    pandas.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "train.csv", index=False)

    found = run_probe("label_prior", Trial(Bench(Plan.model_validate(plan), tmp_path / "features")))

    assert any(remark.startswith("topics: ") and "separable" in remark for remark in found.remarks)
    assert all(np.isfinite(m.value) for m in found.measurements)
    shown = markdown.render(
        decide(Policy(name="p", version=1, rules=[rule()]), [found], TODAY), [found]
    )
    assert "&gt; " not in shown
    assert "> label_prior: topics: the corrected logits classify every sample rightly" in shown


def test_a_text_backbone_and_its_calibrated_head_go_into_one_file(tmp_path: Path) -> None:
    plan = Plan.model_validate(tiny_text.write_plan(tmp_path, zero_shot=PROMPTS))
    trial = Trial(Bench(plan, tmp_path / "features"))
    expected = trial.calibrated("topics").logits(trial.outputs("test"))

    *_, whole = write_heads(trial, tmp_path / "heads", with_backbone=True)

    session = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    logits = [
        session.run(["calibrated_logits"], dict(trial.backbone.tokens(batch)))[0]
        for batch in trial.split("test").texts(7)
    ]
    np.testing.assert_allclose(np.concatenate(logits), expected, rtol=1e-3, atol=1e-3)


def test_a_text_encoder_beside_a_backbone_of_images_encodes_prompts(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    clean = digits_trial("clean")
    width = clean.outputs("test").features.shape[1]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(tiny_text.WORDS), width)).astype(np.float32)
    model = onnx.load_model(tiny_text.write_onnx(tmp_path))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(vectors, "vectors"))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = width
    onnx.save_model(model, tmp_path / "encoder.onnx")
    described = {
        "prompts": ["the {}"],
        "names": {"6": "ball", "7": "goal", "8": "stock", "9": "price"},
        "encoder": {
            "onnx": tmp_path / "encoder.onnx",
            "text": {"tokenizer": tiny_text.write_tokenizer(tmp_path)},
        },
    }

    head = changed(clean, tasks={TASK: {"zero_shot": described}}).zero_shot(TASK)

    assert isinstance(head, CosineHead)
    mean = vectors[[tiny_text.WORDS.index("the"), tiny_text.WORDS.index("ball")]].mean(axis=0)
    np.testing.assert_allclose(head.weight[:, 0], mean / np.linalg.norm(mean), rtol=1e-4)

    described["names"] = {"six": "ball"}
    with pytest.raises(PlanError, match="unknown class 'six'"):
        changed(clean, tasks={TASK: {"zero_shot": described}}).zero_shot(TASK)
