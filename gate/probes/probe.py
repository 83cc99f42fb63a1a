"""What a probe is to everybody but itself: a name, settings, and the metrics that it measures."""

import re
from functools import partial
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from gate import stats
from gate.values import Measurement, Unit, Value

_TOPICS = ("What it measures", "Control", "Looks", "Why it matters", "Blind spots", "Source")
_TOPIC = re.compile(rf"^(?=(?:{'|'.join(_TOPICS)}): )", re.M)


class Metric(NamedTuple):
    """What a number is, and which way is better.

    ``better`` is ``neither`` where one policy wants it low and another high, as of what says
    whether a claim holds. ``bounded`` says whether its value keeps to the range of its unit;
    ``after_remedy_of`` names the metrics of whose findings it says what a remedy leaves;
    ``narrowed`` says whether more examples make its interval narrower.
    """

    unit: Unit
    better: Literal["lower", "higher", "neither"]
    labels: tuple[str, ...]
    meaning: str
    bounded: bool = True
    after_remedy_of: tuple[str, ...] = ()
    narrowed: bool = True


fraction = partial(Metric, "fraction")
difference = partial(Metric, "difference of fractions")


class Metrics(dict[str, Metric]):
    """The metrics of one probe by name. Its measurements are made here: a unit is said once."""

    def measurement(
        self, metric: str, interval: stats.Interval, n: int, **about: str
    ) -> Measurement:
        """A number with its 95 % interval, from ``n`` examples; ``about`` are its labels."""
        return Measurement.of(metric, interval, n, self[metric].unit, **about)

    def rate(self, metric: str, hits: int, n: int, **about: str) -> Measurement:
        """A share of independent examples, with its Wilson interval."""
        return self.measurement(metric, stats.rate(hits, n), n, **about)


class ProbeSettings(Value):
    """What a plan says under a probe's name."""

    tasks: tuple[str, ...] | None = Field(
        None, description="Which tasks to measure; all that it can, unless some are named."
    )

    @property
    def training_splits(self) -> tuple[str, ...]:
        """Names of the splits that it fits heads on, beside those of the tasks."""
        return ()


class LookSettings(ProbeSettings):
    """Of a probe that measures rates over many variants: how precise they must be."""

    first_look: Annotated[int, Field(ge=40)] | Literal["all"] = Field(
        64,
        description="Examples that every variant is tried on; only one that may be the worst goes "
        "on, to twice as many each time. 'all' tries every variant on every one.",
    )
    resolution: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="A variant goes on while its rate may lie above the worst one's lower end by "
        "more than this.",
    )


class Probe(NamedTuple):
    """One probe: its header, its settings, its metrics.

    What measures is ``measure(trial, settings)`` in ``gate/probes/NAME/measure.py``; it is loaded
    when the probe runs.
    """

    header: str
    settings: type[ProbeSettings]
    metrics: Metrics
    takes: Literal["images", "texts"] | None = None  # the only examples that it can measure
    needs_reference: bool = False  # all that it measures is against the plan's reference

    @property
    def question(self) -> str:
        """The question that it answers: the first line of its header."""
        return self.header.splitlines()[0]

    @property
    def topics(self) -> dict[str, str]:
        """What its header says besides, by topic: how it measures, what a pass does not say."""
        _, _, rest = self.header.partition("\n")
        told = (part.partition(": ") for part in _TOPIC.split(rest.strip()) if part)
        return {topic: text.strip() for topic, _, text in told}
