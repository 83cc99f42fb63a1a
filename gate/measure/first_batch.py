"""One batch through a backbone before anything else: what cannot be passed fails here, early."""

import time
from dataclasses import dataclass

import numpy as np

from gate.arrays import Float32
from gate.backbone.backbone import Backbone, Outputs
from gate.backbone.runtime import Tokens
from gate.measure.bench import Bench


@dataclass(frozen=True)
class FirstBatch:
    """A backbone that gave what it should for one batch.

    Args:
        backbone: Passed it.
        inputs: The batch, of random pixels or of texts.
        outputs: What the backbone gave.
    """

    backbone: Backbone
    inputs: Float32 | Tokens
    outputs: Outputs

    @property
    def bytes_of_each(self) -> int:
        """What is kept on disk of an example."""
        kept = [self.outputs.features, self.outputs.logits]
        return sum(4 * output.shape[1] for output in kept if output is not None)

    def seconds_of_each(self, longest: float) -> float:
        """Time of passing an example: the batch is passed at least once, and for so many seconds.

        The first pass, which sets up much, is left out.
        """
        start, batches = time.perf_counter(), 0
        while not batches or time.perf_counter() - start < longest:
            self.backbone.outputs(self.inputs)
            batches += 1
        return (time.perf_counter() - start) / (batches * len(self.outputs.features))


def first_batch(bench: Bench, backbone: Backbone, texts: list[str] | None = None) -> FirstBatch:
    """Pass a batch of a plan's size.

    Args:
        bench: The plan, opened.
        backbone: Is tried.
        texts: Of a backbone that takes texts; None for a backbone of images, which gets random
            pixels, or to take the first texts of the plan's first split.

    Raises:
        GateError: The backbone does not take it, or gives something else than features and logits;
            or what it gives for an example differs from time to time, or by its batch.
    """
    bench.require_stable(backbone, texts)
    size, shape = bench.plan.batch_size, backbone.plan.input_shape
    inputs: Float32 | Tokens
    if shape:
        side, channels = shape
        pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, channels), np.uint8)
        inputs = backbone.inputs(pixels)
    else:
        inputs = backbone.tokens(texts or next(bench.split(bench.plan.used_splits[0]).texts(size)))
    return FirstBatch(backbone, inputs, backbone.outputs(inputs))
