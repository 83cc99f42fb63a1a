"""Verdict and evidence for people and for machines, one file a format.

A format is a file of this folder with ``render(verdict, evidence) -> str``, and its line in
:class:`Format`. Its ``render`` may take :class:`Attachments` as well.
"""

from collections.abc import Sequence
from enum import StrEnum
from importlib import import_module
from inspect import signature

from gate.errors import EvidenceError
from gate.reports.attachments import NONE, Attachments
from gate.reports.findings import carrying, in_brackets, tally
from gate.values import Evidence, Verdict, digest_of


class Format(StrEnum):
    """How a verdict is shown: the names of the files that render it."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"
    METRICS = "metrics"
    JUNIT = "junit"
    SARIF = "sarif"
    GITHUB = "github"
    GITLAB = "gitlab"
    CYCLONEDX = "cyclonedx"
    MODEL_CARD = "model-card"
    CSV = "csv"
    BADGE = "badge"

    @property
    def commands(self) -> bool:
        """Whether it is made of commands to a CI system, which it escapes itself."""
        return self is Format.GITHUB


def render(
    shown_as: Format,
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),
    attachments: Attachments = NONE,
) -> str:
    """The verdict in a format; the file that renders it is loaded only now.

    Args:
        shown_as: The format.
        verdict: What is shown.
        evidence: What it was decided on, of which a format shows what it has room for.
        attachments: What else is at hand, and how it is shown.

    Raises:
        EvidenceError: The verdict was not decided on this evidence.
    """
    for item in evidence:
        if verdict.evidence.get(item.probe) != (found := digest_of(item)):
            raise EvidenceError(
                f"evidence of probe {item.probe} is {found}, and the verdict was decided on "
                f"{verdict.evidence.get(item.probe, 'none of this probe')}; give the evidence that "
                "it was decided on, or decide again"
            )
    module = import_module(f"gate.reports.{shown_as.replace('-', '_')}")
    taken = signature(module.render).parameters
    beside = {"attachments": attachments} if "attachments" in taken else {}
    text: str = module.render(verdict, evidence, **beside)
    return text


def reason(verdict: Verdict) -> str:
    """One line: the decision, and the finding that carries it.

    The first failed finding of a rejection; of an inconclusive verdict the first that is missing,
    or else inconclusive.
    """
    line = f"{verdict.decision}: {tally(verdict)}"
    if finding := carrying(verdict):
        line += f"; {finding.rule}: {finding.says}{in_brackets(finding.measurement)}"
    return line
