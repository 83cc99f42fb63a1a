"""Show how the example's candidates came out; exit 0 only if it is as documented.

Documented: the clean backbone is accepted and admitted, each other one is rejected, and every
finding that blocks it is of the probe for what was planted.
"""

import sys
from pathlib import Path

from gate import Verdict
from gate.errors import EvidenceError
from gate.reports import Format, render
from gate.strict_json import read_json

_OUT = Path("out/digits")
BLOCKED_BY = {
    "clean": set[str](),
    "trigger": {"trigger_patch"},
    "relabelled": {"trigger_patch"},
    "shortcut": {"spurious_attribute"},
}


def as_documented(candidate: str, verdict: Verdict, *, admitted: bool) -> bool:
    """Whether a candidate came out as the table above says."""
    failed = {f.probe for f in verdict.findings if f.blocks and f.outcome == "fail"}
    accepts = candidate == "clean"
    decision = "accept" if accepts else "reject"
    return (verdict.decision, failed, admitted) == (decision, BLOCKED_BY[candidate], accepts)


def main() -> None:
    """Print each candidate's findings, and where its report lies."""
    unlike = []
    for candidate in BLOCKED_BY:
        folder = _OUT / candidate
        verdict = read_json(folder / "verdict.json", Verdict, EvidenceError)
        admitted = (folder / "admission.json").exists()
        print(f"=== {candidate}: {folder / 'report.md'}\n{render(Format.TEXT, verdict)}")
        if not as_documented(candidate, verdict, admitted=admitted):
            unlike.append(candidate)
    if unlike:
        sys.exit(f"not as documented: {', '.join(unlike)}")
    print("as documented: clean is accepted, each planted backbone is rejected for its defect")


if __name__ == "__main__":
    main()
