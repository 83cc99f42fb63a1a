"""A verdict in rows of words, which formats for people lay out in their own ways."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from gate.policy.catalogue import CATALOGUE
from gate.probes.probe import Metrics
from gate.values import Bound, Evidence, Finding, Measurement, Outcome, Verdict, in_words, worst

LIMITS = (
    "A pass says that the triggers, attributes and tasks of the plan showed nothing. "
    "It does not see every trigger that nobody named, nor input-dependent or in-distribution ones."
)
_MARK: dict[Outcome | None, str] = {
    "fail": "FAIL",
    "missing": "MISSING",
    "inconclusive": "INCONCLUSIVE",
    "waived": "WAIVED",
    "pass": "pass",
    None: "",
}
SHOWN_PER_RULE = 3


class Row(NamedTuple):
    """A line of a report; one without an outcome counts what is not shown."""

    outcome: Outcome | None
    title: str
    says: str = ""
    why: str = ""

    @property
    def mark(self) -> str:
        """The outcome in a word, or nothing."""
        return mark(self.outcome)


def mark(outcome: Outcome | None) -> str:
    """An outcome as reports show it: what keeps a backbone out, or would, in capitals."""
    return _MARK[outcome]


def ordered(verdict: Verdict) -> list[Finding]:
    """The findings as people read them; those of a rule and outcome stay worst first.

    What blocks comes first: failures, what is missing, what is inconclusive. Then what is waived,
    what only warns, and what passed.
    """
    return sorted(verdict.findings, key=_place)


def _place(finding: Finding) -> int:
    if finding.blocks:
        return ("fail", "missing", "inconclusive").index(finding.outcome)
    return {"waived": 3, "pass": 5}.get(finding.outcome, 4)


def carrying(verdict: Verdict) -> Finding | None:
    """The finding that a decision is reached by: the first that blocks; none of an acceptance."""
    first = ordered(verdict)[0]
    return first if first.blocks else None


def grouped(verdict: Verdict) -> Iterator[list[Finding]]:
    """The findings in their order, those of one rule and outcome together."""
    for _, group in groupby(ordered(verdict), lambda finding: (finding.rule, finding.outcome)):
        yield list(group)


def rows(verdict: Verdict) -> Iterator[Row]:
    """At most a few findings of each rule and outcome, in the order of :func:`ordered`."""
    for findings in grouped(verdict):
        outcome = findings[0].outcome
        shown = findings[: 1 if outcome == "pass" else SHOWN_PER_RULE]
        for finding in shown:
            says = finding.says + in_brackets(finding.measurement)
            yield Row(outcome, title(finding), says, finding.why)
        if more := len(findings) - len(shown):
            yield Row(None, f"and {more} more {outcome}")


def title(finding: Finding) -> str:
    """The finding's rule, and whether it only warns."""
    unsettled = finding.outcome not in ("pass", "waived")
    warns = finding.severity == "warn" or (unsettled and not finding.blocks)
    return f"{finding.rule} (only warns)" if warns else finding.rule


def next_step(finding: Finding) -> str:
    """What a finding says beyond its numbers and its bound: how to settle it, or who waived it."""
    _, numbers, step = finding.says.partition(f"wanted {finding.bound}")
    return step.lstrip("; ") if numbers else finding.says


def remedies(verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[Row]:
    """What each remedy leaves of what did not pass, held against the same bound."""
    measured = after_remedies(evidence)
    shown: set[tuple[str, str, str]] = set()
    for finding in verdict.findings:
        if not finding.blocks:
            continue
        for row in remedies_of(finding, measured.get(finding.probe, ())):
            key = (finding.rule, row.title, row.says)
            if key not in shown:
                shown.add(key)
                yield row


def after_remedies(evidence: Sequence[Evidence]) -> dict[str, list[Measurement]]:
    """What was measured after remedies, by probe; a probe that tried none has an empty list."""
    return {e.probe: [m for m in e.measurements if "remedy" in m.about] for e in evidence}


def remedies_of(finding: Finding, measured: Sequence[Measurement]) -> Iterator[Row]:
    """What each remedy leaves of one finding, by what its probe measured after remedies."""
    for m in measured:
        if _speaks_to(m, finding):
            yield _remedy(m, finding.bound, measured)


def _speaks_to(after: Measurement, finding: Finding) -> bool:
    """Whether a measurement says what a remedy leaves of a finding, on the same task."""
    metrics = CATALOGUE.get(finding.probe, Metrics())
    if after.metric not in metrics or finding.metric not in metrics[after.metric].after_remedy_of:
        return False
    return finding.measurement is not None and all(
        finding.measurement.about.get(name) == after.about[name]
        for name in ("task", "attribute")
        if name in after.about
    )


def _remedy(after: Measurement, bound: Bound, measured: Sequence[Measurement]) -> Row:
    """A remedy's row: what it leaves, whether that holds the bound, and the accuracy it costs."""
    costs = (m for m in measured if m.metric == "accuracy_after_remedy")
    accuracy = next((m for m in costs if m.about.items() <= after.about.items()), None)
    at = f", at accuracy {_with_interval(accuracy)}" if accuracy else ""
    return Row(
        bound.outcome(after),
        after.about["remedy"].replace("_", " "),
        f"{after.metric} {_with_interval(after)}, wanted {bound}{at}{in_brackets(after)}",
    )


def _with_interval(m: Measurement) -> str:
    return f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]"


def tally(verdict: Verdict) -> str:
    """How many findings there are, and of which outcomes."""
    outcomes = [finding.outcome for finding in verdict.findings]
    counts = (f"{outcomes.count(name)} {name}" for name in _MARK if name and name in outcomes)
    return f"{len(outcomes)} findings: {', '.join(counts)}"


def because(verdict: Verdict) -> str:
    """One sentence: what carries the decision, the first failure or else what is not settled."""
    if not (first := carrying(verdict)):
        return _held(verdict)
    others = len({f.rule for f in verdict.findings if f.blocks}) - 1
    says = {"fail": "failed", "missing": "has no number", "inconclusive": "is not settled"}
    about = in_brackets(first.measurement)
    more = f" {others} more rules block." if others > 1 else " One more rule blocks." * others
    return f"{first.rule} {says[first.outcome]}{about}: {first.says}.{more}"


def _held(verdict: Verdict) -> str:
    """How the rules that block are held, where none of them does."""
    outcomes = [*worst(f for f in verdict.findings if f.severity == "block").values()]
    if outcomes == ["pass"]:
        return "The one rule that blocks is held."
    if {*outcomes} == {"pass"}:
        return f"All {len(outcomes)} rules that block are held."
    said = {"pass": "held", "waived": "waived", "inconclusive": "not settled, which only warns"}
    counts = [f"{outcomes.count(each)} {says}" for each, says in said.items() if each in outcomes]
    accepted = verdict.decision == "accept"
    wants = "" if accepted else " An acceptance takes one that is held or waived."
    return f"Of the rules that block: {', '.join(counts) or 'none'}.{wants}"


def in_brackets(measurement: Measurement | None) -> str:
    """The labels of a measurement in brackets; nothing where there are none."""
    return f" ({in_words(measurement.about)})" if measurement and measurement.about else ""


def short(digest: str) -> str:
    """A digest's first twelve digits, which are enough to tell two apart by eye."""
    return digest[:19]
