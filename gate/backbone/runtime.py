"""What runs weights: one interface, a file for each format."""

from collections.abc import Sequence
from typing import Protocol

from gate.arrays import Float32, Int64
from gate.backbone.declared_input import Found
from gate.backbone.heads import LinearHead
from gate.backbone.unstable import Unstable
from gate.lineage.network import Layer, Site

Tokens = dict[str, Int64]  # input_ids and attention_mask, (N, T) each


class Runtime(Protocol):
    """What runs the weights."""

    versions: dict[str, str]
    found: Found  # what the file says, where the plan leaves something open

    def run(self, inputs: Float32 | Tokens) -> list[Float32]:
        """Inputs to the named output or layer and, if there is one, the own head's logits."""

    def input_gradients(
        self, inputs: Float32, targets: Int64, head: LinearHead | None
    ) -> list[Float32]:
        """Logits of a batch of images, and gradients; see `input_gradients.input_gradients`."""

    def layers(self) -> list[Layer]:
        """The linear layers that the features are computed by, with their weights."""

    def unstable_operators(self) -> list[Unstable]:
        """Operators by which outputs may depend on chance, or on the other rows of a batch."""

    def activations(self, inputs: Float32 | Tokens, sites: Sequence[Site]) -> list[Float32]:
        """What `run` gives; then of each site channels ``(N, C)``, averaged over places."""
