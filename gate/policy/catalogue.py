"""Every metric that a probe measures: the tables of all probes, by probe.

They import no instrument, so that a policy is checked without loading torch; a test holds that each
probe measures what its rows say, and nothing else.
"""

import math
from collections.abc import Collection

from gate.probes import PROBES
from gate.probes.probe import Metrics
from gate.strict_yaml import nearest
from gate.values import Measurement

CATALOGUE: dict[str, Metrics] = {name: probe.metrics for name, probe in PROBES.items()}
RANGES: dict[str, tuple[float, float]] = {
    "fraction": (0, 1),
    "difference of fractions": (-1, 1),
    "cosine": (-1, 1),
}
_ROUNDING = 1e-9  # by which a sum of shares may leave its range


def needs_reference(probe: str, metric: str) -> bool:
    """Whether a metric of a probe of the table is measured on the reference backbone, too."""
    named = metric.startswith("reference_") or metric.endswith("_over_reference")
    return named or PROBES[probe].needs_reference


def narrowed(probe: str, metric: str) -> bool:
    """Whether more examples narrow the interval of a metric of a probe of the table."""
    return PROBES[probe].metrics[metric].narrowed


def require_name(what: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not among the known ones, and say which is nearest.

    Raises:
        ValueError: It is none of them.
    """
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; {nearest(name, known)}")


def require_known(probe: str, measurement: Measurement) -> None:
    """Hold a measurement against its row: its unit, its labels, and the range of its value.

    An interval may reach beyond the range: one that is symmetric does, close to its ends.

    Raises:
        ValueError: No such probe or metric, or the measurement is not what the row says.
    """
    require_name("probe", probe, CATALOGUE)
    name = measurement.metric
    require_name(f"metric of {probe}", name, CATALOGUE[probe])
    metric = CATALOGUE[probe][name]
    if (measurement.unit, set(measurement.about)) != (metric.unit, set(metric.labels)):
        raise ValueError(
            f"{name} is a {metric.unit} with the labels {', '.join(metric.labels)}; "
            f"found a {measurement.unit} with {', '.join(measurement.about) or 'none'}"
        )
    least, most = RANGES.get(metric.unit, (-math.inf, math.inf))
    if metric.bounded and not least - _ROUNDING <= measurement.value <= most + _ROUNDING:
        raise ValueError(
            f"{name} is a {metric.unit}, from {least} to {most}; found {measurement.value}"
        )
