"""Weights as values: between two networks, with a module of another, BatchNorm anew."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from torch import Tensor, nn

from gate.backbone.altered_weights import (
    Architecture,
    as_bytes,
    initial_weights,
    interpolated,
    recalibrated,
    rewound,
    weights_of,
)
from gate.backbone.artefact import Artefact, HeldWeights
from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, PlanError
from gate.plan.backbone import BackbonePlan, WeightsBackbone
from tests import related, tiny


def plan(folder: Path, weights: related.Weights, arch: str = "normed") -> WeightsBackbone:
    save_file(weights, folder / "weights.safetensors")
    return WeightsBackbone.model_validate(
        {
            "weights": folder / "weights.safetensors",
            "arch": f"{__name__ if arch in globals() else 'tests.related'}:{arch}",
            "preprocessing": {"size": related.SIDE, "mean": [0.3], "std": [0.4]},
        }
    )


class Tokens(nn.Module):
    """A parameter of its own, and children that are called in another order than they stand in."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.shift = nn.Parameter(torch.zeros(3))
        self.embed = nn.Linear(3, 3)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2).transpose(1, 2) + self.shift
        return torch.as_tensor(self.norm(self.relu(self.embed(tokens))))


def tokens() -> Tokens:
    return Tokens()


def test_both_ends_are_the_networks_themselves_and_counters_stay_as_they_are() -> None:
    first, second = related.normed().state_dict(), related.normed().state_dict()
    second["bn1.num_batches_tracked"] += 7

    ends = interpolated(first, second, 0.0), interpolated(first, second, 1.0)
    middle = interpolated(first, second, 0.5)

    for end, whole in zip(ends, (first, second), strict=True):
        assert all(torch.equal(end[name], whole[name]) for name in whole if "num" not in name)
        assert end["bn1.num_batches_tracked"] == 0
    assert torch.allclose(
        middle["conv1.weight"], (first["conv1.weight"] + second["conv1.weight"]) / 2
    )


def test_numbers_of_half_precision_do_not_overflow_between_two_networks() -> None:
    large = torch.tensor([60_000.0], dtype=torch.float16)

    middle = interpolated({"w": large}, {"w": -large}, 0.25)["w"]

    assert middle.dtype == torch.float16
    assert middle.item() == 30_000


def test_a_rewound_module_takes_its_buffers_along_and_leaves_its_namesakes() -> None:
    first = {
        "bn1.weight": torch.ones(1),
        "bn1.running_var": torch.ones(1),
        "bn10.weight": torch.ones(1),
    }
    second = {name: torch.zeros(1) for name in first}

    after = rewound(first, second, "bn1")

    assert {name: tensor.item() for name, tensor in after.items()} == {
        "bn1.weight": 0, "bn1.running_var": 0, "bn10.weight": 1,
    }  # fmt: skip


def test_recalibrated_statistics_are_those_of_torchs_own_update(tmp_path: Path) -> None:
    images, _ = related.digits()
    batches = [related.inputs(images[start : start + 50]) for start in (0, 50, 100)]
    network = related.normed()
    described = plan(tmp_path, network.state_dict())
    seen: list[int] = []

    content = as_bytes(network.state_dict())
    after = load(recalibrated(described, content, [b.numpy() for b in batches], seen.append))

    torch.optim.swa_utils.update_bn(batches, network)
    for name, tensor in network.state_dict().items():
        assert torch.allclose(after[name], tensor, rtol=1e-5, atol=1e-6), name
    assert seen == [50, 50, 50]


def test_initial_weights_are_the_factorys_under_the_seed_and_leave_the_generator(
    tmp_path: Path,
) -> None:
    described = plan(tmp_path, related.normed().state_dict())
    before = torch.random.get_rng_state()

    drawn = initial_weights(described, 5)

    assert torch.equal(torch.random.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = related.normed().state_dict()
    assert all(torch.equal(drawn[name], expected[name]) for name in expected)


def test_modules_are_children_with_parameters_in_the_order_of_the_forward_graph(
    tmp_path: Path,
) -> None:
    architecture = Architecture(plan(tmp_path, tokens().state_dict(), "tokens"))
    batch = np.zeros((2, 3, 4, 4), np.float32)

    assert architecture.modules == ["shift", "norm", "embed"]
    assert architecture.in_forward_order(architecture.modules, batch) == ["shift", "embed", "norm"]
    assert not architecture.has_batch_norm


def test_modules_of_a_wrapper_are_those_inside_it(tmp_path: Path) -> None:
    architecture = Architecture(plan(tmp_path, related.plain().state_dict(), "plain"))

    assert architecture.modules == ["inner.1", "inner.3"]


def test_a_backbone_under_other_weights_is_what_their_file_would_be(tmp_path: Path) -> None:
    one, other = related.plain().state_dict(), related.plain().state_dict()
    described = plan(tmp_path, one, "plain")
    images = related.digits()[0][:20]
    first = Backbone(described)

    altered = first.with_weights(as_bytes(other))

    save_file(other, tmp_path / "weights.safetensors")
    from_file = Backbone(described)
    assert altered.features(images).tobytes() == from_file.features(images).tobytes()
    assert altered.digest != first.digest
    assert Path(described.weights).exists()
    assert HeldWeights(described.weights, as_bytes(one)).digest == first.digest


def test_weights_of_a_file_with_its_own_program_are_not_altered(tmp_path: Path) -> None:
    path = tiny.write_onnx(tmp_path / "tiny.onnx")
    described = BackbonePlan.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})

    with pytest.raises(PlanError, match=r"tiny\.onnx: holds a program.*give safetensors"):
        Backbone(described).with_weights(b"")


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    weights = related.normed().state_dict()
    weights["conv2.weight"][0, 0, 0, :2] = torch.nan
    described = plan(tmp_path, weights)

    with pytest.raises(BackboneError, match=r"2 of 1728 numbers of conv2\.weight are not finite"):
        weights_of(described, Artefact(described.path))
