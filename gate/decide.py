"""(Policy, Evidence, waivers, day) -> Verdict. Pure: no files, no clock, no measuring."""

from collections.abc import Sequence
from datetime import date

from gate import stats
from gate.errors import EvidenceError
from gate.policy import Policy, Rule, Waiver, matches
from gate.values import Evidence, Finding, Measurement, Verdict, decision, digest_of, last_day


def decide(
    policy: Policy, evidence: Sequence[Evidence], today: date, waivers: Sequence[Waiver] = ()
) -> Verdict:
    """Hold every rule against every measurement that it matches.

    Args:
        policy: What is acceptable.
        evidence: What was measured on one backbone, one value a probe.
        today: The day on which waivers are judged.
        waivers: Exceptions; those of another backbone, or past their last day, count for nothing.

    Returns:
        A verdict whose findings are in the order of the policy's rules, failures first within a
        rule. A rule that matches nothing gives a finding ``missing``, which blocks.

    Raises:
        EvidenceError: There is none, it is of several backbones, or a probe stands twice.
    """
    backbones = sorted({item.backbone for item in evidence})
    if len(backbones) != 1:
        found = "no evidence" if not backbones else f"evidence of {len(backbones)} backbones"
        raise EvidenceError(
            f"decide: {found} ({', '.join(backbones)}), and a verdict is on exactly one; "
            "give the evidence of one candidate"
        )
    probes = [item.probe for item in evidence]
    for twice in sorted({name for name in probes if probes.count(name) > 1}):
        raise EvidenceError(
            f"decide: evidence of probe {twice} stands twice; give one file a probe"
        )

    valid = [w for w in waivers if w.backbone == backbones[0] and w.holds_on(today)]
    by_probe = {item.probe: item for item in evidence}
    findings = [
        finding
        for rule in policy.rules
        for finding in _findings(rule, by_probe.get(rule.probe), valid)
    ]
    return Verdict(
        decision=decision(findings),
        backbone=backbones[0],
        policy=policy.identity,
        evidence={name: digest_of(by_probe[name]) for name in sorted(by_probe)},
        findings=tuple(findings),
        valid_until=last_day(findings),
    )


_ORDER = {"fail": 0, "missing": 1, "inconclusive": 2, "waived": 3, "pass": 4}


def _findings(rule: Rule, evidence: Evidence | None, waivers: Sequence[Waiver]) -> list[Finding]:
    matching = [m for m in evidence.measurements if rule.applies_to(m)] if evidence else []
    held: list[Measurement | None] = [*matching] or [None]
    findings = [_finding(rule, measurement, waivers) for measurement in held]
    return sorted(
        findings, key=lambda finding: (_ORDER[finding.outcome], -_severity(rule, finding))
    )


def _finding(rule: Rule, measurement: Measurement | None, waivers: Sequence[Waiver]) -> Finding:
    outcome = rule.bound.outcome(measurement) if measurement else "missing"
    says = _says(rule, measurement)
    waiver = None
    if outcome != "pass":
        about = measurement.about if measurement else {}
        waiver = next((w for w in waivers if w.rule == rule.id and matches(about, w.where)), None)
    if waiver:
        says += f"; waived by {waiver.id} until {waiver.expires} ({waiver.owner}: {waiver.reason})"
    return Finding(
        rule=rule.id,
        probe=rule.probe,
        metric=rule.metric,
        severity=rule.severity,
        bound=rule.bound,
        measurement=measurement,
        outcome="waived" if waiver else outcome,
        waiver=waiver.id if waiver else None,
        waived_until=waiver.expires if waiver else None,
        says=says,
        why=rule.why,
    )


def _says(rule: Rule, m: Measurement | None) -> str:
    if m is None:
        where = ", ".join(f"{name} {glob}" for name, glob in rule.where.items())
        return (
            f"{rule.metric} was not measured{f' for {where}' if where else ''}; "
            f"add probes.{rule.probe} to the plan, or drop the rule"
        )
    found = f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}], n = {m.n}, wanted {rule.bound}"
    if rule.bound.outcome(m) == "inconclusive":
        more = stats.examples_to_settle(m.n, m.value, m.low, m.high, rule.bound.number)
        return found + (
            f"; about {more:,} more examples would settle it"
            if more is not None
            else "; the estimate sits on the bound, so more examples may not settle it"
        )
    return found


def _severity(rule: Rule, finding: Finding) -> float:
    """How far the measurement lies towards the wrong side."""
    if finding.measurement is None:
        return 0.0
    m = finding.measurement
    return m.high if rule.at_most is not None else -m.low
