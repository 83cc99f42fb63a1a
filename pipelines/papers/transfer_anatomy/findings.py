"""Hold each finding of the paper against the evidence of all seeds: a table.

``python -m pipelines.papers.transfer_anatomy.findings EVIDENCE --rows FOLDER --out FOLDER``. P is
the pretrained network, P-T fine-tuned from it, RI-T trained from a random start.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from gate import files, strict_json
from gate.checkpoints.choice import Choice
from gate.errors import EvidenceError
from gate.values import Evidence, Measurement
from pipelines.papers.transfer_anatomy.train import TARGETS

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4")
Holds = Callable[[Measurement, Measurement], bool]


class Row(NamedTuple):
    """A finding of the paper on a target, what was found on each seed, and where it came out."""

    finding: str
    target: str
    found: str
    held: tuple[bool, ...]

    @property
    def line(self) -> str:
        """A row of the table."""
        came = f"{sum(self.held)} of {len(self.held)}"
        mark = "" if all(self.held) else "**"
        return f"| {self.finding} | {self.target} | {self.found} | {mark}{came}{mark} |"


class Found:
    """Measurements of one seed and target.

    Args:
        folder: Of the seed.
        target: Its name.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._folder, self._target = folder, target

    def of(self, work: str, probe: str, metric: str, **about: str) -> Measurement:
        """The measurement with these labels, among others."""
        path = self._folder / f"{self._target}_{work}.{probe}.json"
        for m in strict_json.read_json(path, Evidence, EvidenceError).measurements:
            if m.metric == metric and about.items() <= dict(m.about).items():
                return m
        raise EvidenceError(f"{path}: has no {metric} about {about}; measure it again")

    def lineage(self, work: str, metric: str, **about: str) -> Measurement:
        """Of a backbone and its ancestor."""
        return self.of(work, "lineage", metric, **about)

    def fall(self, work: str, module: str) -> Measurement:
        """Of accuracy, with a module rewound."""
        return self.of(work, "module_criticality", "accuracy_fall", module=module)


Asks = Callable[[Found], tuple[str, bool]]


def compared(
    metric: Callable[[Found, str], Measurement], first: str, second: str, holds: Holds
) -> Asks:
    """Whether the metric of one pair of networks stands so to that of another."""

    def asks(found: Found) -> tuple[str, bool]:
        one, other = metric(found, first), metric(found, second)
        return f"{_says(one)} against {_says(other)}", holds(one, other)

    return asks


def below(one: Measurement, other: Measurement) -> bool:
    """Whether one interval lies below another."""
    return one.high < other.low


def above(one: Measurement, other: Measurement) -> bool:
    """Whether one interval lies above another."""
    return one.low > other.high


def features(layer: str) -> Callable[[Found, str], Measurement]:
    """Debiased CKA of a layer."""
    return lambda found, work: found.lineage(work, "layer_feature_similarity", layer=layer)


def lineage(metric: str) -> Callable[[Found, str], Measurement]:
    """A metric of a backbone and its ancestor."""
    return lambda found, work: found.lineage(work, metric)


def mistakes(found: Found, work: str) -> Measurement:
    """Jaccard index of two networks' mistakes."""
    return found.of(work, "shared_mistakes", "mistake_jaccard")


def similar_in_every_layer(found: Found) -> tuple[str, bool]:
    """Whether two P-T are more alike than P-T and RI-T, layer by layer."""
    pairs = [
        [features(layer)(found, work) for work in ("pt_pt", "pt_rit")] for layer in CONVOLUTIONS
    ]
    says = ", ".join(f"{one.value:.2f}/{other.value:.2f}" for one, other in pairs)
    return says, all(above(one, other) for one, other in pairs)


def falls_with_depth(found: Found) -> tuple[str, bool]:
    """Whether P-T keeps more of P's features in each layer than in the next one."""
    along = [features(layer)(found, "pt_p") for layer in CONVOLUTIONS]
    says = ", ".join(f"{m.value:.2f}" for m in along)
    return says, all(above(a, b) for a, b in pairwise(along))


def flat(found: Found) -> tuple[str, bool]:
    """Whether the barrier between two P-T may be nothing."""
    barrier = found.lineage("pt_pt", "interpolation_barrier")
    return _says(barrier), barrier.low <= 0


