"""Heads as values: arrays that turn what a backbone gives into logits."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from gate.arrays import Float32, Int64, unit_rows


@dataclass(frozen=True)
class LinearHead:
    """``logits = features @ weight + bias``, weight ``(D, K)`` and bias ``(K,)``, float32.

    Like every head it ``reads`` features or, of a backbone with a head of its own, its logits.
    """

    reads: ClassVar[Literal["features", "logits"]] = "features"
    weight: Float32
    bias: Float32

    def logits(self, features: Float32) -> Float32:
        """Scores ``(N, K)`` of features ``(N, D)``."""
        return np.asarray(features @ self.weight + self.bias)

    def predict(self, features: Float32) -> Int64:
        """Classes ``(N,)`` of features ``(N, D)``."""
        return np.asarray(self.logits(features).argmax(axis=1))


@dataclass(frozen=True)
class CosineHead:
    """``logits = scale * cos(features, weight[:, k])``, weight ``(D, K)``: class embeddings.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision"
        (CLIP), figure 3.
    """

    reads: ClassVar[Literal["features", "logits"]] = "features"
    weight: Float32
    scale: float

    def logits(self, features: Float32) -> Float32:
        """Scores ``(N, K)`` of features ``(N, D)``."""
        return np.asarray(np.float32(self.scale) * (unit_rows(features) @ self.weight))


@dataclass(frozen=True)
class SourceHead:
    """The backbone's own head, whose classes are summed up to K classes: log-sum-exp of logits.

    ``members`` are, for each class, indices of the own head's classes.
    """

    reads: ClassVar[Literal["features", "logits"]] = "logits"
    members: tuple[tuple[int, ...], ...]
    scale: float = 1.0

    def logits(self, own: Float32) -> Float32:
        """Scores ``(N, K)`` of the own head's logits ``(N, S)``."""
        sums = [np.logaddexp.reduce(own[:, each], axis=1) for each in self.members]
        return np.asarray(np.float32(self.scale) * np.stack(sums, axis=1))

    def padded(self) -> Int64:
        """The members as a matrix ``(K, G)``, -1 where a class has fewer than G."""
        most = max(map(len, self.members))
        return np.array([(*each, *[-1] * (most - len(each))) for each in self.members], np.int64)


ZeroShotHead = LinearHead | CosineHead | SourceHead


class JoinedHead(NamedTuple):
    """A linear head, and a zero-shot head whose logits are added to its own, where there is one."""

    linear: LinearHead
    beside: CosineHead | SourceHead | None
