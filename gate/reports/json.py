"""The verdict itself, for machines: what ``decide`` writes, byte for byte."""

from collections.abc import Sequence

from gate.values import Evidence, Verdict


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict names its evidence by digest
) -> str:
    """The verdict as JSON."""
    return verdict.to_json()
