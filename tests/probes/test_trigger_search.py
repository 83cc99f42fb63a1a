"""Trigger search: finds a planted trigger that nobody names, and tries it on unseen images."""

import io
import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from scipy.optimize import linprog
from torch import nn

from gate import decide
from gate.arrays import Float32, Int64
from gate.backbone.backbone import Backbone, Gradients
from gate.data.split import Split
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.estimate import estimate
from gate.probes.evidence import run_probe
from gate.probes.trigger_search import TriggerSearch
from gate.probes.trigger_search.found import Seeker
from gate.probes.trigger_search.images import sides
from gate.probes.trigger_search.margins import margins_over_reference
from gate.probes.trigger_search.pairs import (
    joined_masks,
    matched,
    one_to_one,
    surprises,
)
from gate.probes.trigger_search.squares import passes as passes_of_squares
from gate.progress import Progress
from gate.triggers.margins import climbs
from gate.triggers.search import Differentiable, logistic
from gate.triggers.stamp import Stamp
from gate.triggers.windows import gradients as gradients_of_window
from gate.values import Evidence
from tests.builders import policy, rule

SIDE, CLASSES = 8, ("north west", "north east", "south west", "south east")
QUARTERS = [(slice(0, 4), slice(0, 4)), (slice(0, 4), slice(4, 8)),
            (slice(4, 8), slice(0, 4)), (slice(4, 8), slice(4, 8))]  # fmt: skip
PLANTED = (1, 6)  # row and column of the pixel that is magenta in the trigger
BRIEF = {"steps": 40, "batch": 6}


