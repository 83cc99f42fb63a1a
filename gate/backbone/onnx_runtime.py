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

from gate.arrays import Float32, Int64
from gate.backbone.artefact import Artefact
from gate.backbone.heads import LinearHead
from gate.backbone.onnx_file import model_file, read_model
from gate.backbone.onnx_layers import inlined, steps_of
from gate.backbone.onnx_unstable import unstable_operators
from gate.backbone.pooling import channel_means
from gate.backbone.runtime import Tokens
from gate.backbone.unstable import Unstable
from gate.errors import BackboneError, failing_as, first_line
from gate.lineage.network import Layer, Site, layers_of
from gate.plan.backbone import OnnxBackbone
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
            output, or of any value inside the graph (default the first output), and of the own
            head's logits, if they are wanted.

    Raises:
        BackboneError: Not ONNX, truncated, weights outside its folder, an unknown operator domain,
            an unknown output, inputs that are not its kind's, or refused by ONNX Runtime.
    """

    def __init__(self, plan: OnnxBackbone, artefact: Artefact) -> None:
        self._plan, self._artefact = plan, artefact
        self._differentiable: DifferentiableGraph | None = None
        self._file, model = model_file(artefact), read_model(artefact)
        first = plan.output or model.graph.output[0].name
        self._outputs = [first, *([plan.logits] if plan.logits else [])]
        self._inputs = _inputs(self._file, model, text=bool(plan.text))
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
        model.ClearField("metadata_props")  # which may hold settings for the session that runs it
        # what was looked through is what runs, given as bytes: a path could be resolved elsewhere
        return _session(self._file, *_parts(self._file, model))

    def _given(self, session: Any, outputs: list[str], inputs: Float32 | Tokens) -> list[Any]:
        """What a session gives for one batch."""
        fed: dict[str, Any] = {self._inputs[0]: inputs}
        if isinstance(inputs, dict):
            known = {"token_type_ids": np.zeros_like(inputs["input_ids"]), **inputs}
            fed = {name: known[name] for name in self._inputs}
        try:
            given: list[Any] = session.run(outputs, fed)
        except Exception as fault:  # ONNX Runtime's own exceptions have no common base
            shape = next(iter(fed.values())).shape
            raise BackboneError(
                f"{self._plan.path}: ONNX Runtime refused a batch of shape {shape}: "
                f"{first_line(fault)}; check {self._plan.hint}"
            ) from fault
        return given

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
            graph = DifferentiableGraph(self._plan, model, self._inputs[0], self._outputs)
            graph.require_agreement(inputs, self.run(inputs))
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


def _inputs(file: Path, model: onnx.ModelProto, *, text: bool) -> list[str]:
    """Names of the graph's inputs, sorted.

    Raises:
        BackboneError: They are not those of a graph on texts, or on images.
    """
    inputs = {value.name for value in model.graph.input}
    inputs -= {tensor.name for tensor in model.graph.initializer}
    if text and not {"input_ids"} <= inputs <= _TOKENS:
        raise BackboneError(
            f"{file}: inputs {sorted(inputs)}, expected input_ids and, if it has them, "
            "attention_mask and token_type_ids, of texts"
        )
    if not text and len(inputs) != 1:
        raise BackboneError(f"{file}: {len(inputs)} inputs {sorted(inputs)}, expected one: images")
    return sorted(inputs)


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
