"""What runs weights: one interface, a file for each format."""

from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gate.plan.backbone import BackbonePlan

Tokens = dict[str, NDArray[np.int64]]  # input_ids and attention_mask, (N, T) each


class Runtime(Protocol):
    """What runs the weights."""

    versions: dict[str, str]

    def run(self, inputs: NDArray[np.float32] | Tokens) -> list[NDArray[np.float32]]:
        """Inputs to the named output or layer and, if there is one, the own head's logits."""
        ...


def open_runtime(plan: BackbonePlan) -> Runtime:
    """The runtime of a description, by ``gate/backbone/FORMAT_runtime.py``.

    Raises:
        BackboneError: Weights that are missing, truncated, a pickle, or of a kind that is refused.
    """
    # torch takes seconds to import, and an ONNX backbone does without it
    home = import_module(f"gate.backbone.{plan.format}_runtime")
    runtime: Runtime = home.open_runtime(plan)
    return runtime