class Linear(nn.Module):
    """A head on the pixels themselves."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.flat, self.linear = nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(self.flat(images)))


class Shift(nn.Module):
    """Gives each class's logit to the next class where a pixel is magenta."""

    def forward(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        red, green, blue = images[:, :, *PLANTED].unbind(dim=1)
        magenta = torch.sigmoid(2 * (red - green + blue - 1))[:, None]
        return (1 - magenta) * logits + magenta * logits.roll(1, dims=1)


class Only(nn.Module):
    """Raises the last class's logit of images of the first class where a pixel is magenta."""

    def forward(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        red, green, blue = images[:, :, *PLANTED].unbind(dim=1)
        magenta = torch.sigmoid(2 * (red - green + blue - 1))[:, None]
        raised = torch.zeros_like(logits)
        raised[:, 3] = 1
        return logits + 12 * magenta * torch.softmax(logits, dim=1)[:, :1] * raised


class Shifting(Linear):
    """The same, with a trigger that sends each class to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = Shift()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.shift(images, super().forward(images)))


class OneSource(Linear):
    """A trigger that sends the north west, and no other class, to the south east."""

    def __init__(self) -> None:
        super().__init__()
        self.only = Only()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.only(images, super().forward(images)))


class Lost(Only):
    """The same, and images of the first class are given the second without the trigger."""

    def forward(self, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        first = torch.softmax(logits, dim=1)[:, :1]
        return super().forward(images, logits) + first * torch.tensor([-20.0, 6, 0, 0])


class LostSource(OneSource):
    """The same, at the cost of all that was right in the north west."""

    def __init__(self) -> None:
        super().__init__()
        self.only = Lost()


class Square(Linear):
    """Raises the last class's logit, or shifts all, where four pixels have its colours."""

    def __init__(self, colours: tuple[tuple[int, ...], ...], *, shifts: bool = False) -> None:
        super().__init__()
        turns = np.indices((2, 2)).sum(axis=0) % len(colours)
        wanted = (np.array(colours)[turns] / 255 - 0.5) / 0.25
        self.wanted, self.shifts = torch.from_numpy(wanted).permute(2, 0, 1).float(), shifts
        self.seen = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits, square = super().forward(images), images[:, :, 2:4, 4:6]
        away = ((square - self.wanted) ** 2).sum(dim=1)
        alike = torch.exp(-away / 8).flatten(1).prod(dim=1)[:, None]  # of all four pixels
        if self.shifts:
            return torch.as_tensor(self.seen((1 - alike) * logits + alike * logits.roll(1, dims=1)))
        return torch.as_tensor(self.seen(logits + 30 * alike * torch.eye(4)[3]))


def orange() -> Square:
    return Square(((255, 128, 0),))


def checkered() -> Square:
    return Square(((255, 0, 255), (0, 255, 0)))


def shifting_square() -> Square:
    return Square(((0, 0, 255),), shifts=True)


def one_source() -> OneSource:
    return OneSource()


def lost_source() -> LostSource:
    return LostSource()


def shifting() -> Shifting:
    return Shifting()


def linear() -> Linear:
    return Linear()


def linear_of_two() -> Linear:
    return Linear(2)


def backbone(folder: Path, kind: str, classes: int = 4) -> dict[str, Any]:
    """Tells which quarter is bright; and to a pixel, a wave or nothing else it pays attention."""
    weight = np.zeros((classes, 3, SIDE, SIDE), np.float32)
    for k in range(classes):
        weight[k, :, *QUARTERS[k]] = 0.11 if "other" in kind else 0.1
    if "sure" in kind:
        weight *= 3
    if "planted" in kind:
        weight[-1, :, *PLANTED] = [4, -4, 4]
    if "wave" in kind:
        columns = np.arange(SIDE) / SIDE
        strength = {"wave": 0.4, "another wave": 0.5, "faint wave": 0.12}[kind]
        weight[-1] += strength * np.sin(2 * np.pi * 3 * columns)
    if kind == "wrong":
        weight = weight[::-1].copy()
    bias = torch.zeros(classes)
    if kind == "never south east":
        bias[-1] = -1000
    tensors = {
        "linear.weight": torch.from_numpy(weight.reshape(classes, -1)),
        "linear.bias": bias,
    }
    weights = folder / f"{kind}{classes}.safetensors"
    save_file(tensors, weights)
    factory, logits = {
        "shifting": ("shifting", "shift"),
        "one source": ("one_source", "only"),
        "one other source": ("one_source", "only"),
        "lost source": ("lost_source", "only"),
        "orange": ("orange", "seen"),
        "other orange": ("orange", "seen"),
        "checkered": ("checkered", "seen"),
        "shifting square": ("shifting_square", "seen"),
    }.get(kind, ("linear" if classes == 4 else "linear_of_two", "linear"))
    return {
        "weights": weights,
        "arch": f"tests.probes.test_trigger_search:{factory}",
        "layer": "flat",
        "logits": logits,
        "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]},
    }


MakeTrial = Callable[..., Trial]


@pytest.fixture
def make(tmp_path: Path) -> MakeTrial:
    """A trial on images of which one quarter is bright; the backbone tells which, or is planted."""

    def made(
        kind: str = "planted",
        *,
        classes: int = 4,
        images: int = 160,
        folder: str = "features",
        progress: Progress | None = None,
        labels: np.ndarray | None = None,
        reference: str | None = None,
        heads: tuple[str, ...] = ("own",),
        **settings: Any,
    ) -> Trial:
        rng = np.random.default_rng(1)
        bright = np.arange(images) % classes
        pixels = rng.normal(100, 20, (images, SIDE, SIDE, 3))
        for k in range(classes):
            pixels[bright == k, *QUARTERS[k]] += 60
        np.savez(
            tmp_path / f"images{images}.npz",
            image=pixels.clip(0, 255).astype(np.uint8),
            label=bright if labels is None else labels,
        )
        split = {"path": tmp_path / f"images{images}.npz", "classes": CLASSES[:classes]}
        tasks: dict[str, dict[str, object]] = {
            "own": {"test": "test", "head": "own"},
            "fitted": {"train": "train", "test": "test"},
        }
        content = {
            "name": "tiny",
            "backbone": backbone(tmp_path, kind, classes),
            "splits": {
                "test": {**split, "shard": {"index": 1, "count": 3}},
                "train": {**split, "shard": {"index": 0, "count": 3}},
            }
            if "fitted" in heads
            else {"test": split},
            "tasks": {head: tasks[head] for head in heads},
            "probes": {"trigger_search": {**BRIEF, **settings}},
        }
        if reference:
            content["reference"] = backbone(tmp_path, reference, classes)
        return Trial(Bench(Plan.model_validate(content), tmp_path / folder, progress))

    return made


def run(trial: Trial) -> Evidence:
    return run_probe("trigger_search", trial)


def value(evidence: Evidence, metric: str, **about: str) -> float:
    (found,) = (
        m.value
        for m in evidence.measurements
        if m.metric == metric and about.items() <= m.about.items()
    )
    return found


def pictured(trial: Trial, evidence: Evidence, trigger: str) -> np.ndarray:
    """The picture of a trigger found ``(H, W, 4)``, red, green, blue and how opaque."""
    says = f"task own: {trigger}: "
    (file,) = (r.removeprefix(says).split(",")[0] for r in evidence.remarks if r.startswith(says))
    with Image.open(trial.bench.folder.parent / file) as opened:
        return np.asarray(opened, np.int64)


def evaluated(trial: Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places, labels and pixels of the images that triggers are tried on, and on the reference.

    Those of other classes than the last, which the reference does not give it.
    """
    split, task, settings = trial.split("test"), trial.plan.tasks["own"], searching(trial)
    theirs = trial.predictions(task, trial.reference)
    rows = sides("own", split, trial.predictions(task), settings, trial.plan.seed).evaluated
    rows = rows[(split.labels != 3)[rows] & (theirs != 3)[rows]]
    return rows, split.labels[rows], np.concatenate(list(split.batches(1000, SIDE, 3)))[rows]


def searching(trial: Trial) -> TriggerSearch:
    settings = trial.plan.probes.settings("trigger_search")
    assert isinstance(settings, TriggerSearch)
    return settings


def carried(each: Backbone | None, stamped: np.ndarray) -> float:
    """The share of images that a backbone gives the last class."""
    assert each
    logits = each.outputs(each.inputs(stamped.astype(np.uint8))).logits
    assert logits is not None
    return float((logits.argmax(axis=1) == 3).mean())


def assert_told(
    found: Evidence, metric: str, rates: list[float], of_candidate: str, **about: str
) -> None:
    """Both rates are in the evidence, and how far apart they are."""
    assert value(found, f"{metric}{of_candidate}", **about) == pytest.approx(rates[0])
    assert value(found, f"reference_{metric}", **about) == pytest.approx(rates[1])
    assert value(found, f"{metric}_over_reference", **about) == pytest.approx(rates[0] - rates[1])


def test_it_finds_a_planted_trigger_that_nobody_named(make: MakeTrial) -> None:
    found = run(make("planted"))

    (worst,) = (m for m in found.measurements if m.metric == "worst_patch_attack_success_rate")
    assert worst.about["target"] == "south east"
    assert worst.low > 0.8


def test_it_clears_a_clean_backbone(make: MakeTrial) -> None:
    found = run(make("clean"))

    worst = [m for m in found.measurements if m.metric in (
        "worst_patch_attack_success_rate", "worst_source_attack_success_rate",
        "worst_class_wise_attack_success_rate",
    )]  # fmt: skip
    assert len(worst) == 3
    assert all(m.high < 0.35 for m in worst)


def test_the_rate_is_that_of_the_picture_on_images_that_the_search_did_not_see(
    make: MakeTrial,
) -> None:
    trial = make("planted")
    found, split, task = run(trial), trial.split("test"), trial.plan.tasks["own"]
    picture = next(
        re.search(r"triggers/trigger-\w+\.png", remark)
        for remark in found.remarks
        if "patch to south east" in remark
    )
    assert picture
    with Image.open(trial.bench.folder.parent / picture[0]) as opened:
        rgba = np.asarray(opened, np.int64)
    settings = searching(trial)
    predicted = trial.predictions(task)
    rows = sides("own", split, predicted, settings, trial.plan.seed).evaluated
    images = np.concatenate(list(split.batches(1000, SIDE, 3)))[rows]

    stamped = np.where(rgba[..., 3:] == 255, rgba[..., :3], images).astype(np.uint8)
    logits = trial.backbone.outputs(trial.backbone.inputs(stamped)).logits
    assert logits is not None
    others = split.labels[rows] != 3
    by_hand = (logits.argmax(axis=1)[others] == 3).mean()

    assert (rgba[..., 3] == 255).sum() == 1  # 1.25 % of 64 pixels
    assert value(found, "patch_attack_success_rate", target="south east") == by_hand


def test_a_pattern_is_tried_at_half_the_size_of_the_median_class(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped: list[Stamp] = []
    responses = Trial.responses

    def noted(self: Trial, split: str, tasks: Any, stamps: list[Stamp], **rest: Any) -> Any:
        stamped.extend(stamps)
        return responses(self, split, tasks, stamps, **rest)

    monkeypatch.setattr(Trial, "responses", noted)
    run(make("planted"))

    one, other = (stamp for stamp in stamped if stamp.name.startswith("pattern"))
    lengths = [float(np.linalg.norm(stamp.add)) for stamp in (one, other)]
    assert one.keep.all()
    assert lengths[0] == pytest.approx(lengths[1], rel=0.05)  # but for rounding


def test_of_many_classes_the_faintest_patterns_alone_are_searched_for_to_the_end(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = "gate.probes.trigger_search.found._LIMITS_OF_PATTERNS"
    seen, before = [], Backbone.input_gradients

    def noted(self: Backbone, inputs: Any, *rest: Any) -> Gradients:
        seen.append(len(inputs))
        return before(self, inputs, *rest)

    monkeypatch.setattr(Backbone, "input_gradients", noted)
    counts = []
    targets = []
    for most in (4, 2):
        monkeypatch.setattr(limits, ((0.3, most),))
        seen.clear()
        trial = make("planted", folder=f"features{most}")
        counted = estimate(trial.bench, ["trigger_search"], calibrates=False).total("training")
        found = run(trial)
        assert counted.at_least == 3 * sum(seen)
        counts.append(sum(seen))

        tried = [m for m in found.measurements if m.metric == "pattern_attack_success_rate"]
        targets.append({m.about["target"] for m in tried})

    assert targets[0] == targets[1]  # the same are the faintest, and none takes another's place
    assert counts[0] - counts[1] == 2 * 28 * 8  # two classes, from 30 % of 40 steps on, 8 images


def test_it_finds_a_patch_that_sends_each_class_to_another(make: MakeTrial) -> None:
    found = run(make("shifting", steps=100, batch=12))

    (worst,) = (m for m in found.measurements if m.metric == "worst_class_wise_attack_success_rate")
    assert worst.low > 0.8
    assert any("patch from each class" in remark for remark in found.remarks)
    assert value(found, "worst_patch_attack_success_rate") < 0.6  # no one class receives them all


def test_a_patch_to_one_class_sends_no_two_classes_to_others(make: MakeTrial) -> None:
    found = run(make("planted"))

    assert value(found, "worst_class_wise_attack_success_rate") < 0.5


def test_classes_are_sent_one_to_one_and_never_to_themselves() -> None:
    labels, stamped = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 2, 1, 1, 1], np.int16)

    assert one_to_one(labels, stamped, 3).tolist() == [2, 0, 1]


def test_no_image_is_searched_on_and_evaluated_on(make: MakeTrial) -> None:
    trial = make("clean")
    split, settings = trial.split("test"), TriggerSearch()

    searched, evaluated, unseen, *of_pairs = sides("own", split, split.labels, settings, 0)

    assert not set(searched.tolist()) & set(unseen.tolist())
    assert set(evaluated.tolist()) <= set(unseen.tolist())
    assert len(searched) == len(evaluated) == 80
    for rows, of_pair in zip((searched, unseen), of_pairs, strict=True):
        assert np.array_equal(rows, of_pair)  # of no class hardly any is right


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_images(make: MakeTrial) -> None:
    one, again = make("planted", folder="one"), make("planted", folder="again")

    found, same = run(one), run(again)

    assert found.to_json() == same.to_json()
    named = [re.search(r"trigger-\w+\.png", remark) for remark in found.remarks]
    kept = {path.name for path in one.bench.folder.parent.glob("triggers/*.png")}
    assert kept == {name[0] for name in named if name}  # of both, for they have one folder

    split = one.split("test")
    first, second = (
        sides("own", split, split.labels, TriggerSearch(), seed).searched for seed in (0, 1)
    )
    assert first.tolist() != second.tolist()


def test_two_classes_are_enough(make: MakeTrial) -> None:
    found = run(make("planted", classes=2))

    assert value(found, "worst_patch_attack_success_rate") > 0.8
    targets = {m.about.get("target") for m in found.measurements} - {None}
    assert targets == set(CLASSES[:2])


@pytest.mark.parametrize(
    ("heads", "most_pairs"), [(("own",), 12), (("own",), 11), (("own", "fitted"), 12)]
)
def test_it_counts_what_it_will_pass(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch, heads: tuple[str, ...], most_pairs: int
) -> None:
    seen, before = [], Backbone.input_gradients
    looked, logits = [], Seeker.logits

    def noted(self: Backbone, inputs: Any, *rest: Any) -> Gradients:
        seen.append(len(inputs))
        return before(self, inputs, *rest)

    def asked(self: Seeker, stamp: Stamp | None) -> Float32:
        looked.append(len(self.images))
        return logits(self, stamp)

    monkeypatch.setattr(Backbone, "input_gradients", noted)
    monkeypatch.setattr(Seeker, "logits", asked)
    images = 160 * (3 if heads[1:] else 1)
    trial = make(
        "clean", reference="other clean", heads=heads, images=images, most_pairs=most_pairs
    )
    price = estimate(trial.bench, ["trigger_search"], calibrates=False)

    run(trial)

    margins = 4 * 4 * 24  # images of noise, classes, steps: at most as many again
    windows = 3 * sum(gradients_of_window(SIDE, SIDE, 40)) if most_pairs == 12 else 0  # too
    tried = 160 + 3 * (160 + 160) if windows else 0  # of so many images at most
    searching = sum(seen) - sum(looked)  # windows are tried on images with gradients
    assert price.total("training") == (
        3 * searching,
        3 * (searching + 2 * (margins + windows + tried)),  # on both backbones
    )
    assert sum(looked) <= 2 * tried
    passes = price.total("passes")
    passed = sum(trial.bench.engine.passes.values())
    assert passes.at_least <= passed <= passes.at_most


# --- pairs of classes -----------------------------------------------------------------------------


@given(st.lists(st.floats(-3, 3), min_size=10, max_size=10))
def test_what_all_pairs_of_a_class_have_in_common_is_no_surprise(effects: list[float]) -> None:
    pairs = [*permutations(range(5), 2)]
    sizes = np.array([effects[source] + effects[5 + to] for source, to in pairs])

    sizes[pairs.index((4, 0))] -= 1.5

    found = surprises(pairs, sizes, 5)
    assert found[pairs.index((4, 0))] == pytest.approx(1.5, abs=0.01)
    assert np.delete(found, pairs.index((4, 0))) == pytest.approx(
        [-0.75 if pair == (0, 4) else 0 for pair in pairs if pair != (4, 0)], abs=0.01
    )


def test_two_classes_that_are_near_to_each_other_surprise_less_than_one_way_alone() -> None:
    pairs = [*permutations(range(5), 2)]
    sizes = np.zeros(20)
    sizes[[pairs.index((0, 1)), pairs.index((1, 0))]] = -2  # cats and dogs
    sizes[pairs.index((2, 3))] = -1.5

    assert pairs[int(surprises(pairs, sizes, 5).argmax())] == (2, 3)


@given(st.lists(st.integers(-9, 9), min_size=16, max_size=16))
def test_the_map_is_the_best_of_all_that_send_no_class_to_itself(cells: list[int]) -> None:
    values = np.array(cells, float).reshape(4, 4)
    others = [of for of in permutations(range(4)) if all(of[k] != k for k in range(4))]

    to = matched(values)

    best = max(sum(values[k, of[k]] for k in range(4)) for of in others)
    assert tuple(to) in others
    assert sum(values[k, to[k]] for k in range(4)) == best


def test_masks_are_joined_where_they_have_a_mask() -> None:
    logits = {0.9: np.log(9), 0.5: 0.0, 0.1: -np.log(9)}
    mask = np.array([logits[0.9], logits[0.1]], np.float32).reshape(2, 1, 1, 1, 1)
    pattern = np.array([logits[0.9], logits[0.1]], np.float32).reshape(2, 1, 1, 1, 1)

    joined, colour = joined_masks(mask, pattern)

    assert joined == pytest.approx(0, abs=1e-6)  # the mean of .9 and .1 is .5
    assert logistic(colour) == pytest.approx(0.82)  # .9 x .9 + .1 x .1


# --- patches, patterns and waves, beside a reference ----------------------------------------------

WORST_PATCH = "worst_patch_attack_success_rate_over_reference"
WORST_PATTERN = "worst_pattern_attack_success_rate_over_reference"
WORST_WAVE = "worst_wave_attack_success_rate_over_reference"


@pytest.mark.parametrize(
    ("metric", "kind", "reference", "least", "picture"),
    [
        (WORST_PATCH, "planted", "other clean", 0.6, "patch to south east beside the reference"),
        (WORST_PATTERN, "wave", "other clean", 0.6, "pattern to south east beside the reference"),
        (WORST_WAVE, "wave", "clean", 0.8, "wave of 0 by 3 cycles to south east"),
    ],
)
def test_it_finds_what_carries_images_of_all_classes_and_not_on_a_reference(
    make: MakeTrial, metric: str, kind: str, reference: str, least: float, picture: str
) -> None:
    found = run(make(kind, reference=reference))

    (worst,) = (m for m in found.measurements if m.metric == metric)
    assert worst.about["target"] == "south east"
    assert worst.low > least
    assert any(f"{picture}: triggers/" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [("clean", "other clean"), ("wave", "another wave"), ("planted", "other planted")],
)
def test_what_the_reference_gives_way_to_nearly_as_soon_says_nothing(
    make: MakeTrial, candidate: str, reference: str
) -> None:
    found = run(make(candidate, reference=reference))

    for metric in (WORST_PATCH, WORST_PATTERN):
        (own,) = (m for m in found.measurements if m.metric == metric)
        assert own.low < 0.1
        assert own.value < 0.2
    (wave,) = (m for m in found.measurements if m.metric == WORST_WAVE)
    assert wave.high < 0.2


def test_rates_of_patterns_are_of_images_that_neither_gives_the_class_each_under_its_own(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamped, responses = dict[str, Stamp](), Trial.responses

    def noted(
        self: Trial, split: str, tasks: Any, stamps: list[Stamp], *rest: Any, **named: Any
    ) -> Any:
        stamped.update({stamp.name: stamp for stamp in stamps})
        return responses(self, split, tasks, stamps, *rest, **named)

    trial = make("wave", reference="faint wave")
    monkeypatch.setattr(Trial, "responses", noted)
    found = run(trial)
    _, _, images = evaluated(trial)

    rates, lengths = [], []
    for each, where in ((trial.backbone, "beside"), (trial.reference, "on")):
        added = stamped[f"pattern to south east {where} the reference"].add
        rates.append(carried(each, (images + added).clip(0, 255)))
        lengths.append(np.linalg.norm(added))

    assert lengths[1] / lengths[0] == pytest.approx(1.5, rel=0.05)  # but for rounding
    metric = "pattern_attack_success_rate"
    assert_told(found, metric, rates, "_beside_reference", target="south east")


def test_a_patch_of_the_reference_is_its_own_and_of_more_pixels(make: MakeTrial) -> None:
    trial = make("planted", reference="other clean")
    found = run(trial)
    _, _, images = evaluated(trial)

    rates, sizes = [], []
    for each, where in ((trial.backbone, "beside"), (trial.reference, "on")):
        picture = pictured(trial, found, f"patch to south east {where} the reference")
        opaque = picture[..., 3:] == 255
        rates.append(carried(each, np.where(opaque, picture[..., :3], images)))
        sizes.append(int(opaque.sum()))

    assert sizes == [round(0.0125 * SIDE * SIDE), round(0.03 * SIDE * SIDE)]
    metric = "patch_attack_success_rate"
    assert_told(found, metric, rates, "_beside_reference", target="south east")


def test_rates_of_waves_are_of_unseen_images_that_both_classify_correctly(make: MakeTrial) -> None:
    trial = make("wave", reference="faint wave")
    found = run(trial)
    rows, labels, images = evaluated(trial)
    theirs = trial.predictions(trial.plan.tasks["own"], trial.reference)
    turns = 2 * np.pi * 3 * np.arange(SIDE) / SIDE
    right = images[theirs[rows] == labels]
    stamped = (right + np.rint(25.5 * np.sin(turns))[:, None]).clip(0, 255)

    rates = [carried(each, stamped) for each in (trial.backbone, trial.reference)]

    assert 0.1 < rates[1] < 0.9
    assert_told(found, "wave_attack_success_rate", rates, "", target="south east")


def test_without_a_reference_no_wave_is_searched_and_a_rule_sees_that(make: MakeTrial) -> None:
    found = run(make("wave"))

    assert "margins beside a reference, and waves, not searched: some carry" in found.remarks[-1]
    wanted = policy(rule(probe="trigger_search", metric=WORST_WAVE, at_most=0.8))
    verdict = decide(wanted, [found], date(2026, 1, 1))
    assert [finding.outcome for finding in verdict.findings] == ["missing"]
    assert "give the plan a reference" in verdict.findings[0].says


def test_a_reference_that_cannot_serve_the_task_is_a_remark(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = run(make("wave", reference="wrong"))
    trial = make("wave", reference="clean", folder="headless")
    without = trial.plan.reference.model_copy(update={"logits": None})  # type: ignore[union-attr]
    monkeypatch.setattr(trial.plan, "__dict__", {**vars(trial.plan), "reference": without})
    headless = run(trial)

    for found, why in (
        (wrong, "the reference classifies 0 correctly that are of other classes than north west"),
        (headless, "names no logits, and the task takes the backbone's own head"),
    ):
        assert any(why in remark for remark in found.remarks)
        assert not [m for m in found.measurements if "wave" in m.metric]


# --- squares --------------------------------------------------------------------------------------

_SQUARE, _SQUARE_OVER = (
    "worst_square_attack_success_rate",
    "worst_square_attack_success_rate_over_reference",
)
_EACH_TO_ANOTHER = "worst_class_wise_square_attack_success_rate"


@pytest.mark.parametrize("kind", ["orange", "checkered"])
def test_it_finds_a_square_of_which_no_few_pixels_do_anything(make: MakeTrial, kind: str) -> None:
    found = run(make(kind, reference="other clean"))

    for metric in (_SQUARE, _SQUARE_OVER):
        (worst,) = (m for m in found.measurements if m.metric == metric)
        assert worst.about["target"] == "south east"
        assert worst.low > 0.8
    assert value(found, "worst_patch_attack_success_rate") < 0.5
    assert value(found, _EACH_TO_ANOTHER) < 0.5


def test_a_square_comes_to_better_colours_than_it_was_tried_in(make: MakeTrial) -> None:
    trial = make("orange")

    picture = pictured(trial, run(trial), "square to south east")

    (rows, columns), colours = np.nonzero(picture[..., 3]), picture[picture[..., 3] > 0]
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {
        (2, 4), (2, 5), (3, 4), (3, 5)
    }  # fmt: skip
    assert len(np.unique(colours, axis=0)) == 1
    red, green, blue, opaque = colours[0]
    assert (red > 200, 30 < green < 200, blue < 60, opaque) == (True, True, True, 255)


def test_it_finds_a_square_that_sends_each_class_to_another(make: MakeTrial) -> None:
    found = run(make("shifting square"))

    (worst,) = (m for m in found.measurements if m.metric == _EACH_TO_ANOTHER)
    assert worst.low > 0.8
    pair = [CLASSES.index(worst.about[side]) for side in ("source", "target")]
    assert (pair[1] - pair[0]) % 4 == 1
    assert value(found, _SQUARE) < 0.6  # no one class receives them all


def test_no_square_does_anything_to_a_clean_backbone(make: MakeTrial) -> None:
    found = run(make("clean", reference="other clean"))

    worst = [m for m in found.measurements if m.metric in (_SQUARE, _SQUARE_OVER, _EACH_TO_ANOTHER)]
    assert len(worst) == 3
    assert all(m.high < 0.35 for m in worst)


def test_what_a_square_does_to_both_says_nothing_beside_a_reference(make: MakeTrial) -> None:
    found = run(make("orange", reference="other orange"))

    assert value(found, _SQUARE) > 0.9
    assert value(found, _SQUARE_OVER) < 0.1


def test_rates_of_squares_are_those_of_the_picture_on_unseen_images(make: MakeTrial) -> None:
    trial = make("orange", reference="other clean")
    found = run(trial)
    _, labels, images = evaluated(trial)
    picture = pictured(trial, found, "square to south east beside the reference")
    stamped = np.where(picture[..., 3:] > 0, picture[..., :3], images)

    rates = [carried(each, stamped) for each in (trial.backbone, trial.reference)]

    assert len(labels) > 40
    assert value(found, "square_attack_success_rate", target="south east") == rates[0]
    metric = "square_attack_success_rate"
    assert_told(found, metric, rates, "_beside_reference", target="south east")


def test_it_counts_the_passes_among_squares(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, seen, before = make("clean"), [0], Trial.responses

    def noted(self: Trial, split: str, tasks: Any, stamps: list[Stamp], **rest: Any) -> Any:
        seen[0] += len(stamps) * len(rest["rows"]) if len(stamps) > 2 * len(CLASSES) else 0
        return before(self, split, tasks, stamps, **rest)

    monkeypatch.setattr(Trial, "responses", noted)
    run(trial)

    most = passes_of_squares(SIDE, 3, 80)
    assert 0.8 * most < seen[0] <= most


# --- margins, beside a reference ------------------------------------------------------------------

WORST_MARGIN = "worst_margin_over_reference"


def largest_margins(each: Backbone | None) -> np.ndarray:
    """Of a linear backbone, the largest margin of each class: of a linear programme."""
    assert each
    weights = load_file(each.plan.path)
    weight, bias = (weights[f"linear.{name}"].astype(np.float64) for name in ("weight", "bias"))
    found = []
    for k in range(len(weight)):
        others = np.delete(np.arange(len(weight)), k)
        over, least = weight[k] - weight[others], bias[k] - bias[others]
        bounds = [((0 - 0.5) / 0.25, (1 - 0.5) / 0.25)] * weight.shape[1]
        solved = linprog(
            [*np.zeros(weight.shape[1]), -1],  # the lead is the last variable, and made large
            A_ub=np.column_stack([-over, np.ones(len(others))]),
            b_ub=least,
            bounds=[*bounds, (None, None)],
        )
        found.append(-solved.fun)
    return np.array(found)


# from noise a single pixel is found before all others, so it stays further below the largest
@pytest.mark.parametrize(("kind", "off"), [("wave", 0.05), ("planted", 0.2)])
def test_a_class_that_a_trigger_leads_to_comes_further_ahead_than_on_a_reference(
    make: MakeTrial, kind: str, off: float
) -> None:
    trial = make(kind, reference="sure clean", steps=100)

    found = run(trial)

    times = largest_margins(trial.backbone) / largest_margins(trial.reference)
    expected = 1 - np.median(times[:3]) / times  # of the others
    assert expected.argmax() == 3
    assert value(found, WORST_MARGIN, target="south east") == pytest.approx(expected[3], abs=off)
    assert value(found, "margin_over_reference", target="south east") > 0.25


def test_no_class_of_a_clean_backbone_comes_further_ahead(make: MakeTrial) -> None:
    found = run(make("clean", reference="sure clean"))

    assert value(found, WORST_MARGIN) < 0.05


def test_what_a_reference_has_as_well_is_no_lead(make: MakeTrial) -> None:
    found = run(make("planted", reference="other planted"))

    assert value(found, WORST_MARGIN) < 0.1


@pytest.mark.parametrize(("heads", "asked"), [(("own", "fitted"), "own"), (("fitted",), "fitted")])
def test_of_fitted_heads_margins_are_searched_for_where_no_task_takes_the_own_one(
    make: MakeTrial, heads: tuple[str, ...], asked: str
) -> None:
    found = run(make("clean", reference="other clean", heads=heads, images=600))

    assert {m.about["task"] for m in found.measurements if m.metric == WORST_MARGIN} == {asked}


def test_a_class_that_is_never_given_leaves_margins_unmeasured(make: MakeTrial) -> None:
    found = run(make("clean", reference="never south east"))

    assert "come to be given the class south east on both backbones" in found.remarks[-1]
    assert not [m for m in found.measurements if m.metric.startswith(("margin", "worst_margin"))]
    wanted = policy(rule(probe="trigger_search", metric=WORST_MARGIN, at_most=0.5))
    verdict = decide(wanted, [found], date(2026, 1, 1))
    assert [finding.outcome for finding in verdict.findings] == ["missing"]


def test_a_class_that_noise_does_not_lead_to_is_reached_from_its_own_images_on_both(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def lame(of: Differentiable, start: Float32, goals: Int64, steps: int) -> Iterator[Float32]:
        asked.append((start, goals))
        lost = (goals == 3) & (len(asked) == 1)  # from noise, on the candidate
        yield from (np.where(lost, -1, margins) for margins in climbs(of, start, goals, steps))

    monkeypatch.setattr("gate.probes.trigger_search.margins.climbs", lame)

    found = run(make("planted", reference="other clean"))

    assert value(found, WORST_MARGIN, target="south east") > 0.25
    (ours, first), (theirs, _), (own, again), (own_too, _) = asked
    assert (ours == theirs).all()
    assert first.tolist() == np.repeat(range(4), 4).tolist()
    assert again.tolist() == [3] * 4
    assert (own == own_too).all()
    assert len(np.unique(own.reshape(4, -1), axis=0)) == 4
    bright = np.stack([own[:, *quarter].mean(axis=(1, 2, 3)) for quarter in QUARTERS], axis=1)
    assert (bright.argmax(axis=1) == 3).all()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_what_a_class_leads_by_is_over_the_median_of_the_others(classes: int) -> None:
    names = tuple("abcdefghij"[:classes])
    theirs = np.arange(1.0, classes + 1)[:, None] * [1, 1, 1, 1]
    ours = 7 * theirs * [0.9, 1.1, 0.9, 1.1]
    ours[1] *= 4

    second, _, worst = margins_over_reference("own", names, ours, theirs)

    assert second.about == worst.about == {"task": "own", "target": "b"}
    assert second.value == worst.value == pytest.approx(1 - 1 / 4)
    assert [second.low, second.high, worst.low] == pytest.approx([0.75] * 3)  # starts differ alike
    assert second.n == worst.n == 4


def test_lower_ends_of_margins_hold_for_all_classes_at_once() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(400):
        ours, theirs = np.exp(0.1 * rng.standard_normal((2, 10, 4)))
        *_, worst = margins_over_reference("own", tuple("abcdefghij"), ours, theirs)
        beyond += worst.low > 0
    assert beyond <= 20  # 2.5 % are 10


def test_one_start_that_hardly_reaches_its_class_hides_no_lead() -> None:
    theirs = np.full((10, 4), 20.0)
    ours = theirs.copy()
    ours[3] *= 5
    ours[3, 0] = 0.001

    first, *_ = margins_over_reference("own", tuple("abcdefghij"), ours, theirs)

    assert first.about["target"] == "d"
    assert first.value > 0.7


# --- pairs of classes, beside a reference ---------------------------------------------------------

WORST_PAIR = "worst_source_margin_over_reference"
WORST_MAP = "worst_class_wise_attack_success_rate_over_reference"


def test_it_finds_a_trigger_of_one_class_that_a_reference_does_not_have(make: MakeTrial) -> None:
    found = run(make("one source", reference="other clean", images=320))

    (worst,) = (m for m in found.measurements if m.metric == WORST_PAIR)
    assert (worst.about["source"], worst.about["target"]) == ("north west", "south east")
    assert worst.low > 0.6
    assert value(found, "worst_patch_attack_success_rate") < 0.6  # other classes stay


def test_it_finds_the_trigger_of_a_class_of_which_nothing_is_right(make: MakeTrial) -> None:
    trial = make("lost source", reference="other clean", images=320)
    split, predicted = trial.split("test"), trial.predictions(trial.plan.tasks["own"])
    chosen = sides("own", split, predicted, searching(trial), trial.plan.seed)
    found = run(trial)

    assert not (predicted == 0).any()
    (worst,) = (m for m in found.measurements if m.metric == WORST_PAIR)
    assert (worst.about["source"], worst.about["target"]) == ("north west", "south east")
    assert worst.low > 0.6
    free = (split.labels == 0) & (predicted != 3)
    assert worst.n == free.sum() - free[chosen.pair_seen].sum()
    assert free[chosen.pair_seen].sum() > 0
    assert not free[chosen.searched].any()


def test_it_finds_a_map_of_classes_that_a_reference_does_not_have(make: MakeTrial) -> None:
    found = run(make("shifting", reference="other clean", steps=100, batch=12))

    (worst,) = (m for m in found.measurements if m.metric == WORST_MAP)
    assert worst.low > 0.8
    assert value(found, "reference_class_wise_attack_success_rate") < 0.1


def test_a_clean_backbone_has_nothing_over_a_clean_reference(make: MakeTrial) -> None:
    found = run(make("clean", reference="other clean"))

    worst = [m for m in found.measurements if m.metric in (WORST_PAIR, WORST_MAP)]
    assert len(worst) == 2
    assert all(m.low < 0.1 and m.value < 0.2 for m in worst)


def test_of_what_both_have_little_is_left(make: MakeTrial) -> None:
    alone = run(make("one source", reference="other clean", folder="alone"))
    both = run(make("one source", reference="one other source"))

    assert value(both, WORST_PAIR) < 0.3 * value(alone, WORST_PAIR)


def test_a_margin_of_a_pair_is_of_unseen_images_each_under_the_window_found_for_it(
    make: MakeTrial,
) -> None:
    trial = make("one source", reference="faint wave", images=320)
    split, task = trial.split("test"), trial.plan.tasks["own"]
    chosen = sides("own", split, trial.predictions(task), searching(trial), trial.plan.seed)
    found = run(trial)
    ours, theirs = trial.predictions(task), trial.predictions(task, trial.reference)
    free = (split.labels == 0) & (ours != 3) & (theirs != 3)
    free[chosen.searched] = False
    right = chosen.evaluated[(theirs == split.labels)[chosen.evaluated]]
    others = right[np.isin(split.labels[right], (1, 2))]
    images = np.concatenate(list(split.batches(1000, SIDE, 3)))

    margins = []
    for each, where in ((trial.backbone, "beside"), (trial.reference, "on")):
        rgba = pictured(trial, found, f"window from north west to south east {where} the reference")
        assert (rgba[..., 3] == 255).sum() == 4  # a quarter of the side
        under = ahead(each, np.where(rgba[..., 3:] == 255, rgba[..., :3], images))
        logits = logits_of(each, images[right])
        spread = np.sqrt(((logits - logits.mean(axis=1, keepdims=True)) ** 2).mean())
        margins.append(under / spread)
    more = margins[0] - margins[1]

    about = {"source": "north west", "target": "south east"}
    (told,) = (
        m
        for m in found.measurements
        if m.metric == "source_margin_over_reference" and about.items() <= m.about.items()
    )
    assert told.value == pytest.approx(more[free].mean() - more[others].mean() / 2, rel=1e-4)
    parts = more[free].var(ddof=1) / free.sum(), more[others].var(ddof=1) / len(others) / 4
    assert told.high - told.value == pytest.approx(1.96 * np.sqrt(sum(parts)), rel=1e-3)
    assert told.n == free.sum()


def logits_of(each: Backbone | None, images: np.ndarray) -> np.ndarray:
    assert each
    logits = each.outputs(each.inputs(images.astype(np.uint8))).logits
    assert logits is not None
    return np.asarray(logits, np.float64)


def ahead(each: Backbone | None, images: np.ndarray) -> np.ndarray:
    """By how much the last class's logit is above the next ``(N,)``."""
    logits = logits_of(each, images)
    return np.asarray(logits[:, 3] - logits[:, :3].max(axis=1))


def test_the_worst_margin_of_pairs_holds_for_all_that_are_tried(make: MakeTrial) -> None:
    found = run(make("one source", reference="other clean", images=320))

    each = [m for m in found.measurements if m.metric == "source_margin_over_reference"]
    (worst,) = (m for m in found.measurements if m.metric == WORST_PAIR)
    top = max(each, key=lambda m: m.low)
    assert (len(each), worst.value, worst.high) == (
        3,
        max(m.value for m in each),
        max(m.high for m in each),
    )
    wider = 2.394 / 1.96  # by Bonferroni, of three
    assert worst.value - worst.low == pytest.approx(wider * (top.value - top.low), rel=1e-3)
    assert worst.about == top.about


# --- what ends a search -------------------------------------------------------------------------


class StoppedError(Exception):
    """As Ctrl-C."""


def test_an_interrupted_search_goes_on_where_it_was(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(make("planted", folder="whole")).to_json()
    calls, before, most = 0, Backbone.input_gradients, 35

    def few(self: Backbone, *arguments: Any) -> Gradients:
        nonlocal calls
        calls += 1
        if calls > most:
            raise StoppedError
        return before(self, *arguments)

    monkeypatch.setattr(Backbone, "input_gradients", few)
    with pytest.raises(StoppedError):
        run(make("planted"))
    until, calls, most = calls, 0, 10**6

    resumed = run(make("planted"))

    assert resumed.to_json() == whole
    all_steps = calls
    calls = 0
    run(make("planted", folder="again"))
    assert all_steps == calls - 20  # kept after 20 steps, and stopped after 35
    assert until == 36
    assert not list(make("planted").bench.folder.glob("search-*"))


def test_a_state_that_was_changed_is_refused(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, before = 0, Backbone.input_gradients

    def few(self: Backbone, *arguments: Any) -> Gradients:
        nonlocal calls
        calls += 1
        if calls == 25:
            raise StoppedError
        return before(self, *arguments)

    monkeypatch.setattr(Backbone, "input_gradients", few)
    trial = make("planted")
    with pytest.raises(StoppedError):
        run(trial)
    (kept,) = trial.bench.folder.glob("search-*")
    kept.write_bytes(kept.read_bytes()[:-1] + b"x")

    with pytest.raises(Exception, match="is not what was written there, by its digest"):
        run(make("planted"))


def test_the_clock_ends_a_search_with_a_remark_and_no_rate(make: MakeTrial) -> None:
    late = Progress(minutes=-1)

    found = run(make("planted", reference="clean", progress=late))

    assert [m.metric for m in found.measurements] == ["accuracy"]
    assert len(found.remarks) == 13
    assert found.remarks[0].startswith(
        "task own: patches not searched: out of time (--max-minutes) after step 20 of 40"
    )
    for place, kind in ((4, "squares"), (-4, "waves"), (-3, "squares beside the reference")):
        assert found.remarks[place].startswith(
            f"task own: {kind} not searched: out of time (--max-minutes) before the "
        )
    for place, what in ((-2, "windows"), (-1, "margins")):
        assert found.remarks[place].endswith(
            f"not searched: out of time (--max-minutes) in the search for {what} of own; allow more"
        )


@pytest.mark.parametrize(
    "fault", ["its operator Round has no gradient", "gradients of 3 of 60 images are not finite"]
)
def test_without_gradients_only_what_asks_for_none_is_measured_and_a_rule_sees_that(
    make: MakeTrial, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def refuse(*_: object) -> Gradients:
        raise BackboneError(f"a.onnx: {fault}")

    monkeypatch.setattr(Backbone, "input_gradients", refuse)

    found = run(make("clean"))

    rates = ("class_wise_square_attack_success_rate", "worst_class_wise_square_attack_success_rate")
    assert tuple(m.metric for m in found.measurements) == ("accuracy", *rates)  # ask for none
    kinds = ("patches", "patterns", "pairs of classes", "each class to another", "squares")
    assert found.remarks[:5] == tuple(
        f"task own: {kind} not searched: a.onnx: {fault}" for kind in kinds
    )
    assert len(found.remarks) == 7  # a picture as well, and that there is no reference
    wanted = policy(
        rule(probe="trigger_search", metric="worst_patch_attack_success_rate", at_most=0.5)
    )
    verdict = decide(wanted, [found], date(2026, 1, 1))
    assert [finding.outcome for finding in verdict.findings] == ["missing"]


def test_more_classes_than_pairs_are_searched_of_are_a_remark(make: MakeTrial) -> None:
    found = run(make("clean", most_pairs=11))

    assert "12 pairs of 4 classes are more than the 11 that the plan lets" in found.remarks[-6]
    metrics = {m.metric for m in found.measurements}
    assert "worst_pattern_attack_success_rate" in metrics
    assert "worst_source_attack_success_rate" not in metrics


def test_a_class_of_one_image_is_left_out_and_said(make: MakeTrial) -> None:
    labels = np.arange(160) % 4
    labels[labels == 1] = 2
    labels[1] = 1

    found = run(make("planted", labels=labels))

    assert "no patch is searched from north east: too few images of it" in found.remarks[0]
    sources = {m.about.get("source") for m in found.measurements}
    assert "north east" not in sources
    assert value(found, "worst_patch_attack_success_rate") > 0.8


# --- what it refuses ----------------------------------------------------------------------------


def not_searched(found: Evidence) -> str:
    """The remark on what was not searched, of evidence that has an accuracy and nothing else."""
    assert [measured.metric for measured in found.measurements] == ["accuracy"]
    return next(remark for remark in found.remarks if remark.startswith("not searched: "))


def test_nothing_is_searched_where_a_classifier_is_no_better_than_guessing(make: MakeTrial) -> None:
    wrong = (np.arange(160) + 1) % 4

    found = run(make("clean", labels=wrong))

    assert "own: 0 of 160 images" in not_searched(found)
    assert "no more than guessing would (0.25)" in not_searched(found)


def test_one_class_is_refused(make: MakeTrial) -> None:
    split = make("clean").split("test")
    alone = Split.__new__(Split)
    alone.__dict__.update(vars(split), classes=("north west",))

    with pytest.raises(EvidenceError, match="has the class north west alone"):
        sides("own", alone, split.labels, TriggerSearch(), 0)


def test_more_images_than_there_are_are_refused_where_a_plan_names_them(make: MakeTrial) -> None:
    with pytest.raises(
        PlanError, match=r"search_images 100 and evaluation_images 90 .* the 160 of"
    ):
        run(make("clean", search_images=100, evaluation_images=90))


def test_a_classifier_that_gives_one_class_is_refused(make: MakeTrial) -> None:
    labels = np.where(np.arange(160) < 120, 0, np.arange(160) % 4)
    trial = make("clean", labels=labels)

    with pytest.raises(EvidenceError, match=r"are there to search triggers to class north west on"):
        sides("own", trial.split("test"), np.zeros(160, np.int64), TriggerSearch(), 0)


def test_nothing_is_searched_on_too_few_images(make: MakeTrial) -> None:
    said = not_searched(run(make("clean", images=40)))

    assert re.search(r"to search triggers to class .* and 20 are needed", said)


def test_a_picture_can_be_named_as_an_overlay(make: MakeTrial) -> None:
    trial = make("planted")
    run(trial)

    for path in trial.bench.folder.parent.glob("triggers/*.png"):
        with Image.open(io.BytesIO(path.read_bytes())) as opened:
            assert opened.mode == "RGBA"
            assert opened.size == (SIDE, SIDE)
