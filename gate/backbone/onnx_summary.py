"""An ONNX file in short, as JSON holds it; read in the child process, like all of such files."""

from collections.abc import Mapping
from typing import Any

import onnx

from gate.backbone.artefact import Artefact
from gate.backbone.onnx_description import Graph, declared, describe
from gate.backbone.onnx_file import read_model

_MOST = 200  # inputs and outputs that are told


def summary(artefact: Artefact) -> dict[str, Any]:
    """What the graph says of itself.

    Args:
        artefact: The file or folder.

    Returns:
        ``producer``, ``opsets``, ``parameters``, ``inputs`` and ``outputs`` (``name``, ``type``,
        ``shape``, outputs also ``what``), ``features`` and ``logits`` (``name``, ``shape``,
        ``why``); ``logits`` is None where none is known.

    Raises:
        BackboneError: It is refused; see `onnx_file.read_model`.
    """
    model = read_model(artefact)
    described, graph = describe(model), Graph(model)
    shapes = _shapes(model)
    logits = None
    for output in described.outputs:
        if output.what == "logits":
            logits = (output.name, "an output that a linear layer gives")
        elif output.what == "probabilities":
            ending = graph.ending(output.name)
            logits = (ending.feeds, f"what feeds the {ending.operator} of output {output.name!r}")
        if logits:
            break
    value, why = described.features
    return {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opsets": described.opsets,
        "parameters": described.parameters,
        "inputs": [each._asdict() for each in described.inputs[:_MOST]],
        "outputs": [each._asdict() for each in described.outputs[:_MOST]],
        "features": _named(value, why, shapes),
        "logits": _named(*logits, shapes) if logits and logits[0] != value else None,
    }


def _named(name: str, why: str, shapes: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "shape": shapes.get(name), "why": why}


def _shapes(model: onnx.ModelProto) -> dict[str, Any]:
    """Shapes of values, as far as they follow from those of inputs and weights."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # it raises whatever a graph makes it raise, and a shape is only told
        inferred = model.graph
    known = (*inferred.value_info, *inferred.output, *inferred.input)
    return {each.name: declared(each).shape for each in known}
