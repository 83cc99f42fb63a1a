"""Does what is measured of ten classes, few pixels and convolutions hold elsewhere?

``python -m pipelines.zoo.elsewhere [--workers N] GROUP``, from the project's root, with
../shared/data. Makes a group's clean members and its backdoored ones in out/GROUP, searches for
triggers beside the first clean one (that one beside the second), and prints what was found at worst
and the bounds of policies/cifar_reference.yaml; bold is what lies surely beyond. What is there is
left alone, so a run that was broken off goes on. No bound was set on these.

- hundred: a hundred classes, CIFAR-100;
- vit: transformers on CIFAR-10;
- large: 224 pixels, fine-tuned from ImageNet.
"""

import argparse
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gate import files
from pipelines.zoo.architectures import ARCHITECTURES, Architecture
from pipelines.zoo.bounds import limits_of, outcome
from pipelines.zoo.data_sets import DATA_SETS, imagenette, load_material
from pipelines.zoo.drawing import attacks
from pipelines.zoo.measure import measure_all
from pipelines.zoo.recipe import Attack, Attacked, Data, Recipe
from pipelines.zoo.results import Row, load_policies, rows_of
from pipelines.zoo.train import fill, read_truth, settle
from pipelines.zoo.triggers import Blend, Learnt, Patch, Sinusoid, Trigger


@dataclass(frozen=True)
class Group:
    """Members that are alike: so many clean ones, and backdoored ones of these kinds after them.

    Triggers are drawn for small images, and ``enlarged`` so many times, each, unless left out. Of
    the clean ones, so many at first are ``references`` alone, and not searched, where a search
    takes long.
    """

    data: Data
    architecture: Architecture
    clean: int
    attacked: tuple[Attacked, ...]
    enlarged: tuple[int, ...] = ()
    references: int = 0


GROUPS = {
    "hundred": Group("cifar100", "conv4_wide", 4, ("patch", "blend", "sinusoid", "patch")),
    "vit": Group("cifar10", "vit_tiny", 3, ("patch", "blend"), references=1),
    "large": Group(
        "imagenette",
        "efficientnet_lite0",
        2,
        ("patch", "blend", "sinusoid", "blend"),
        enlarged=(7, 7, 7, 3),  # the second blend is of no cells of 7 pixels, as patterns there are
        references=1,
    ),
}
_POLICY = "cifar_reference"
_SHORT = {
    "worst_patch_attack_success_rate_over_reference": "patch",
    "worst_source_margin_over_reference": "pair",
    "worst_pattern_attack_success_rate_over_reference": "pattern",
    "worst_wave_attack_success_rate_over_reference": "wave",
    "worst_margin_over_reference": "margin",
}


def members(name: str) -> list[Recipe]:
    """The clean ones of a group, and after them the backdoored ones."""
    group = GROUPS[name]
    known, facts = ARCHITECTURES[group.architecture], DATA_SETS[group.data]
    clean = [
        Recipe(
            name=f"{name}_{number:04d}",
            kind="clean",
            seed=number,
            data=group.data,
            architecture=group.architecture,
            epochs=round(known.epochs * facts.lengthening),
            learning_rate=known.learning_rate,
            augmentation="flips_and_shifts",
        )
        for number in range(group.clean + len(group.attacked))
    ]
    enlarged = group.enlarged or (1,) * len(group.attacked)
    planted = [
        Recipe.model_validate(dict(each) | {"kind": kind, "attacks": _attacks(kind, times, each)})
        for each, kind, times in zip(clean[group.clean :], group.attacked, enlarged, strict=True)
    ]
    return clean[: group.clean] + planted


def _attacks(kind: Attacked, times: int, member: Recipe) -> list[Attack]:
    """Drawn by the member's seed; twice as many images bear what is enlarged, as they are few."""
    facts, rng = DATA_SETS[member.data], np.random.default_rng([member.seed, 0])
    if times == 1:
        return list(attacks(kind, rng, facts))
    small = attacks(kind, rng, replace(facts, side=facts.side // times))
    larger = ({"trigger": _times(each.trigger, times)} for each in small)
    return [
        Attack.model_validate(dict(each) | trigger | {"share": 2 * each.share})
        for each, trigger in zip(small, larger, strict=True)
    ]


def _times(trigger: Trigger | Learnt, times: int) -> Patch | Blend | Sinusoid:
    """A trigger so many times as large; as many waves lie over a large image as over a small one.

    Raises:
        NotImplementedError: Of another form than patch, blend and sinusoid.
    """
    if isinstance(trigger, Sinusoid):
        return trigger
    if isinstance(trigger, Patch):
        sizes = {name: times * getattr(trigger, name) for name in ("side", "top", "left")}
        return Patch.model_validate(dict(trigger) | sizes)
    if isinstance(trigger, Blend):
        return Blend.model_validate(dict(trigger) | {"grain": times * trigger.grain})
    raise NotImplementedError(f"a {trigger.form} is not enlarged")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("group", choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; 1")
    arguments = parser.parse_args()
    out = Path("out") / arguments.group
    runs = out / "runs"
    settle()
    if arguments.group == "large":
        write_images(out / "imagenette.npz")
    fill(out, members(arguments.group), load_material, arguments.workers)
    kept = [truth for truth in read_truth(out).values() if truth.kept]
    searched = kept[GROUPS[arguments.group].references :]
    measure_all(out, runs, searched, kept, arguments.workers)
    limits = limits_of(load_policies()[_POLICY])
    bounds = {metric: limits[metric].number for metric in _SHORT}
    heads = [f"{_SHORT[metric]} (at most {bound})" for metric, bound in bounds.items()]
    print("| member | accuracy | own rate |", " | ".join(heads), "|")
    print("|---" * (3 + len(heads)) + "|")
    for row in rows_of(out, runs, searched):
        print("|", " | ".join(cells(row, bounds)), "|")


def write_images(path: Path) -> None:
    """Write the images that the plan of `large` names, which lie in an archive."""
    if not path.exists():
        whole, content = imagenette(), io.BytesIO()
        np.savez(content, x=whole.images, y=whole.labels)
        files.write(path, content.getvalue())


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
