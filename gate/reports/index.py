"""One page over many candidates: what was decided on each, and the worst number of each rule."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple
from urllib.parse import quote

from gate.reports.findings import because, short
from gate.reports.template import rendered
from gate.values import Decision, Finding, Outcome, Verdict

_ORDER: tuple[Decision, ...] = ("reject", "inconclusive", "accept")
_WORDS: dict[Decision, Outcome] = {
    "reject": "fail",
    "inconclusive": "inconclusive",
    "accept": "pass",
}


class Run(NamedTuple):
    """A candidate: what people call it, its verdict, and its page as a path from the index."""

    name: str
    verdict: Verdict
    page: str | None = None


class _Worst(NamedTuple):
    """The worst finding of a rule."""

    outcome: Outcome
    number: str


def index_page(runs: Sequence[Run], day: date | None = None) -> str:
    """All runs on one page, those that block first, and by name.

    Args:
        runs: Candidates that were judged.
        day: When; none is said where it is not known.
    """
    ordered = sorted(runs, key=lambda run: (_ORDER.index(run.verdict.decision), run.name))
    counts = Counter(run.verdict.decision for run in runs)
    rules = dict.fromkeys(f.rule for run in ordered for f in run.verdict.findings)
    return rendered(
        "index.html",
        runs=[_row(run) for run in ordered],
        rules=list(rules),
        decisions=[(each, counts[each]) for each in _ORDER if counts[each]],
        day=day,
    )


def _row(run: Run) -> dict[str, object]:
    """What the page says of a run."""
    verdict = run.verdict
    worst: dict[str, _Worst] = {}
    for finding in verdict.findings:  # the worst of a rule comes first
        worst.setdefault(finding.rule, _Worst(finding.outcome, _number(finding)))
    return {
        "name": run.name,
        "link": quote(run.page, errors="surrogateescape") if run.page else None,
        "decision": verdict.decision,
        "word": _WORDS[verdict.decision],
        "because": because(verdict),
        "policy": f"{verdict.policy.name} v{verdict.policy.version}",
        "backbone": short(verdict.backbone),
        "worst": worst,
    }


def _number(finding: Finding) -> str:
    """The end of an interval, or the point, that the bound is held against."""
    if finding.measurement is None:
        return ""
    if finding.bound.decide_on == "point":
        return f"{finding.measurement.value:.3f}"
    low, high = finding.measurement.low, finding.measurement.high
    return f"{high:.3f}" if finding.bound.at_most is not None else f"{low:.3f}"
