"""Programs of torch.export, run on torch."""

import torch

from gate.backbone.artefact import Artefact
from gate.backbone.exported_file import vetted_copy
from gate.backbone.torch_runtime import TorchRuntime
from gate.errors import BackboneError, first_line
from gate.plan.backbone import ExportedBackbone


def open_runtime(plan: ExportedBackbone, artefact: Artefact) -> TorchRuntime:
    """The program of an archive that holds nothing but data.

    Raises:
        BackboneError: Another file, truncated, or one that holds more than data.
    """
    copy = vetted_copy(plan.exported, artefact.read())
    try:
        module = torch.export.load(copy).module()
    except Exception as fault:  # the loader raises whatever its parts raise
        raise BackboneError(
            f"{plan.exported}: torch.export cannot load it: {first_line(fault)}"
        ) from fault
    return TorchRuntime(plan, module, {})
