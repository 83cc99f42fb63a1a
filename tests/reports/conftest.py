"""A verdict that has something of everything."""

from datetime import date

import pytest

from gate import Verdict, decide
from tests.builders import evidence, measurement, policy, rule, waiver


@pytest.fixture
def verdict() -> Verdict:
    """One failure, one waived failure, one pass, and many passes of one rule."""
    found = evidence(
        measurement(0.1, 0.2, 0.3, task="bad|task"),
        measurement(0.1, 0.2, 0.3, task="waived"),
        *(measurement(task=f"good {i}") for i in range(5)),
    )
    waived = waiver(id="W-1", where={"task": "waived"})
    warns = rule(at_least=0.99, severity="warn", name="warns")
    return decide(policy(rule(), warns), [found], date(2026, 1, 1), [waived])
