"""ONNX on ONNX Runtime: looked through before it runs."""

import contextlib
import ctypes
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from gate.arrays import Array, Float32, Int64
from gate.backbone.artefact import Artefact
from gate.backbone.declared_input import Declared, Found, in_pieces, settings_of_images
from gate.backbone.heads import LinearHead
from gate.backbone.onnx_description import Graph, declared
from gate.backbone.onnx_file import model_file, read_model
from gate.backbone.onnx_layers import inlined, steps_of
from gate.backbone.onnx_unstable import unstable_operators
from gate.backbone.pooling import channel_means
from gate.backbone.runtime import Tokens
from gate.backbone.unstable import Unstable
from gate.errors import BackboneError, failing_as, first_line
from gate.lineage.network import Layer, Site, layers_of
from gate.plan.backbone import OnnxBackbone
from gate.printable import escaped
from gate.strict_yaml import nearest

if TYPE_CHECKING:
    from gate.backbone.onnx_gradients import DifferentiableGraph

log = logging.getLogger("gate")

# A message of protobuf has less than 2 GiB; shapes, which ONNX Runtime reads early, are small.
_LONGEST, _SMALL = 2_000_000_000, 4096  # bytes
_PLAIN = {  # types that numpy has, too
    getattr(onnx.TensorProto, name)
    for name in ("FLOAT", "FLOAT16", "DOUBLE", "INT8", "UINT8", "INT16", "INT32", "INT64", "BOOL")
}
_TOKENS = {"input_ids", "attention_mask", "token_type_ids"}