def falls_at_the_top(found: Found) -> tuple[str, bool]:
    """Whether P-T bears the first layer's rewinding better than the last one's."""
    first, last = (found.fall("pt_p", name) for name in (CONVOLUTIONS[0], CONVOLUTIONS[-1]))
    return f"conv1 {_says(first)}, conv4 {_says(last)}", below(first, last)


def falls_from_the_first(found: Found) -> tuple[str, bool]:
    """Whether RI-T bears the first layer's rewinding less than P-T does."""
    ours, theirs = found.fall("rit_start", "conv1"), found.fall("pt_p", "conv1")
    return f"RI-T {_says(ours)}, P-T {_says(theirs)}", above(ours, theirs)


FINDINGS: dict[str, Asks] = {
    "Mistakes: two P-T share more of them (Jaccard) than P-T and RI-T": compared(
        mistakes, "pt_pt", "pt_rit", above
    ),
    "... and more than two RI-T": compared(mistakes, "pt_pt", "rit_rit", above),
    "CKA, conv1 to conv4: two P-T above P-T and RI-T in every layer": similar_in_every_layer,
    "CKA: P-T keeps less of P from layer to layer, conv1 to conv4": falls_with_depth,
    "Distance: two P-T are nearer than two RI-T": compared(
        lineage("relative_parameter_distance"), "pt_pt", "rit_rit", below
    ),
    "... and P-T is nearer to P than RI-T is": compared(
        lineage("relative_parameter_distance"), "pt_p", "rit_p", below
    ),
    "Barrier: none between two P-T": flat,
    "... and a higher one between two RI-T": compared(
        lineage("interpolation_barrier"), "rit_rit", "pt_pt", above
    ),
    "... also where both RI-T had the same random start": compared(
        lineage("interpolation_barrier"), "rit_again", "pt_pt", above
    ),
    "Rewind to P: P-T falls less by its first layer than by its last": falls_at_the_top,
    "Rewind of the first layer: RI-T falls more than P-T": falls_from_the_first,
}


def rows(folders: list[Path]) -> Iterator[Row]:
    """One row a finding and target, with every seed in it."""
    for finding, asks in FINDINGS.items():
        for target in TARGETS:
            found = [asks(Found(folder, target)) for folder in folders]
            says = "; ".join(text for text, _ in found)
            yield Row(finding, target, says, tuple(held for _, held in found))


def shuffled(folder: Path) -> Iterator[Row]:
    """Relative drops under block shuffle, with three draws of networks in each interval."""
    for target in TARGETS:
        drops = {
            block: Found(folder, target).of(
                "shuffled", "feature_reuse", "relative_drop", block=block
            )
            for block in ("none", "8", "4", "1")
        }
        says = ", ".join(f"{block}: {_says(m)}" for block, m in drops.items())
        if target == "near":
            finding = "Block shuffle: pretraining is worth less under blocks of 4 than unshuffled"
            held = above(drops["none"], drops["4"])
        else:
            finding = "... and something also far from the source"
            held = drops["none"].low > 0
        yield Row(finding, target, says, (held,))


def checkpoints(choices: list[Path]) -> Row:
    """Whether the earliest checkpoint on the plateau comes before the end."""
    read = (strict_json.read_json(path, Choice, EvidenceError) for path in choices)
    chosen = [choice.plateau.earliest for choice in read]
    says = "; ".join(name or "none told" for name in chosen)
    held = tuple(name is not None and name < "epoch_12" for name in chosen)
    return Row("Checkpoints: the plateau is reached before the end", "both", says, held)


def _says(m: Measurement) -> str:
    if m.low == m.high:
        return f"{m.value:.2f}"
    return f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"


def main() -> None:
    """Write findings.md and findings.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("evidence", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folders = sorted(arguments.evidence.glob("seed_*"))
    table = [
        *rows(folders),
        *shuffled(folders[0]),
        checkpoints(sorted(arguments.rows.glob("seed_*.json"))),
    ]
    lines = ["| finding | target | here, by seed | came out on |", "|---|---|---|---|"]
    lines += [row.line for row in table]
    files.write(arguments.out / "findings.md", "\n".join([*lines, ""]))
    held = sum(all(row.held) for row in table)
    metrics = {"rows": len(table), "rows_that_came_out_on_every_seed": held}
    files.write(arguments.out / "findings.json", json.dumps(metrics, indent=2) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
