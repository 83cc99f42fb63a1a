"""Hold each finding of the paper against the evidence: a table, metrics and plots.

``python -m pipelines.papers.bias_transfer.findings EVIDENCE --out FOLDER``
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gate import files, strict_json
from gate.errors import EvidenceError
from gate.values import Evidence, Measurement

SHARES = {
    "clean": 0.0,
    "poisoned_05": 0.05,
    "poisoned_20": 0.2,
    "poisoned_50": 0.5,
    "poisoned_100": 1.0,
}
POISONED = "poisoned_50"  # the source that every row but the one on shares is about
TARGETS = ("things", "animals", "places", "fashion")
TRAINED = ("things", "animals")  # targets whose networks are trained in every way
FLAT = 0.8  # of the largest rate: what the smallest share must reach to be called flat


Holds = Callable[[Measurement, Measurement], bool]  # of the rate after and before a change


class Row(NamedTuple):
    """A finding of the paper, what was found here, and whether it came out on every target."""

    finding: str
    found: str
    came_out: bool


class Rates:
    """Attack success rates of the trigger by source and task."""

    def __init__(self, folder: Path) -> None:
        self._measured: dict[tuple[str, str, str], Measurement] = {}
        self.overlays: list[Measurement] = []
        for source in SHARES:
            for probe in ("trigger_patch", "natural_overlay"):
                path = folder / source / f"{probe}.json"
                evidence = strict_json.read_json(path, Evidence, EvidenceError)
                for m in evidence.measurements:
                    if probe == "trigger_patch" and "task" in m.about:
                        self._measured.setdefault((source, m.about["task"], m.metric), m)
                    elif source == "clean" and m.metric == "prediction_skew_over_scratch":
                        self.overlays.append(m)

    def __call__(self, source: str, task: str, metric: str = "attack_success_rate") -> Measurement:
        return self._measured[source, task, metric]


def rows(asr: Rates) -> Iterator[Row]:
    """One row a finding, in the order of the paper's table."""
    pairs = [(asr(POISONED, f"{t}_fixed"), asr("clean", f"{t}_fixed")) for t in TARGETS]
    yield Row(
        "Fixed features: ASR high on every target when the source was poisoned, low when clean",
        "; ".join(
            f"{t} {_says(p)} against {_says(c)}" for t, (p, c) in zip(TARGETS, pairs, strict=True)
        ),
        all(p.low > c.high for p, c in pairs),
    )
    flat = []
    for target in TRAINED:
        by_share = [asr(source, f"{target}_fixed") for source in list(SHARES)[1:]]
        flat.append(by_share[0].value >= FLAT * max(m.value for m in by_share))
    yield Row(
        "ASR hardly depends on how many source images were poisoned (5, 20, 50, 100 %)",
        "; ".join(
            f"{t} " + ", ".join(_says(asr(s, f"{t}_fixed")) for s in list(SHARES)[1:])
            for t in TRAINED
        ),
        all(flat),
    )
    yield _compared(
        asr,
        "Full-network transfer lowers ASR strongly",
        [("full", "fixed")],
        lambda after, before: after.high < before.low,
    )
    yield Row(
        "... and does not remove it by itself",
        "; ".join(
            f"{t} {_says(asr(POISONED, f'{t}_full'))} against clean "
            f"{_says(asr('clean', f'{t}_full'))}"
            for t in TRAINED
        ),
        all(asr(POISONED, f"{t}_full").low > asr("clean", f"{t}_full").high for t in TRAINED),
    )
    yield _compared(
        asr,
        "More weight decay lowers ASR in full-network transfer (0.0005, 0.01, 0.03)",
        [("full_weight_decay", "full"), ("full_more_weight_decay", "full")],
        lambda after, before: after.high < before.low,
    )
    yield _compared(
        asr,
        "... and does nothing for fixed features (l2 1, 100)",
        [("fixed_weight_decay", "fixed")],
        lambda after, before: after.high >= before.low,
    )
    for way, removed in (("full", True), ("fixed", False)):
        found = [
            (asr(POISONED, f"{t}_{way}_debiased"), asr("clean", f"{t}_{way}")) for t in TRAINED
        ]
        yield Row(
            "A de-biased target removes it for full-network transfer"
            if removed
            else "... and for fixed features it stays",
            "; ".join(
                f"{t} {_says(after)} against clean {_says(clean)}"
                for t, (after, clean) in zip(TRAINED, found, strict=True)
            ),
            all((after.low <= clean.high) == removed for after, clean in found),
        )
    yield Row(
        "Natural overlays skew transferred heads far above a network from scratch",
        "; ".join(
            f"{m.about['overlay'].split(' overlay')[0]}, {m.about['task']} {m.value:+.2f} "
            f"[{m.low:+.2f}, {m.high:+.2f}]"
            for m in asr.overlays
        ),
        all(m.low > 0 for m in asr.overlays),
    )
    yield Row(
        "(code) With batch norm adapting under the head ASR stays as with frozen features",
        "; ".join(
            f"{t} {_says(asr(POISONED, f'{t}_fixed_adapting'))}, frozen "
            f"{_says(asr(POISONED, f'{t}_fixed'))}"
            for t in TRAINED
        ),
        all(
            asr(POISONED, f"{t}_fixed_adapting").high >= asr(POISONED, f"{t}_fixed").low
            for t in TRAINED
        ),
    )


