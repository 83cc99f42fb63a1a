"""A section of a Hugging Face model card: metadata that the Hub reads, and what people read.

The metadata is a ``model-index`` with the number that each rule turns on; its interval stands
beside it, as arguments of the metric. Put it at the head of the card of the backbone, or have
``huggingface_hub.metadata_update`` merge it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from gate import strict_yaml
from gate.printable import escaped
from gate.reports.attachments import NONE, Attachments
from gate.reports.error_rates import summary, unlike_in_a_line
from gate.reports.findings import LIMITS, tally
from gate.reports.issues import title
from gate.reports.markdown import cells, code, plain
from gate.values import Evidence, Finding, Verdict, in_words

# the Hub's name for what a backbone does; a verdict does not say whether of images or of text
_TASK = "feature-extraction"


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict has the numbers that decided it
    attachments: Attachments = NONE,
) -> str:
    """Front matter in YAML, and below it a table."""
    worst = _worst(verdict)
    measured = [_result(finding) for finding in worst if finding.measurement]
    index = {"name": attachments.candidate or "backbone", "results": measured}
    front = strict_yaml.dump({"model-index": [index]}) if measured else ""
    policy = f"{code(verdict.policy.name)} v{verdict.policy.version}"
    lines = [
        "## Safety gate",
        "",
        f"**{verdict.decision.upper()}** under policy {policy}: {tally(verdict)}.",
        *_dated(verdict, attachments),
        "",
        "| rule, worst finding | outcome | value | 95 % interval | n | wanted |",
        "|---|---|---|---|---|---|",
        *map(_row, worst),
        "",
        f"Policy `{verdict.policy.digest}`, backbone `{verdict.backbone}`.",
        "",
        LIMITS,
        "",
        *_error_rates(verdict),
    ]
    return escaped((f"---\n{front}---\n\n" if front else "") + "\n".join(lines))


def _worst(verdict: Verdict) -> list[Finding]:
    """The worst finding of each rule, which ``decide`` puts first."""
    return [*{finding.rule: finding for finding in reversed(verdict.findings)}.values()][::-1]


def _dated(verdict: Verdict, attachments: Attachments) -> Iterator[str]:
    if attachments.day:
        yield f"Reached on {attachments.day}."
    if verdict.decision == "accept" and verdict.valid_until:
        yield f"It leans on waivers, and stands until {verdict.valid_until}."


def _error_rates(verdict: Verdict) -> Iterator[str]:
    if verdict.error_rates:
        yield from (plain(summary(verdict.error_rates)), "")
    if says := unlike_in_a_line(verdict):
        yield from (plain(says), "")


def _row(finding: Finding) -> str:
    m = finding.measurement
    numbers = (f"{m.value:.3f}", f"{m.low:.3f} .. {m.high:.3f}", f"{m.n}") if m else ("", "", "")
    return cells(title(finding), finding.outcome, *numbers, f"{finding.bound}")


def _result(finding: Finding) -> dict[str, Any]:
    m = finding.measurement
    if m is None:  # whoever calls leaves these out
        raise ValueError(f"{finding.rule} has no measurement")
    data = m.about.get("task", finding.probe)
    return {
        "task": {"type": _TASK, "name": f"gate: {finding.probe}"},
        "dataset": {"type": data, "name": data},
        "metrics": [
            {
                "type": m.metric,
                "name": title(finding),
                "value": m.value,
                "args": {
                    "low": m.low,
                    "high": m.high,
                    "n": m.n,
                    "about": in_words(m.about),
                    "wanted": f"{finding.bound}",
                    "outcome": finding.outcome,
                },
            }
        ],
    }
