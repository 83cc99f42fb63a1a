"""Waivers that match nothing: they are forgotten, mistyped, doubled or no longer needed."""

from collections.abc import Sequence
from datetime import date

from gate.errors import PolicyError
from gate.policy.decide import covers, decide
from gate.policy.rules import Policy, Waiver
from gate.strict_yaml import nearest
from gate.values import Evidence


def unmatched(
    policy: Policy, evidence: Sequence[Evidence], today: date, waivers: Sequence[Waiver]
) -> dict[str, str]:
    """Which waivers let nothing through that would block without them, by id, and why not.

    Raises:
        EvidenceError: As for :func:`gate.policy.decide.decide`.
        PolicyError: As for :func:`gate.policy.decide.decide`.
    """
    bare, waived = decide(policy, evidence, today), decide(policy, evidence, today, waivers)
    rules = {rule.id for rule in policy.rules}
    unmeasured = {finding.rule for finding in bare.findings if finding.measurement is None}
    against = [finding for finding in bare.findings if finding.blocks]
    if not against and bare.decision != "accept":  # nothing stands against it, and nothing for it
        against = [finding for finding in bare.findings if finding.severity == "block"]
    places = [(finding.rule, finding.measurement) for finding in against]
    used = [f for f in waived.findings if f.waiver and (f.rule, f.measurement) in places]
    idle = {}
    for waiver in waivers:
        covered = [finding for finding in bare.findings if covers(waiver, finding)]
        if waiver.rule not in rules:
            hint = nearest(waiver.rule, rules)
            idle[waiver.id] = f"policy {policy.name} has no rule {waiver.rule!r}; {hint}"
        elif not waiver.holds_on(today):
            idle[waiver.id] = f"it ended on {waiver.expires}, and the day is {today}; remove it"
        elif waiver.backbone != bare.backbone:
            idle[waiver.id] = f"it is for {waiver.backbone}, and the evidence is on {bare.backbone}"
        elif waiver.rule in unmeasured:
            idle[waiver.id] = (
                f"what {waiver.rule} bounds was not measured, and a waiver lets through only what "
                "was; measure it"
            )
        elif not covered:
            labels = ", ".join(f"{name} {glob}" for name, glob in waiver.where.items())
            idle[waiver.id] = f"no finding of {waiver.rule} has the labels {labels}"
        elif not any(finding in against for finding in covered):
            idle[waiver.id] = (
                f"nothing that it covers of {waiver.rule} blocks without it; remove it"
            )
        elif all(finding.waiver != waiver.id for finding in used):
            others = sorted({str(finding.waiver) for finding in used if covers(waiver, finding)})
            idle[waiver.id] = (
                f"all that it covers is let through by {', '.join(others)}, and no less long; "
                "remove it"
            )
    return idle


def require_matched(
    policy: Policy,
    candidates: Sequence[Sequence[Evidence]],
    today: date,
    waivers: Sequence[Waiver],
) -> None:
    """Refuse waivers that no candidate needs, and those that last too long.

    Raises:
        PolicyError: One line for each of them.
        EvidenceError: As for :func:`gate.policy.decide.decide`.
    """
    faults, short = {}, []
    for waiver in waivers:
        try:
            policy.require_short(waiver, today)
            short.append(waiver)
        except PolicyError as fault:
            faults[waiver.id] = str(fault)
    idle = [unmatched(policy, evidence, today, short) for evidence in candidates]
    for waiver in short:
        if all(waiver.id in one for one in idle):
            faults[waiver.id] = f"waiver {waiver.id} matches nothing: {idle[0][waiver.id]}"
    if faults:
        raise PolicyError("\n".join(faults[waiver.id] for waiver in waivers if waiver.id in faults))
