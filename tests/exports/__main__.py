"""What gate says of ONNX files that common exporters write of common architectures.

``python -m tests.exports FOLDER`` opens each file of a folder that ``make.py`` beside this filled,
and five that it derives from one of them: half precision, 8 bits with ranges that are fixed or not,
a fixed batch, channels last. It prints a row of Markdown for each: what stands for
its features, whether its answers are stable, its gradients and its layers; or why it is refused.
"""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from gate.backbone.backbone import Backbone
from gate.backbone.heads import LinearHead
from gate.errors import GateError
from gate.measure.stability import require_stable
from gate.plan.backbone import BackbonePlan
from tests.tiny_text import WORDS, write_tokenizer

BATCH = 4
_ROW = "| {} | {} | {} | {} | {} | {} |"
_DERIVED_OF = "torchvision_resnet18-9-script.onnx"


def derived(folder: Path, out: Path) -> Iterator[Path]:
    """Files of one architecture as people change them after the export."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = folder / _DERIVED_OF
    model = onnx.load(source)

    def saved(name: str, changed: onnx.ModelProto) -> Path:
        onnx.save(changed, out / f"{name}.onnx")
        return out / f"{name}.onnx"

    yield saved("resnet18-float16", convert_float_to_float16(onnx.load(source)))

    class Images(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.left = [{"images": rng.random((2, 3, 64, 64), np.float32)} for _ in range(4)]

        def get_next(self) -> dict[str, Any] | None:
            return self.left.pop() if self.left else None

    newer = onnx.version_converter.convert_version(model, 13)
    onnx.save(newer, out / "13.onnx")
    quantize_static(out / "13.onnx", out / "resnet18-static-int8.onnx", Images())
    yield out / "resnet18-static-int8.onnx"
    quantize_dynamic(out / "13.onnx", out / "resnet18-dynamic-int8.onnx")
    yield out / "resnet18-dynamic-int8.onnx"
    (out / "13.onnx").unlink()

    fixed = onnx.load(source)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    yield saved("resnet18-batch-of-1", fixed)

    last = onnx.load(source)
    given = last.graph.input[0]
    turn = onnx.helper.make_node("Transpose", ["rows_first"], [given.name], perm=[0, 3, 1, 2])
    last.graph.node.insert(0, turn)
    last.graph.input.remove(given)
    shape: list[str | int | None] = ["batch", 64, 64, 3]
    last.graph.input.append(onnx.helper.make_tensor_value_info("rows_first", 1, shape))
    yield saved("resnet18-channels-last", last)


def said_of(path: Path) -> list[str]:
    """Features, stability, gradients and layers, in a few words each."""
    graph = onnx.load(path).graph
    shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    rng = np.random.default_rng(0)
    plan: dict[str, Any] = {"onnx": path}
    if graph.input[0].name == "input_ids":
        plan["text"] = {"tokenizer": write_tokenizer(path.parent), "max_tokens": 8}
    else:
        plan["preprocessing"] = {"size": shape[2], "mean": [0.5], "std": [0.25]}
    backbone = Backbone(BackbonePlan.model_validate(plan))
    chosen = next(
        (r for r in backbone.remarks if "features are" in r), "an output that is named so"
    )
    examples: Any = [" ".join(WORDS[2 + i : 4 + i]) for i in range(BATCH)]
    if not backbone.plan.text:
        examples = rng.integers(0, 256, (BATCH, shape[2], shape[2], 3), np.uint8)
    require_stable(backbone, examples)
    if backbone.plan.text:
        outputs = backbone.outputs(backbone.tokens(examples))
        return [f"{outputs.features.shape[1]}: {chosen}", "yes", "texts have none", ""]
    inputs = backbone.inputs(examples)
    width = backbone.outputs(inputs).features.shape[1]
    head = LinearHead(rng.normal(size=(width, 3)).astype(np.float32), np.zeros(3, np.float32))
    return [
        f"{width}: {chosen}",
        "yes",
        _tried(lambda: backbone.input_gradients(inputs, np.zeros(BATCH, np.int64), head) and "yes"),
        _tried(lambda: str(len(backbone.layers))),
    ]


def _tried(ask: Any) -> str:
    try:
        return str(ask())
    except GateError as fault:
        return f"no: {fault}"


def main(folder: Path) -> None:
    """Print the table."""
    print(_ROW.format("file", "opset", "features", "stable", "gradients", "layers"))
    print(_ROW.format(*["---"] * 6))
    with tempfile.TemporaryDirectory() as out:
        for path in [*sorted(folder.glob("*.onnx")), *derived(folder, Path(out))]:
            model = onnx.load(path)
            opset = max(
                each.version for each in model.opset_import if each.domain in ("", "ai.onnx")
            )
            try:
                says = said_of(path)
            except GateError as fault:
                says = [f"refused: {fault}", "", "", ""]
            plain = [re.sub(r"\S*/(?=\S+\.onnx)", "", each).replace("|", "/") for each in says]
            print(_ROW.format(path.name, opset, *plain), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
