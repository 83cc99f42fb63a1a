"""Bytes and milliseconds of each format, on a run and on a verdict with 500 findings.

``python -m tests.benchmarks.reports out/digits/trigger``: a folder with verdict.json and evidence/.
"""

import re
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from gate import Evidence, Verdict, decide
from gate.errors import EvidenceError
from gate.reports import Format, render
from gate.strict_json import read_evidence, read_json
from tests.builders import evidence, measurement, policy, rule


def many_findings() -> tuple[Verdict, list[Evidence]]:
    """Five rules on a hundred tasks, of which a fifth fails and a fifth is unsettled."""
    lows = (0.1, 0.7, 0.85, 0.85, 0.85)
    tasks = [measurement(lows[i % 5], 0.85, 0.9, task=f"task {i}", n=1_000) for i in range(100)]
    asked = (
        rule(name=f"rule {i}", why="A head that errs more often is of no use.") for i in range(5)
    )
    item = evidence(*tasks)
    return decide(policy(*asked), [item], date(2026, 1, 1)), [item]


def main(run: Path) -> None:
    """Print a line a format."""
    measured = (
        read_json(run / "verdict.json", Verdict, EvidenceError),
        read_evidence(run / "evidence"),
    )
    verdicts: dict[str, tuple[Verdict, Sequence[Evidence]]] = {
        run.name: measured,
        "500 findings": many_findings(),
    }
    for name, (verdict, found) in verdicts.items():
        of = sum(len(item.measurements) for item in found)
        print(f"{name}: {len(verdict.findings)} findings, {of} measurements")
        for form in Format:
            text, took = timed(form, verdict, found)
            says = f"  {form:<11}{len(text.encode()):>9,} bytes {took:>8.1f} ms"
            if form is Format.MARKDOWN:
                shown = re.sub(r"(?s)(<details><summary>.*?</summary>).*?</details>", r"\1", text)
                says += f", of which {len(shown.encode()):,} bytes show without a click"
            print(says)


def timed(
    form: Format, verdict: Verdict, found: Sequence[Evidence], repeats: int = 5
) -> tuple[str, float]:
    """The text, and the median time in milliseconds once the format's file is loaded."""
    text, times = render(form, verdict, found), []
    for _ in range(repeats):
        start = time.perf_counter()
        text = render(form, verdict, found)
        times.append(1_000 * (time.perf_counter() - start))
    return text, sorted(times)[repeats // 2]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
