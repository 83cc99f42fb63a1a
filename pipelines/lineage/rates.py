"""How often the two policies on descent are wrong, on networks of known descent.

``python -m pipelines.lineage.rates ZOO [NETWORKS ...]``, from the project's root: a zoo as
pipelines/zoo/train.py makes it, and folders of pipelines/papers/transfer_anatomy/train.py for
children that were retrained on another task. Members below number 44 are the half that the bounds
of the policies were held against; the rates are of the others. Children are given as they are, with
hidden channels permuted and rescaled, pruned by half and quantised to 8 bits. Prints tables as
Markdown.
"""

import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from safetensors.torch import load_file, save_file

from gate import Policy, decide, load_policy, stats
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.values import Evidence
from pipelines.lineage.copies import Hidden, permuted_and_rescaled, pruned, quantised
from pipelines.zoo.train import Truth, read_truth

OUT, IMAGES = Path("out/lineage/rates"), Path("../shared/data/images/cifar10_dev.npz")
POLICIES = ("claims_ancestor", "not_descended")
METRICS = ("independence_p_value", "weight_alignment", "aligned_weight_alignment")
_FIRST_REPORTED = 44
_LAYERS = ("conv1", "conv2", "conv3", "conv4")
_HIDDEN = tuple(
    Hidden(gives, f"bn{place}", reads)
    for place, (gives, reads) in enumerate(zip(_LAYERS, (*_LAYERS[1:], "fc"), strict=True), 1)
)


class Couple(NamedTuple):
    """Two networks of one architecture, by their cards, and whether one descends from the other."""

    kind: str
    candidate: Path
    ancestor: Path
    reported: bool


class Judged(NamedTuple):
    """A couple, what lineage measured of it, and what each policy decides."""

    couple: Couple
    evidence: Evidence
    decisions: tuple[str, ...]


def couples(zoo: Path, networks: Iterable[Path]) -> Iterator[Couple]:
    """Children with their bases, copies of these, and networks that share nothing."""
    kept = [truth for truth in read_truth(zoo).values() if truth.kept]
    for truth in kept:
        if truth.recipe.planted and truth.recipe.pair:
            base = zoo / f"{truth.recipe.pair}.yaml"
            for kind, card in _copies(zoo / f"{truth.name}.yaml"):
                yield Couple(kind, card, base, _is_reported(truth))
    for first, second in _strangers(kept):
        cards = (zoo / f"{first.name}.yaml", zoo / f"{second.name}.yaml")
        yield Couple("unrelated", *cards, _is_reported(first) and _is_reported(second))
    for folder in networks:
        for target in ("near", "far"):
            child, parent = (
                folder / f"{target}_{of}.yaml" for of in ("fine_tuned_1", "pretrained")
            )
            for kind, card in _copies(child):
                yield Couple(f"{kind}, of another task", card, parent, reported=True)


def _is_reported(truth: Truth) -> bool:
    return int(truth.name.rpartition("_")[2]) >= _FIRST_REPORTED


def _strangers(kept: list[Truth]) -> Iterator[tuple[Truth, Truth]]:
    """Each network with the next one of its architecture and half that it shares no base with."""
    for place, truth in enumerate(kept):
        ours = {truth.name, truth.recipe.pair}
        for other in kept[place + 1 :]:
            alike = other.recipe.architecture == truth.recipe.architecture
            apart = not ours & {other.name, other.recipe.pair}
            if alike and apart and _is_reported(other) == _is_reported(truth):
                yield other, truth
                break


def _copies(card: Path) -> Iterator[tuple[str, Path]]:
    """A network as it is, and copies of it, by what was done; each with its card."""
    yield "fine-tuned", card
    described = yaml.safe_load(card.read_text())
    weights = load_file(described["weights"])
    copies = {"pruned": pruned(weights, 0.5), "quantised": quantised(weights, 8)}
    if "bn1.weight" in weights:  # as the zoo's networks of four convolutions have
        generator = torch.Generator().manual_seed(0)
        copies["permuted and rescaled"] = permuted_and_rescaled(weights, _HIDDEN, generator)
    for kind, copy in copies.items():
        place = OUT / f"{card.parent.name}_{card.stem}_{kind.replace(' ', '_')}.safetensors"
        place.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in copy.items()}, place)
        of_copy = place.with_suffix(".yaml")
        of_copy.write_text(yaml.safe_dump({**described, "weights": str(place)}))
        yield f"fine-tuned, {kind}", of_copy


def judged(couple: Couple, policies: tuple[Policy, ...]) -> Judged:
    """Measure a couple and decide."""
    split = {"path": str(IMAGES), "image": "x_test", "label": "y_test"}
    plan = Plan.model_validate(
        {
            "name": "lineage",
            "backbone": yaml.safe_load(couple.candidate.read_text()),
            "ancestor": yaml.safe_load(couple.ancestor.read_text()),
            "splits": {"cifar10": split},
            "tasks": {"own": {"test": "cifar10", "head": "own"}},
            "probes": {"lineage": {}},
        }
    )
    evidence = run_probe("lineage", Trial(Bench(plan, OUT / "features")))
    today = date(2026, 1, 1)
    decisions = tuple(decide(policy, [evidence], today).decision for policy in policies)
    return Judged(couple, evidence, decisions)


def extremes(found: list[Judged]) -> Iterator[str]:
    """A row for each kind of couple and half: from the least to the largest of each metric."""
    for reported in (False, True):
        for kind in dict.fromkeys(each.couple.kind for each in found):
            some = [j for j in found if j.couple.kind == kind and j.couple.reported == reported]
            if not some:
                continue
            cells = []
            for metric in METRICS:
                of = [m.value for j in some for m in j.evidence.measurements if m.metric == metric]
                cells.append(f"{min(of):.4f} .. {max(of):.4f}" if of else "-")
            half = "reported" if reported else "looked at"
            yield f"| {half} | {kind} | {len(some)} | {' | '.join(cells)} |"


def rates(found: list[Judged]) -> Iterator[str]:
    """A row for each policy and kind of couple of the reported half: how often it is wrong."""
    for place, policy in enumerate(POLICIES):
        for kind in dict.fromkeys(each.couple.kind for each in found):
            some = [j for j in found if j.couple.kind == kind and j.couple.reported]
            if not some:
                continue
            wanted = (kind == "unrelated") == (policy == "not_descended")
            accepted = sum(j.decisions[place] == "accept" for j in some)
            rejected = sum(j.decisions[place] == "reject" for j in some)
            wrong = stats.rate(rejected if wanted else accepted, len(some))
            says = "rejected" if wanted else "accepted"
            yield (
                f"| {policy} | {kind} | {len(some)} | {accepted} | "
                f"{len(some) - accepted - rejected} | {rejected} | {says} in "
                f"{wrong.value:.2f} [{wrong.low:.2f}, {wrong.high:.2f}] |"
            )


def main(zoo: Path, networks: list[Path]) -> None:
    """Print both tables."""
    policies = tuple(load_policy(Path(f"policies/{name}.yaml")) for name in POLICIES)
    found = []
    for couple in couples(zoo, networks):
        found.append(judged(couple, policies))
        names = f"{couple.candidate.stem} / {couple.ancestor.stem}"
        print(f"{names}: {couple.kind}: {', '.join(found[-1].decisions)}", file=sys.stderr)
    print(f"| half | candidate is | couples | {' | '.join(METRICS)} |\n|{'---|' * 6}")
    print("\n".join(extremes(found)))
    print("\n| policy | candidate is | couples | accepted | inconclusive | rejected | wrongly |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rates(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
