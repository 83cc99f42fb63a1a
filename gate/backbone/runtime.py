"""What runs weights: one interface, a file for each format."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = dict[str, NDArray[np.int64]]  # input_ids and attention_mask, (N, T) each


class Runtime(Protocol):
    """What runs the weights."""

    versions: dict[str, str]

    def run(self, inputs: NDArray[np.float32] | Tokens) -> list[NDArray[np.float32]]:
        """Inputs to the named output or layer and, if there is one, the own head's logits."""
        ...
