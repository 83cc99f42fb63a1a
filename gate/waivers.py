"""Waivers that match nothing: they are forgotten, mistyped or no longer needed."""

from collections.abc import Sequence
from datetime import date

from gate.decide import covers, decide
from gate.errors import PolicyError
from gate.policy import Policy, Waiver
from gate.strict_yaml import nearest
from gate.values import Evidence


def unmatched(
    policy: Policy, evidence: Sequence[Evidence], today: date, waivers: Sequence[Waiver]
) -> dict[str, str]:
    """Which waivers let nothing through, by id, and why not.

    Raises:
        EvidenceError: As for :func:`gate.decide.decide`.
    """
    bare = decide(policy, evidence, today)
    rules = {rule.id for rule in policy.rules}
    idle = {}
    for waiver in waivers:
        covered = [finding.outcome for finding in bare.findings if covers(waiver, finding)]
        if waiver.rule not in rules:
            hint = nearest(waiver.rule, rules)
            idle[waiver.id] = f"policy {policy.name} has no rule {waiver.rule!r}; {hint}"
        elif not waiver.holds_on(today):
            idle[waiver.id] = f"it ended on {waiver.expires}, and the day is {today}; remove it"
        elif waiver.backbone != bare.backbone:
            idle[waiver.id] = f"it is for {waiver.backbone}, and the evidence is on {bare.backbone}"
        elif not covered:
            labels = ", ".join(f"{name} {glob}" for name, glob in waiver.where.items())
            idle[waiver.id] = f"no finding of {waiver.rule} has the labels {labels}"
        elif set(covered) == {"pass"}:
            idle[waiver.id] = f"all that it covers of {waiver.rule} passes without it; remove it"
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
        EvidenceError: As for :func:`gate.decide.decide`.
    """
    for waiver in waivers:
        policy.require_short(waiver, today)
    idle = [unmatched(policy, evidence, today, waivers) for evidence in candidates]
    faults = [
        f"waiver {waiver.id} matches nothing: {idle[0][waiver.id]}"
        for waiver in waivers
        if all(waiver.id in one for one in idle)
    ]
    if faults:
        raise PolicyError("\n".join(faults))
