"""What `admit` and `check` alike require of a verdict; AdmissionError says what is not so."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import NamedTuple

from gate import __version__
from gate.errors import AdmissionError, EvidenceError, PolicyError
from gate.policy.decide import decide
from gate.policy.rules import Policy
from gate.policy.waivers import Waiver
from gate.values import Evidence, Verdict, digest_of


class Grounds(NamedTuple):
    """What a verdict rests on, whole."""

    policy: Policy
    evidence: Sequence[Evidence]
    waivers: Sequence[Waiver] = ()


def acceptance(verdict: Verdict, digest: str) -> None:
    """Refuse a verdict that does not accept, or that is on another artefact than this digest's."""
    if verdict.decision != "accept":
        raise AdmissionError(f"the verdict is {verdict.decision!r}, and only accept admits")
    if verdict.backbone != digest:
        raise AdmissionError(
            f"the verdict is on {verdict.backbone}, and this artefact is {digest}; "
            "give the file that was judged"
        )


def policy(verdict: Verdict, wanted: Policy) -> None:
    """Refuse a verdict under another policy, be it another by a word."""
    if verdict.policy.digest != digest_of(wanted):
        raise AdmissionError(
            f"the verdict was reached under policy {verdict.policy.name} v{verdict.policy.version} "
            f"({verdict.policy.digest}), not under the given {wanted.name} v{wanted.version} "
            f"({digest_of(wanted)}); decide again under the current policy"
        )


def follows(verdict: Verdict, grounds: Grounds, day: date, issued_by: str = __version__) -> None:
    """Decide once more on a day, and refuse a verdict that says otherwise in anything.

    Args:
        verdict: As it was written, or carried.
        grounds: What it is said to rest on.
        day: When waivers are judged.
        issued_by: The version of gate that reached it, for the message.

    Raises:
        AdmissionError: It does not follow, or nothing can be decided.
    """
    try:
        again = decide(grounds.policy, grounds.evidence, day, grounds.waivers)
    except (EvidenceError, PolicyError) as fault:
        raise AdmissionError(
            f"the verdict cannot be decided again: {fault}{by_another_gate(issued_by)}"
        ) from fault
    if again != verdict:
        raise AdmissionError(
            f"the verdict does not follow from its evidence: {_why(verdict, again, grounds)}"
            f"{by_another_gate(issued_by)}; "
            "it was edited, or its evidence or waivers were; run decide again"
        )


def _why(verdict: Verdict, again: Verdict, grounds: Grounds) -> str:
    if probes := differing(again.evidence, verdict.evidence):
        return f"it was reached on other evidence of {', '.join(probes)}"
    used = {finding.waiver for finding in verdict.findings if finding.waiver}
    if unknown := used - {waiver.id for waiver in grounds.waivers}:
        return f"waiver {min(unknown)} is not among the given ones; pass --waivers"
    return (
        f"decided again it is {again.decision!r} with {len(again.findings)} findings, "
        f"where it says {verdict.decision!r} with {len(verdict.findings)}"
    )


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Names that stand for different values, or in one of two tables alone."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def by_another_gate(version: str) -> str:
    """What a message adds where another version of gate issued the admission."""
    if version == __version__:
        return ""
    return f" (it was issued by gate {version}, and this is gate {__version__})"


def current(verdict: Verdict, waivers: Sequence[Waiver], today: date) -> None:
    """Refuse a verdict that needs a waiver which has ended."""
    needed = {finding.waiver for finding in verdict.findings if finding.severity == "block"}
    for waiver in waivers:
        if waiver.id in needed and not waiver.holds_on(today):
            raise AdmissionError(
                f"the verdict leans on waiver {waiver.id}, which ended on {waiver.expires}, and "
                f"today is {today}; renew the waiver or mend the backbone, and decide again"
            )
