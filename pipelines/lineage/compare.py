"""Real backbones beside their ancestors, copies of known descent, and networks that share nothing.

``python -m pipelines.lineage.compare``; needs ../shared/data. Copies are made, and three networks
trained, in out/lineage, once; that takes some ten minutes of one core, the rest two.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from gate import stats
from gate.backbone.backbone import Backbone
from gate.lineage.alignment import aligned_alignment, alignment, mean_alignment
from gate.lineage.network import Layer
from gate.lineage.pairing import Pair, paired, relative_distance
from gate.lineage.permutation import correspondences, exceedances
from gate.lineage.similarity import feature_similarity
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.probes.lineage.images import activations, sites_of
from gate.values import Evidence
from pipelines.cifar.architectures import ResNet
from pipelines.lineage.copies import Hidden, permuted_and_rescaled, pruned, quantised, trained

OUT, DATA = Path("out/lineage"), Path("../shared/data")
CARDS = Path("pipelines/cifar")
IMAGES, ORDERS, TRAINED_ON = 600, 9999, 2500
METRICS = (
    "independence_p_value",
    "weight_alignment",
    "aligned_weight_alignment",
    "relative_parameter_distance",
    "feature_similarity",
)
Description = dict[str, Any]
Weights = dict[str, Tensor]

_RESNET = tuple(
    Hidden(
        f"layer{stage}.{block}.conv1", f"layer{stage}.{block}.bn1", f"layer{stage}.{block}.conv2"
    )
    for stage in (1, 2, 3)
    for block in range(3)
)
_WIDE = tuple(
    Hidden(*(f"block{stage}.layer.{block}.{name}" for name in ("conv1", "bn2", "conv2")))
    for stage in (1, 2, 3)
    for block in (0, 1)
)
_TEACHER = DATA / "models" / "nad_wrn16_1_cifar10_finetuned_teacher.safetensors"
_EFFICIENTNET: Description = {
    "weights": str(DATA / "models" / "tf_efficientnet_lite0_imagenet_fp16.safetensors"),
    "arch": "pipelines.papers.gla.efficientnet:efficientnet_lite0",
    "layer": "pool",
    "preprocessing": {"size": 96, "mean": [0.5], "std": [0.5]},
}


class Row(NamedTuple):
    """A candidate beside an ancestor."""

    candidate: str
    ancestor: str
    truth: str


ROWS = (
    Row("wrn16 on torch", "wrn16", "the same weights"),
    Row("wrn16_teacher", "wrn16", "cleansed by a long fine-tuning"),
    Row("wrn16 hidden", "wrn16", "permuted and rescaled"),
    Row("wrn16 pruned", "wrn16", "half of the weights zero"),
    Row("wrn16 quantised", "wrn16", "8 bits"),
    Row("wrn16_teacher hidden", "wrn16", "cleansed, permuted and rescaled"),
    Row("resnet20 hidden", "resnet20", "permuted and rescaled"),
    Row("resnet20 pruned", "resnet20", "half of the weights zero"),
    Row("resnet20 quantised", "resnet20", "8 bits"),
    Row("resnet20 fine-tuned", "resnet20", "fine-tuned, rate 0.01, 4 epochs"),
    Row("resnet20 fine-tuned hidden", "resnet20", "the same, permuted and rescaled"),
    Row("resnet20 retrained", "resnet20", "fine-tuned, rate 0.1, 8 epochs"),
    Row("resnet20 retrained hidden", "resnet20", "the same, permuted and rescaled"),
    Row("resnet20 from scratch", "resnet20", "unrelated, of one architecture"),
    Row("resnet20 retrained", "resnet20 from scratch", "unrelated, of one architecture"),
    Row("resnet32", "resnet20", "unrelated, of another depth"),
    Row("resnet20", "wrn16", "unrelated, of another architecture"),
    Row("lite0 pruned", "lite0", "EfficientNet-Lite0, half of the weights zero"),
    Row("lite0 quantised", "lite0", "EfficientNet-Lite0, 8 bits"),
)


def main() -> None:
    """Print the table, and the seconds of each metric."""
    backbones = dict(_backbones())
    print(f"| candidate | ancestor | truth | {' | '.join(METRICS)} |")
    print(f"|{'---|' * (3 + len(METRICS))}")
    for row in ROWS:
        found = _evidence(backbones[row.candidate], backbones[row.ancestor])
        cells = [*row, *(_cell(found, metric) for metric in METRICS)]
        print(f"| {' | '.join(cells)} |", flush=True)
    print("\n| candidate | ancestor | interpolation_barrier |\n|---|---|---|")
    couple = ("wrn16_teacher on torch", "wrn16 on torch")
    print(f"| {' | '.join(couple)} | {_barrier(*(backbones[name] for name in couple))} |")
    print("\n| metric | ResNet-20, ONNX | EfficientNet-Lite0, torch |\n|---|---|---|")
    columns = (("resnet20", "resnet20 pruned"), ("lite0", "lite0 pruned"))
    timed = [_seconds(*(backbones[name] for name in names)) for names in columns]
    for step, first in timed[0].items():
        print(f"| {step} | {first:.2f} s | {timed[1][step]:.2f} s |")


def _backbones() -> Iterator[tuple[str, Description]]:
    """Descriptions by name; those that are not there are made."""
    for name in ("wrn16", "wrn16_teacher", "resnet20", "resnet32"):
        yield name, yaml.safe_load((CARDS / f"{name}.yaml").read_text())
    torch_cards = {
        name: yaml.safe_load((CARDS / f"{name}_safetensors.yaml").read_text())
        for name in ("wrn16", "resnet20")
    }
    yield "wrn16 on torch", torch_cards["wrn16"]
    yield "wrn16_teacher on torch", torch_cards["wrn16"] | {"weights": str(_TEACHER)}
    yield "lite0", _EFFICIENTNET
    wide, residual = (load_file(card["weights"]) for card in torch_cards.values())
    lite = {name: t.float() for name, t in load_file(_EFFICIENTNET["weights"]).items()}
    for name, card, hidden, weights in (
        ("wrn16", torch_cards["wrn16"], _WIDE, wide),
        ("resnet20", torch_cards["resnet20"], _RESNET, residual),
        ("lite0", _EFFICIENTNET, (), lite),
    ):
        copies = {"pruned": pruned(weights, 0.5), "quantised": quantised(weights, 8)}
        if hidden:
            copies["hidden"] = _hidden(weights, hidden)
        for kind, copy in copies.items():
            yield f"{name} {kind}", _kept(f"{name} {kind}", card, partial(dict, copy))
    copy = _hidden(load_file(_TEACHER), _WIDE)
    yield (
        "wrn16_teacher hidden",
        _kept("wrn16_teacher hidden", torch_cards["wrn16"], partial(dict, copy)),
    )
    card = torch_cards["resnet20"]
    for name, start, epochs, rate in (
        ("resnet20 fine-tuned", residual, 4, 0.01),
        ("resnet20 retrained", residual, 8, 0.1),
        ("resnet20 from scratch", None, 8, 0.1),
    ):
        made = _kept(name, card, partial(_trained, residual, start, epochs, rate))
        yield name, made
        hidden_copy = _hidden(load_file(made["weights"]), _RESNET)
        yield f"{name} hidden", _kept(f"{name} hidden", card, partial(dict, hidden_copy))


def _hidden(weights: Weights, hidden: tuple[Hidden, ...]) -> Weights:
    return permuted_and_rescaled(weights, hidden, torch.Generator().manual_seed(0))


def _kept(name: str, card: Description, make: Callable[[], Weights]) -> Description:
    """The description of a copy, made if its file is not there."""
    path = OUT / f"{name.replace(' ', '_')}.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: t.contiguous() for key, t in make().items()}, path)
    return {**card, "weights": str(path)}


def _trained(weights: Weights, start: Weights | None, epochs: int, rate: float) -> Weights:
    """A ResNet-20 trained on images of CIFAR-100; its old head, which is not compared, is put back.

    Args:
        weights: Of the ResNet-20 whose head is put back.
        start: Weights that training starts from; None for random ones.
        epochs: How often all images are seen.
        rate: Learning rate.
    """
    with np.load(DATA / "images" / "cifar100_15k.npz") as data:
        images, labels = data["x"][:TRAINED_ON], data["y"][:TRAINED_ON]
    inputs = (images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = ResNet(blocks=3, classes=100)
    if start:
        module.load_state_dict(
            {name: t for name, t in start.items() if not name.startswith("linear")}, strict=False
        )
    batch = torch.from_numpy(inputs.transpose(0, 3, 1, 2).astype(np.float32))
    after = trained(module, batch, torch.from_numpy(labels.astype(np.int64)), epochs, rate, 0)
    return {
        **after,
        "linear.weight": weights["linear.weight"],
        "linear.bias": weights["linear.bias"],
    }


def _plan(candidate: Description, ancestor: Description) -> Plan:
    split = {"path": str(DATA / "images" / "cifar10_dev.npz"), "image": "x_test", "label": "y_test"}
    return Plan.model_validate(
        {
            "name": "lineage",
            "backbone": candidate,
            "ancestor": ancestor,
            "splits": {"train": split, "cifar10": split},
            "tasks": {"cifar10": {"train": "train", "test": "cifar10"}},
            "probes": {"lineage": {"images": IMAGES, "permutations": ORDERS}},
        }
    )


def _evidence(candidate: Description, ancestor: Description) -> Evidence:
    return run_probe("lineage", Trial(Bench(_plan(candidate, ancestor), OUT / "features")))


def _barrier(candidate: Description, ancestor: Description) -> str:
    """Of the own head; BatchNorm takes its statistics of CIFAR-10's own training images."""
    content = _plan(candidate, ancestor).model_dump()
    images = str(DATA / "images" / "cifar10_dev.npz")
    content["splits"] = {
        "train": {"path": images, "image": "x_train", "label": "y_train"},
        "cifar10": {"path": images, "image": "x_test", "label": "y_test"},
    }
    content["tasks"] = {"own": {"test": "cifar10", "head": "own"}}
    content["probes"] = {"lineage": {"barrier": {"recalibrated_on": "train"}}}
    trial = Trial(Bench(Plan.model_validate(content), OUT / "features"))
    return _cell(run_probe("lineage", trial), "interpolation_barrier")


