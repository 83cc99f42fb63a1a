"""Programs of torch.export, run on torch."""

import torch

from gate.backbone.artefact import Artefact
from gate.backbone.exported_file import vetted_copy
from gate.backbone.torch_runtime import TorchRuntime
from gate.errors import BackboneError, failing_as
from gate.plan.backbone import ExportedBackbone


def open_runtime(plan: ExportedBackbone, artefact: Artefact) -> TorchRuntime:
    """The program of an archive that holds nothing but data.

    Raises:
        BackboneError: Another file, truncated, or one that holds more than data.
    """
    copy = vetted_copy(plan.exported, artefact.read())
    with failing_as(BackboneError, f"{plan.exported}: torch.export cannot load it"):
        module = torch.export.load(copy).module()
    return TorchRuntime(plan, module, {})
