"""Error rates for tests, and evidence on a candidate that is like the backbones they are of."""

from collections.abc import Mapping, Sequence
from typing import Any

from gate import Evidence, Measurement
from gate.policy.rules import Rule, rules_digest
from gate.probes import PROBES
from tests.builders import evidence, measurement, rule

BACKBONE = {"preprocessing": {"size": 32}, "text": None}
CLASSES = ("cat", "dog", "owl", "yak", "ant", "bee")


def rates(rules: Sequence[Rule] = (), **changes: Any) -> dict[str, Any]:
    """As a policy file states them, of its rules."""
    stated = {
        "of": "half B of the zoo, which no bound was set on",
        "rules": rules_digest(rules or [rule()]),
        "clean": {"accepted": 60, "inconclusive": 2, "rejected": 0},
        "backdoored": {
            "patch": {"accepted": 0, "inconclusive": 0, "rejected": 8},
            "all_to_all": {"accepted": 1, "inconclusive": 2, "rejected": 5},
            "warp": {"accepted": 3, "inconclusive": 0, "rejected": 0},
        },
        "like": {"pixels": [28, 32], "classes": [6, 10], "bytes": [52_000, 1_720_000]},
    }
    return {**stated, **changes}


def accuracies(task: str, classes: Sequence[str]) -> list[Measurement]:
    """One of each class."""
    about = [{"task": task, "class": name} for name in classes]
    return [Measurement.rate("class_accuracy", 90, 100, **labels) for labels in about]


def like(
    backbone: Mapping[str, Any] | None = None,
    size: int | None = 80_000,
    classes: Sequence[str] = CLASSES,
    **settings: Any,
) -> list[Evidence]:
    """Evidence of clean accuracy, and of what looks for triggers; alike unless something is said.

    Args:
        backbone: What its plan says.
        size: Bytes of its files.
        classes: Those of its one task.
        settings: Of ``trigger_patch``, where others than by default.
    """
    each = accuracies("digits", classes)
    usual = PROBES["trigger_patch"].settings.model_validate(settings).model_dump(mode="json")
    found = [
        (evidence(measurement(), *each), {"tasks": None}),
        (evidence(measurement(metric="attack_success_rate"), probe="trigger_patch"), usual),
    ]
    return [
        Evidence.model_validate(
            item.model_dump()
            | {"settings": {"backbone": backbone or BACKBONE, "probe": of_probe}, "bytes": size}
        )
        for item, of_probe in found
    ]
