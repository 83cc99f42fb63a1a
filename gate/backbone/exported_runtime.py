"""Programs of torch.export, run on torch."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from gate.backbone.artefact import Artefact
from gate.backbone.declared_input import Declared, Found, settings_of_images
from gate.backbone.exported_file import vetted_copy
from gate.backbone.torch_runtime import TorchRuntime
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import ExportedBackbone

# what changes no number, only its place or type
_SAME = (
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "clone",
    "contiguous",
    "_to_copy",
    "to",
)


def open_runtime(plan: ExportedBackbone, artefact: Artefact) -> TorchRuntime:
    """The program of an archive that holds nothing but data.

    Raises:
        BackboneError: Another file, truncated, or one that holds more than data.
    """
    copy = vetted_copy(plan.exported, artefact.read())
    with failing_as(BackboneError, f"{plan.exported}: torch.export cannot load it"), _logged():
        program = torch.export.load(copy)
        module = program.module()
    declared = _declared(plan, program)
    runtime = TorchRuntime(plan, module, {}, declared)
    if plan.preprocessing:
        settings, remarks = settings_of_images(plan, plan.preprocessing, declared)
        runtime.found = Found(settings, (_given_by(plan, program), *remarks))
        runtime.plan = plan.settled(settings)
    return runtime


def _given_by(plan: ExportedBackbone, program: torch.export.ExportedProgram) -> str:
    """What is to be said of the output, which is taken for the features.

    Raises:
        BackboneError: It is that of a softmax.
    """
    givers = {node.name: node for node in program.graph.nodes}
    node = givers.get(str(program.graph_signature.user_outputs[0]))
    operator = _operator(node)
    for _ in givers:
        if operator not in _SAME or node is None:
            break
        node = node.args[0]
        operator = _operator(node)
    if operator.strip("_") in ("softmax", "log_softmax"):
        raise BackboneError(
            f"{plan.exported}: gives what comes of a softmax: probabilities, and no features; "
            "export it without its last layers"
        )
    says = "features are what the program returns"
    if operator in ("linear", "addmm", "mm"):
        says += ", which comes of a linear layer; if those are logits, export it without that layer"
    return says


def _operator(node: Any) -> str:
    """The name of an operator, such as ``linear`` of ``aten.linear.default``."""
    home, _, rest = str(getattr(node, "target", "")).partition(".")
    return rest.partition(".")[0] if home == "aten" else ""


def _declared(plan: ExportedBackbone, program: torch.export.ExportedProgram) -> Declared:
    """The only input of a program.

    Raises:
        BackboneError: It has several, or none.
    """
    names = program.graph_signature.user_inputs
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    values = [node.meta.get("val") for node in nodes if node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor):
        raise BackboneError(f"{plan.exported}: {len(values)} inputs, expected one: images")
    kind = str(values[0].dtype).removeprefix("torch.")
    shape = tuple(each if isinstance(each, int) else str(each) for each in values[0].shape)
    return Declared(str(names[0]), kind, shape)


@contextmanager
def _logged() -> Iterator[None]:
    """Raise what torch.export's loader logs and replaces by "check the warnings above".

    Raises:
        Exception: Whatever was logged, or else whatever the block raises.
    """
    faults: list[BaseException] = []

    def take(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            faults.append(record.exc_info[1])
        return False  # it is not printed, with its traceback

    log = logging.getLogger("torch.export")
    log.addFilter(take)
    try:
        yield
    except Exception as fault:
        raise (faults or [fault])[0] from fault
    finally:
        log.removeFilter(take)