class OnnxRuntime:
    """An ONNX file on ONNX Runtime: on the GPU if one is there, else on the CPU.

    Args:
        plan: Its file, or the folder of a file whose weights lie beside it; names of a graph
            output, or of any value inside the graph (see `Graph.features` where there is none),
            and of the own head's logits, if they are wanted.

    Raises:
        BackboneError: Not ONNX, truncated, weights outside its folder, an unknown operator domain,
            an unknown output or one of probabilities, inputs that are not its kind's or do not fit
            the plan, or refused by ONNX Runtime.
    """

    def __init__(self, plan: OnnxBackbone, artefact: Artefact) -> None:
        self._plan, self._artefact = plan, artefact
        self._differentiable: DifferentiableGraph | None = None
        self._file, model = model_file(artefact), read_model(artefact)
        inputs = {each.name: each for each in _inputs(self._file, model, text=bool(plan.text))}
        self._declared, self._inputs = inputs, list(inputs)
        self._batch = next(iter(inputs.values())).batch
        graph = Graph(model)
        features, remarks = _features(plan, graph, model)
        self._outputs = [features, *([plan.logits] if plan.logits else [])]
        _require_no_probabilities(plan, graph)
        self.found = _found(plan, inputs, features, remarks)
        self._plan = plan.settled(self.found.settings)
        self._session, provider = self._running(model, self._outputs)
        self._noting: tuple[Sequence[Site], Any] | None = None  # a session that gives sites, too
        self.versions = {"runtime": f"onnxruntime {onnxruntime.__version__} {provider}"}

    def run(self, inputs: Float32 | Tokens) -> list[Float32]:
        """The named outputs for one batch."""
        given = self._given(self._session, self._outputs, inputs)
        return [np.asarray(output, np.float32) for output in given]

    def layers(self) -> list[Layer]:
        """The linear layers that the features are computed by, with their weights."""
        with failing_as(BackboneError, f"{self._plan.path}: its layers cannot be read"):
            model = inlined(read_model(self._artefact))  # anew, as for gradients
            return layers_of(steps_of(model), self._inputs, self._outputs[0])

    def unstable_operators(self) -> list[Unstable]:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""
        return unstable_operators(read_model(self._artefact))  # anew, as for gradients

    def activations(self, inputs: Float32 | Tokens, sites: Sequence[Site]) -> list[Float32]:
        """What `run` gives; then of each site channels ``(N, C)``, averaged over places."""
        names = list(dict.fromkeys([*self._outputs, *(site.value for site in sites)]))
        if self._noting is None or self._noting[0] != sites:
            session, _ = self._running(inlined(read_model(self._artefact)), names)
            self._noting = sites, session
        given = dict(zip(names, self._given(self._noting[1], names, inputs), strict=True))
        whole = [np.asarray(given[name], np.float32) for name in self._outputs]
        return [*whole, *(channel_means(given[site.value], site.axis) for site in sites)]

    def _running(self, model: onnx.ModelProto, outputs: list[str]) -> tuple[Any, str]:
        """A session that gives these outputs, and where it runs."""
        _add_outputs(self._file, model, outputs)
        for each in self._declared.values():
            if each.type == "bfloat16":
                _take_floats(model, each.name)
        model.ClearField("metadata_props")  # which may hold settings for the session that runs it
        # what was looked through is what runs, given as bytes: a path could be resolved elsewhere
        session, provider = _session(self._file, *_parts(self._file, model))
        types = {output.name: output.type for output in session.get_outputs()}
        # numpy has no such numbers
        if unread := [name for name in outputs if types[name] == "tensor(bfloat16)"]:
            _give_floats(model, unread)
            session, provider = _session(self._file, *_parts(self._file, model))
        return session, provider

    def _given(self, session: Any, outputs: list[str], inputs: Float32 | Tokens) -> list[Any]:
        """What a session gives for one batch."""
        fed: dict[str, Any] = {self._inputs[0]: inputs}
        if isinstance(inputs, dict):
            known = {"token_type_ids": np.zeros_like(inputs["input_ids"]), **inputs}
            fed = {name: known[name] for name in self._inputs}
        cast = {name: _cast(values, self._declared[name].type) for name, values in fed.items()}
        names = [each.name for each in session.get_outputs()]
        wanted = [_floats_of(name) if _floats_of(name) in names else name for name in outputs]

        def passed(piece: dict[str, Array]) -> list[Array]:
            try:
                given: list[Array] = session.run(wanted, piece)
            except Exception as fault:  # ONNX Runtime's own exceptions have no common base
                says = "; ".join(each.says for each in self._declared.values())
                shape = next(iter(piece.values())).shape
                raise BackboneError(
                    f"{self._plan.path}: ONNX Runtime refused a batch of shape {shape}: "
                    f"{' '.join(str(fault).split())}; it declares {says}"
                ) from fault
            return given

        return in_pieces(self._plan.path, self._batch, passed, self._named(cast, session))

    def _named(self, batch: dict[str, Array], session: Any) -> dict[str, Array]:
        """A batch by the names of a session's inputs, once its shapes fit what is declared."""
        for name, values in batch.items():
            known = self._declared[name]
            shape = known.shape or ("?",) * values.ndim
            for index, (said, found) in enumerate(zip(shape, values.shape, strict=False)):
                if index and isinstance(said, int) and said != found:
                    raise BackboneError(
                        f"{self._plan.path}: takes {known.says}, and got {found} where it says "
                        f"{said} (index {index} of {values.shape}); check {self._plan.hint}"
                    )
        takes = {each.name for each in session.get_inputs()}
        return {
            _floats_of(name) if _floats_of(name) in takes else name: values
            for name, values in batch.items()
        }

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> list[Float32]:
        """Logits of a batch of images, and gradients; see `input_gradients.input_gradients`.

        ONNX Runtime gives no gradients, so the graph is computed in torch; at the first call, what
        both compute of the batch is compared.

        Raises:
            BackboneError: An operator has no gradient here, or both differ.
        """
        # torch takes seconds to import, and a backbone that is only run does without it
        from gate.backbone.onnx_gradients import DifferentiableGraph

        if self._differentiable is None:
            # read anew, since few backbones are asked for it: refused if it holds other bytes now
            model = read_model(self._artefact)
            images = self._declared[self._inputs[0]]
            graph = DifferentiableGraph(self._plan, model, images, self._outputs)
            tried = inputs
            if images.is_of_integers:  # which ONNX Runtime rounds to, and a gradient does not see
                tried = np.asarray(_cast(inputs, images.type), np.float32)
            graph.require_agreement(tried, self.run(tried))
            self._differentiable = graph
        return self._differentiable.input_gradients(inputs, targets, head)


