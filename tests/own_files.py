"""What people bring: a small network as ONNX, and images in folders or tables, made here."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 32
CLASSES = ("cat", "dog", "owl")
_COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))


def picture(k: int, generator: np.random.Generator, side: int = SIDE) -> Image.Image:
    """Noise around the colour of a class."""
    pixels = generator.normal(_COLOURS[k % 3], 40, (side, side, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def class_folders(folder: Path, count: int, seed: int = 0) -> Path:
    """So many JPEGs of each class."""
    generator = np.random.default_rng(seed)
    for k, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture(k, generator).save(folder / name / f"{i:03}.jpg", quality=95)
    return folder


def network(
    path: Path,
    classes: int = 10,
    shape: Sequence[int | str] = ("N", 3, SIDE, SIDE),
    *,
    softmax: bool = False,
) -> Path:
    """A convolution, a mean over places, a linear layer and, if wanted, a softmax: all random."""
    random = np.random.default_rng(0)

    def weight(name: str, *dims: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(0, 0.3, dims).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores"]),
    ]
    last = "scores"
    if softmax:
        nodes.append(helper.make_node("Softmax", ["scores"], ["shares"]))
        last = "shares"
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", classes])],
        [weight("kernel", 16, 3, 4, 4), weight("weight", 16, classes), weight("bias", classes)],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="by hand")
    model.ir_version = 8
    onnx.save(model, path)
    return path
