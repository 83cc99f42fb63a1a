"""Backbones under altered weights: between candidate and ancestor, or with a module rewound.

Networks are altered in memory and passed as any other. BatchNorm keeps statistics of what its
layers saw, which other weights would see no more: they are taken anew, of training images, for each
network that is compared, the unaltered one among them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gate.arrays import Float32, Images, Int64
from gate.backbone.altered_weights import (
    Inputs,
    Weights,
    as_bytes,
    recalibrated,
    weights_backbone,
    weights_of,
)
from gate.backbone.backbone import Backbone
from gate.backbone.heads import LinearHead
from gate.data.split import Split
from gate.errors import BackboneError, EvidenceError
from gate.measure.bench import Bench
from gate.measure.passes import Examples
from gate.measure.readers import Classes, CrossEntropies, Output, Reader
from gate.measure.transfer import plain_head
from gate.plan.task import Task

FEWEST = 100  # examples, of which an accuracy or a loss under other weights says something
STATISTICS_OF = 1000  # examples at the most, of which BatchNorm takes its statistics
_BATCH = 100  # of them; a batch's own statistics are all that its layers see


@dataclass(frozen=True)
class Sample:
    """Examples of a split in memory, in an order that the seed draws.

    ``content`` are images ``(n, S, S, C)`` uint8, or n texts; ``labels`` are ``(n,)``.
    """

    content: Images | list[str]
    labels: Int64

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, *_: object) -> Iterator[Images]:
        """Images, so many a block."""
        assert not isinstance(self.content, list)  # noqa: S101  # as the backbone takes them
        return (self.content[start : start + size] for start in range(0, len(self), size))

    def texts(self, size: int) -> Iterator[list[str]]:
        """Texts, so many a block."""
        assert isinstance(self.content, list)  # noqa: S101  # as the backbone takes them
        return (self.content[start : start + size] for start in range(0, len(self), size))

    def inputs(self, backbone: Backbone) -> list[Inputs]:
        """What a backbone takes, in blocks of up to a hundred, alike in size."""
        size = -(-len(self) // -(-len(self) // _BATCH))
        if isinstance(self.content, list):
            return [backbone.tokens(texts) for texts in self.texts(size)]
        return [backbone.inputs(images) for images in self.batches(size)]


def sample(bench: Bench, backbone: Backbone, split: Split, most: int) -> Sample:
    """Up to so many examples of a split, drawn by the seed.

    Raises:
        EvidenceError: The split has fewer than a hundred.
    """
    require_examples(f"splits.{split.name}", split, "statistics and losses are taken of")
    rows = np.random.default_rng([bench.plan.seed, len(split)]).permutation(len(split))[:most]
    order = np.argsort(np.argsort(rows))  # of examples that come as they lie in the file
    opened = split.only(np.sort(rows))
    content: Images | list[str]
    if backbone.plan.text:
        texts = [text for block in opened.texts(_BATCH) for text in block]
        content = [texts[place] for place in order]
    else:
        wanted = backbone.preprocessing
        blocks = opened.batches(_BATCH, wanted.size, wanted.channels, wanted.resizing)
        content = np.concatenate(list(blocks))[order]
    return Sample(content, opened.labels[order])


class Altered:
    """A backbone under other weights: what heads make of images then.

    Args:
        bench: The plan, opened.
        backbone: Its weights are altered.
        statistics: Split that BatchNorm takes its statistics of; None where they are kept.
        images: Of it, at the most.
    """

    def __init__(
        self,
        bench: Bench,
        backbone: Backbone,
        statistics: str | None,
        images: int = STATISTICS_OF,
    ) -> None:
        self._bench, self._backbone, self._statistics = bench, backbone, statistics
        self._plan = weights_backbone(backbone.plan, "backbone")
        self._batches: list[Inputs] = []
        if statistics:
            drawn = sample(bench, backbone, bench.split(statistics), images)
            self._batches = drawn.inputs(backbone)

    @property
    def weights(self) -> Weights:
        """The backbone's own weights.

        Raises:
            BackboneError: Some are not finite.
        """
        return weights_of(self._plan, self._backbone.artefact)

    def classes(
        self, weights: Weights, what: str, heads: Mapping[str, LinearHead | None]
    ) -> dict[str, Int64]:
        """Classes ``(N,)`` of each task's test images; a split is passed once for all its tasks.

        Args:
            weights: In the place of the backbone's own.
            what: Says in errors and progress how they came about.
            heads: By the task's name, on features; without one, the own head's logits are read.

        Raises:
            BackboneError: What the backbone gives under these weights is not finite.
        """
        tasks, content = self._bench.plan.tasks, self._ready(weights, what)
        by_split: dict[str, dict[str, Reader]] = {}
        for name, head in heads.items():
            by_split.setdefault(tasks[name].test, {})[name] = Classes(head)
        found: dict[str, Int64] = {}
        for split, readers in by_split.items():
            kept = self._passed(f"{what} {split}", self._bench.split(split), readers, content)
            found |= {name: np.asarray(whole, np.int64) for name, whole in kept.items()}
        return found

    def loss(self, weights: Weights, what: str, images: Sample, head: LinearHead | None) -> float:
        """Mean cross entropy of examples in nats, by a head as in `classes`.

        Raises:
            BackboneError: What the backbone gives under these weights is not finite.
        """
        readers: dict[str, Reader] = {"loss": CrossEntropies(head, images.labels)}
        content = self._ready(weights, what)
        return float(self._passed(what, images, readers, content)["loss"].mean())

    def heads(
        self, weights: Weights, what: str, tasks: Mapping[str, Task]
    ) -> dict[str, LinearHead | None]:
        """A head for each task, fitted on features under these weights; None where it is the own.

        Raises:
            BackboneError: What the backbone gives under these weights is not finite.
            EvidenceError: A head does not converge.
        """
        splits = {name: self._bench.split(str(t.train)) for name, t in tasks.items() if t.train}
        examples = {split.name: split for split in splits.values()}
        features = self.features(weights, what, examples) if examples else {}
        heads: dict[str, LinearHead | None] = {}
        for name, task in tasks.items():
            heads[name] = None
            if task.head != "own":
                train, seed = splits[name], self._bench.plan.seed
                heads[name] = plain_head(train, task.head, features[train.name], seed)
        return heads

    def features(
        self, weights: Weights, what: str, examples: Mapping[str, Examples]
    ) -> dict[str, Float32]:
        """Features ``(N, D)`` of examples, by the name that these have in progress.

        Raises:
            BackboneError: What the backbone gives under these weights is not finite.
        """
        content, readers = self._ready(weights, what), {"features": Output("features")}
        return {
            name: self._passed(f"{what} {name}", each, readers, content)["features"]
            for name, each in examples.items()
        }

    def _ready(self, weights: Weights, what: str) -> bytes:
        """Weights as they are passed, with the statistics that BatchNorm has under them."""
        content = as_bytes(weights)
        if not self._batches:
            return content
        step, images = f"{what} {self._statistics}", sum(map(_count, self._batches))
        with self._bench.progress(step, images, backbone=self._backbone.digest) as advance:
            return recalibrated(self._plan, content, self._batches, advance)

    def _passed(
        self, what: str, examples: Examples, readers: Mapping[str, Reader], weights: bytes
    ) -> dict[str, Any]:
        try:
            kept = self._bench.passed(what, examples, self._backbone, readers, weights=weights)
        except BackboneError as fault:
            raise BackboneError(f"{what}: {fault}") from fault
        return {name: whole for name, (whole,) in kept.items()}


def between(first: LinearHead | None, second: LinearHead | None, share: float) -> LinearHead | None:
    """The head at a share of the way from one to another; None of two own heads."""
    if first is None or second is None:
        return None
    weight = (1 - share) * first.weight + share * second.weight
    bias = (1 - share) * first.bias + share * second.bias
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def require_examples(who: str, split: Split, use: str) -> None:
    """Refuse a split that a network under other weights is not measured on.

    Args:
        who: Names it.
        split: N images or texts.
        use: What they are for, before their number.

    Raises:
        EvidenceError: Fewer than a hundred.
    """
    if len(split) < FEWEST:
        raise EvidenceError(
            f"{who}: has {len(split)} examples, and under altered weights {use} {FEWEST} or more; "
            "add some"
        )


def _count(inputs: Inputs) -> int:
    return len(inputs["attention_mask"] if isinstance(inputs, dict) else inputs)
