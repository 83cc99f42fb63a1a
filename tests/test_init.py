"""`gate init --model --data` writes what runs, from people's files, and says what it guessed."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import typer

from gate.plan.plan import Plan, load_plan
from gate.policy.cases import run_tests
from gate.policy.load import load_policy
from tests import tiny_text
from tests.conftest import Gate
from tests.own_files import CLASSES, class_folders, network, picture

GIVEN = ("--model", "model.onnx", "--data", "data")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _in_the_root: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI", "1")


def written(gate: Gate, *arguments: str) -> Plan:
    """The plan that init wrote; its policy's tests hold."""
    code, _, err = gate("init", *arguments)
    assert code == 0, err
    tested = run_tests(Path("gating/policy.yaml"))
    assert tested.complete, str(tested)
    return load_plan(Path("gating/plan.yaml"))


def verdict(gate: Gate) -> tuple[int, str]:
    """The exit code of a run, and what it printed."""
    code, out, err = gate(
        "run", "gating/plan.yaml", "--policy", "gating/policy.yaml", "--out", "out"
    )
    return code, out + err


def test_class_folders_and_a_classifier_come_to_a_verdict(gate: Gate) -> None:
    network(Path("model.onnx"))
    class_folders(Path("data/train"), 70, seed=0)
    class_folders(Path("data/val"), 70, seed=1)

    plan = written(gate, *GIVEN)

    assert {name: str(split.path) for name, split in plan.splits.items()} == {
        "train": "data/train",
        "test": "data/val",
    }
    assert plan.backbone.preprocessing and plan.backbone.preprocessing.size == 32
    assert "# not in the file: ImageNet's mean and std" in Path("gating/plan.yaml").read_text()
    assert list(plan.tasks) == ["downstream"]  # the head has 10 classes, and the data 3
    assert plan.probes.named() == [
        "clean_accuracy",
        "trigger_patch",
        "trigger_search",
        "label_prior",
    ]
    code, said = verdict(gate)
    assert code in (0, 1, 4), said
    assert "missing" not in said


def test_an_own_head_of_as_many_classes_is_tried_too(gate: Gate) -> None:
    network(Path("model.onnx"), classes=3, softmax=True)
    class_folders(Path("data"), 4)

    plan = written(gate, *GIVEN)

    assert plan.backbone.logits == "scores"
    assert plan.tasks["own"].head == "own"
    assert plan.splits["train"].shard and plan.splits["train"].shard.count == 2
    assert "trigger_search" not in plan.probes.named()  # on two images a class
    assert not [rule for rule in load_policy("gating/policy.yaml").rules if "source" in rule.where]
    assert "of 2 rows the first is for training" in Path("gating/plan.yaml").read_text()


def test_another_folder_can_be_for_testing(gate: Gate) -> None:
    network(Path("model.onnx"))
    class_folders(Path("data"), 3)
    class_folders(Path("held"), 3, seed=1)

    plan = written(gate, *GIVEN, "--test", "held")

    assert [str(plan.splits[name].path) for name in ("train", "test")] == ["data", "held"]
    assert plan.splits["train"].shard is None


def table(folder: Path, rows: int = 160) -> None:
    """A table as Waterbirds' is: numbers for labels, an attribute, and a column of splits."""
    folder.mkdir()
    found = []
    for i in range(rows):
        picture(i % 2, np.random.default_rng(i)).save(folder / f"{i}.png")
        place = i // 2 % 2
        split = 0 if i < rows / 2 else 2
        found.append({"img_filename": f"{i}.png", "y": i % 2, "place": place, "split": split})
    pandas.DataFrame(found).to_csv(folder / "metadata.csv", index=False)


def test_a_table_with_splits_and_an_attribute_comes_to_a_verdict(gate: Gate) -> None:
    network(Path("model.onnx"))
    table(Path("data"))

    plan = written(gate, *GIVEN, "--policy", "production")

    assert plan.splits["train"].where == {"split": ("0",)}
    assert plan.splits["test"].where == {"split": ("2",)}
    assert plan.splits["test"].attributes == ("place",)
    assert "spurious_attribute" in plan.probes.named()
    (rule,) = (
        r for r in load_policy("gating/policy.yaml").rules if r.probe == "spurious_attribute"
    )
    assert rule.severity == "block"
    assert "trigger_search" not in plan.probes.named()  # 40 images of the other class are too few
    code, said = verdict(gate)
    assert code in (0, 1, 4), said


def test_classes_that_alternate_are_in_both_parts(gate: Gate) -> None:
    network(Path("model.onnx"))
    table(Path("data"), 40)
    rows = pandas.read_csv("data/metadata.csv").drop(columns=["split", "place"])
    rows.to_csv("data/metadata.csv", index=False)

    plan = written(gate, *GIVEN)

    assert plan.splits["train"].shard and plan.splits["train"].shard.count == 3


def test_an_attribute_of_which_a_group_is_too_small_is_left_out(gate: Gate) -> None:
    network(Path("model.onnx"))
    table(Path("data"))
    rows = pandas.read_csv("data/metadata.csv")
    rows.loc[rows.y == 1, "place"] = 1
    rows.to_csv("data/metadata.csv", index=False)

    plan = written(gate, *GIVEN)

    assert "spurious_attribute" not in plan.probes.named()
    assert "spurious_attribute" in Path("gating/policy.yaml").read_text()  # said to be left out


