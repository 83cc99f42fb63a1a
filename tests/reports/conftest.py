"""Verdicts that have something of everything, or of much."""

from datetime import date
from pathlib import Path

import pytest

from gate import Evidence, Verdict, decide
from gate.reports.attachments import Attachments
from gate.strict_yaml import Place
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


@pytest.fixture
def found() -> Evidence:
    """What the next verdict was decided on."""
    return evidence(
        measurement(0.1, 0.2, 0.3, task="bad"),
        measurement(0.1, 0.2, 0.3, task="waived"),
        measurement(0.7, 0.8, 0.9, task="unsettled"),
        measurement(0.9, 0.95, 0.99, task="good"),
    )


@pytest.fixture
def everything(found: Evidence) -> Verdict:
    """A finding of each outcome, and a warning."""
    waived = waiver(id="W-1", where={"task": "waived"})
    warns = rule(name="warns", at_least=0.999, severity="warn", where={"task": "good"})
    absent = rule(name="absent", where={"task": "other"})
    return decide(policy(rule(), warns, absent), [found], date(2026, 1, 1), [waived])


@pytest.fixture
def beside() -> Attachments:
    """A policy in two files, an admission, a name and a day."""
    return Attachments(
        day=date(2026, 1, 2),
        policy_file=Path("gating/policy.yaml"),
        places={
            "clean_accuracy.accuracy": Place(Path("gating/base policy.yaml"), 4),
            "warns": Place(Path("gating/policy.yaml"), 7),
            "absent": Place(Path("gating/policy.yaml"), 9),
        },
        candidate="resnet 50",
        admission=Path("gating/admission.json"),
        admission_digest="sha256:" + "12" * 32,
    )


@pytest.fixture
def resting_on_nothing() -> Verdict:
    """Inconclusive, though each finding alone is let through."""
    asked = rule(at_least=0.9, on_inconclusive="warn")
    return decide(policy(asked), [evidence()], date(2026, 1, 1))