def _add_outputs(file: Path, model: onnx.ModelProto, wanted: list[str]) -> None:
    """Make outputs of the graph of values inside it, where they are wanted.

    Raises:
        BackboneError: There is no such value.
    """
    names = [value.name for value in model.graph.output]
    inner = {name for node in model.graph.node for name in node.output}
    for name in wanted:
        if name in names:
            continue
        if name not in inner:
            raise BackboneError(f"{file}: no output {name!r}; {nearest(name, names)}")
        model.graph.output.append(onnx.ValueInfoProto(name=name))


def _features(
    plan: OnnxBackbone, graph: Graph, model: onnx.ModelProto
) -> tuple[str, tuple[str, ...]]:
    """The name of the value that holds the features, and what is to be said of it.

    Raises:
        BackboneError: None is named, and the rule's lies inside a function of the model.
    """
    if plan.output:
        return plan.output, ()
    value, why = graph.features()
    written = {name for node in model.graph.node for name in node.output}
    if value not in written | {each.name for each in graph.inputs}:
        names = ", ".join(each.name for each in graph.outputs)
        raise BackboneError(
            f"{plan.path}: no output is named, and {why} lies inside a function of the model; say "
            f"output in the plan: one of {names}, or another value of the graph"
        )
    return value, (
        f"no output is named in the plan: features are {escaped(value)!r}, {escaped(why)}",
    )


def _require_no_probabilities(plan: OnnxBackbone, graph: Graph) -> None:
    """Refuse what ends in a softmax where features or logits are wanted.

    Raises:
        BackboneError: The output does, or the logits do; says what feeds it.
    """
    for key, name in (("output", plan.output), ("logits", plan.logits)):
        ending = graph.ending(name or "")
        if ending.what != "probabilities" or (key == "output" and ending.operator == "Sigmoid"):
            continue
        if key == "logits" and ending.operator == "LogSoftmax":  # logits up to a number a row
            continue
        better = graph.features().value if key == "output" else ending.feeds
        raise BackboneError(
            f"{plan.path}: {key} {name!r} comes of a {ending.operator}: probabilities, and no "
            f"{'features' if key == 'output' else 'logits'}; write {key}: {better} in the plan"
        )


def _found(
    plan: OnnxBackbone, inputs: dict[str, Declared], features: str, remarks: tuple[str, ...]
) -> Found:
    """What the file says beside the plan.

    Raises:
        BackboneError: Both contradict each other.
    """
    if plan.preprocessing:
        (images,) = inputs.values()
        settings, said = settings_of_images(plan, plan.preprocessing, images)
        return Found({"output": features, **settings}, (*remarks, *said))
    shape = inputs["input_ids"].shape or ()
    length = shape[1] if len(shape) > 1 else None
    if plan.text is None or not isinstance(length, int):
        return Found({"output": features}, remarks)
    if plan.text.max_tokens > length or plan.text.length not in (None, length):
        raise BackboneError(
            f"{plan.path}: takes {inputs['input_ids'].says}, texts of {length} tokens, and the "
            f"plan gives up to {plan.text.max_tokens}; write max_tokens: {length} and no length "
            "under text in the plan"
        )
    return Found({"output": features, "text": {"length": length}}, remarks)


def _cast(values: Array, kind: str) -> Array:
    """Numbers as a graph takes them; whole ones are rounded, within what the type holds."""
    if kind in ("bfloat16", "float32") or not hasattr(np, kind):
        return values
    wanted = np.dtype(kind)
    if wanted.kind in "iu" and values.dtype.kind == "f":
        known = np.iinfo(wanted)
        return np.asarray(np.rint(np.clip(values, known.min, known.max)), wanted)
    return values.astype(wanted)


def _floats_of(name: str) -> str:
    """What a value is called as float32, where the graph has it in a type that numpy lacks."""
    return f"gate/float32/{name}"


def _take_floats(model: onnx.ModelProto, name: str) -> None:
    """Let an input be float32, and cast it first of all."""
    (value,) = (each for each in model.graph.input if each.name == name)
    kind = value.type.tensor_type.elem_type
    cast = onnx.helper.make_node("Cast", [_floats_of(name)], [name], to=kind)
    value.name = _floats_of(name)
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model.graph.node.insert(0, cast)


