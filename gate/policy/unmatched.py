"""Waivers that match nothing: they are forgotten, mistyped, doubled or no longer needed."""

from collections.abc import Sequence
from datetime import date

from gate.errors import PolicyError
from gate.policy.decide import decide
from gate.policy.rules import Names, Policy, names_in
from gate.policy.waivers import Waiver
from gate.strict_yaml import nearest
from gate.values import Evidence, Finding, Verdict, in_words


def unmatched(
    policy: Policy, evidence: Sequence[Evidence], today: date, waivers: Sequence[Waiver]
) -> dict[str, str]:
    """Which waivers let nothing through that would block without them, by id, and why not.

    Raises:
        EvidenceError: As for :func:`gate.policy.decide.decide`.
        PolicyError: As for :func:`gate.policy.decide.decide`.
    """
    bare, waived = decide(policy, evidence, today), decide(policy, evidence, today, waivers)
    against = [finding for finding in bare.findings if finding.blocks]
    if not against and bare.decision != "accept":  # nothing stands against it, and nothing for it
        against = [finding for finding in bare.findings if finding.severity == "block"]
    places = [(finding.rule, finding.measurement) for finding in against]
    used = [f for f in waived.findings if f.waiver and (f.rule, f.measurement) in places]
    names = names_in(evidence)
    reasons = {}
    for waiver in waivers:
        why = _not_about(waiver, policy, bare, today, names)
        if why := why or _lets_nothing_through(waiver, against, used, names):
            reasons[waiver.id] = why
    return reasons


def _not_about(
    waiver: Waiver, policy: Policy, bare: Verdict, today: date, names: Names
) -> str | None:
    """Why a waiver is about no finding of a verdict without waivers; None if it is about one."""
    rules = {rule.id for rule in policy.rules}
    unmeasured = {finding.rule for finding in bare.findings if finding.measurement is None}
    if waiver.rule not in rules:
        hint = nearest(waiver.rule, rules)
        return f"policy {policy.name} has no rule {waiver.rule!r}; {hint}"
    if not waiver.holds_on(today):
        return f"it ended on {waiver.expires}, and the day is {today}; remove it"
    if waiver.backbone != bare.backbone:
        return f"it is for {waiver.backbone}, and the evidence is on {bare.backbone}"
    if waiver.rule in unmeasured:
        return (
            f"what {waiver.rule} bounds was not measured, and a waiver lets through only what was; "
            "measure it"
        )
    if not any(waiver.covers(finding, names) for finding in bare.findings):
        return f"no finding of {waiver.rule} has the labels {in_words(waiver.where)}"
    return None


def _lets_nothing_through(
    waiver: Waiver, against: Sequence[Finding], used: Sequence[Finding], names: Names
) -> str | None:
    """Why a waiver is not needed for what it covers; None if something would block without it.

    Args:
        waiver: It is about some finding.
        against: What keeps the backbone out without waivers.
        used: The same findings with waivers, as far as one lets them through.
        names: Those in the evidence.
    """
    if not any(waiver.covers(finding, names) for finding in against):
        return f"nothing that it covers of {waiver.rule} blocks without it; remove it"
    if all(finding.waiver != waiver.id for finding in used):
        others = sorted({str(f.waiver) for f in used if waiver.covers(f, names)})
        return (
            f"all that it covers is let through by {', '.join(others)}, and no less long; remove it"
        )
    return None


def require_matched(
    policy: Policy, candidates: Sequence[Sequence[Evidence]], today: date, waivers: Sequence[Waiver]
) -> None:
    """Refuse waivers that no candidate needs, and those that last too long.

    Raises:
        PolicyError: One line for each of them.
        EvidenceError: As for :func:`gate.policy.decide.decide`.
    """
    faults, short = {}, []
    for waiver in waivers:
        try:
            waiver.require_short(policy, today)
            short.append(waiver)
        except PolicyError as fault:
            faults[waiver.id] = str(fault)
    reasons = [unmatched(policy, evidence, today, short) for evidence in candidates]
    for waiver in short:
        if all(waiver.id in of_candidate for of_candidate in reasons):
            faults[waiver.id] = f"waiver {waiver.id} matches nothing: {reasons[0][waiver.id]}"
    if faults:
        raise PolicyError("\n".join(faults[waiver.id] for waiver in waivers if waiver.id in faults))
