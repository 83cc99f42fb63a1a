"""Rows of checkpoints: the planted plateau is found, and what cannot be told is refused."""

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from gate.backbone.backbone import Backbone
from gate.checkpoints.choice import Choice
from gate.errors import ExitCode
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.probes.evidence import run_probe
from tests import tiny
from tests.conftest import Gate

SIDE = 4
STRONG, WEAK = (1.0, 0.0), (0.0, 1.0)  # a channel that tells the class, and one that hardly does


class Means(nn.Module):
    """Two features: the means of the first two channels, weighted into one, and of the third."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.zeros(2))

    def forward(self, images: Tensor) -> Tensor:
        means = images.mean(dim=(2, 3))
        return torch.stack([means[:, :2] @ self.mix, means[:, 2]], dim=1)


def means() -> Means:
    return Means()


@pytest.fixture
def write_row(tmp_path: Path) -> Callable[..., Path]:
    """Writes a row of checkpoints, each by how it weights the channels."""

    def write(**mixes: tuple[float, float]) -> Path:
        folder = tmp_path / "row"
        folder.mkdir()
        for name, mix in mixes.items():
            save_file({"mix": np.array(mix, np.float32)}, folder / f"{name}.safetensors")
        return folder

    return write


@pytest.fixture
def write_plan(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plan on two classes of images, with so many of them to test on."""

    def write(test: int = 1000, **changes: Any) -> Path:
        rng = np.random.default_rng(0)
        for name, count in (("train", 200), ("test", test)):
            labels = np.arange(count) % 2
            signal = np.stack(
                [labels, np.where(rng.random(count) < 0.7, labels, 1 - labels)], axis=1
            )
            channels = np.concatenate([100 + 60 * signal, np.full((count, 1), 128)], axis=1)
            noise = rng.integers(-20, 20, (count, SIDE, SIDE, 3))
            pixels = (channels[:, None, None, :] + noise).astype(np.uint8)
            np.savez(tmp_path / f"{name}.npz", image=pixels, label=labels)
        split = {"classes": ["dark", "bright"]}
        content = {
            "name": "tiny",
            "backbone": {
                "weights": str(tmp_path / "nowhere.safetensors"),
                "arch": "tests.checkpoints.test_measure:means",
                "preprocessing": {"size": SIDE},
            },
            "splits": {
                name: {"path": str(tmp_path / f"{name}.npz"), **split} for name in ("train", "test")
            },
            "tasks": {"task": {"train": "train", "test": "test"}},
            "probes": {"clean_accuracy": {}},
            **changes,
        }
        path = tmp_path / "plan.yaml"
        path.write_text(json.dumps(content))  # YAML, too, and without aliases
        return path

    return write


WriteRow = Callable[..., Path]
WritePlan = Callable[..., Path]