def _give_floats(model: onnx.ModelProto, names: list[str]) -> None:
    """Add outputs that are others cast to float32."""
    for name in names:
        made = _floats_of(name)
        cast = onnx.helper.make_node("Cast", [name], [made], to=onnx.TensorProto.FLOAT)
        model.graph.node.append(cast)
        model.graph.output.append(onnx.ValueInfoProto(name=made))


def _inputs(file: Path, model: onnx.ModelProto, *, text: bool) -> list[Declared]:
    """The graph's inputs, sorted by name.

    Raises:
        BackboneError: They are not those of a graph on texts, or on images.
    """
    given = {value.name: value for value in model.graph.input}
    inputs = set(given) - {tensor.name for tensor in model.graph.initializer}
    if text and not {"input_ids"} <= inputs <= _TOKENS:
        raise BackboneError(
            f"{file}: inputs {sorted(inputs)}, expected input_ids and, if it has them, "
            "attention_mask and token_type_ids, of texts"
        )
    if not text and len(inputs) != 1:
        raise BackboneError(f"{file}: {len(inputs)} inputs {sorted(inputs)}, expected one: images")
    return [declared(given[name]) for name in sorted(inputs)]


def _session(file: Path, content: bytes, apart: dict[str, Any]) -> tuple[Any, str]:
    providers = ["CPUExecutionProvider"]
    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and _gpu_is_there()
    said = io.StringIO()
    if gpu:
        with contextlib.redirect_stdout(said):
            onnxruntime.preload_dlls()  # finds the CUDA libraries that torch brings
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = session_of(content, providers, apart)
    except Exception as fault:  # ONNX Runtime's own exceptions have no common base
        raise BackboneError(f"{file}: ONNX Runtime refused it: {first_line(fault)}") from fault
    provider = session.get_providers()[0]
    if provider == "CUDAExecutionProvider":
        log.info("%s: ONNX Runtime runs on the GPU", file.name)
    elif gpu:
        why = (said.getvalue().strip().splitlines() or ["install torch with CUDA"])[0]
        log.warning("%s: ONNX Runtime could not load CUDA and runs on the CPU: %s", file.name, why)
    else:
        log.info("%s: no GPU here; ONNX Runtime runs on the CPU", file.name)
    return session, provider


def session_of(content: bytes, providers: list[str], apart: dict[str, Any] | None = None) -> Any:
    """A session of ONNX Runtime from a model's bytes, with weights that are handed over apart."""
    onnxruntime.set_default_logger_severity(4)  # a provider that fails to load prints a page
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # as torch does; else each of several workers on a machine takes all of its cores
    threads = os.environ.get("OMP_NUM_THREADS", "")
    options.intra_op_num_threads = int(threads) if threads.isdecimal() else 0
    # else bytes that begin like ONNX Runtime's own format would be read as that
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # threads that wait for the next operator sleep: on a shared machine that leaves more for passes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if apart:
        options.add_external_initializers(list(apart), list(apart.values()))
    return onnxruntime.InferenceSession(content, options, providers=providers)


def _parts(file: Path, model: onnx.ModelProto) -> tuple[bytes, dict[str, Any]]:
    """The bytes of a model and, where they are too many for one message, weights apart by name."""
    apart: dict[str, Any] = {}
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _LONGEST:
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) < _SMALL or tensor.data_type not in _PLAIN:
                continue
            values = onnx.numpy_helper.to_array(tensor)
            apart[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy(values)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="handed over apart")
    try:
        return model.SerializeToString(), apart
    except Exception as fault:  # protobuf's EncodeError, whose home differs between its releases
        raise BackboneError(
            f"{file}: above 2 GiB, also without its large initializers: {first_line(fault)}; "
            "export it with weights as initializers of float32, float16 or integers"
        ) from fault


def _gpu_is_there() -> bool:
    """Asks the driver; importing torch for it would take seconds."""
    for name in ("libcuda.so.1", "nvcuda.dll"):
        with contextlib.suppress(OSError):
            driver, count = ctypes.CDLL(name), ctypes.c_int(0)
            answers = driver.cuInit(0) == 0 == driver.cuDeviceGetCount(ctypes.byref(count))
            return answers and count.value > 0
    return False


open_runtime = OnnxRuntime
