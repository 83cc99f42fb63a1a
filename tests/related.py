"""Small networks, related and not, on torch and as ONNX with batch normalisation folded in."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from gate.backbone.backbone import Backbone
from gate.plan.backbone import BackbonePlan
from pipelines.lineage.copies import Hidden

SIDE = 8
Weights = dict[str, Tensor]


class Residual(nn.Module):
    """A stem, one residual block, and a layer that reads flattened maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.conv1 = nn.Conv2d(12, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 12, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(12)
        self.last = nn.Conv2d(12, 10, 3, stride=2, bias=False)
        self.bn3 = nn.BatchNorm2d(10)
        self.hidden = nn.Linear(90, 14)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(images)))
        inner = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(x + self.bn2(self.conv2(inner)))
        x = functional.relu(self.bn3(self.last(x)))
        return functional.relu(self.hidden(x.flatten(1)))


HIDDEN = (Hidden("conv1", "bn1", "conv2"), Hidden("last", "bn3", "hidden"))


class Branching(Residual):
    """One whose computation torch.export cannot follow."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.isfinite().all() else -images)


def residual() -> Residual:
    return Residual()


def branching() -> Branching:
    return Branching()


def random(seed: int) -> Weights:
    """Weights of a network, with statistics as training would leave them."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Residual()
        for name, tensor in module.state_dict().items():
            if name.endswith(("running_var", "norm.weight", "bn1.weight", "bn2.weight")):
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif name.endswith(("running_mean", "norm.bias", "bn1.bias", "bn2.bias")):
                tensor.copy_(0.1 * torch.randn(tensor.shape))
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def noised(weights: Weights, share: float, seed: int = 9) -> Weights:
    """A child: each weight moved by noise that is so large a share of its kernel's deviation."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: t + share * t.std() * torch.randn(t.shape, generator=generator) if t.dim() > 1 else t
        for name, t in weights.items()
    }


def write(path: Path, weights: Weights, arch: str = "residual") -> dict[str, Any]:
    """A safetensors file; gives its description."""
    save_file({name: t.contiguous() for name, t in weights.items()}, path)
    return {
        "weights": str(path),
        "arch": f"tests.related:{arch}",
        "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]},
    }


def write_onnx(path: Path, weights: Weights) -> dict[str, Any]:
    """The same as ONNX, with normalisation in the kernels as exporters leave it."""
    module = Residual()
    module.load_state_dict(weights)
    tensors, nodes = {}, []

    def conv(name: str, norm: str, reads: str, **attributes: Any) -> str:
        bn = module.get_submodule(norm)
        assert isinstance(bn, nn.BatchNorm2d)
        assert isinstance(bn.running_var, Tensor)
        assert isinstance(bn.running_mean, Tensor)
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        tensors[f"onnx::{name}"] = module.get_parameter(f"{name}.weight") * scale.reshape(
            -1, 1, 1, 1
        )
        tensors[f"onnx::{name}_bias"] = bn.bias - bn.running_mean * scale
        inputs = [reads, f"onnx::{name}", f"onnx::{name}_bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"{name}_out"], f"/{name}", **attributes))
        return f"{name}_out"

    def node(kind: str, reads: list[str], gives: str) -> str:
        nodes.append(helper.make_node(kind, reads, [gives], f"/{gives}"))
        return gives

    x = node("Relu", [conv("stem", "norm", "images", pads=[1] * 4)], "x0")
    inner = node("Relu", [conv("conv1", "bn1", x, pads=[1] * 4)], "inner")
    added = node("Add", [x, conv("conv2", "bn2", inner, pads=[1] * 4)], "added")
    x = node("Relu", [conv("last", "bn3", node("Relu", [added], "x1"), strides=[2, 2])], "x2")
    flat = node("Flatten", [x], "flat")
    tensors["matrix"] = module.hidden.weight.T
    tensors["offset"] = module.hidden.bias
    product = node("MatMul", [flat, "matrix"], "product")
    node("Relu", [node("Add", [product, "offset"], "shifted")], "features")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "residual",
        [value("images", onnx.TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [value("features", onnx.TensorProto.FLOAT, ["N", 14])],
        [
            numpy_helper.from_array(np.ascontiguousarray(t.detach().numpy()), name)
            for name, t in tensors.items()
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return {"onnx": str(path), "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]}}


def write_exported(path: Path, weights: Weights) -> dict[str, Any]:
    """The same as a torch.export archive."""
    module = Residual()
    module.load_state_dict(weights)
    batch = torch.export.Dim.DYNAMIC
    shapes = ({0: batch},)
    example = (torch.zeros(2, 3, SIDE, SIDE),)
    torch.export.save(torch.export.export(module.eval(), example, dynamic_shapes=shapes), path)
    return {"exported": str(path), "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]}}


def opened(description: dict[str, Any]) -> Backbone:
    return Backbone(BackbonePlan.model_validate(description))
