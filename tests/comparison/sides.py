"""Both sides of a comparison, for tests."""

from typing import Any

from gate.values import Evidence, Measurement
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence

RATE = "attack_success_rate"


def rates(
    hits: dict[str, int], n: int = 1000, metric: str = RATE, **labels: str
) -> tuple[Measurement, ...]:
    """Rates by trigger."""
    return tuple(
        Measurement.rate(metric, count, n, task="t", trigger=trigger, **labels)
        for trigger, count in hits.items()
    )


def side(
    *measurements: Measurement,
    champion: bool = False,
    probe: str = "trigger_patch",
    reference: str | None = None,
    **changes: Any,
) -> Evidence:
    """Evidence of a probe on one side's backbone."""
    bare = evidence(
        *measurements,
        probe=probe,
        backbone=OTHER_BACKBONE if champion else BACKBONE,
        reference=reference,
    )
    return Evidence(**{**bare.model_dump(), **changes})


def patched(hits: dict[str, int], *, champion: bool = False, **changes: Any) -> Evidence:
    """Rates by trigger as evidence."""
    return side(*rates(hits), champion=champion, **changes)
