"""Modules rewound: the planted critical one is found, an untouched one costs nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file, save_file

from gate import stats
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.alterations import Rewind
from gate.measure.bench import Bench
from gate.measure.path_norm import MOST_PLACES
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.estimate import Range, estimate
from gate.probes.evidence import run_probe
from gate.probes.module_criticality import ModuleCriticality
from gate.values import Evidence, Measurement
from tests import related, tiny, tiny_text

MODULES = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "head")


def fallen(folder: Path, candidate: related.Weights, **settings: Any) -> Evidence:
    """Evidence on the weights of a candidate and, as its ancestor, of the trained network."""
    return probed(related.trial(folder, candidate, related.trained("normed", 0)), **settings)


def probed(trial: Trial, **settings: Any) -> Evidence:
    content = trial.plan.model_dump(exclude_unset=True)
    content["probes"] = {"module_criticality": settings}
    bench = Bench(Plan.model_validate(content), trial.bench.folder)
    return run_probe("module_criticality", Trial(bench))


def falls(evidence: Evidence, metric: str = "accuracy_fall") -> dict[str, Measurement]:
    """By module, in the order in which they were measured."""
    return {m.about["module"]: m for m in evidence.measurements if m.metric == metric}


def planted() -> related.Weights:
    """The trained network with its second convolution undone by others, which stand in for it."""
    weights = related.trained("normed", 0)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(16, generator=generator)
    moved = {name: tensor.clone() for name, tensor in weights.items()}
    for name in ("conv2.weight", *(f"bn2.{each}" for each in BUFFERS)):
        moved[name] = weights[name][order]
    moved["conv3.weight"] = weights["conv3.weight"][:, order]
    return moved


BUFFERS = ("weight", "bias", "running_mean", "running_var")


@pytest.mark.parametrize("batch_norm", ["recalibrated", "kept"])
def test_modules_that_were_not_touched_fall_by_nothing_and_moved_ones_by_a_lot(
    tmp_path: Path, batch_norm: str
) -> None:
    evidence = fallen(tmp_path, planted(), batch_norm=batch_norm, recalibrated_on="train")

    found = falls(evidence)
    assert tuple(found) == MODULES
    for module in ("conv1", "bn1", "bn3", "head"):
        assert found[module].value == 0
        assert found[module].low < 0 < found[module].high
    for module in ("conv2", "conv3"):
        assert found[module].low > 0.3
    (worst,) = falls(evidence, "worst_accuracy_fall").values()
    assert worst.about["module"] in ("conv2", "conv3")
    assert worst.value == max(each.value for each in found.values())


def test_falls_are_those_that_torch_counts_without_gate(tmp_path: Path) -> None:
    ancestor, candidate = related.trained("normed", 0), related.trained("normed", 1, 2, after=0)
    images, labels = related.digits()
    x, y = related.inputs(images[related.TRAIN :]), torch.from_numpy(labels[related.TRAIN :])

    def correct(weights: related.Weights) -> torch.Tensor:
        network = related.normed()
        network.load_state_dict(weights)
        with torch.inference_mode():
            return torch.as_tensor(network.eval()(x).argmax(1) == y)

    found = falls(fallen(tmp_path, candidate, batch_norm="kept"))

    before, worst = correct(candidate), stats.Interval(-1, -1, -1)
    for module in MODULES:
        after = correct(
            {k: (ancestor if k.startswith(f"{module}.") else candidate)[k] for k in candidate}
        )
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        fall = stats.paired_difference(lost, won, len(y))
        assert (found[module].value, found[module].low, found[module].high) == fall
        corrected = stats.paired_difference(lost, won, len(y), searched_low=len(MODULES))
        worst = stats.Interval(*map(max, worst, corrected))
    (largest,) = falls(
        fallen(tmp_path, candidate, batch_norm="kept"), "worst_accuracy_fall"
    ).values()
    assert (largest.value, largest.low, largest.high) == worst
    assert largest.low < found[largest.about["module"]].low


def test_initial_weights_are_those_that_training_from_scratch_begins_at(tmp_path: Path) -> None:
    frozen = {"epochs": 1, "batch_size": 100, "learning_rate": 1e-30, "weight_decay": 0}
    scratch = {
        "train": "train", "test": "test", "transfer": {"mode": "from_scratch", "training": frozen},
    }  # fmt: skip
    candidate = related.trained("plain", 0)
    trial = related.trial(
        tmp_path, candidate, None, arch="plain", tasks={"scratch": scratch}, seed=3
    )

    found = falls(probed(trial, to="initial"))

    begun = load_file(trial.classifier(trial.plan.tasks["scratch"]).backbone.plan.path)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        drawn = related.plain().state_dict()
    assert all(torch.allclose(begun[name], drawn[name], atol=1e-6) for name in drawn)
    assert [each.value for each in found.values()] == [0, 0]  # nothing was learnt
    learnt = falls(
        probed(related.trial(tmp_path, candidate, None, arch="plain", seed=3), to="initial")
    )
    assert all(each.low > 0.2 for each in learnt.values())


def test_modules_of_a_network_that_a_task_trains_are_rewound_in_it(tmp_path: Path) -> None:
    """A pretrained network as its own ancestor, as in the paper: what fine-tuning changed."""
    brief = {"epochs": 1, "batch_size": 100, "learning_rate": 0.05}
    tuned = {
        "train": "train", "test": "test", "transfer": {"mode": "full_network", "training": brief},
    }  # fmt: skip
    weights = related.normed_of_seven().state_dict()
    trial = related.trial(
        tmp_path, weights, weights, arch="normed_of_seven", tasks={"tuned": tuned}
    )

    found = falls(probed(trial, modules=["conv1", "conv3"]))

    assert tuple(found) == ("conv1", "conv3")
    assert any(each.value != 0 for each in found.values())


def test_a_task_with_a_fitted_head_does_not_depend_on_the_own_one(tmp_path: Path) -> None:
    trial = related.trial(tmp_path, planted(), related.trained("normed", 0), ("fitted", "own"))

    evidence = probed(trial, recalibrated_on="train")

    of_task = {
        task: [m for m in evidence.measurements if m.about["task"] == task]
        for task in ("fitted", "own")
    }
    assert {m.about["module"]: m.value for m in of_task["fitted"]}["head"] == 0
    assert len(of_task["fitted"]) == len(of_task["own"]) == len(MODULES) + 1


def test_texts_are_passed_through_rewound_modules_too(tmp_path: Path) -> None:
    content = tiny_text.write_plan(tmp_path)
    pandas.DataFrame(tiny_text.texts(110, 1)).to_parquet(tmp_path / "test.parquet")
    weights = {"weights": tiny_text.write_weights(tmp_path), "arch": "tests.tiny_text:factory"}
    text = {**content["backbone"], **weights}
    text.pop("onnx")
    plan = {**content, "backbone": text, "ancestor": text, "probes": {"module_criticality": {}}}
    trial = Trial(Bench(Plan.model_validate(plan), tmp_path))

    found = falls(run_probe("module_criticality", trial))

    assert {each.value for each in found.values()} == {0}


# --- what evidence and estimates say --------------------------------------------------------------


def test_evidence_names_the_ancestor_and_what_became_of_batch_norm(tmp_path: Path) -> None:
    own = fallen(tmp_path, planted(), recalibrated_on="train")
    kept = fallen(tmp_path, planted(), batch_norm="kept")

    assert own.data.keys() == {"backbone of ancestor", "test", "train"}
    assert kept.data.keys() == {"backbone of ancestor", "test"}
    assert "BatchNorm statistics are taken anew of split train" in own.remarks[0]
    assert "stay as they are in the weights" in kept.remarks[0]
    assert fallen(tmp_path, planted(), recalibrated_on="train").to_json() == own.to_json()


def test_another_own_head_is_left_out_and_said(tmp_path: Path) -> None:
    trial = seven(tmp_path)

    evidence = probed(trial)

    assert tuple(falls(evidence)) == MODULES[:-1]
    assert evidence.remarks[0] == (
        "head cannot be rewound: head.bias of ancestor and backbone are of shapes (7,) and (10,); "
        "it is left out"
    )


def seven(folder: Path) -> Trial:
    """A candidate with ten classes and an ancestor with seven."""
    trial = related.trial(folder, planted(), planted(), ("fitted",))
    path = folder / "seven.safetensors"
    save_file(related.normed_of_seven().state_dict(), path)
    assert trial.plan.ancestor is not None
    described = {**trial.plan.ancestor.model_dump(), "weights": path}
    described["arch"] = "tests.related:normed_of_seven"
    return related.trial(folder, planted(), None, ("fitted",), ancestor=described)


def test_passes_are_those_that_the_engine_counts_then(tmp_path: Path) -> None:
    path_norm = {"draws": 3, "images": 100, "rise": 0.3}
    settings = {"recalibrated_on": "train", "modules": ["conv2", "head"]}
    for more in ({}, {"path_norm": path_norm}):
        probes = {"module_criticality": {**settings, **more}}
        ancestor = related.trained("normed", 0)
        trial = related.trial(tmp_path, planted(), ancestor, ("own", "fitted"), probes=probes)

        expected = estimate(trial.bench, trial.plan.probes.named(), calibrates=False)

        run_probe("module_criticality", trial)
        passes = trial.bench.engine.passes.total()
        if more:
            assert expected.total("passes").at_least < passes < expected.total("passes").at_most
            continue
        # outputs of test and of training images, then each of three networks on the test images
        assert expected.total("passes") == Range(passes, passes)
        assert passes == 897 + 900 + 3 * 897
        assert expected.total("training") == Range(3 * 900, 3 * 900)


# --- the path norm --------------------------------------------------------------------------------


def test_a_path_norm_is_nought_of_what_did_not_move_and_grows_as_less_may_be_lost(
    tmp_path: Path,
) -> None:
    candidate = {name: tensor.clone() for name, tensor in related.trained("plain", 1).items()}
    ancestor = {**candidate, "inner.1.weight": related.trained("plain", 0)["inner.1.weight"]}
    trial = related.trial(tmp_path, candidate, ancestor, ("fitted",), arch="plain")

    found = [
        falls(probed(trial, path_norm={"draws": 3, "images": 100, "rise": rise}), "path_norm")
        for rise in (0.05, 2.0)
    ]

    for each in found:
        assert (each["inner.3"].value, each["inner.3"].high) == (0, 0)
        assert each["inner.1"].low <= each["inner.1"].value <= each["inner.1"].high
    assert found[0]["inner.1"].value > found[1]["inner.1"].value > 0
    assert found[0]["inner.1"].n == 3


def test_a_module_that_bears_no_noise_is_said_to_have_no_path_norm(tmp_path: Path) -> None:
    candidate = {name: tensor.clone() for name, tensor in related.trained("plain", 1).items()}
    candidate["inner.3.weight"] *= 1e4  # which makes much of what noise changes before it
    ancestor = related.trained("plain", 0)
    trial = related.trial(tmp_path, candidate, ancestor, arch="plain")

    evidence = probed(
        trial, recalibrated_on="train", modules=["inner.1"],
        path_norm={"draws": 3, "images": 100, "rise": 1e-6},
    )  # fmt: skip

    assert not falls(evidence, "path_norm")
    assert "own: no path norm of inner.1: the least noise that was tried" in evidence.remarks[-1]


def test_noise_is_drawn_at_no_more_places_than_are_counted() -> None:
    assert MOST_PLACES == 66


# --- refusals -------------------------------------------------------------------------------------


def test_a_plan_without_an_ancestor_is_refused_unless_modules_go_to_initial_weights(
    tmp_path: Path,
) -> None:
    with pytest.raises(PlanError, match=r"module_criticality: needs the weights of an ancestor"):
        probed(related.trial(tmp_path, planted(), None))


@pytest.mark.parametrize(
    ("modules", "says"),
    [
        (["conv4"], r"no module 'conv4'; did you mean 'conv[123]'"),
        (
            ["pool"],
            r"pool has no parameters, so it cannot be rewound; drop it, or name",
        ),
        (["head"], r"head cannot be rewound: .*\(7,\) and \(10,\); drop it, or say to: initial"),
    ],
)
def test_a_module_that_cannot_be_rewound_is_refused(
    tmp_path: Path, modules: list[str], says: str
) -> None:
    with pytest.raises(PlanError, match=rf"module_criticality\.modules: {says}"):
        probed(seven(tmp_path), modules=modules)


def test_a_module_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"modules: conv1 stands twice; name each once"):
        ModuleCriticality(modules=("conv1", "head", "conv1"))


def test_an_ancestor_of_another_architecture_is_refused(tmp_path: Path) -> None:
    trial = related.trial(tmp_path, planted(), planted())
    save_file(related.plain().state_dict(), tmp_path / "plain.safetensors")
    assert trial.plan.ancestor is not None
    described = {**trial.plan.ancestor.model_dump(), "weights": tmp_path / "plain.safetensors"}
    described |= {"arch": "tests.related:plain", "layer": "inner.2", "logits": "inner.3"}

    with pytest.raises(
        PlanError, match=r"module_criticality: .*plain and .*normed differ in 22 ten"
    ):
        probed(related.trial(tmp_path, planted(), None, ancestor=described))


def test_an_onnx_file_has_no_modules_to_rewind(tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "tiny.onnx")
    described = {"onnx": path, "preprocessing": tiny.PREPROCESSING}
    trial = related.trial(
        tmp_path, planted(), None, (), backbone=described,
        tasks={"fitted": {"train": "train", "test": "test"}},
    )  # fmt: skip

    with pytest.raises(
        PlanError, match=r"backbone: .*tiny\.onnx is given as onnx, .* an arch; give"
    ):
        probed(trial, to="initial")


@pytest.mark.parametrize("key", ["path_norm", "batch_norm"])
def test_an_own_head_without_training_images_is_refused(tmp_path: Path, key: str) -> None:
    settings: dict[str, Any] = {"path_norm": {}, "batch_norm": "kept"} if key == "path_norm" else {}

    with pytest.raises(PlanError, match=r"tasks\.own: head: own .*name a split.*recalibrated_on"):
        fallen(tmp_path, planted(), **settings)


def test_a_module_under_which_features_overflow_is_named(tmp_path: Path) -> None:
    ancestor = {name: tensor.clone() for name, tensor in planted().items()}
    ancestor["conv2.weight"] *= 1e38

    with pytest.raises(BackboneError, match=r"^rewind conv2 test: .*: features of .* not finite"):
        probed(related.trial(tmp_path, planted(), ancestor), batch_norm="kept")


def test_fewer_than_a_hundred_images_are_refused(tmp_path: Path) -> None:
    trial = related.trial(tmp_path, planted(), planted())
    splits = {name: each.model_dump() for name, each in trial.plan.splits.items()}
    splits["test"]["shard"] = {"index": 0, "count": 10}

    with pytest.raises(EvidenceError, match=r"tasks\.own: split test: has \d\d examples.* 100"):
        probed(related.trial(tmp_path, planted(), planted(), splits=splits), batch_norm="kept")


def test_labels_are_not_shared_out_by_rewinding(tmp_path: Path) -> None:
    """The classes that were searched for the worst module are those of the same images."""
    trial = related.trial(tmp_path, planted(), related.trained("normed", 0))

    found = trial.rewound(trial.plan.tasks, Rewind(batch_norm="kept"))

    labels = trial.split("test").labels
    assert np.array_equal(found.unaltered["own"], trial.predictions(trial.plan.tasks["own"]))
    assert (found.altered["own"]["conv1"] == found.unaltered["own"]).all()
    assert (found.altered["own"]["conv2"] == labels).mean() < 0.7