def _cell(found: Evidence, metric: str) -> str:
    """A number with its interval; nothing where it was not measured."""
    for m in found.measurements:
        if m.metric == metric:
            if metric == "independence_p_value":
                return f"{m.value:.4f} [{m.low:.4f}, {m.high:.4f}]"
            exact = m.low == m.high
            return f"{m.value:.3f}" if exact else f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]"
    return ""


class _Stopwatch(dict[str, float]):
    """Seconds by step."""

    def time(self, step: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        given = call()
        self[step] = time.perf_counter() - start
        return given


def _seconds(ancestor: Description, candidate: Description) -> dict[str, float]:
    """What each metric takes, once both backbones are open."""
    watch, rng = _Stopwatch(), np.random.default_rng(0)
    trial = Trial(Bench(_plan(candidate, ancestor), OUT / "features"))
    both = [trial.bench.opened(trial.plan.backbone), trial.bench.opened(_described(ancestor))]
    layers = watch.time("reading the layers of both", lambda: [each.layers for each in both])
    pairs = paired(*layers)
    watch.time(
        f"independence_p_value, {ORDERS:,} orders",
        lambda: exceedances(correspondences(pairs), ORDERS, rng),
    )
    watch.time("weight_alignment", lambda: mean_alignment([alignment(pair) for pair in pairs], rng))
    watch.time("relative_parameter_distance", lambda: relative_distance(pairs))
    rows = np.arange(IMAGES)
    seen = watch.time(
        f"passes of {IMAGES} images through both",
        lambda: [_inside(trial, each, [p[i] for p in pairs], rows) for i, each in enumerate(both)],
    )
    watch.time("aligned_weight_alignment", lambda: _aligned(pairs, seen, rng))
    watch.time(
        "feature_similarity", lambda: feature_similarity(*(outputs.features for outputs in seen))
    )
    return watch


def _described(card: Description) -> BackbonePlan:
    return BackbonePlan.model_validate(card)


def _inside(trial: Trial, backbone: Backbone, layers: list[Layer], rows: Any) -> Any:
    return trial.inside("cifar10", rows, backbone, sites_of(layers))


def _aligned(pairs: list[Pair], seen: list[Any], rng: np.random.Generator) -> stats.Interval:
    cosines = [
        aligned_alignment(
            pair, *(activations(layer, each) for layer, each in zip(pair, seen, strict=True))
        )
        for pair in pairs
    ]
    return mean_alignment(cosines, rng).whole


if __name__ == "__main__":
    main()