def test_it_finds_the_first_that_transfers_as_well_as_the_last(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row = write_row(epoch_1=WEAK, epoch_2=WEAK, epoch_9=STRONG, epoch_10=(1.0, 0.01))
    (row / "epoch_2.safetensors").unlink()
    plan, plot = write_plan(), tmp_path / "plots" / "curve.svg"

    code, out, err = gate("checkpoints", row, "--plan", plan, "--plot", plot)

    assert code == ExitCode.ACCEPT
    rows = [line.split() for line in out.splitlines()]
    assert [r[0] for r in rows[1:4]] == ["epoch_1", "epoch_9", "epoch_10"]
    assert "epoch_9 is the earliest checkpoint on the plateau: no other of 3" in out
    assert "epoch_1, before it, is worse: task task: epoch_9 is better by 0.2" in out
    told = [line for line in err.splitlines() if ".safetensors: " not in line]  # what is not said
    assert told == ["gate: 3 checkpoints on 1 tasks: 3,600 forward passes"]
    assert b"epoch_10" in plot.read_bytes()


def test_accuracies_are_those_of_the_probe_and_the_digests_those_of_the_files(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row, plan, out = write_row(a=WEAK, b=STRONG), write_plan(), tmp_path / "choice.json"

    code, shown, _ = gate("checkpoints", row, "--plan", plan, "--format", "json", "--out", out)

    assert (code, shown) == (ExitCode.ACCEPT, "")
    found = json.loads(out.read_text())
    for name in ("a", "b"):
        candidate = load_plan(plan, row / f"{name}.safetensors")
        evidence = run_probe("clean_accuracy", Trial(Bench(candidate, tmp_path / "features")))
        (accuracy,) = (
            m
            for m in found["plateau"]["measurements"]
            if m["metric"] == "accuracy" and m["about"]["checkpoint"] == name
        )
        probed = evidence.measurements[0]
        assert [accuracy[key] for key in ("value", "low", "high", "n")] == [
            probed.value, probed.low, probed.high, probed.n,
        ]  # fmt: skip
        assert found["backbones"][name] == evidence.backbone
        assert found["data"] == evidence.data


def test_a_peak_rejects_and_too_few_images_are_inconclusive(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    row = write_row(epoch_1=STRONG, epoch_2=WEAK)

    code, _, err = gate("checkpoints", row, "--plan", write_plan())

    assert code == ExitCode.REJECT
    assert "gate: peak before the end: epoch_2" in err

    code, _, err = gate("checkpoints", row, "--plan", write_plan(100), "--tolerance", "0.3")

    assert code == ExitCode.INCONCLUSIVE
    assert "gate: too few test images to tell whether epoch_2" in err


def test_features_are_computed_once(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    call = ["checkpoints", write_row(a=WEAK, b=STRONG), "--plan", write_plan()]
    kept = ["--features", tmp_path / "features"]

    first, again = gate(*call, *kept), gate(*call, *kept)

    assert "2,400 forward passes" in first[2]
    assert "gate: 2 checkpoints on 1 tasks: 0 forward passes" in again[2]
    assert first[1] == again[1]


def test_one_checkpoint_is_open_at_a_time(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtimes: list[weakref.ref[object]] = []

    class Watched(Backbone):
        def __init__(self, *arguments: Any) -> None:
            assert [each() for each in runtimes if each()] == []
            super().__init__(*arguments)
            runtimes.append(weakref.ref(self._runtime))

    monkeypatch.setattr("gate.measure.bench.Backbone", Watched)
    row = write_row(a=WEAK, b=STRONG, c=(1.0, 0.01))

    assert gate("checkpoints", row, "--plan", write_plan())[0] == ExitCode.ACCEPT
    assert len(runtimes) == 6  # all are tried before the first is measured


def test_a_checkpoint_is_read_as_what_lies_beside_it_says(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row, plan, out = write_row(a=STRONG, b=STRONG), write_plan(), tmp_path / "choice.json"
    beside = yaml.safe_load(plan.read_text())["backbone"]
    beside["preprocessing"]["mean"] = [0.5]

    # where it lay before its folder was moved
    (row / "b.yaml").write_text(yaml.safe_dump({**beside, "weights": "elsewhere/b.safetensors"}))
    save_file({"mix": np.array([1.0, 0.01], np.float32)}, row / "b.safetensors")
    code, _, _ = gate("checkpoints", row, "--plan", plan, "--format", "json", "--out", out)

    settings = json.loads(out.read_text())["settings"]["backbones"]
    assert code == ExitCode.ACCEPT
    assert [settings[n]["preprocessing"]["mean"] for n in ("a", "b")] == [None, [0.5]]

    (row / "b.yaml").write_text(yaml.safe_dump({**beside, "weights": "a.safetensors"}))
    code, _, err = gate("checkpoints", row, "--plan", plan)

    assert code == ExitCode.USAGE
    assert "b.yaml: describes a.safetensors, and lies beside b.safetensors" in err


def test_a_checkpoint_that_cannot_be_loaded_is_named_before_anything_is_measured(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row, features = write_row(a=STRONG, b=WEAK, c=STRONG), tmp_path / "features"
    (row / "c.safetensors").write_bytes(b"no weights")

    code, _, err = gate("checkpoints", row, "--plan", write_plan(), "--features", features)

    assert code == ExitCode.ERROR
    assert "c.safetensors: not safetensors, or truncated" in err
    assert not features.exists()


def test_an_architecture_that_is_not_there_names_the_checkpoint(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    backbone = {"weights": "x", "arch": "nowhere:factory", "preprocessing": {"size": SIDE}}

    code, _, err = gate(
        "checkpoints", write_row(a=STRONG, b=WEAK), "--plan", write_plan(backbone=backbone)
    )

    assert code == ExitCode.ERROR
    assert "a.safetensors: arch 'nowhere:factory' cannot be imported" in err


def test_the_same_bytes_twice_are_refused_by_name(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    code, _, err = gate(
        "checkpoints", write_row(a=STRONG, b=WEAK, c=STRONG), "--plan", write_plan()
    )

    assert code == ExitCode.ERROR
    assert "c.safetensors: has the same bytes as a (sha256:" in err


def test_one_checkpoint_makes_no_row(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row = write_row(a=STRONG)
    tiny.write_onnx(row / "b.onnx")

    code, _, err = gate("checkpoints", row, "--plan", write_plan())

    assert code == ExitCode.ERROR
    assert "row: .safetensors files in it: 1, and a plateau takes two checkpoints or more" in err

    code, _, err = gate("checkpoints", tmp_path / "none", "--plan", write_plan())

    assert code == ExitCode.ERROR
    assert "none: cannot be read: No such file or directory" in err


def test_only_tasks_with_heads_on_plain_frozen_features_compare_checkpoints(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    row = write_row(a=STRONG, b=(1.0, 0.01))
    plain = {"train": "train", "test": "test"}
    trained = {"scratch": {**plain, "transfer": {"mode": "from_scratch"}}}
    square = {"pattern": "square", "colour": ["red"], "size": [0.3], "place": ["top_left"]}
    stamped = {"triggers": [square]}
    others = {**trained, "debiased": {**plain, "debias": stamped}}

    code, out, _ = gate("checkpoints", row, "--plan", write_plan(tasks={"task": plain, **others}))

    assert code == ExitCode.ACCEPT
    assert "task scratch is left out: it trains weights" in out

    code, _, err = gate("checkpoints", row, "--plan", write_plan(tasks=others))

    assert code == ExitCode.USAGE
    assert "no task has a head on plain frozen features" in err
    assert "scratch: it trains weights, and no head on frozen features; debiased: debias" in err


def test_fewer_than_a_hundred_test_images_are_refused(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    code, _, err = gate("checkpoints", write_row(a=STRONG, b=WEAK), "--plan", write_plan(99))

    assert code == ExitCode.ERROR
    assert "tasks.task: split test has 99 test images, and a plateau takes 100 or more" in err


@pytest.mark.parametrize("tolerance", ["0", "1", "nan", "-0.1"])
def test_a_tolerance_that_tells_nothing_is_refused(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tolerance: str
) -> None:
    call = ["checkpoints", write_row(a=STRONG, b=WEAK), "--plan", write_plan()]

    code, _, err = gate(*call, "--tolerance", tolerance)

    assert code == ExitCode.USAGE
    assert "above 0 and below 1" in err


def test_results_go_beside_the_row_and_to_two_files(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    row, out = write_row(a=STRONG, b=WEAK), tmp_path / "out"
    call = ["checkpoints", row, "--plan", write_plan()]

    assert "which is read" in gate(*call, "--out", row / "a.safetensors")[2]
    assert "name two files" in gate(*call, "--out", out, "--plot", out)[2]
    assert (row / "a.safetensors").exists()


def test_the_loss_between_two_checkpoints_and_beyond_them_makes_a_basin(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan, tmp_path: Path
) -> None:
    # the more the weak channel weighs, the harder images are told, and worst beyond the ends
    row, out = write_row(a=WEAK, b=(1.0, -0.5), c=(1.0, 0.5)), tmp_path / "choice.json"
    plan = write_plan()
    call = ["checkpoints", row, "--plan", plan, "--basin", "--format", "json", "--out", out]

    assert gate(*call)[0] == ExitCode.ACCEPT

    (found,) = Choice.model_validate_json(out.read_bytes()).basins
    assert found.ends == ("b", "c")
    assert found.length == 1
    assert found.delta == 0.25
    assert f", {found.delta:.3g})-basin" in found.says
    losses = {m.about["share"]: m.value for m in found.measurements if m.metric == "loss"}
    assert losses["0"] == pytest.approx(loss_by_hand(plan, (1.0, -0.5)), abs=1e-4)
    assert losses["0.5"] == pytest.approx(loss_by_hand(plan, (1.0, 0.0)), abs=1e-4)
    assert losses["1.25"] == pytest.approx(loss_by_hand(plan, (1.0, 0.75)), abs=1e-4)
    along = [losses[f"{share / 8:g}"] for share in range(9)]
    farthest = max(abs(loss - sum(along) / 9) for loss in along)
    assert found.epsilon.value == pytest.approx(farthest)
    mean, twice = sum(along) / 9, 2 * found.epsilon.high
    assert min(losses["-0.25"], losses["1.25"]) - mean > twice
    assert losses["1.125"] - mean < twice


def loss_by_hand(plan: Path, mix: tuple[float, float]) -> float:
    """Cross entropy of scikit-learn's own logistic regression on features in plain numpy."""

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(plan.parent / f"{name}.npz") as arrays:
            means = arrays["image"].mean(axis=(1, 2)) / 255
            return np.stack([means[:, :2] @ np.array(mix), means[:, 2]], axis=1), arrays["label"]

    head = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(*split("train"))
    features, labels = split("test")
    return float(log_loss(labels, head.predict_proba(features)))


def test_a_barrier_between_two_checkpoints_is_no_basin(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    # half-way, the weights are zero and features say nothing
    row = write_row(a=WEAK, b=(1.0, 0.01), c=(-1.0, 0.0))

    code, out, _ = gate("checkpoints", row, "--plan", write_plan(), "--basin")

    assert code == ExitCode.ACCEPT
    assert "no basin is shown between b and c on task task: over a distance of 2" in out


def test_there_is_no_basin_where_the_earliest_is_the_last(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    row = write_row(a=WEAK, b=STRONG)

    _, out, _ = gate("checkpoints", row, "--plan", write_plan(), "--basin")

    assert "no basin was measured: no checkpoint before the last was found" in out


def test_a_basin_is_refused_where_no_weights_lie_between_before_anything_is_measured(
    gate: Gate, write_row: WriteRow, write_plan: WritePlan
) -> None:
    row, plan = write_row(a=WEAK, b=STRONG), write_plan()
    beside = yaml.safe_load(plan.read_text())["backbone"]
    beside["preprocessing"]["mean"] = [0.5]
    (row / "b.yaml").write_text(yaml.safe_dump({**beside, "weights": "b.safetensors"}))

    code, _, err = gate("checkpoints", row, "--plan", plan, "--basin")

    assert code == ExitCode.USAGE
    assert "--basin: checkpoint b is described unlike a" in err
    assert "forward passes" not in err

    (row / "b.yaml").unlink()
    for name in ("a", "b"):
        tiny.write_onnx(row / f"{name}.onnx")
    onnx = {"onnx": "x.onnx", "preprocessing": {"size": tiny.SIDE}}
    code, _, err = gate("checkpoints", row, "--plan", write_plan(backbone=onnx), "--basin")

    assert code == ExitCode.USAGE
    assert "--basin: checkpoint a: " in err
    assert "give safetensors with the factory of their architecture" in err
