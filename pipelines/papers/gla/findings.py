"""Hold each finding of the paper against the evidence: a table and metrics.

``python -m pipelines.papers.gla.findings EVIDENCE --out FOLDER``
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from gate import files, strict_json
from gate.errors import EvidenceError
from gate.label_prior import gla
from gate.stats import Interval
from gate.values import Evidence, Measurement

LONG_TAILED = (("text", "long_tailed"), ("images", "long_tailed"), ("tuned", "head"))
ZERO_SHOT = (("text", "balanced"), ("text", "long_tailed"), ("images", "long_tailed"))
FEW_SHOT = (("text", "balanced"), ("images", "long_tailed"))
AVERAGED = (("images", "long_tailed_class_means", "jpeg"), ("tuned", "full_network", "test"))
SINGLE = ("zero_shot", "debiased", "fine_tuned", "logit_adjustment", "plain_ensemble")
HARDLY = 0.003  # what counts as hurting nobody: 0.3 points

Answer = Literal["yes", "no", "not told apart"]


class Row(NamedTuple):
    """A finding of the paper, where it was looked for, what was found, and whether it came out."""

    finding: str
    where: str
    found: str
    came_out: Answer


class Found:
    """Evidence of the three plans."""

    def __init__(self, folder: Path) -> None:
        self._measured: dict[tuple[str, str, str, frozenset[str]], Measurement] = {}
        for plan in ("text", "images", "tuned"):
            evidence = strict_json.read_json(folder / f"{plan}.json", Evidence, EvidenceError)
            for m in evidence.measurements:
                about = dict(m.about)
                key = (plan, about.pop("task"), m.metric, frozenset(about.values()))
                self._measured[key] = m

    def __call__(self, plan: str, task: str, metric: str, *about: str) -> Measurement:
        return self._measured[plan, task, metric, frozenset(about)]


def difference(first: Measurement, second: Measurement) -> Interval:
    """First minus second, square-and-add: too wide, if anything, where both share their examples.

    >>> from tests.builders import measurement
    >>> difference(measurement(0.7, 0.8, 0.9), measurement(0.4, 0.5, 0.6)).low > 0.15
    True
    """
    value = first.value - second.value
    return Interval(
        value,
        value - math.hypot(first.value - first.low, second.high - second.value),
        value + math.hypot(first.high - first.value, second.value - second.low),
    )


def is_positive(found: Interval) -> Answer:
    """Whether a difference is above 0, as far as its interval tells."""
    return "yes" if found.low > 0 else "no" if found.high < 0 else "not told apart"


def is_about_zero(found: Interval, reach: float = 0.05) -> Answer:
    """Whether a difference is within 5 points of 0, as far as its interval tells."""
    if max(abs(found.low), abs(found.high)) <= reach:
        return "yes"
    return "no" if found.low > reach or found.high < -reach else "not told apart"


def rows(found: Found) -> Iterator[Row]:
    """One row a finding and place."""
    for plan, task in ZERO_SHOT:
        where = f"{plan}, {task}"
        debiased, plain = (
            found(plan, task, "balanced_accuracy", "test", method)
            for method in ("debiased", "zero_shot")
        )
        gain = difference(debiased, plain)
        yield Row("Removing q raises zero-shot accuracy", where, _points(gain), is_positive(gain))
        if task != "balanced":
            continue  # groups are by training count there, which says nothing of a zero-shot head
        head, tail = (
            found(plan, task, "group_accuracy", "test", "zero_shot", g) for g in ("head", "tail")
        )
        gap = difference(head, tail)
        yield Row("Zero-shot: head far above tail", where, _points(gap), is_positive(gap))
        tails = [
            found(plan, task, "group_accuracy", "test", method, "tail")
            for method in ("debiased", "zero_shot")
        ]
        gain = difference(*tails)
        yield Row("... and removing q helps the tail", where, _points(gain), is_positive(gain))
    for plan, task in (*LONG_TAILED, ("tuned", "full_network")):
        where = f"{plan}, {task}"
        best = max(SINGLE, key=lambda m: found(plan, task, "balanced_accuracy", "test", m).value)
        ahead = difference(
            found(plan, task, "balanced_accuracy", "test", "gla"),
            found(plan, task, "balanced_accuracy", "test", best),
        )
        yield Row(
            "GLA is best overall",
            where,
            f"{_points(ahead)} over {best.replace('_', ' ')}",
            is_positive(ahead),
        )
        for finding, metric in (
            ("GLA beats the fine-tuned classifier (+2.4 points in the paper)", "accuracy_gain"),
            ("... with its gain in the tail", "tail_classes_gain"),
        ):
            gain = _interval(found(plan, task, metric))
            yield Row(finding, where, _points(gain), is_positive(gain))
        loss = _interval(found(plan, task, "head_classes_loss"))
        yield Row("... and the head about unchanged", where, _points(loss), is_about_zero(loss))
    for plan, task, split in AVERAGED:
        ahead = difference(
            found(plan, task, "accuracy", split, "gla"),
            found(plan, task, "accuracy", split, "wise_ft"),
        )
        yield Row(
            f"On {'a shifted test set' if split != 'test' else 'the test set'} GLA is about equal "
            "to WiSE-FT",
            f"{plan}, {task}, {split}",
            _points(ahead),
            is_about_zero(ahead),
        )
    for plan, task in FEW_SHOT:
        yield from _few_shot(found, plan, task)


def _few_shot(found: Found, plan: str, task: str) -> Iterator[Row]:
    for shots in ("1", "2", "4", "8"):
        where = f"{plan}, {task}, {shots} a class"
        of = {m: found(plan, task, "few_shot_accuracy", m, shots) for m in gla.METHODS}
        parts = max(of["zero_shot"], of["fine_tuned"], key=lambda m: m.value)
        gain = difference(of["gla"], parts)
        yield Row("Few-shot: GLA beats both its parts", where, _points(gain), is_positive(gain))
        harm = difference(of["plain_ensemble"], of["gla"])
        yield Row(
            "... and the plain ensemble is behind it",
            where,
            _points(harm),
            is_positive(_negative(harm)),
        )
        lost = of["debiased"].value - of["zero_shot"].value
        yield Row(
            "Few-shot: removing q costs at most 0.3 points (our measure, mean of 20 draws)",
            where,
            f"{100 * lost:+.1f}",
            "yes" if lost >= -HARDLY else "no",
        )


def _interval(m: Measurement) -> Interval:
    return Interval(m.value, m.low, m.high)


def _negative(found: Interval) -> Interval:
    return Interval(-found.value, -found.high, -found.low)


def _points(found: Interval) -> str:
    return "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * each for each in found))


def table(found: list[Row]) -> str:
    """As Markdown."""
    lines = ["| finding | where | points, 95 % | came out |", "|---|---|---|---|"]
    lines += [f"| {row.finding} | {row.where} | {row.found} | {row.came_out} |" for row in found]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write findings.md and findings.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    found = list(rows(Found(given.evidence)))
    answers = [row.came_out for row in found]
    metrics = {
        "rows": len(found),
        **{a.replace(" ", "_"): answers.count(a) for a in sorted(set(answers))},
    }
    files.write(given.out / "findings.md", table(found))
    files.write(given.out / "findings.json", files.json_of(metrics))
    print(table(found), end="")


if __name__ == "__main__":
    main()
