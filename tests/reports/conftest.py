"""A verdict that has something of everything."""

from datetime import date

import pytest

from gate import Verdict, decide
from gate.policy.waivers import Waiver
from tests.builders import BACKBONE, evidence, measurement, policy, rule


@pytest.fixture
def verdict() -> Verdict:
    """One failure, one waived failure, one pass, and many passes of one rule."""
    found = evidence(
        measurement(0.1, 0.2, 0.3, task="bad|task"),
        measurement(0.1, 0.2, 0.3, task="waived"),
        *(measurement(task=f"good {i}") for i in range(5)),
    )
    waiver = Waiver(
        id="W-1",
        rule="clean_accuracy.accuracy",
        where={"task": "waived"},
        backbone=BACKBONE,
        reason="known",
        owner="ml-team",
        expires=date(2026, 12, 31),
    )
    warns = rule(at_least=0.99, severity="warn", name="warns")
    return decide(policy(rule(), warns), [found], date(2026, 1, 1), [waiver])
