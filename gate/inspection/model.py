"""What a model file is and holds. Nothing of it runs here, and no pickle is ever loaded."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.backbone.artefact import Artefact
from gate.backbone.child import Confined
from gate.errors import BackboneError, GateError
from gate.inspection.facts import Features, Images, ModelFacts, Sidecar, Tensor
from gate.limits import Limits
from gate.plan.preprocessing_file import preprocessing_of
from gate.printable import escaped

_PICKLE = (
    "a pickle, which runs code of its author when it is loaded, so gate never does: where you "
    "trust it, load it yourself and write torch.onnx.export(model, ...), or "
    "safetensors.torch.save_file(model.state_dict(), 'model.safetensors') with arch in the plan"
)
_SCRIPT = (
    "TorchScript, a program with pickles in it: write torch.onnx.export from the module that it "
    "was made of"
)
_KERAS = "python -m tf2onnx.convert --{} --output model.onnx"
_ELSEWHERE = {  # endings of what others run, and the way from there to ONNX
    ".h5": ("keras-hdf5", f"a Keras file: load it yourself, model.export('saved'), then "
            f"{_KERAS.format('saved-model saved')}"),
    ".keras": ("keras", f"a Keras file: load it yourself, model.export('saved'), then "
               f"{_KERAS.format('saved-model saved')}"),
    ".tflite": ("tflite", f"a TensorFlow Lite file: {_KERAS.format('tflite model.tflite')}"),
    ".pb": ("tensorflow-graph", f"a TensorFlow graph: {_KERAS.format('graphdef model.pb')}, with "
            "its --inputs and --outputs"),
    ".ort": ("onnx-runtime", "ONNX Runtime's own format: give the .onnx that it was made of"),
    ".gguf": ("gguf", "weights for llama.cpp: give the safetensors that they were made of"),
    ".engine": ("tensorrt", "a TensorRT engine for one GPU: give the .onnx that it was made of"),
    ".plan": ("tensorrt", "a TensorRT engine for one GPU: give the .onnx that it was made of"),
    ".mlmodel": ("coreml", "a Core ML file: export the network that it was made of to ONNX"),
    ".xml": ("openvino", "an OpenVINO file: give the .onnx that it was made of"),
    ".msgpack": ("flax", "Flax weights: export the network to ONNX by jax2onnx, or load them into "
                 "its torch twin and save safetensors"),
    ".npz": ("numpy", "arrays without their network: save them as safetensors, with arch in the "
             "plan"),
}  # fmt: skip
_PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".th", ".tar", ".joblib"}
ENDINGS = {".onnx", ".pt2", ".safetensors", *_PICKLES, *_ELSEWHERE} - {".npz", ".tar", ".xml"}
_HEAD = 16 << 20  # bytes of the header of safetensors; that of 10,000 tensors takes 1 MiB
_TYPES = {"F64": 1, "F32": 1, "F16": 1, "BF16": 1}
_SIDECARS = ("preprocessor_config.json", "config.json")
_TOKENIZER = "tokenizer.json"
_CHANNELS = (1, 3)
_OF_TEXTS = "input_ids"


def inspect_model(path: Path, limits: Limits) -> ModelFacts:
    """What a model file or folder is, and what it says of itself.

    Args:
        path: The file, or a folder with an ONNX file and its weights.
        limits: Of the child process that reads a file which holds a program.

    Returns:
        Facts; what gate does not take is said under ``refused``, and is no error.

    Raises:
        BackboneError: There is no such file, or it cannot be read.
    """
    artefact = Artefact(path)
    known, refusal = _format(path, artefact)
    facts: dict[str, Any] = {
        "path": escaped(str(path)),
        "format": known,
        "bytes": sum((path / name).stat().st_size for name in artefact.names),
        "digest": artefact.digest,
        "sidecars": _sidecars(path),
        "refused": (refusal,) if refusal else (),
    }
    if not refusal:
        try:
            facts |= _READERS[known](path, artefact, limits)
        except GateError as fault:
            facts["refused"] = (escaped(str(fault)),)
    return ModelFacts.model_validate(facts)


def is_model(path: Path) -> bool:
    """Whether a path is of a model rather than of data, by its ending and what the folder holds."""
    if path.is_dir():
        names = [each.name for each in path.iterdir()]
        return "saved_model.pb" in names or any(name.endswith(".onnx") for name in names)
    return path.suffix.lower() in ENDINGS


def _format(path: Path, artefact: Artefact) -> tuple[str, str]:
    """What it is by its first bytes and its ending; and why it is refused, if it is."""
    if path.is_dir():
        if "saved_model.pb" in artefact.names:
            way = _KERAS.format(f"saved-model {path}")
            return "tensorflow-saved-model", f"a TensorFlow SavedModel: {way}"
        weights = [n for n in artefact.names if n.endswith(".safetensors")]
        if weights and not any(n.endswith(".onnx") for n in artefact.names):
            return "weights", f"a folder: give the file itself, {path / weights[0]}"
        return "onnx", ""
    with path.open("rb") as file:
        head = file.read(64 << 10)
    ending = path.suffix.lower()
    if head.startswith(b"PK"):
        if ending == ".pt2":
            return "exported", ""
        if ending == ".keras":
            return _ELSEWHERE[ending]
        if b"constants.pkl" in head or b"/code/" in head:
            return "torchscript", _SCRIPT
        if b"data.pkl" in head or ending in _PICKLES:
            return "torch-pickle", _PICKLE
    if head.startswith(b"\x89HDF\r\n"):
        return _ELSEWHERE[".h5"]
    if head[4:8] == b"TFL3":
        return _ELSEWHERE[".tflite"]
    if head[4:8] == b"ORTM":
        return _ELSEWHERE[".ort"]
    if head.startswith(b"GGUF"):
        return _ELSEWHERE[".gguf"]
    if re.match(rb"\x80[\x02-\x05]", head) or ending in _PICKLES:
        return "pickle", _PICKLE
    if ending in _ELSEWHERE:
        return _ELSEWHERE[ending]
    if ending == ".safetensors" or head[8:10] == b'{"':
        return "weights", ""
    if ending == ".pt2":
        return "exported", ""
    return "onnx", ""


def _of_onnx(path: Path, artefact: Artefact, limits: Limits) -> dict[str, Any]:
    return _of_graph(_told(path, artefact, limits, "onnx"))


def _of_exported(path: Path, artefact: Artefact, limits: Limits) -> dict[str, Any]:
    return _of_graph(_told(path, artefact, limits, "exported"))


def _told(path: Path, artefact: Artefact, limits: Limits, format_: str) -> Mapping[str, Any]:
    """What a child process says of a file; its text may be anything."""
    told = Confined(path, limits).ask("summary", format_, artefact).value
    shown: Mapping[str, Any] = _shown(told)
    return shown


def _shown(content: Any) -> Any:
    """The same, with text as it may be shown."""
    if isinstance(content, str):
        return escaped(content.replace("\n", " "))[:200]
    if isinstance(content, dict):
        return {_shown(key): _shown(item) for key, item in content.items()}
    return [_shown(item) for item in content] if isinstance(content, list) else content


def _of_graph(told: Mapping[str, Any]) -> dict[str, Any]:
    inputs = [Tensor.model_validate(each) for each in told["inputs"]]
    texts = any(each.name == _OF_TEXTS for each in inputs)
    images = None if texts or len(inputs) != 1 else images_of(inputs[0])
    takes = "texts" if texts else "images" if images else None
    marked = tuple(Tensor.model_validate({**dict(each), "what": takes or ""}) for each in inputs)
    refused = []
    if takes is None:
        refused.append(
            f"{len(inputs)} inputs, {', '.join(each.name for each in inputs[:5])}: gate passes one "
            "input of images (N, C, H, W) or (N, H, W, C), or input_ids of texts with "
            "attention_mask and token_type_ids; export the part that takes those"
        )
    return {
        **told,
        "takes": takes,
        "images": images,
        "inputs": marked,
        "outputs": tuple(Tensor.model_validate(each) for each in told["outputs"]),
        "features": Features.model_validate(told["features"]),
        "logits": Features.model_validate(told["logits"]) if told["logits"] else None,
        "refused": tuple(refused),
    }


def images_of(given: Tensor) -> Images | None:
    """Size, channels and layout of an input, as far as its shape tells; None if it is of none."""
    if given.shape is None:
        return Images(size=None, channels=None, layout=None)
    if len(given.shape) != 4:
        return None
    _, *rest = given.shape
    for layout, channels, sides in (
        ("NCHW", rest[0], rest[1:]),
        ("NHWC", rest[2], rest[:2]),
    ):
        known = {side for side in sides if isinstance(side, int)}
        if channels in _CHANNELS and len(known) < 2:
            size = known.pop() if known else None
            return Images.model_validate({"size": size, "channels": channels, "layout": layout})
    if any(isinstance(each, int) for each in rest):
        return None
    return Images(size=None, channels=None, layout=None)


def _of_weights(path: Path, _artefact: Artefact, _limits: Limits) -> dict[str, Any]:
    """Names, shapes and types of the tensors of safetensors, by the header alone."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _HEAD:
            raise BackboneError(f"{path}: a header of {length} bytes; no safetensors, or truncated")
        head = file.read(length)
    try:
        content = json.loads(head)
        tensors = {name: each for name, each in content.items() if name != "__metadata__"}
        counts = {name: math.prod(map(int, each["shape"])) for name, each in tensors.items()}
        types = Counter(str(each["dtype"]) for each in tensors.values())
        ends = [int(each["data_offsets"][1]) for each in tensors.values()]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError) as fault:
        raise BackboneError(f"{path}: not safetensors, or truncated: {fault!r}") from fault
    if path.stat().st_size < 8 + length + max(ends, default=0):
        raise BackboneError(f"{path}: truncated: its tensors need more bytes than it has")
    shapes = {name: tuple(map(int, each["shape"])) for name, each in tensors.items()}
    likely = _likely(list(tensors))
    note = (
        "weights without their network: the plan names it by arch, a factory of torch: module:name"
    )
    return {
        "tensors": {escaped(kind)[:20]: count for kind, count in types.items()},
        "parameters": sum(counts[n] for n in tensors if tensors[n]["dtype"] in _TYPES),
        "outputs": tuple(
            Tensor(name=escaped(name)[:200], type=escaped(str(tensors[name]["dtype"]))[:20],
                   shape=shapes[name], what="weight")
            for name in _ends_of(list(tensors))
        ),
        "likely": likely,
        "notes": (note,),
    }  # fmt: skip


