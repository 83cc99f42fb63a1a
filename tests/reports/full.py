"""A verdict, its evidence and attachments that fill every part of the HTML report."""

from base64 import b64encode
from datetime import date
from io import BytesIO
from typing import Any

from PIL import Image

from gate import Evidence, Policy, Verdict, decide
from gate.contact_sheets import Cell, ContactSheets, Example, Sheet
from gate.reports.attachments import Attachments
from gate.values import Measurement
from tests.builders import BACKBONE, OTHER_BACKBONE, evidence, measurement, policy, rule, waiver
from tests.policy.error_rates import rates

DAY = date(2026, 11, 28)
HOSTILE = "<script>alert(1)</script>\"'`&amp;"
RATE = "targeted_attack_success_rate"


def full_evidence(name: str = HOSTILE) -> list[Evidence]:
    """Of seven probes; each name in it is hostile."""
    shares = {name: 0.6, "b": 0.3, "c": 0.1}
    spread = {"a": 0.2, name: 0.7}
    return [
        evidence(
            measurement(0.1, 0.2, 0.3, task=name),
            measurement(0.1, 0.2, 0.3, task="waived"),
            measurement(0.7, 0.8, 0.9, task="open"),
            *(measurement(task=f"good {i}") for i in range(5)),
        ),
        evidence(
            *(
                measurement(rate - 0.1, rate, rate + 0.1, metric=RATE, trigger=trigger, task=name)
                for trigger, rate in {
                    "yellow square 5px top_left": 0.8,
                    "yellow square 4px top_left": 0.1,
                    f"white text {name!r} 28px centre": 0.2,
                }.items()
            ),
            measurement(
                0.0,
                0.02,
                0.05,
                metric="excess_targeted_attack_success_rate_after_remedy",
                task=name,
            ),
            measurement(0.8, 0.85, 0.9, metric="accuracy_after_remedy", task=name),
            probe="trigger_patch",
        ),
        evidence(
            *_each("conflicting_accuracy", "correlation", {"0": 0.8, "0.9": 0.3}),
            probe="spurious_attribute",
        ),
        evidence(*_each("label_prior", "class", shares), probe="label_prior"),
        evidence(*_each("accuracy_fall", "module", spread), probe="module_criticality"),
        evidence(*_each("pretrained_accuracy", "block", spread), probe="feature_reuse"),
        evidence(*_each("layer_weight_alignment", "layer", spread), probe="lineage"),
    ]


def _each(metric: str, label: str, values: dict[str, float]) -> list[Measurement]:
    about: list[tuple[dict[str, Any], float]] = [({label: n}, v) for n, v in values.items()]
    return [measurement(v - 0.05, v, v + 0.05, metric=metric, **each) for each, v in about]


def full_verdict(found: list[Evidence]) -> Verdict:
    """A failure of each kind, a waiver, a warning, a pass."""
    labels = dict.fromkeys(("task", "trigger", "target"), "*")
    asked = policy(
        rule(why=f"because {HOSTILE}"),
        rule(at_least=0.99, severity="warn", name="warns"),
        rule(
            probe="trigger_patch", metric=RATE, where=labels, at_most=0.5, name="trigger_patch.rate"
        ),
        rule(probe="trigger_search", metric="worst_patch_attack_success_rate", at_most=0.5),
        rule(probe="module_criticality", metric="accuracy_fall", at_least=-0.5, name="falls"),
    )
    counts = {"accepted": 1, "inconclusive": 0, "rejected": 9}
    published = rates(asked.rules, of=HOSTILE, backdoored={HOSTILE: counts, "all_to_all": counts})
    asked = Policy.model_validate(asked.model_dump() | {"error_rates": published})
    return decide(asked, found, DAY, [waiver(where={"task": "waived"})])


def full_attachments(name: str = HOSTILE) -> Attachments:
    """A day, a name and two sheets."""
    cell = Cell(image=picture(), prediction=name)
    sheet = Sheet(
        kind="trigger",
        probe="trigger_patch",
        title=f"trigger {name}",
        target=name,
        columns=("as it is", "with the trigger", "with the control"),
        examples=(Example(label=name, cells=(cell, cell, cell)),) * 3,
    )
    pairs = Sheet(
        kind="near duplicates",
        title="near duplicates",
        columns=("test", "train"),
        examples=(Example(label="cat", cells=(Cell(image=picture()),) * 2),),
    )
    sheets = ContactSheets(backbone=BACKBONE, sheets=(sheet, pairs))
    return Attachments(day=DAY, candidate=name, sheets=sheets, champion=(champion(name),))


def champion(name: str = HOSTILE) -> Evidence:
    """What another backbone is better and worse at than that of `full_evidence`."""
    return evidence(
        measurement(0.85, 0.9, 0.95, task=name, n=400),
        measurement(0.1, 0.2, 0.3, task="good 1", n=400),
        measurement(task="good 2"),
        backbone=OTHER_BACKBONE,
    )


def picture(side: int = 8) -> str:
    """A grey square as a data URI."""
    file = BytesIO()
    Image.new("RGB", (side, side), (90, 120, 200)).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
