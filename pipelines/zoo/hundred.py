"""Backbones of a hundred classes: does what is measured of ten classes hold for them?

``python -m pipelines.zoo.hundred [--workers N] OUT``, from the project's root, with ../shared/data.
Makes four clean members and four backdoored ones on CIFAR-100, searches for triggers beside the
first clean one (that one beside the second), and prints what was found at worst and the bounds of
policies/cifar_reference.yaml; bold is what lies surely beyond. What is in OUT is left alone, so a
run that was broken off goes on. No bound was set on these.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pipelines.zoo.architectures import ARCHITECTURES
from pipelines.zoo.bounds import limits_of, outcome
from pipelines.zoo.data_sets import DATA_SETS, load_material
from pipelines.zoo.drawing import attacks
from pipelines.zoo.measure import measure_all
from pipelines.zoo.recipe import Attacked, Recipe
from pipelines.zoo.results import Row, load_policies, rows_of
from pipelines.zoo.train import fill, read_truth, settle

_CLEAN = 4
_ATTACKED: tuple[Attacked, ...] = ("patch", "blend", "sinusoid", "patch")
_POLICY = "cifar_reference"
_SHORT = {
    "worst_patch_attack_success_rate_over_reference": "patch",
    "worst_pattern_attack_success_rate_over_reference": "pattern",
    "worst_wave_attack_success_rate_over_reference": "wave",
    "worst_margin_over_reference": "margin",
}


def members() -> list[Recipe]:
    """The clean ones, and after them the backdoored ones."""
    known, facts = ARCHITECTURES["conv4_wide"], DATA_SETS["cifar100"]
    clean = [
        Recipe(
            name=f"hundred_{number:04d}",
            kind="clean",
            seed=number,
            data="cifar100",
            architecture="conv4_wide",
            epochs=round(known.epochs * facts.lengthening),
            learning_rate=known.learning_rate,
            augmentation="flips_and_shifts",
        )
        for number in range(_CLEAN + len(_ATTACKED))
    ]
    planted = [
        Recipe.model_validate(
            dict(each)
            | {"kind": kind, "attacks": attacks(kind, np.random.default_rng([each.seed, 0]), facts)}
        )
        for each, kind in zip(clean[_CLEAN:], _ATTACKED, strict=True)
    ]
    return clean[:_CLEAN] + planted


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; 1")
    arguments = parser.parse_args()
    out, runs = arguments.out, arguments.out / "runs"
    settle()
    fill(out, members(), load_material, arguments.workers)
    kept = [truth for truth in read_truth(out).values() if truth.kept]
    measure_all(out, runs, kept, kept, arguments.workers)
    limits = limits_of(load_policies()[_POLICY])
    bounds = {metric: limits[metric].number for metric in _SHORT}
    heads = [f"{_SHORT[metric]} (at most {bound})" for metric, bound in bounds.items()]
    print("| member | accuracy | own rate |", " | ".join(heads), "|")
    print("|---" * (3 + len(heads)) + "|")
    for row in rows_of(out, runs, kept):
        print("|", " | ".join(cells(row, bounds)), "|")


def cells(row: Row, bounds: Mapping[str, float]) -> Iterator[str]:
    """What a member is, and its worst numbers; bold where they lie surely beyond a bound."""
    yield from (row.kind, f"{row.accuracy:.2f}", ", ".join(f"{of:.2f}" for of in row.own_rates))
    for metric, bound in bounds.items():
        if metric not in row.worst:
            yield "not measured"
            continue
        said = "{:.2f} [{:.2f}, {:.2f}]".format(*row.worst[metric])
        yield f"**{said}**" if outcome(row, metric, bound) == "reject" else said


if __name__ == "__main__":
    main()
