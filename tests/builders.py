"""Small values for tests."""

from datetime import date
from pathlib import Path

from gate.policy.catalogue import CATALOGUE
from gate.policy.rules import Policy, Rule
from gate.policy.waivers import Waiver
from gate.values import Evidence, Measurement

BACKBONE = "sha256:" + "ab" * 32
OTHER_BACKBONE = "sha256:" + "cd" * 32
REFERENCE = "sha256:" + "ef" * 32


def measurement(
    low: float = 0.85,
    value: float = 0.9,
    high: float = 0.95,
    *,
    metric: str = "accuracy",
    n: int = 100,
    **about: str,
) -> Measurement:
    return Measurement(
        metric=metric,
        about=about or {"task": "digits"},
        value=value,
        low=low,
        high=high,
        n=n,
        unit="fraction",
    )


def evidence(
    *measurements: Measurement,
    probe: str = "clean_accuracy",
    backbone: str = BACKBONE,
    reference: str | None = REFERENCE,
) -> Evidence:
    """Evidence of a probe: measurements get the unit and the labels that the catalogue has."""
    return Evidence(
        probe=probe,
        settings={},
        backbone=backbone,
        reference=reference,
        data={"test": "sha256:" + "01" * 32},
        seed=0,
        versions={"gate": "0"},
        measurements=tuple(_as_measured(probe, m) for m in measurements or (measurement(),)),
    )


def _as_measured(probe: str, bare: Measurement) -> Measurement:
    metric = CATALOGUE[probe][bare.metric]
    labels = dict.fromkeys(metric.labels, "any") | bare.about
    return Measurement.model_validate({**bare.model_dump(), "unit": metric.unit, "about": labels})


def rule(**changes: object) -> Rule:
    fields = {
        "probe": "clean_accuracy",
        "metric": "accuracy",
        **({} if "at_most" in changes else {"at_least": 0.8}),
        **changes,
    }
    return Rule.model_validate({"why": "because", **fields})


def policy(*rules: Rule, **changes: object) -> Policy:
    return Policy.model_validate(
        {"name": "test", "version": 1, "rules": rules or (rule(),), **changes}
    )


def waiver(**changes: object) -> Waiver:
    """A waiver of the rule above, for the backbone of the evidence above."""
    fields = {
        "id": "W",
        "rule": "clean_accuracy.accuracy",
        "backbone": BACKBONE,
        "reason": "known",
        "owner": "ml-team",
        "expires": date(2026, 12, 31),
    }
    return Waiver.model_validate({**fields, **changes})


def written(folder: Path, content: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(content)
    return path


def of_the_probe(evidence: Evidence) -> tuple[str, ...]:
    """Remarks without those on the plan's backbones, their own heads and its splits."""
    others = ("backbone: ", "reference: ", "own head", "test: ", "train: ")
    return tuple(each for each in evidence.remarks if not each.startswith(others))
