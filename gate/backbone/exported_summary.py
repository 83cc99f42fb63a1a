"""A torch.export archive in short, as JSON holds it; read in the child process."""

import json
import math
import zipfile
from typing import Any

from gate.backbone.artefact import Artefact
from gate.backbone.exported_file import vetted_copy
from gate.errors import BackboneError, failing_as

# torch._export.serde.schema.ScalarType
_TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32",
          8: "float64", 12: "bool", 13: "bfloat16"}  # fmt: skip


def summary(artefact: Artefact) -> dict[str, Any]:
    """What the archive says of its graph, with the keys of `onnx_summary.summary`.

    Raises:
        BackboneError: It is refused; see `exported_file.vetted_copy`.
    """
    path = artefact.path
    with (
        failing_as(BackboneError, f"{path}: not a torch.export archive that is known"),
        zipfile.ZipFile(vetted_copy(path, artefact.read())) as archive,
    ):
        (member,) = (name for name in archive.namelist() if name.endswith("models/model.json"))
        whole = json.loads(archive.read(member))
        graph, signature = whole["graph_module"]["graph"], whole["graph_module"]["signature"]
        values = graph["tensor_values"]
        inputs = [
            each["user_input"]["arg"]["as_tensor"]["name"]
            for each in signature["input_specs"]
            if "as_tensor" in each.get("user_input", {}).get("arg", {})
        ]
        outputs = [
            each["user_output"]["arg"]["as_tensor"]["name"]
            for each in signature["output_specs"]
            if "as_tensor" in each.get("user_output", {}).get("arg", {})
        ]
        weights = [
            each["parameter"]["arg"]["name"]
            for each in signature["input_specs"]
            if "parameter" in each
        ]
        numbers = sum(math.prod(d.get("as_int", 0) for d in values[w]["sizes"]) for w in weights)
        (first, *_) = outputs
        return {
            "producer": f"torch.export, schema {whole['schema_version']['major']}",
            "opsets": {str(k): int(v) for k, v in whole.get("opset_version", {}).items()},
            "parameters": numbers,
            "inputs": [_tensor(name, values[name]) for name in inputs],
            "outputs": [{**_tensor(name, values[name]), "what": ""} for name in outputs],
            "features": {
                "name": first,
                "shape": _tensor(first, values[first])["shape"],
                "why": "what it returns",
            },
            "logits": None,
        }


def _tensor(name: str, told: dict[str, Any]) -> dict[str, Any]:
    shape = [each.get("as_int") for each in told["sizes"]]
    return {"name": name, "type": _TYPES.get(told["dtype"], "unknown"), "shape": shape}
