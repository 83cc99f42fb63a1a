"""(Policy, Evidence, waivers, day) -> Verdict. Pure: no files, no clock, no measuring."""

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from gate import stats, values
from gate.errors import PolicyError
from gate.policy.catalogue import narrowed, needs_reference
from gate.policy.rules import Names, Policy, Required, Rule, names_in
from gate.policy.sound import require_sound
from gate.policy.unlike import unlike
from gate.policy.waivers import Waiver
from gate.values import Evidence, Finding, Measurement, Verdict, digest_of, in_words

_NOTHING = 1e-12  # a rate that no number of examples tells from 0
_CHOICE: dict[Required | None, str] = {
    "attribute": (
        "no evidence is about an attribute; name one in a split of the plan, and measure it, or "
        "answer for it that users do not differ by any"
    ),
    "reference": (
        "no evidence names a reference; give the plan one, a clean backbone of the same kind, or "
        "answer for it that the candidate is held against none"
    ),
}
_ORDER = {"fail": 0, "missing": 1, "inconclusive": 2, "waived": 3, "pass": 4}


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
        rule. A rule that matches nothing gives a finding ``missing``, which blocks, unless it
        requires what no evidence offers: then it warns, and a person chooses. It carries the
        error rates of its rules, where the policy has some of these and of no others.

    Raises:
        EvidenceError: There is none, it is of several backbones, a probe stands twice, or it says
            what no probe measures: another unit, other labels, a difference to no reference.
        PolicyError: The policy is only what changes in another, or a waiver lasts longer than it
            lets any last.
    """
    if policy.extends is not None:
        raise PolicyError(
            f"policy {policy.name} extends {policy.extends}, which it was not put together with; "
            "read it with load_policy"
        )
    backbone = require_sound("decide", evidence)
    valid = [w for w in waivers if w.backbone == backbone and w.holds_on(today)]
    for waiver in valid:
        waiver.require_short(policy, today)
    by_probe = {item.probe: item for item in evidence}
    names = names_in(evidence)
    findings = []
    for rule in policy.rules:
        if rule.offered_by(evidence):
            findings += _findings(rule, by_probe.get(rule.probe), valid, names)
        else:
            findings.append(_not_offered(rule))
    rates = policy.known_error_rates
    return Verdict(
        decision=values.decision(findings),
        backbone=backbone,
        policy=policy.identity,
        evidence={name: digest_of(by_probe[name]) for name in sorted(by_probe)},
        findings=tuple(findings),
        valid_until=values.last_day(findings),
        error_rates=rates,
        unlike=unlike(rates.like, list(by_probe.values())) if rates else (),
    )


def _findings(
    rule: Rule, evidence: Evidence | None, waivers: Sequence[Waiver], names: Names
) -> list[Finding]:
    measurements = evidence.measurements if evidence else ()
    held: list[Measurement | None] = [m for m in measurements if rule.applies_to(m, names)]
    if rule.relative:
        held = [_relative(rule, m, measurements) for m in held if m]
    settings = _settings_of(evidence) if evidence else None
    findings = [_finding(rule, m, waivers, names, settings) for m in held or [None]]
    return sorted(findings, key=lambda finding: _worst_first(rule, finding))


def _not_offered(rule: Rule) -> Finding:
    """What is left to a person: the evidence has nothing of what the rule requires."""
    return Finding(
        rule=rule.id,
        probe=rule.probe,
        metric=rule.measured_metric,
        severity="warn",
        bound=rule.bound,
        measurement=None,
        outcome="missing",
        on_inconclusive=rule.on_inconclusive,
        says=f"{rule.measured_metric} was not measured: {_CHOICE[rule.requires]}",
        why=rule.why,
    )


def _settings_of(evidence: Evidence) -> Mapping[str, Any]:
    """What the plan said under the probe's name."""
    settings = evidence.settings.get("probe")
    return settings if isinstance(settings, dict) else {}


def _worst_first(rule: Rule, finding: Finding) -> tuple[Any, ...]:
    """What sorts findings of a rule: outcome, how far the wrong end lies out, and the labels."""
    m = finding.measurement
    if m is None:
        return (_ORDER[finding.outcome],)
    wrong_end = m.low if rule.at_least is not None else -m.high
    return _ORDER[finding.outcome], wrong_end, sorted(m.about.items())


