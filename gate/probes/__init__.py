"""Probes measure and never judge. This table lists them all."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gate.probes import (
    clean_accuracy,
    label_prior,
    natural_overlay,
    spurious_attribute,
    trigger_patch,
)
from gate.probes.clean_accuracy import CleanAccuracy
from gate.probes.label_prior import LabelPrior
from gate.probes.natural_overlay import NaturalOverlay
from gate.probes.spurious_attribute import SpuriousAttribute
from gate.probes.trigger_patch import TriggerPatch
from gate.values import Evidence, Measurement, Value

if TYPE_CHECKING:
    from gate.measure.trial import Trial

# a probe yields measurements and, as text, what a reader of them must know
_MEASURE: dict[str, Callable[["Trial", Any], Iterator[Measurement | str]]] = {
    "clean_accuracy": clean_accuracy.measure,
    "trigger_patch": trigger_patch.measure,
    "spurious_attribute": spurious_attribute.measure,
    "natural_overlay": natural_overlay.measure,
    "label_prior": label_prior.measure,
}


class ProbePlan(Value):
    """Which probes a plan runs, with their settings."""

    clean_accuracy: CleanAccuracy | None = None
    trigger_patch: TriggerPatch | None = None
    spurious_attribute: SpuriousAttribute | None = None
    natural_overlay: NaturalOverlay | None = None
    label_prior: LabelPrior | None = None

    def named(self) -> list[str]:
        """Names of the probes that the plan runs."""
        return [name for name in _MEASURE if getattr(self, name) is not None]


def measure(probe: str, trial: "Trial") -> Evidence:
    """Run one probe of a trial's plan.

    Args:
        probe: Its name, one that the plan runs.
        trial: What it measures on.

    Raises:
        GateError: It cannot be measured; says why and what to do.
    """
    settings = getattr(trial.plan.probes, probe)
    found = list(_MEASURE[probe](trial, settings))
    measurements = tuple(each for each in found if isinstance(each, Measurement))
    remarks = tuple(each for each in found if isinstance(each, str))
    return trial.evidence(probe, settings.model_dump(mode="json"), measurements, remarks)
