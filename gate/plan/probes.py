"""Which probes a plan runs, with their settings: one key for each line of the table of probes."""

from typing import TYPE_CHECKING

from pydantic import Field, create_model

from gate.probes import PROBES
from gate.probes.probe import ProbeSettings
from gate.values import Value


class _Named(Value):
    """The probes of a plan; the keys come from the table."""

    def named(self) -> list[str]:
        """Names of the probes that the plan runs, in the order of the table."""
        return [name for name in PROBES if getattr(self, name) is not None]

    def settings(self, name: str) -> ProbeSettings:
        """The settings of a probe that the plan runs."""
        settings: ProbeSettings = getattr(self, name)
        return settings

    @property
    def training_splits(self) -> tuple[str, ...]:
        """Names of the splits that probes fit heads on, beside those of the tasks."""
        return tuple(
            split for name in self.named() for split in self.settings(name).training_splits
        )


if TYPE_CHECKING:
    ProbePlan = _Named
else:
    ProbePlan = create_model(
        "ProbePlan",
        __base__=_Named,
        **{
            name: (probe.settings | None, Field(None, description=probe.question))
            for name, probe in PROBES.items()
        },
    )
