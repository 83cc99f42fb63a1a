"""A backbone small enough to write by hand, in every format, and what an attacker would send."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

SIDE = 8
WEIGHT = np.random.default_rng(7).normal(size=(5, 3, 3, 3)).astype(np.float32)
PREPROCESSING = {"size": SIDE, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}


class Tiny(nn.Module):
    """A convolution, a ReLU, and a mean over places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, bias=False)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(self.relu(self.conv(images)).mean(dim=(2, 3)))


def factory() -> Tiny:
    return Tiny()


def not_a_module() -> str:
    return "no"


def loaded() -> Tiny:
    module = Tiny()
    module.conv.weight.data = torch.from_numpy(WEIGHT)
    return module.eval()


def by_hand(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features ``(N, 5)`` of images ``(N, 8, 8, 3)``, in plain numpy."""
    mean, std = np.array(PREPROCESSING["mean"]), np.array(PREPROCESSING["std"])
    x = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)  # (N, C, H, W)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    maps = np.maximum(np.einsum("nchwij,ocij->nohw", windows, WEIGHT), 0)
    return np.asarray(maps.mean(axis=(2, 3)))


def onnx_model(
    domain: str = "", outputs: tuple[str, ...] = ("features",), batch: Any = "N"
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["map"]),
        helper.make_node("Relu", ["map"], ["active"], domain=domain),
        helper.make_node("ReduceMean", ["active"], ["features"], axes=[2, 3], keepdims=0),
    ]
    shapes = {"features": [batch, 5], "active": [batch, 5, 6, 6]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [value("images", onnx.TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [value(name, onnx.TensorProto.FLOAT, shapes[name]) for name in outputs],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    domains = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


def write_onnx(path: Path, model: onnx.ModelProto | None = None) -> Path:
    path.write_bytes((model or onnx_model()).SerializeToString())
    return path


def write_external(folder: Path, location: str) -> Path:
    """A model whose weights are said to lie at ``location``, seen from its folder."""
    folder.mkdir(exist_ok=True)
    model = onnx_model()
    tensor = model.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(len(content)))
    (folder / "weights.bin").write_bytes(content)
    return write_onnx(folder / "model.onnx", model)


def export() -> torch.export.ExportedProgram:
    batch = torch.export.Dim.DYNAMIC
    return torch.export.export(
        loaded(), (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},)
    )
