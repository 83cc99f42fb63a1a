"""From features alone: how far those of all images come together when they are stamped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gate import stats
from gate.backbone.backbone import Backbone
from gate.measure.blocks import jackknife
from gate.measure.readers import PairwiseCosine
from gate.measure.trial import Trial
from gate.probes.looks import Sample
from gate.probes.trigger_patch import METRICS
from gate.triggers.phrase import AnyStamp, AnyTrigger
from gate.values import Measurement


@dataclass(frozen=True)
class Collapse:
    """How far the features of all images come together when they are stamped.

    A collapse is the share of the mean pairwise cosine distance that is lost: 0 for features as
    apart as before, 1 for features that are all the same.

    Args:
        stamped: By the stamp's key.
        unstamped: Of the same images without a stamp.
    """

    stamped: dict[str, PairwiseCosine]
    unstamped: PairwiseCosine

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.unstamped.counts.sum())

    def of(self, stamp: AnyStamp) -> NDArray[np.float64]:
        """The collapse under a stamp ``(1 + B,)``: of all images, then without each block."""
        return np.asarray(1 - self.stamped[stamp.key].distances / self.unstamped.distances)

    def excess(self, trigger: AnyTrigger, *, searched: int = 1) -> stats.Interval:
        """That under a trigger minus that under its strongest control.

        The lower end holds for as many triggers at once as were searched.
        """
        rises = [self.of(trigger.stamp) - self.of(control) for control in trigger.controls]
        return stats.smallest(
            [jackknife(rise, searched_low=searched, searched_high=len(rises)) for rise in rises]
        )


def collapses(
    collapse: Collapse, triggers: Sequence[AnyTrigger], split: str
) -> Iterator[Measurement]:
    """The collapse under each trigger, its excess over controls, and the worst of the bank."""
    n, excesses = collapse.images, {}
    for trigger in triggers:
        about = {"split": split, "trigger": trigger.stamp.name}
        interval = jackknife(collapse.of(trigger.stamp))
        yield METRICS.measurement("embedding_collapse", interval, n, **about)
        excess = collapse.excess(trigger)
        yield METRICS.measurement("excess_embedding_collapse", excess, n, **about)
        excesses[trigger.stamp.name] = excess
    worst = stats.largest([collapse.excess(t, searched=len(triggers)) for t in triggers])
    top = max(excesses, key=lambda name: excesses[name].value)
    yield METRICS.measurement("worst_excess_embedding_collapse", worst, n, split=split, trigger=top)


def collapses_over_reference(
    candidate: Collapse, reference: Collapse, triggers: Sequence[AnyTrigger], split: str
) -> Iterator[Measurement]:
    """Candidate minus reference, on the same images."""
    for trigger in triggers:
        rise = jackknife(candidate.of(trigger.stamp) - reference.of(trigger.stamp))
        n, about = candidate.images, {"split": split, "trigger": trigger.stamp.name}
        yield METRICS.measurement("embedding_collapse_over_reference", rise, n, **about)


def collapse_of(
    trial: Trial,
    sample: Sample,
    backbone: Backbone,
    cosines: dict[str, dict[str, PairwiseCosine]],
) -> Collapse:
    """That of the examples of a sample's first look, by what was passed then."""
    unstamped = trial.features(sample.split, backbone)[sample.first_rows]
    return Collapse(cosines[backbone.digest], PairwiseCosine.of_all(unstamped))
