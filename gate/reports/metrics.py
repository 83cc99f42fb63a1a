"""The decision and the number that each rule turns on, for `dvc metrics show` and charts."""

from collections.abc import Sequence

from gate import files
from gate.values import Evidence, Verdict


def render(
    verdict: Verdict,
    evidence: Sequence[Evidence] = (),  # noqa: ARG001  # a verdict has the numbers that decided it
) -> str:
    """The decision and, by rule, outcome and number of its worst finding, as JSON.

    Of a rule that missed its measurement there is an outcome and no number.
    """
    rules: dict[str, dict[str, str | float]] = {}
    for finding in verdict.findings:  # the worst of a rule comes first
        if finding.rule in rules:
            continue
        rules[finding.rule] = {"outcome": finding.outcome}
        if m := finding.measurement:
            rules[finding.rule] |= {"value": m.value, "low": m.low, "high": m.high}
    return files.json_of({"decision": verdict.decision, "rules": rules})
