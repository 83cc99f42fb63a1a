"""Block shuffle: one fixed permutation for a whole set of images, which hides how they are made up.

Source:
    Neyshabur, Sedghi, Zhang 2020, "What is being transferred in transfer learning?", section 3.1.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from gate.arrays import Float32, Int64
from gate.plan.backbone import Preprocessing


@dataclass(frozen=True)
class Shuffle:
    """Normalised images cut into blocks, which are put into another order, the same for all images.

    Args:
        block: Side of a block in pixels, which divides that of the images; None shuffles all
            values, each channel of each pixel by itself.
        seed: Draws the order.
        side: Of the images, S pixels.
        channels: Of the images, C.
        layout: Of the images; the same order is drawn for both.
    """

    block: int | None
    seed: int
    side: int
    channels: int
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    @classmethod
    def of_inputs(cls, wanted: Preprocessing, block: int | None, seed: int) -> Self:
        """A shuffle of images as a backbone takes them."""
        return cls(block, seed, wanted.size, wanted.channels, wanted.layout or "NCHW")

    def on(self, inputs: Float32) -> Float32:
        """A shuffled copy of normalised images ``(N, C, S, S)``, or ``(N, S, S, C)``."""
        flat = inputs.reshape(len(inputs), -1)
        return flat[:, self._sources].reshape(inputs.shape)

    @property
    def settings(self) -> dict[str, Any]:
        """All that it depends on."""
        return asdict(self)

    @cached_property
    def _sources(self) -> Int64:
        """Where each value of an image comes from, as places in the flat image."""
        side, channels = self.side, self.channels
        rng = np.random.default_rng([self.seed, self.block or 0])
        places = np.arange(side * side * channels)
        if self.layout == "NCHW":
            image = places.reshape(channels, side, side).transpose(1, 2, 0)  # (S, S, C)
        else:
            image = places.reshape(side, side, channels)
        if self.block is None:
            shuffled = rng.permutation(image.reshape(-1)).reshape(image.shape)
        else:
            of_a_row = side // self.block
            grid = of_a_row, self.block, of_a_row, self.block, channels
            blocks = image.reshape(grid).swapaxes(1, 2)  # (S/b, S/b, b, b, C)
            drawn = rng.permutation(blocks.reshape(of_a_row**2, -1))
            shuffled = drawn.reshape(blocks.shape).swapaxes(1, 2).reshape(image.shape)
        return (shuffled.transpose(2, 0, 1) if self.layout == "NCHW" else shuffled).reshape(-1)
