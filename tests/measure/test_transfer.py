"""Three ways of transfer, and what a task can change about its classifier."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.numpy import load, load_file, save
from safetensors.torch import save_file
from torch import nn

from gate import files
from gate.backbone import fine_tune
from gate.backbone.heads import LinearHead
from gate.data.split import Split
from gate.errors import BackboneError, EvidenceError, GateError, PlanError
from gate.measure.bench import Bench
from gate.measure.blocks import shift
from gate.measure.head import fit_nearest_class_mean
from gate.measure.transfer import balanced_rows, with_mean_weights
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.plan.remedies import against_attribute, against_trigger
from gate.plan.task import Task
from gate.policy.catalogue import CATALOGUE
from gate.probes.evidence import run_probe
from gate.probes.trigger_patch import Remedy
from gate.progress import Advance, Progress
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from tests import tiny

SIDE = tiny.SIDE
YELLOW = {"pattern": "square", "colour": ["yellow"], "size": [0.25], "place": ["top_left"]}
FULL = {"mode": "full_network", "training": {"epochs": 3, "batch_size": 16}}


class Normed(nn.Module):
    """A convolution, a batch norm and a mean over places; and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.relu, self.linear = nn.ReLU(), nn.Linear(5, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.relu(self.norm(self.conv(images))).mean(dim=(2, 3))
        return torch.as_tensor(self.linear(features))


def passes(trial: Trial) -> int:
    """Forward passes of single images through the candidate so far."""
    return trial.bench.engine.passes[trial.backbone.digest]


def normed() -> Normed:
    return Normed()


MakeTrial = Callable[..., Trial]


@pytest.fixture
def make(tmp_path: Path) -> MakeTrial:
    """A trial on two classes of images, one bright and one dark; tasks and backbone as given."""
    rng = np.random.default_rng(1)
    labels = np.arange(120) % 2
    images = rng.integers(0, 120, (120, SIDE, SIDE, 3)) + labels[:, None, None, None] * 90
    shades = np.array(["a", "b", "b", "a", "a", "b", "a", "b", "a", "b"] * 12)
    for name, rows in (("train", slice(0, 60)), ("test", slice(60, 120))):
        pixels = images[rows].astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", image=pixels, label=labels[rows], shade=shades[rows])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(Normed().state_dict(), tmp_path / "weights.safetensors")
    backbone = {
        "weights": tmp_path / "weights.safetensors",
        "arch": "tests.measure.test_transfer:normed",
        "layer": "relu",
        "logits": "linear",
        "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]},
    }

    def split(name: str) -> dict[str, Any]:
        attributes = ["shade"]
        path = tmp_path / f"{name}.npz"
        return {"path": path, "classes": ["dark", "bright"], "attributes": attributes}

    def trial(folder: str = "features", **changes: Any) -> Trial:
        content: dict[str, Any] = {
            "name": "tiny",
            "backbone": backbone,
            "splits": {"train": split("train"), "test": split("test")},
            "tasks": {"task": {"train": "train", "test": "test"}},
            "probes": {"clean_accuracy": {}},
        }
        return Trial(Bench(Plan.model_validate({**content, **changes}), tmp_path / folder))

    return trial


def task(**changes: Any) -> Task:
    return Task.model_validate({"train": "train", "test": "test", **changes})


def body(trial: Trial, **changes: Any) -> dict[str, np.ndarray]:
    return load_file(trial.classifier(task(**changes)).backbone.plan.path)


def test_full_network_transfer_learns_and_moves_every_weight(make: MakeTrial) -> None:
    trial = make()

    right = trial.predictions(task(transfer=FULL)) == trial.split("test").labels

    before, after = load_file(trial.backbone.plan.path), body(trial, transfer=FULL)
    assert right.mean() > 0.9
    for name in ("conv.weight", "norm.weight", "norm.running_mean"):
        assert not np.array_equal(before[name], after[name])


def test_batch_norm_alone_drifts_where_it_adapts_under_a_head(make: MakeTrial) -> None:
    trial = make()
    adapting = {"batch_norm": "adapting", "training": {"epochs": 3, "batch_size": 16}}

    before, after = load_file(trial.backbone.plan.path), body(trial, transfer=adapting)

    assert np.array_equal(before["conv.weight"], after["conv.weight"])
    assert np.array_equal(before["norm.weight"], after["norm.weight"])
    assert not np.array_equal(before["norm.running_mean"], after["norm.running_mean"])


def test_from_scratch_does_not_depend_on_the_pretrained_weights(
    make: MakeTrial, tmp_path: Path
) -> None:
    scratch = {"mode": "from_scratch", "training": {"epochs": 1}}
    one = body(make(), transfer=scratch)
    torch.manual_seed(5)
    save_file(Normed().state_dict(), tmp_path / "weights.safetensors")

    other = body(make("elsewhere"), transfer=scratch)

    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_linear_head_is_what_the_fine_tuned_network_predicts_with(make: MakeTrial) -> None:
    trial = make()
    classifier = trial.classifier(task(transfer=FULL))
    images = next(trial.split("test").batches(60, SIDE, 3))
    network = Normed()
    network.load_state_dict(
        {k: torch.from_numpy(v) for k, v in load_file(classifier.backbone.plan.path).items()}
    )
    head = classifier.head
    assert head is not None

    with torch.inference_mode():
        inputs = torch.from_numpy(trial.backbone.inputs(images))
        maps = network.eval().relu(network.norm(network.conv(inputs)))
    by_hand = maps.mean(dim=(2, 3)).numpy() @ head.weight + head.bias

    assert trial.predictions(task(transfer=FULL)).tolist() == by_hand.argmax(axis=1).tolist()


def test_a_run_that_was_broken_off_goes_on_and_ends_with_the_same_bytes(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmented = {"mode": "full_network", "training": {"epochs": 4, "augment": True}}
    whole = make("whole").classifier(task(transfer=augmented))
    kept = fine_tune._keep
    begun: list[int] = []

    def breaks_off(path: Path, network: Any, optimiser: Any, epochs: int) -> None:
        kept(path, network, optimiser, epochs)
        begun.append(epochs)
        if begun == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(fine_tune, "_keep", breaks_off)
    trial = make("broken")
    with pytest.raises(KeyboardInterrupt):
        trial.classifier(task(transfer=augmented))

    resumed = trial.classifier(task(transfer=augmented))
    assert resumed.backbone.digest == whole.backbone.digest
    assert np.array_equal(resumed.accuracies, whole.accuracies)
    assert begun == [1, 2, 3, 4]
    assert not list(trial.bench.folder.rglob("checkpoint*"))


def test_training_accuracy_is_that_of_images_as_they_are_met_in_training_mode(
    make: MakeTrial,
) -> None:
    training = {"epochs": 2, "batch_size": 60, "learning_rate": 1e-9, "weight_decay": 0}
    trial = make()
    found = trial.classifier(
        task(transfer={"mode": "full_network", "training": training})
    )  # one batch an epoch, and hardly a step
    images = next(trial.split("train").batches(60, SIDE, 3))
    network = Normed()
    before = load_file(trial.backbone.plan.path)
    network.load_state_dict({name: torch.from_numpy(each) for name, each in before.items()})

    with torch.inference_mode():
        maps = network.norm(network.conv(torch.from_numpy(trial.backbone.inputs(images))))
        features = network.relu(maps).mean(dim=(2, 3)).numpy()
    by_hand = (found.linear.predict(features) == trial.split("train").labels).mean()

    assert found.accuracies == pytest.approx([by_hand, by_hand])
    assert trial.classifier(task()).training_accuracy is None


def test_more_weight_decay_leaves_smaller_weights(make: MakeTrial) -> None:
    trial = make()

    sizes = []
    for decay in (0.0, 0.5):
        transfer = {
            "mode": "full_network",
            "training": {"epochs": 3, "weight_decay": decay, "batch_size": 8},
        }
        sizes.append(np.linalg.norm(body(trial, transfer=transfer)["conv.weight"]))

    assert sizes[1] < 0.8 * sizes[0]


# --- what training keeps --------------------------------------------------------------------------


class BrokenOff(Progress):
    """Progress that ends the training of 60 images once its first epoch is through."""

    @contextmanager
    def __call__(self, *_of_step: object, **_named: object) -> Iterator[Advance]:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done > 60:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture
def checkpoint(make: MakeTrial) -> Path:
    """What a training that was broken off left."""
    trial = make()
    with pytest.raises(KeyboardInterrupt):
        Trial(Bench(trial.plan, trial.bench.folder, BrokenOff())).classifier(task(transfer=FULL))
    (path,) = trial.bench.folder.rglob("checkpoint.safetensors")
    return path


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_checkpoint_is_refused_until_it_is_deleted(
    make: MakeTrial, checkpoint: Path
) -> None:
    damage(checkpoint)
    with pytest.raises(GateError, match=r"checkpoint\.safetensors: is not.*; delete the file"):
        make().classifier(task(transfer=FULL))
    checkpoint.unlink()

    after = make().classifier(task(transfer=FULL)).backbone.digest

    assert after == make("whole").classifier(task(transfer=FULL)).backbone.digest


def test_a_checkpoint_of_another_network_is_refused(make: MakeTrial, checkpoint: Path) -> None:
    tensors = load(files.kept(checkpoint))
    tensors["head.weight"] = tensors["head.weight"][:, :4].copy()
    files.keep(checkpoint, save(tensors))

    with pytest.raises(
        BackboneError,
        match=r"checkpoint\.safetensors: .* than tests\..*:normed gives now; delete the file",
    ):
        make().classifier(task(transfer=FULL))


@pytest.mark.parametrize("name", ["head.safetensors", "weights.safetensors"])
def test_a_kept_network_that_is_not_what_was_trained_is_refused_until_it_is_deleted(
    make: MakeTrial, name: str
) -> None:
    trained = make().classifier(task(transfer=FULL))
    path = trained.backbone.plan.path.with_name(name)
    damage(path)
    with pytest.raises(GateError, match=rf"/{name}: is not what was .*; delete the file"):
        make().classifier(task(transfer=FULL))
    path.unlink()

    again = make().classifier(task(transfer=FULL))

    assert again.backbone.digest == trained.backbone.digest
    assert np.array_equal(again.linear.weight, trained.linear.weight)


def test_kept_weights_are_not_those_of_another_seed(make: MakeTrial) -> None:
    one, other = (make(seed=seed).classifier(task(transfer=FULL)).backbone for seed in (0, 1))

    assert one.digest != other.digest


def test_kept_weights_are_not_those_of_other_training_images(
    make: MakeTrial, tmp_path: Path
) -> None:
    one = make().classifier(task(transfer=FULL)).backbone
    shaded(make, tmp_path)

    assert make().classifier(task(transfer=FULL)).backbone.digest != one.digest


def test_mean_weights_are_never_those_that_somebody_put_in_their_place(make: MakeTrial) -> None:
    trial = make()
    tuned = trial.classifier(task(transfer=FULL)).backbone
    mean = with_mean_weights(trial.bench, tuned)
    mean.plan.path.write_bytes(tuned.artefact.read())

    assert with_mean_weights(make().bench, tuned).digest == mean.digest


# --- refusals -------------------------------------------------------------------------------------


def test_a_diverging_loss_is_refused(make: MakeTrial) -> None:
    wild = {"mode": "full_network", "training": {"learning_rate": 1e30}}

    with pytest.raises(BackboneError, match=r"diverged, the loss of epoch \d+ is nan.*lower train"):
        make().classifier(task(transfer=wild))


def test_only_weights_with_an_architecture_can_be_trained(make: MakeTrial, tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "tiny.onnx")
    trial = make(backbone={"onnx": path, "preprocessing": tiny.PREPROCESSING})

    with pytest.raises(PlanError, match=r"tiny.onnx: full_network transfer trains weights.*arch"):
        trial.classifier(task(transfer=FULL))


# --- heads ----------------------------------------------------------------------------------------


def test_the_artefacts_own_head_is_read_from_its_logits(make: MakeTrial) -> None:
    trial = make(tasks={"own": {"test": "test", "head": "own"}})
    own = trial.plan.tasks["own"]
    network = Normed()
    network.load_state_dict(
        {k: torch.from_numpy(v) for k, v in load_file(trial.backbone.plan.path).items()}
    )
    images = next(trial.split("test").batches(60, SIDE, 3))

    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(trial.backbone.inputs(images)))

    assert trial.predictions(own).tolist() == logits.argmax(dim=1).tolist()


def test_an_own_head_of_other_classes_is_refused(make: MakeTrial) -> None:
    trial = make()
    three = trial.plan.model_dump()
    three["splits"]["test"]["classes"] = ["dark", "bright", "red"]
    three["splits"]["test"]["keep"] = ["dark"]
    three["tasks"] = {"own": {"test": "test", "head": "own"}}
    trial = Trial(Bench(Plan.model_validate(three), trial.bench.folder))

    with pytest.raises(PlanError, match=r"one logit for each of the 1 classes.*it gives 2"):
        trial.predictions(trial.plan.tasks["own"])


def test_a_reference_without_an_own_head_cannot_stand_beside_one(make: MakeTrial) -> None:
    candidate = make().plan.backbone
    other = candidate.path.with_name("other.safetensors")
    save_file(Normed().state_dict(), other)
    plain = candidate.model_dump() | {"weights": other, "logits": None}
    trial = make(reference=plain, tasks={"own": {"test": "test", "head": "own"}})

    with pytest.raises(PlanError, match=r"no logits are named; name another output under logits"):
        trial.predictions(trial.plan.tasks["own"], trial.reference)


def test_a_head_ignores_the_directions_that_a_trigger_moves(make: MakeTrial) -> None:
    trial = make()
    ignoring = task(head={"ignore": {"triggers": [YELLOW], "directions": 1}})
    stamp = bank((TriggerGrid.model_validate(YELLOW),), SIDE, 3, 0, ())[0].stamp
    images = next(trial.split("train").batches(60, SIDE, 3))
    clean = trial.backbone.features(images)
    moves = trial.backbone.features(stamp.on(images)) - clean
    direction = np.linalg.svd(moves).Vh[0]

    weight = trial.classifier(ignoring).linear.weight

    assert np.abs(direction @ weight).max() < 1e-4
    assert np.abs(direction @ trial.classifier(task()).linear.weight).max() > 1e-2


def test_directions_must_leave_something_to_the_head(make: MakeTrial) -> None:
    all_of_them = task(head={"ignore": {"triggers": [YELLOW], "directions": 5}})

    with pytest.raises(EvidenceError, match=r"5 directions of 5 features leave nothing"):
        make().classifier(all_of_them)


def test_a_debiased_target_stamps_the_same_share_of_every_class(make: MakeTrial) -> None:
    trial = make()
    debiased = task(debias={"triggers": [YELLOW], "share": 0.5})
    trial.features("train")
    before = passes(trial)

    changed = trial.classifier(debiased).linear.weight

    assert passes(trial) - before == 30
    assert not np.allclose(changed, trial.classifier(task()).linear.weight)


def test_many_triggers_are_stamped_in_one_pass_over_the_data(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids = [YELLOW, {**YELLOW, "place": ["centre", "bottom_right"], "size": [0.25, 0.5]}]
    trial = make()
    trial.features("train")
    begun: list[int] = []
    rows = Split.rows

    def counted(split: Split) -> Any:
        begun.append(len(split))
        return rows(split)

    monkeypatch.setattr(Split, "rows", counted)
    trial.classifier(task(debias={"triggers": grids, "share": 0.5}))

    assert begun == [30]


def test_groups_are_balanced_by_their_smallest(make: MakeTrial) -> None:
    train = make().split("train")

    rows = balanced_rows(train, "shade", seed=0)

    pairs = list(zip(train.labels[rows].tolist(), train.attributes["shade"][rows], strict=True))
    counts = {pair: pairs.count(pair) for pair in set(pairs)}
    everything = list(zip(train.labels.tolist(), train.attributes["shade"], strict=True))
    assert set(counts.values()) == {min(everything.count(pair) for pair in set(everything))}
    assert len(counts) == 4
    assert rows.tolist() == balanced_rows(train, "shade", seed=0).tolist()


def test_balancing_by_an_unknown_attribute_or_an_empty_group_is_refused(make: MakeTrial) -> None:
    trial = make()
    train = trial.split("train")
    train.attributes["sole"] = np.where(train.labels == 0, "x", "y")

    with pytest.raises(PlanError, match=r"no attribute 'shape'.*shade"):
        balanced_rows(train, "shape", seed=0)
    with pytest.raises(EvidenceError, match=r"group \(dark, y\) has no image in split train"):
        balanced_rows(train, "sole", seed=0)


# --- remedies -------------------------------------------------------------------------------------


def test_every_remedy_is_a_task_with_one_thing_changed() -> None:
    trigger = TriggerGrid.model_validate(YELLOW)

    variants = against_trigger(task(), trigger)

    assert set(variants) == set(get_args(Remedy))
    assert all(variant != task() for variant in variants.values())
    assert variants["weight_decay"].head == task(head={"l2": 100}).head
    assert variants["full_network"].transfer.mode == "full_network"
    decay = variants["full_network_weight_decay"].transfer.schedule.weight_decay
    assert decay > variants["full_network"].transfer.schedule.weight_decay
    balanced = against_attribute(task(), "shade")["balanced_groups"].head
    assert balanced == task(head={"balanced_by": "shade"}).head
    already = against_trigger(task(transfer=FULL), trigger)
    assert set(already) == {"full_network_weight_decay", "full_network_debiased_target"}
    debiased = task(debias={"triggers": [YELLOW]})
    assert against_trigger(debiased, trigger)["full_network"].debias == debiased.debias
    own = Task(test="test", head="own")
    assert against_trigger(own, trigger) == against_attribute(own, "shade") == {}


def test_remedies_are_measured_for_the_worst_trigger(make: MakeTrial) -> None:
    wanted = ["debiased_target", "full_network"]
    grids = [YELLOW, {"pattern": "checkerboard", "size": [0.5], "place": ["centre"]}]
    trial = make(probes={"trigger_patch": {"triggers": grids, "remedies": wanted}})

    found = run_probe("trigger_patch", trial).measurements

    excess = [m for m in found if m.metric == "excess_targeted_attack_success_rate"]
    worst = max(excess, key=lambda m: m.value).about["trigger"]
    after = [m for m in found if m.metric.endswith("_after_remedy")]
    assert {m.about["remedy"] for m in after} == set(wanted)
    assert {m.about["trigger"] for m in after} == {worst}
    assert len(after) == 2 * len(wanted)


def test_last_layer_retraining_is_measured_on_balanced_groups(make: MakeTrial) -> None:
    settings = {"attributes": ["shade"], "remedies": ["balanced_groups"]}
    trial = make(probes={"spurious_attribute": settings})

    found = {
        m.metric: m
        for m in run_probe("spurious_attribute", trial).measurements
        if m.about.get("remedy") == "balanced_groups"
    }

    variant = task(head={"balanced_by": "shade"})
    right = trial.predictions(variant) == trial.split("test").labels
    assert found["accuracy_after_remedy"].value == pytest.approx(right.mean())
    assert found["worst_group_accuracy_after_remedy"].value <= right.mean()


# --- natural overlays -----------------------------------------------------------------------------


def test_an_overlay_shifts_the_histogram_as_counted_by_hand(make: MakeTrial) -> None:
    white = {"pattern": "text", "text": ["ab"], "colour": ["white"], "size": [1.0]}
    overlays = [{**white, "place": ["centre"], "opacity": [0.9]}]
    trial = make(
        tasks={
            "fixed": {"train": "train", "test": "test"},
            "scratch": {
                "train": "train",
                "test": "test",
                "transfer": {"mode": "from_scratch", "training": {"epochs": 2}},
            },
        },
        probes={"natural_overlay": {"overlays": overlays}},
    )
    found = run_probe("natural_overlay", trial).measurements
    grid = TriggerGrid.model_validate(overlays[0])
    (overlay,) = bank((grid,), SIDE, 3, 0, ())
    images = next(trial.split("test").batches(60, SIDE, 3))
    shares = {}
    for name, setting in trial.plan.tasks.items():
        classifier = trial.classifier(setting)
        for what, pixels in (("clean", images), ("stamped", overlay.stamp.on(images))):
            backbone = classifier.backbone
            classes = classifier.predict(backbone.outputs(backbone.inputs(pixels)))
            shares[name, what] = np.bincount(classes, minlength=2) / 60
    skew = {
        name: np.abs(shares[name, "stamped"] - shares[name, "clean"]).sum() / 2
        for name in trial.plan.tasks
    }
    growth = shares["fixed", "stamped"] - shares["fixed", "clean"]

    assert {m.metric for m in found} == set(CATALOGUE["natural_overlay"])
    for m in found:
        row = CATALOGUE["natural_overlay"][m.metric]
        assert (m.unit, set(m.about)) == (row.unit, set(row.labels))
    by_name = {(m.metric, m.about["task"]): m for m in found}

    assert by_name["prediction_skew", "fixed"].value == pytest.approx(skew["fixed"])
    over = by_name["prediction_skew_over_scratch", "fixed"]
    assert over.value == pytest.approx(skew["fixed"] - skew["scratch"])
    assert ("prediction_skew_over_scratch", "scratch") not in by_name
    largest = by_name["largest_class_growth", "fixed"]
    assert largest.value == pytest.approx(growth.max())
    assert largest.about["class"] == ("dark", "bright")[int(growth.argmax())]
    hits = trial.responses("test", {"fixed": trial.plan.tasks["fixed"]}, [overlay.stamp]).hits
    grown = (hits["fixed"].shares(overlay.stamp) - hits["fixed"].shares(None)).T
    assert largest.low == max(shift(of_class, 60, searched_low=2).low for of_class in grown)
    assert largest.high == max(shift(of_class, 60).high for of_class in grown)


# --- calibration of a network that was trained through --------------------------------------------


def calibrated_plan(make: MakeTrial, **changes: Any) -> Trial:
    """The test split is parted: one part is held out, another is tried on."""
    plan = make().plan.model_dump()
    test = plan["splits"]["test"]
    parts = {name: {**test, "shard": {"index": i, "count": 3}} for i, name in enumerate("ab")}
    content = {"train": "train", "held_out": "a", "test": "b", "transfer": FULL, **changes}
    return make(
        splits={"train": plan["splits"]["train"], **parts},
        tasks={"task": content},
        probes={"label_prior": {}},
    )


def shaded(make: MakeTrial, tmp_path: Path) -> None:
    """Classes that overlap, so that no estimate is for separable data."""
    rng = np.random.default_rng(5)
    for name in ("train", "test"):
        content = dict(np.load(tmp_path / f"{name}.npz"))
        turned = rng.random(len(content["label"])) < 0.2
        np.savez(tmp_path / f"{name}.npz", **{**content, "label": content["label"] ^ turned})


def test_gla_and_wise_ft_of_a_network_that_was_trained_through(
    make: MakeTrial, tmp_path: Path
) -> None:
    shaded(make, tmp_path)
    trial = calibrated_plan(make)
    task = trial.plan.tasks["task"]
    tuned = trial.classifier(task)

    found = run_probe("label_prior", trial).measurements

    accuracy = {m.about["method"]: m.value for m in found if m.metric == "accuracy"}
    labels = trial.split("b").labels
    assert accuracy["fine_tuned"] == pytest.approx((trial.predictions(task) == labels).mean())
    before, after = load_file(trial.backbone.plan.path), load_file(tuned.backbone.plan.path)
    averaged = with_mean_weights(trial.bench, tuned.backbone)
    mean = load_file(averaged.plan.path)
    for name in ("conv.weight", "norm.running_mean"):
        np.testing.assert_allclose(mean[name], (before[name] + after[name]) / 2, rtol=1e-6)
    zero_shot = fit_nearest_class_mean(trial.features("train"), trial.split("train").labels)
    assert tuned.head is not None
    weight = (zero_shot.weight + tuned.head.weight) / 2
    bias = (zero_shot.bias + tuned.head.bias) / 2
    head = LinearHead(weight.astype(np.float32), bias.astype(np.float32))
    right = head.predict(np.asarray(trial.features("b", averaged))) == labels
    assert accuracy["wise_ft"] == pytest.approx(right.mean())


def test_a_network_from_scratch_shares_no_weights_to_average(
    make: MakeTrial, tmp_path: Path
) -> None:
    shaded(make, tmp_path)
    trial = calibrated_plan(make, transfer={**FULL, "mode": "from_scratch"})

    found = run_probe("label_prior", trial).measurements

    methods = {m.about["method"] for m in found if m.metric == "accuracy"}
    assert "gla" in methods
    assert "wise_ft" not in methods


def test_what_was_trained_through_is_calibrated_on_images_it_did_not_see(make: MakeTrial) -> None:
    trial = make(
        tasks={"task": {"train": "train", "test": "test", "transfer": FULL}},
        probes={"label_prior": {"tasks": ["task"]}},
    )

    with pytest.raises(PlanError, match="name a split under held_out"):
        run_probe("label_prior", trial)