def _ends_of(names: list[str]) -> list[str]:
    """The first and the last tensors, which say most."""
    return names if len(names) <= 6 else [*names[:3], *names[-3:]]


_NAMES = (  # by a tensor that only they have, as far as names tell
    ("transformers' ViT (Hugging Face)", r"(vit\.)?encoder\.layer\.\d+\.attention\.attention\."),
    ("transformers' BERT or a sentence encoder (Hugging Face)",  # as sentence-transformers' own
     r"(bert\.)?encoder\.layer\.\d+\.attention\.self\."),
    ("transformers' CLIP (Hugging Face)", r"vision_model\.encoder\.layers\.\d+\."),
    ("transformers' ResNet (Hugging Face)", r"resnet\.embedder"),
    ("transformers' ConvNeXt (Hugging Face)", r"convnext\.embeddings"),
    ("timm's ViT", r"blocks\.\d+\.attn\.qkv\.weight"),
    ("timm's EfficientNet or MobileNet", r"conv_stem\.weight"),
    ("timm's ConvNeXt", r"stages\.\d+\.blocks\.\d+\.conv_dw\."),
    ("torchvision's ViT", r"encoder\.layers\.encoder_layer_\d+\."),
    ("torchvision's EfficientNet or MobileNet", r"features\.\d+\.\d+\."),
    ("torchvision's DenseNet", r"features\.denseblock\d+\."),
    ("a ResNet as torchvision and timm have it", r"layer4\.\d+\.conv\d\.weight"),
)  # fmt: skip


def _likely(names: list[str]) -> str:
    for whose, pattern in _NAMES:
        if any(re.match(pattern, name) for name in names):
            return whose
    return ""


def _sidecars(path: Path) -> tuple[Sidecar, ...]:
    """Files in the model's folder that say how its inputs are made."""
    folder = path if path.is_dir() else path.parent
    found = [
        Sidecar(path=str(place), what="preprocessing")
        for place in (folder / name for name in _SIDECARS)
        if place.is_file() and _is_preprocessing(place)
    ]
    if (place := folder / _TOKENIZER).is_file():
        found.append(Sidecar(path=str(place), what="tokenizer"))
    return tuple(found)


def _is_preprocessing(path: Path) -> bool:
    try:
        preprocessing_of(path, {})
    except ValueError:  # a config.json of another kind, or one that gate has no keys for
        return False
    return True


_READERS = {"onnx": _of_onnx, "exported": _of_exported, "weights": _of_weights}
