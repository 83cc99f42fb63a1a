"""What a rule asks, and what a metric and a probe are: from the tables of which docs are made."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from io import StringIO

from gate.errors import PolicyError
from gate.policy.rules import Policy, Rule
from gate.printable import escaped
from gate.probes import PROBES
from gate.strict_yaml import nearest
from gate.values import in_words

_WIDTH = 95  # columns, and room for a colon that is escaped because it begins a line
_INDENT = 20  # columns, in which the name of what is told stands


def explain(name: str, policies: Sequence[Policy]) -> str:
    """All that a name stands for, in lines of at most 100 columns.

    Args:
        name: Of a rule, a metric, or a probe. A metric of several probes is explained for each;
            ``probe.metric`` names one of them.
        policies: Where rules are looked for.

    Returns:
        The rules of that name, then their metrics or those of that name, then the probes of these.

    Raises:
        PolicyError: It is none; the message has the nearest name that is one.
    """
    rules: dict[Rule, list[Policy]] = {}
    for policy in policies:
        for rule in policy.rules:
            if rule.id == name:
                rules.setdefault(rule, []).append(policy)
    asked = {(rule.probe, rule.measured_metric) for rule in rules}
    metrics = [
        (probe, metric)
        for probe, described in PROBES.items()
        for metric in described.metrics
        if name in (metric, f"{probe}.{metric}") or (probe, metric) in asked
    ]
    probes = [probe for probe in PROBES if probe == name or probe in dict(metrics)]
    if not probes:
        known = [*names(), *(rule.id for policy in policies for rule in policy.rules)]
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        judges = ", ".join(policy.name for policy in policies)
        raise PolicyError(
            f"{name!r} is no rule of {judges}, and no metric or probe; "
            f"{nearest(name, near or PROBES)}"
        )
    sections = [
        *(_rule(rule, where) for rule, where in rules.items()),
        *(_metric(probe, metric) for probe, metric in metrics),
        *(_probe(probe) for probe in probes),
    ]
    return "\n".join("".join(f"{line}\n" for line in section) for section in sections)


def names() -> list[str]:
    """What can be explained without a policy: probes, metrics, and metrics with their probes."""
    metrics = [(probe, metric) for probe, each in PROBES.items() for metric in each.metrics]
    bare = dict.fromkeys(metric for _, metric in metrics)
    return [*PROBES, *bare, *(f"{probe}.{metric}" for probe, metric in metrics)]


def _rule(rule: Rule, policies: Sequence[Policy]) -> Iterator[str]:
    judges = " and of ".join(f"{policy.name} v{policy.version}" for policy in policies)
    over = f" as a share of {rule.denominator}" if rule.relative else ""
    yield from _wrapped(f"{rule.id}: a rule of {judges}", 0)
    yield from _told("Bound", f"{rule.measured_metric} {rule.bound}{over}")
    yield from _told("Where", in_words(rule.where) or "everywhere")
    yield from _told("Severity", rule.severity)
    if rule.requires:
        says = f"{rule.requires}; where no evidence offers one, it is missing and only warns"
        yield from _told("Requires", says)
    if rule.on_inconclusive == "warn":
        yield from _told("If inconclusive", "only warns")
    if rule.min_n:
        yield from _told("Least n", f"{rule.min_n}; fewer examples cannot pass")
    yield from _told("Why", rule.why)


def _metric(probe: str, name: str) -> Iterator[str]:
    metric = PROBES[probe].metrics[name]
    better = "no side is better by itself" if metric.better == "neither" else metric.better
    yield f"{probe}.{name}: a metric"
    yield from _told("What it is", metric.meaning)
    yield from _told("Unit", metric.unit)
    yield from _told("Better", better)
    yield from _told("Labels", ", ".join(metric.labels) or "none")
    if metric.after_remedy_of:
        yield from _told("After a remedy of", ", ".join(metric.after_remedy_of))


def _probe(name: str) -> Iterator[str]:
    probe = PROBES[name]
    yield f"{name}: a probe"
    yield from _told("Question", probe.question)
    for topic, text in probe.topics.items():
        yield from _told(topic, text)
    if probe.takes:
        yield from _told("Takes", f"{probe.takes} alone")
    if probe.needs_reference:
        yield from _told("Needs", "a reference in the plan: all is measured against it")
    yield from _told("Metrics", ", ".join(probe.metrics))


def _told(what: str, text: str) -> Iterator[str]:
    """What is told stands at the left of the text, whose lines begin under each other."""
    for number, line in enumerate(_wrapped(" ".join(text.split()), _INDENT)):
        yield f"  {what if number == 0 else '':<{_INDENT - 2}}{line}"


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines that leave room for an indent; of a terminal's columns, some letters take two."""
    from rich.console import Console  # all commands know this file, and start without it
    from rich.text import Text

    console = Console(file=StringIO())
    return [line.plain.rstrip() for line in Text(escaped(text)).wrap(console, _WIDTH - indent)]
