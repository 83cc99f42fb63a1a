"""The report as one page: read without a script and without a network, in any browser.

The first screen has the decision and why; then come what blocks, what warns, images, pictures, and
what passed, folded. All numbers stand in a table at its end.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from gate.comparison.compare import compare
from gate.comparison.values import Change
from gate.errors import EvidenceError
from gate.policy.catalogue import CATALOGUE
from gate.probes.probe import Metrics
from gate.reports.attachments import NONE, Attachments
from gate.reports.comparison.words import confidence
from gate.reports.comparison.words import tally as tally_of_changes
from gate.reports.error_rates import NONE_PUBLISHED, kind_rows, summary, unlikeness
from gate.reports.findings import (
    LIMITS,
    SHOWN_PER_RULE,
    after_remedies,
    because,
    grouped,
    remedies,
    remedies_of,
    tally,
)
from gate.reports.interval_row import IntervalRow, interval_row
from gate.reports.pictures import drawn
from gate.reports.template import drawing, rendered
from gate.values import Evidence, Finding, Measurement, Outcome, Severity, Verdict, in_words

_MOST_CHANGES = 200
_CHANGES: dict[Change, Outcome] = {"worse": "fail", "better": "pass", "changed": "inconclusive"}
_MOST_FINDINGS, _MOST_MEASUREMENTS = 500, 2_000  # they keep a page under 1 MB
_SECTIONS = (
    ("blocking", "blocks", "What blocks"),
    ("warnings", "warns", "What warns or is waived"),
    ("sheets", "images", "On images"),
    ("remedies", "remedies", "Remedies"),
    ("comparison", "champion", "Against the champion"),
    ("pictures", "pictures", "Pictures"),
    ("passed", "passed", "What passed"),
    ("remarks", "remarks", "Remarks"),
    ("measurements", "measurements", "All measurements"),
    ("error_rates", "error-rates", "Error rates"),
)


class Shown(NamedTuple):
    """A finding: its drawn interval, if it has a number, and where it leans while unsettled."""

    about: str
    says: str
    row: IntervalRow | None
    leans: str


class Group(NamedTuple):
    """The findings of one rule and outcome, with what they share.

    ``folded`` are all but a few, and ``left_out`` counts those that the page has no room for.
    """

    anchor: str
    rule: str
    outcome: Outcome
    blocks: bool
    severity: Severity
    probe: str
    meaning: str
    why: str
    shown: list[Shown]
    folded: list[Shown]
    left_out: int
    steps: list[str]
    waiver: str


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """The page, with a day, contact sheets and a champion where they are at hand.

    Raises:
        EvidenceError: Evidence of a probe stands twice, or images are of another backbone.
    """
    sheets = attachments.sheets
    if sheets and sheets.backbone != verdict.backbone:
        raise EvidenceError(
            f"contact sheets are of backbone {sheets.backbone}, and the verdict is on "
            f"{verdict.backbone}; draw those of this candidate"
        )
    groups = list(_fitting(_groups(verdict, evidence)))
    measurements = list(_rows(evidence))
    parts = {
        "blocking": [group for group in groups if group.blocks],
        "warnings": [g for g in groups if not g.blocks and g.outcome != "pass"],
        "sheets": sheets.sheets if sheets else (),
        "remedies": list(remedies(verdict, evidence)),
        "comparison": _comparison(evidence, attachments.champion),
        "pictures": list(_pictures(verdict, evidence)),
        "passed": [group for group in groups if group.outcome == "pass"],
        "remarks": [(item.probe, remark) for item in evidence for remark in item.remarks],
        "measurements": measurements,
        "error_rates": [*kind_rows(verdict.error_rates)] if verdict.error_rates else [],
    }
    return rendered(
        "report.html",
        verdict=verdict,
        because=because(verdict),
        tally=tally(verdict),
        day=attachments.day,
        candidate=attachments.candidate,
        limits=LIMITS,
        none_published=NONE_PUBLISHED,
        summary=summary(verdict.error_rates) if verdict.error_rates else "",
        unlikeness=unlikeness(verdict),
        words=_CHANGES | {"unsettled": "", "not comparable": ""},
        count_passed=sum(finding.outcome == "pass" for finding in verdict.findings),
        left_out=sum(len(item.measurements) for item in evidence) - len(measurements),
        sections=[(anchor, title) for name, anchor, title in _SECTIONS if parts[name]],
        **parts,
    )


def _groups(verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[Group]:
    """Findings by rule and outcome, in the order in which people read them."""
    measured = after_remedies(evidence)
    for number, findings in enumerate(grouped(verdict)):
        first, shown = findings[0], [_shown(finding) for finding in findings]
        metric = CATALOGUE.get(first.probe, Metrics()).get(first.metric)
        yield Group(
            anchor=f"rule-{number}",
            rule=first.rule,
            outcome=first.outcome,
            blocks=first.blocks,
            severity=first.severity,
            probe=first.probe,
            meaning=f"{first.metric}, {metric.meaning}" if metric else first.metric,
            why=first.why,
            shown=shown[:SHOWN_PER_RULE],
            folded=shown[SHOWN_PER_RULE:],
            left_out=0,
            steps=list(_steps(first, measured.get(first.probe))) if first.blocks else [],
            waiver=_waiver(first, verdict) if first.blocks and first.measurement else "",
        )


def _fitting(groups: Iterable[Group]) -> Iterator[Group]:
    """The groups, with as many of their findings as the page has room for: first of what blocks."""
    room = _MOST_FINDINGS
    for group in groups:
        room -= len(group.shown)
        folded = group.folded[: max(room, 0)]
        room -= len(folded)
        yield group._replace(folded=folded, left_out=len(group.folded) - len(folded))


def _rows(evidence: Sequence[Evidence]) -> Iterator[tuple[str, str, Measurement]]:
    """Rows of the table: of each probe the first, where not all fit; none crowds out another."""
    room, fits = _MOST_MEASUREMENTS, dict[str, int]()
    by_size = sorted(evidence, key=lambda item: len(item.measurements))
    for at, item in enumerate(by_size):
        fits[item.probe] = min(len(item.measurements), room // (len(by_size) - at))
        room -= fits[item.probe]
    for item in evidence:
        for m in item.measurements[: fits[item.probe]]:
            yield item.probe, in_words(m.about), m


def _shown(finding: Finding) -> Shown:
    """A finding as it is laid out."""
    m, bound = finding.measurement, finding.bound
    if m is None:
        return Shown("", finding.says, None, "")
    leans = bound.leaning(m) if finding.outcome == "inconclusive" else ""
    return Shown(in_words(m.about), finding.says, interval_row(m, bound, finding.outcome), leans)


def _steps(finding: Finding, measured: Sequence[Measurement] | None) -> Iterator[str]:
    """What may be done about a finding, beside what it says itself.

    Args:
        finding: Of any outcome; only of a failure there is more to say.
        measured: What its probe measured after remedies; None where nobody knows.
    """
    if finding.outcome != "fail" or measured is None:
        return
    leaves = list(remedies_of(finding, measured))
    for row in leaves:
        holds = "passes" if row.outcome == "pass" else f"does not pass ({row.outcome})"
        yield f"the remedy {row.title} {holds}: {row.says}"
    metrics = CATALOGUE.get(finding.probe, Metrics()).values()
    if not leaves and any(finding.metric in metric.after_remedy_of for metric in metrics):
        place = f"probes.{finding.probe}.remedies in the plan"
        yield f"no remedy was measured on it; name some under {place}"


def _waiver(finding: Finding, verdict: Verdict) -> str:
    """What a file of waivers would hold, but for what only people know."""
    about = finding.measurement.about if finding.measurement else {}
    where = ", ".join(f"{name}: {_quoted(value)}" for name, value in about.items())
    lines = [
        "waivers:",
        "  - id: W-1",
        f"    rule: {_quoted(finding.rule)}",
        *([f"    where: {{{where}}}"] if where else []),
        f"    backbone: {verdict.backbone}",
        "    reason: why this may pass until then",
        "    owner: who answers for it",
        "    expires: YYYY-MM-DD",
    ]
    return "\n".join(lines)


def _comparison(
    evidence: Sequence[Evidence], champion: Sequence[Evidence]
) -> dict[str, object] | None:
    """What changed against the champion, and what did not; nothing where one side is unknown."""
    if not evidence or not champion:
        return None
    found = compare(evidence, champion)
    changed = [row for row in found.rows if row.change in _CHANGES]
    rest = [row for row in found.rows if row.change not in _CHANGES]
    return {
        "champion": found.champion,
        "tally": tally_of_changes(found),
        "confidence": confidence(found),
        "changed": changed[:_MOST_CHANGES],
        "rest": rest[:_MOST_CHANGES],
        "left_out": len(found.rows) - len(changed[:_MOST_CHANGES]) - len(rest[:_MOST_CHANGES]),
        "notes": found.notes,
    }


def _quoted(text: str) -> str:
    """Text as YAML and JSON quote it."""
    return json.dumps(text, ensure_ascii=False)


def _pictures(verdict: Verdict, evidence: Sequence[Evidence]) -> Iterator[dict[str, object]]:
    """Pictures of probes whose findings block come first."""
    blocking = {finding.probe for finding in verdict.findings if finding.blocks}
    for picture in sorted(drawn(evidence), key=lambda picture: picture.probe not in blocking):
        svg = drawing(picture.svg, f"{picture.probe}: {picture.shows}")
        yield {"probe": picture.probe, "shows": picture.shows, "svg": svg}
