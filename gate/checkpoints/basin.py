"""Whether two checkpoints lie in one basin of the loss of a task, by heads on frozen features.

The loss under some weights is that of a head fitted on the features under *them*. Heads are not
interpolated: those of both checkpoints are fitted apart, and would differ for reasons of their own.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.arrays import Float64
from gate.backbone.altered_weights import (
    Architecture,
    Weights,
    interpolated,
    is_of,
    norm,
    weights_backbone,
    weights_of,
)
from gate.backbone.backbone import Backbone, Outputs
from gate.checkpoints.choice import Basin
from gate.errors import PlanError
from gate.measure.altered import STATISTICS_OF, Altered, sample
from gate.measure.bench import Bench
from gate.measure.blocks import BLOCKS
from gate.measure.passes import Examples
from gate.measure.readers import CrossEntropies
from gate.measure.transfer import plain_head
from gate.plan.backbone import BackbonePlan
from gate.plan.task import Task
from gate.values import Measurement

SHARES = tuple(np.linspace(0, 1, 9).tolist())  # of the way from one end of the segment to the other
BEYOND = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # of its length, tried one after the other
IMAGES = 1000  # test images at the most


def require_one_architecture(row: Mapping[str, BackbonePlan]) -> None:
    """Refuse checkpoints between which there are no weights.

    Raises:
        PlanError: One is a file with its own program, or is described unlike the first.
    """
    first, *others = row
    settings = weights_backbone(row[first], f"--basin: checkpoint {first}").settings
    for name in others:
        if weights_backbone(row[name], f"--basin: checkpoint {name}").settings != settings:
            raise PlanError(
                f"--basin: checkpoint {name} is described unlike {first}, and weights between both "
                "are passed in one way; describe all alike, or leave --basin out"
            )


def basin(bench: Bench, name: str, task: Task, row: Mapping[str, BackbonePlan]) -> Basin:
    """The figure for the segment between two checkpoints, on up to 1,000 test images of a task.

    BatchNorm takes its statistics of the task's training images, anew under all weights.

    Args:
        bench: The plan, opened.
        name: The task's name.
        task: Its heads are on plain frozen features.
        row: Descriptions of both by their names, the earlier first; of one architecture.

    Raises:
        BackboneError: Weights or what the backbone gives under them are not finite.
        EvidenceError: A head does not converge; fewer than 100 training images, and the network has
            BatchNorm.
    """
    (first_name, first), (last_name, last) = row.items()
    plan = weights_backbone(first, "backbone")
    architecture = Architecture(plan)
    far_end = weights_of(weights_backbone(last, "backbone"), bench.opened(last).artefact)
    bench.close(last)
    loss = _Loss(bench, task, bench.opened(first), architecture)
    near_end = loss.altered.weights

    def losses(shares: tuple[float, ...]) -> Float64:
        """``(P, n)``: the loss of each image at each share of the way."""
        bench.progress.expect(len(shares) * loss.passes)
        return np.stack(
            [
                loss.of(
                    interpolated(near_end, far_end, share),
                    f"{share:g} of the way from {first_name} to {last_name}",
                )
                for share in shares
            ]
        )

    moved = {
        each: far_end[each] - near_end[each]
        for module in architecture.modules
        for each in architecture.parameters_of(module)
        if not (plan.logits and is_of(each, plan.logits))  # the own head, which no task reads
    }
    length = norm(moved)
    along = losses(SHARES)
    epsilon, mean = largest_deviation(along), along.mean(axis=0)  # (n,)
    measured = [_loss(share, each) for share, each in zip(SHARES, along, strict=True)]
    measured.append(Measurement.of("epsilon", epsilon, len(mean), "nats"))
    delta, tried = None, 0.0
    for tried in BEYOND:
        shares = (-tried, 1 + tried)
        outside = losses(shares)
        measured += [_loss(share, each) for share, each in zip(shares, outside, strict=True)]
        if all(stats.mean(each - mean).low >= 2 * epsilon.high for each in outside):
            delta = tried * length
            break
    return Basin(
        task=name,
        ends=(first_name, last_name),
        length=length,
        measurements=tuple(measured),
        delta=delta,
        farthest=tried * length,
    )


class _Loss:
    """The loss of a task as a function of a backbone's weights.

    Args:
        bench: The plan, opened.
        task: Its heads are on plain frozen features.
        backbone: Its weights are altered.
        architecture: Of it.
    """

    def __init__(
        self, bench: Bench, task: Task, backbone: Backbone, architecture: Architecture
    ) -> None:
        self._train, self._settings = bench.split(str(task.train)), task.head
        assert self._settings != "own"  # noqa: S101  # callers leave such tasks out
        statistics = self._train.name if architecture.has_batch_norm else None
        self.altered = Altered(bench, backbone, statistics)
        self._images = sample(bench, backbone, bench.split(task.test), IMAGES)
        self._seed = bench.plan.seed
        recalibrating = min(len(self._train), STATISTICS_OF) if statistics else 0
        self.passes = recalibrating + len(self._train) + len(self._images)

    def of(self, weights: Weights, what: str) -> Float64:
        """Cross entropies ``(n,)`` of test images in nats, by a head fitted under these weights."""
        assert self._settings != "own"  # noqa: S101  # as above
        examples: dict[str, Examples] = {"train": self._train, "test": self._images}
        features = self.altered.features(weights, what, examples)
        head = plain_head(self._train, self._settings, features["train"], self._seed)
        rows, outputs = np.arange(len(self._images)), Outputs(features["test"], None)
        return CrossEntropies(head, self._images.labels).read(rows, outputs)


def largest_deviation(losses: NDArray[np.float64]) -> stats.Interval:
    """How far from its mean over all points the mean loss of images ``(P, n)`` is where farthest.

    Jackknife over blocks of images.

    >>> largest_deviation(np.array([[1.0, 2.0] * 20, [2.0, 3.0] * 20]))
    Interval(value=0.5, low=0.5, high=0.5)
    """

    def deviation(of_images: NDArray[np.float64]) -> float:
        means = of_images.mean(axis=1)
        return float(np.abs(means - means.mean()).max())

    block = np.arange(losses.shape[1]) % BLOCKS
    parts = [deviation(losses[:, block != left_out]) for left_out in range(BLOCKS)]
    value, low, high = stats.jackknife(deviation(losses), parts)
    return stats.Interval(value, max(low, 0.0), high)


def _loss(share: float, losses: Float64) -> Measurement:
    return Measurement.of("loss", stats.mean(losses), len(losses), "nats", share=f"{share:g}")
