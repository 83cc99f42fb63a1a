"""Measure the small paper's networks of one seed with gate's probes.

``python -m pipelines.papers.transfer_anatomy.measure SEED --data FOLDER --networks FOLDER --out
FOLDER --features FOLDER``; evidence is ``OUT/NAME.PROBE.json``, and what is there is left alone.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gate import files
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from pipelines.papers.transfer_anatomy.networks import TRAINING
from pipelines.papers.transfer_anatomy.train import TARGETS, card

PT, RIT = "fine_tuned_1", "scratch_1"
BLOCKS = (1, 4, 8, "none")


class Work(NamedTuple):
    """Probes of a candidate, by their settings, beside an ancestor or a reference."""

    name: str
    candidate: str
    probes: dict[str, dict[str, Any]]
    ancestor: str | None = None
    reference: str | None = None


def works(seed: int) -> Iterator[Work]:
    """What is measured of each target; networks by their names without the target's.

    Shuffled blocks draw three networks each by themselves, so those of the first seed are enough.
    """
    lineage: dict[str, Any] = {"lineage": {"barrier": {"recalibrated_on": "train"}}}
    both = lineage | {"shared_mistakes": {}}
    rewound: dict[str, Any] = {"module_criticality": {"recalibrated_on": "train"}}
    again = "fine_tuned_2"
    yield Work("pt_pt", PT, both, ancestor=again, reference=again)
    yield Work("pt_rit", PT, both, ancestor=RIT, reference=RIT)
    yield Work("rit_rit", RIT, both, ancestor="scratch_2", reference="scratch_2")
    yield Work("rit_again", RIT, both, ancestor="scratch_1_again", reference="scratch_1_again")
    yield Work("pt_p", PT, lineage | rewound, ancestor="pretrained")
    yield Work("rit_p", RIT, lineage, ancestor="pretrained")
    yield Work("rit_start", RIT, rewound, ancestor="initial_1")
    reuse = {"feature_reuse": {"tasks": ["trained"], "blocks": BLOCKS}}
    if seed == 0:
        yield Work("shuffled", "pretrained", reuse)


def plan(seed: int, data: Path, networks: Path, target: str, work: Work) -> Plan:
    """The own head on a target's test images, or networks newly trained on shuffled ones."""

    def described(name: str | None) -> dict[str, Any] | None:
        if name is None:
            return None
        return card(target, networks / f"{target}_{name}.safetensors").model_dump()

    how = TRAINING[target]
    trained = {"epochs": how.epochs, "learning_rate": how.fine_tuned}
    splits = {
        part: {"path": data / f"{target}_{part}.npz", "image": "image", "label": "label"}
        for part in ("train", "test")
    }
    tasks: dict[str, Any] = {"own": {"test": "test", "head": "own"}}
    if "feature_reuse" in work.probes:
        transfer = {"mode": "full_network", "training": trained}
        tasks = {"trained": {"train": "train", "test": "test", "transfer": transfer}}
    return Plan.model_validate(
        {
            "name": f"{target}_{work.name}",
            "seed": seed,
            "batch_size": 250,
            "backbone": described(work.candidate),
            "ancestor": described(work.ancestor),
            "reference": described(work.reference),
            "splits": splits,
            "tasks": tasks,
            "probes": work.probes,
        }
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seed", type=int)
    for name in ("data", "networks", "out", "features"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    for target in TARGETS:
        for work in works(given.seed):
            described = plan(given.seed, given.data, given.networks, target, work)
            trial = Trial(Bench(described, given.features))
            for probe in described.probes.named():
                path = given.out / f"{described.name}.{probe}.json"
                if not path.exists():
                    files.write(path, run_probe(probe, trial).to_json())
                    print(path, flush=True)


if __name__ == "__main__":
    main()