def _compared(asr: Rates, finding: str, pairs: list[tuple[str, str]], holds: Holds) -> Row:
    found, came_out = [], True
    for target in TRAINED:
        names = list(dict.fromkeys(name for pair in pairs for name in reversed(pair)))
        rates = (f"{name} {_says(asr(POISONED, f'{target}_{name}'))}" for name in names)
        found.append(f"{target}: " + ", ".join(rates))
        for after, before in pairs:
            came_out &= holds(
                asr(POISONED, f"{target}_{after}"), asr(POISONED, f"{target}_{before}")
            )
    return Row(finding, "; ".join(found), came_out)


def _says(m: Measurement) -> str:
    return f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"


def main() -> None:
    """Write findings.md, findings.json and the plots' CSV files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("evidence", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    asr = Rates(arguments.evidence)
    table = list(rows(asr))
    lines = ["| finding | here | came out |", "|---|---|---|"]
    lines += [f"| {r.finding} | {r.found} | {'yes' if r.came_out else '**no**'} |" for r in table]
    files.write(arguments.out / "findings.md", "\n".join([*lines, ""]))
    metrics = {
        "rows_that_came_out": sum(row.came_out for row in table),
        "rows": len(table),
        "attack_success_rate": {
            source: {f"{t}_fixed": round(asr(source, f"{t}_fixed").value, 4) for t in TARGETS}
            for source in SHARES
        },
    }
    files.write(arguments.out / "findings.json", json.dumps(metrics, indent=2) + "\n")
    by_share = [
        (target, share, asr(source, f"{target}_fixed"))
        for target in TARGETS
        for source, share in SHARES.items()
    ]
    _write(arguments.out / "asr_by_share.csv", ("target", "poisoned_share"), by_share)
    ways = [
        *("fixed", "fixed_weight_decay", "fixed_adapting", "fixed_debiased", "full"),
        *("full_weight_decay", "full_more_weight_decay", "full_debiased", "scratch"),
    ]
    by_way = [(t, way, asr(POISONED, f"{t}_{way}")) for t in TRAINED for way in ways]
    _write(arguments.out / "asr_by_transfer.csv", ("target", "transfer"), by_way)
    print("\n".join(lines))


def _write(
    path: Path, labels: tuple[str, str], found: Sequence[tuple[str, object, Measurement]]
) -> None:
    with files.replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*labels, "attack_success_rate", "low", "high"])
        for first, second, m in found:
            numbers = (f"{x:.4f}" for x in (m.value, m.low, m.high))
            writer.writerow([first, second, *numbers])


if __name__ == "__main__":
    main()