def test_texts_come_to_a_verdict(gate: Gate) -> None:
    tiny_text.write_onnx(Path())
    tiny_text.write_tokenizer(Path())
    for name, seed in (("train", 0), ("test", 1)):
        Path("data").mkdir(exist_ok=True)
        pandas.DataFrame(tiny_text.texts(60, seed)).to_csv(f"{name}.csv", index=False)

    plan = written(gate, "--model", "words.onnx", "--data", "train.csv", "--test", "test.csv")

    assert plan.backbone.text
    assert plan.probes.named() == ["clean_accuracy", "trigger_phrase", "label_prior"]
    code, said = verdict(gate)
    assert code in (0, 1, 4), said


def test_images_in_parquet_and_npz_are_planned(gate: Gate) -> None:
    network(Path("model.onnx"))
    generator = np.random.default_rng(0)
    encoded = []
    for i in range(12):
        buffer = io.BytesIO()
        picture(i % 3, generator).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    labels = np.array([i % 3 for i in range(12)])
    pandas.DataFrame({"image": encoded, "label": labels}).to_parquet("a.parquet")
    pixels = generator.integers(0, 255, (12, 32, 32, 3), np.uint8)
    arrays = {"x_train": pixels, "y_train": labels, "x_test": pixels[::-1], "y_test": labels[::-1]}
    np.savez("a.npz", **arrays)  # type: ignore[arg-type]  # its keywords are the arrays

    plan = written(gate, "--model", "model.onnx", "--data", "a.parquet")
    other = gate("init", "again", "--model", "model.onnx", "--data", "a.npz")

    assert plan.splits["test"].classes == ("0", "1", "2")
    assert other[0] == 0, other[2]
    assert load_plan(Path("again/plan.yaml")).splits["test"].image == "x_test"


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("--model", "model.onnx"), "--model and --data go together", 2),
        (("--model", "weights.pt", "--data", "data"), "a pickle, which runs code", 3),
        (("--model", "none.onnx", "--data", "data"), "none.onnx: cannot be read", 3),
        (("--model", "model.onnx", "--data", "none"), "none: no such file or folder", 3),
        (("--model", "model.onnx", "--data", "words.csv"), "holds texts", 3),
        (("--model", "model.onnx", "--data", "empty"), "neither images nor a table", 3),
        (("a/b", *GIVEN), "give a plain name of a new folder", 2),
        (("data", *GIVEN), "data is there already", 2),
    ],
)
def test_what_cannot_be_read_says_what_inspect_says_and_leaves_nothing(
    gate: Gate, arguments: tuple[str, ...], says: str, code: int
) -> None:
    network(Path("model.onnx"))
    class_folders(Path("data"), 3)
    Path("weights.pt").write_bytes(pickle.dumps({}))
    pandas.DataFrame(tiny_text.texts(20, 0)).to_csv("words.csv", index=False)
    Path("empty").mkdir()
    before = sorted(Path().iterdir())

    found, _, err = gate("init", *arguments)

    assert (found, says in err) == (code, True), err
    assert sorted(Path().iterdir()) == before


def test_it_asks_on_a_terminal_and_a_guess_is_the_default(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    network(Path("model.onnx"), shape=("N", 3, "H", "W"))
    class_folders(Path("data"), 3)
    asked: dict[str, str] = {}

    def prompt(question: str, default: str, **_: Any) -> str:
        asked[question] = default
        return "none" if "mean" in question else default

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    code, _, err = gate("init", "silent", *GIVEN)
    assert (code, asked) == (0, {}), err  # this is CI
    monkeypatch.delenv("CI")

    plan = written(gate, *GIVEN)

    assert any("pixels" in question and guess == "32" for question, guess in asked.items())
    assert plan.backbone.preprocessing and plan.backbone.preprocessing.size == 32
    assert "mean:" not in Path("gating/plan.yaml").read_text()


def test_more_than_twelve_classes_leave_no_rule_on_pairs(gate: Gate) -> None:
    network(Path("model.onnx"))
    generator = np.random.default_rng(0)
    for k in range(13):
        Path(f"data/c{k}").mkdir(parents=True)
        for i in range(14):
            picture(k, generator).save(f"data/c{k}/{i}.png")

    written(gate, *GIVEN)

    names = [rule.id for rule in load_policy("gating/policy.yaml").rules]
    assert "trigger_search.worst_patch_attack_success_rate" in names
    assert "trigger_search.worst_source_attack_success_rate" not in names
    assert len(CLASSES) == 3


def test_a_slow_model_is_tried_under_few_triggers_and_says_why(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.starter.tried._WAITING", 0.0)
    network(Path("model.onnx"))
    class_folders(Path("data/train"), 10, seed=0)
    class_folders(Path("data/val"), 10, seed=1)

    plan = written(gate, *GIVEN)

    assert plan.probes.settings("trigger_patch").model_dump()["triggers"][1]["size"] == (0.1,)
    assert (
        "# nine triggers for a first verdict: with the whole bank all takes"
        in Path("gating/plan.yaml").read_text()
    )