def _relative(
    rule: Rule, difference: Measurement, measurements: Sequence[Measurement]
) -> Measurement | None:
    """A paired difference as a share of what the reference has; None where that may be nothing.

    Its interval spans the quotients of all ends, so it holds wherever both intervals do.
    """
    reference = next(
        (m for m in measurements if m.metric == rule.denominator and m.about == difference.about),
        None,
    )
    if reference is None or reference.low < _NOTHING:
        return None
    ends = [
        end / of
        for end in (difference.low, difference.high)
        for of in (reference.low, reference.high)
    ]
    if not all(map(math.isfinite, ends)):
        return None
    value, n = difference.value / reference.value, min(difference.n, reference.n)
    share = stats.Interval(value, min(*ends, value), max(*ends, value))
    return Measurement.of(difference.metric, share, n, "relative difference", **difference.about)


def _finding(
    rule: Rule,
    measurement: Measurement | None,
    waivers: Sequence[Waiver],
    names: Names,
    settings: Mapping[str, Any] | None,
) -> Finding:
    bare = Finding(
        rule=rule.id,
        probe=rule.probe,
        metric=rule.measured_metric,
        severity=rule.severity,
        bound=rule.bound,
        measurement=measurement,
        outcome=rule.bound.outcome(measurement) if measurement else "missing",
        on_inconclusive=rule.on_inconclusive,
        says=_says(rule, measurement, settings),
        why=rule.why,
    )
    covering = [w for w in waivers if w.covers(bare, names)]
    if bare.outcome == "pass" or not covering:
        return bare
    waiver = max(covering, key=lambda w: (w.expires, w.id))  # whatever their order in the file
    says = (
        f"{bare.says}; waived by {waiver.id} until {waiver.expires} "
        f"({waiver.owner}: {waiver.reason})"
    )
    waived = {"outcome": "waived", "waiver": waiver.id, "waived_until": waiver.expires}
    return Finding(**{**dict(bare), **waived, "says": says})


def _says(rule: Rule, m: Measurement | None, settings: Mapping[str, Any] | None) -> str:
    """What a finding says of its rule and measurement; settings are those of the probe, if run."""
    if m is None:
        place = f" for {in_words(rule.where)}" if rule.where else ""
        if rule.relative:
            return (
                f"{rule.measured_metric} has nothing to be a share of{place}: {rule.denominator} "
                "was not measured or may be 0; give the plan a reference, or drop relative"
            )
        if settings is None:
            do = f"add probes.{rule.probe} to the plan"
        elif needs_reference(rule.probe, rule.measured_metric):
            do = "give the plan a reference, a clean backbone of the same kind"
        else:
            do = f"see the remarks of {rule.probe}'s evidence, and which labels it has"
        return f"{rule.measured_metric} was not measured{place}; {do}, or drop the rule"
    says = f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}], n = {m.n}, wanted {rule.bound}"
    if rule.bound.outcome(m) != "inconclusive":
        return says
    if not narrowed(rule.probe, rule.measured_metric):
        return f"{says}; likely to {rule.bound.leaning(m)}, and more examples would not settle it"
    # a trigger that is not the worst stops at some look, though there may be more images
    looks = settings if settings and settings.get("first_look", "all") != "all" else None
    if rule.bound.wants_more_than(m.n):
        raised = f"; raise probes.{rule.probe}.first_look" if looks else ""
        return f"{says}; the rule wants {rule.min_n:,} examples or more{raised}"
    more = stats.examples_to_settle(m.n, m.value, m.low, m.high, rule.bound.number)
    if more is None:
        return f"{says}; so near the bound, sixteen times as many examples would not settle it"
    says += f"; likely to {rule.bound.leaning(m)}, about {more:,} more examples would settle it"
    if not looks:
        return says
    return (
        f"{says}: raise probes.{rule.probe}.first_look, {looks['first_look']} now, or lower "
        f"resolution, {looks['resolution']:g} now, and where all examples were seen add some"
    )
