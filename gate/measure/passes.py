"""All forward passes of gate: blocks of a split, varied, through one backbone, read by many.

A `Pass` is made of values that can be sent elsewhere. Opened, it is a function of a block alone:
``(rows, examples) -> what readers keep``, which tells on its way how far it is. An `Engine` maps it
over the blocks of a split, in order; `InProcess` is the one of this process. What comes back is put
together where it is asked for, so it does not matter where a block was passed, and passes are
counted here and nowhere else.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from gate.arrays import Images, Int64
from gate.backbone.backbone import Backbone, Outputs
from gate.data.prefetch import prefetched
from gate.errors import PlanError
from gate.lineage.network import Site
from gate.measure.preprocessed import Preprocessed
from gate.measure.readers import Channels, Reader
from gate.measure.shuffle import Shuffle
from gate.plan.backbone import BackbonePlan, Resizing
from gate.progress import Advance
from gate.triggers.phrase import Phrase
from gate.triggers.stamp import Stamp, StampOfEach

Variant = Stamp | StampOfEach | Shuffle | Preprocessed | Phrase | None


class Examples(Protocol):
    """Images or texts in blocks, as a split gives them."""

    def __len__(self) -> int:
        """How many there are."""

    def batches(
        self, size: int, side: int, channels: int, resizing: Resizing, /
    ) -> Iterator[Images]:
        """Images ``(n, side, side, channels)`` uint8, so many a block."""

    def texts(self, size: int) -> Iterator[list[str]]:
        """Texts, so many a block."""


class Part(NamedTuple):
    """What readers kept of one block: of each reader, a value for each variant."""

    rows: Int64  # (n,) places of its examples
    kept: dict[str, list[Any]]


# a block's rows and examples, and what is told of each variant that went through
OfBlock = Callable[[Int64, Images | list[str], Advance], Part]


@dataclass(frozen=True)
class Pass:
    """What a block goes through: a backbone, once for each variant, with all readers beside it.

    Args:
        backbone: Its description.
        readers: What is kept of each output, by name.
        variants: What is stamped on images: one stamp on all, or one on each; how all of them are
            shuffled, or preprocessed otherwise; or a phrase that is put into texts. None leaves
            them as they are.
        weights: As safetensors, in the place of those of its file.
    """

    backbone: BackbonePlan
    readers: Mapping[str, Reader]
    variants: tuple[Variant, ...] = (None,)
    weights: bytes | None = field(default=None, repr=False)

    def on(self, backbone: Backbone) -> Backbone:
        """What blocks go through, of its backbone once that is opened.

        Raises:
            BackboneError: The weights do not fit its architecture.
        """
        return backbone.with_weights(self.weights) if self.weights else backbone

    @property
    def sites(self) -> tuple[Site, ...]:
        """Values inside the network that readers ask for, each once."""
        readers = self.readers.values()
        wanted = [reader.site for reader in readers if isinstance(reader, Channels)]
        return tuple(dict.fromkeys(wanted))

    def opened(self, backbone: Backbone) -> OfBlock:
        """The pass as a function of a block, on what `on` gives.

        Returns:
            ``(rows, examples, advance) -> Part``: rows ``(n,)`` of the split, its images
            ``(n, S, S, C)`` uint8 or its texts, and what is told of each variant that went through.
        """

        def of_block(rows: Int64, examples: Images | list[str], advance: Advance) -> Part:
            kept: dict[str, list[Any]] = {name: [] for name in self.readers}
            passed = self._outputs(backbone, rows, examples)
            # the runtime works on the next variant while this one is read
            for outputs in prefetched(passed) if len(self.variants) > 1 else passed:
                for name, reader in self.readers.items():
                    kept[name].append(reader.read(rows, outputs))
                advance(len(rows))
            return Part(rows, kept)

        return of_block

    def _outputs(
        self, backbone: Backbone, rows: Int64, examples: Images | list[str]
    ) -> Iterator[Outputs]:
        """What the backbone gives for each variant of a block.

        Images are normalised once. Each stamp changes only its box, which is put back afterwards.
        """
        if isinstance(examples, list):
            for phrase in self.variants:
                tokens = backbone.tokens(phrased(phrase, examples, backbone))
                yield backbone.outputs(tokens, self.sites)
            return
        inputs = backbone.inputs(examples)
        channels_first = backbone.preprocessing.layout == "NCHW"
        for stamp in self.variants:
            if stamp is None:
                yield backbone.outputs(inputs, self.sites)
                continue
            if isinstance(stamp, Phrase):
                raise PlanError(
                    f"{self.backbone.path}: takes images, and {stamp.name} was to be put into texts"
                )
            if isinstance(stamp, (Shuffle, Preprocessed)):
                yield backbone.outputs(stamp.on(inputs), self.sites)
                continue
            if isinstance(stamp, StampOfEach):
                yield backbone.outputs(backbone.inputs(stamp.on(rows, examples)), self.sites)
                continue
            box = (..., *stamp.box) if channels_first else (slice(None), *stamp.box)
            unstamped = inputs[box].copy()
            inputs[box] = backbone.inputs(stamp.inside(examples))
            yield backbone.outputs(inputs, self.sites)
            inputs[box] = unstamped


def phrased(variant: Variant, texts: list[str], backbone: Backbone) -> list[str]:
    """Texts as they go through a backbone, with a phrase in each where there is one.

    Where a text is too long for both, its last words are left out and not the phrase.

    Raises:
        PlanError: The variant is a stamp, and texts have no pixels.
    """
    if variant is None:
        return texts
    if not isinstance(variant, Phrase):
        name = variant.name if isinstance(variant, Stamp) else "what changes pixels"
        raise PlanError(
            f"{backbone.plan.path}: takes texts, and {name} was to be stamped on images"
        )
    return [variant.into(text) for text in backbone.with_room_for(variant.text, texts)]


class Engine(Protocol):
    """A place where passes happen: in this process, or in others."""

    passes: Counter[str]  # forward passes of single examples so far, by the backbone's digest

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        """A pass over examples, block by block, in their order; ``size`` are the examples a block.

        Raises:
            BackboneError: The runtime fails, or gives what is not finite.
            DataError: Images that do not decode, or empty texts.
        """

    def close(self, backbone: BackbonePlan, /) -> None:
        """Forget what it opened by itself of a description, if anything."""


# an engine is made for a bench, which opens backbones
MakeEngine = Callable[[Callable[[BackbonePlan], Backbone]], Engine]


class InProcess:
    """The engine of this process; the next block is decoded while the runtime is at work.

    Args:
        opened: Gives the backbone of a description, opened.
    """

    def __init__(self, opened: Callable[[BackbonePlan], Backbone]) -> None:
        self.passes: Counter[str] = Counter()
        self._opened = opened

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        """A pass over examples, block by block; see `Engine`."""
        backbone = work.on(self._opened(work.backbone))
        of_block = work.opened(backbone)
        for rows, block in blocks(work.backbone, examples, size):
            part = of_block(rows, block, advance)
            self.passes[backbone.digest] += len(rows) * len(work.variants)
            yield part

    def close(self, _backbone: BackbonePlan) -> None:
        """Forget nothing: the bench opens all."""


def blocks(
    backbone: BackbonePlan, examples: Examples, size: int
) -> Iterator[tuple[Int64, Images | list[str]]]:
    """Examples as a backbone takes them, so many a block, with their rows ``(n,)``."""
    start, images = 0, backbone.preprocessing
    for block in (
        examples.batches(size, images.size, images.channels, images.resizing)
        if images
        else examples.texts(size)
    ):
        yield np.arange(start, start + len(block)), block
        start += len(block)


def gathered(parts: Iterator[Part], work: Pass, total: int) -> dict[str, list[Any]]:
    """What the readers of a pass kept of all its blocks: of each reader, one value a variant."""
    whole: dict[str, list[Any]] = {name: [None] * len(work.variants) for name in work.readers}
    for rows, kept in parts:
        for name, reader in work.readers.items():
            for place, value in enumerate(kept[name]):
                whole[name][place] = reader.put(whole[name][place], value, rows, total)
    return whole
