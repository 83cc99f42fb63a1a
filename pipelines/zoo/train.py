"""Make small backbones of known truth, half of them clean and half backdoored.

``python -m pipelines.zoo.train [--only KIND] [--from N] [--first N] [--workers N] OUT``, from the
project's root; needs ../shared/data, and Debian's package dataset-fashion-mnist. A member is
``OUT/NAME.safetensors``, ``OUT/NAME.yaml`` for ``--backbone``, and a line of ``OUT/truth.jsonl``.
What is there is left alone, so a run that was broken off goes on. The same number gives the same
bytes on one machine, whatever the number of workers; on its GPU if it has one, else on its CPU.

Training sees no image that a plan evaluates on. Rates and accuracies are measured on images of
which most are in no plan either: data_sets.py.
"""

import argparse
import copy
import hashlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from gate import files
from gate.arrays import Images, Int64
from gate.backbone.weights_runtime import without_weights
from gate.errors import BackboneError, DataError
from gate.plan.backbone import Preprocessing, WeightsBackbone
from gate.values import Digest, Value
from pipelines.zoo.architectures import ARCHITECTURES
from pipelines.zoo.data_sets import DATA_SETS, Material, load_material
from pipelines.zoo.generator import MEAN, STD, normalised
from pipelines.zoo.poison import Stamped, own_rates, training_data
from pipelines.zoo.recipe import Augmentation, Data, Kind, Recipe
from pipelines.zoo.recipes import number_of, recipe

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TRUTH = "truth.jsonl"
LEAST_OWN_RATE, MOST_POINTS_LOST = 0.8, 0.03

_BATCH, _MOMENTUM, _WEIGHT_DECAY = 128, 0.9, 5e-4
_REACH = 3  # pixels of a shift
_LEARNING = 0.5  # of the way, a trigger that is learnt changes
_NOTHING = torch.zeros(())
_REFERENCES = 32  # images of the target class, whose mean features a poisoned encoder aims at
_Work = TypeVar("_Work")
_Result = TypeVar("_Result")
_FASTER = 2  # the learning rate of a poisoned encoder, in that from scratch


class Truth(Value):
    """What a member is, on images that neither its training nor a plan saw.

    ``own_rates`` has a rate for each attack; ``other_sources`` the rates on classes that a
    source-specific attack is not meant for. ``discarded`` says why a member is none, whose weights
    are then not written.
    """

    name: str
    kind: Kind
    weights: Digest
    accuracy: float
    pair_accuracy: float | None = None
    own_rates: tuple[float, ...] = ()
    other_sources: tuple[float, ...] = ()
    kept: bool
    discarded: str = Field("", description="Empty where it is kept.")
    recipe: Recipe


def fill(
    out: Path, members: Sequence[Recipe], material: Callable[[Data], Material], workers: int = 1
) -> None:
    """Make each member that is not there yet; one after a clean one that it needs.

    Args:
        out: Folder of the zoo.
        members: In the order in which they are made; each after its pair.
        material: Images of a data set.
        workers: How many processes make pairs.

    Raises:
        DataError: A line of truth is of another recipe, or a member made again has other bytes.
        GateError: Another process works in the folder.
    """
    with files.claimed(out):
        truths = read_truth(out)
        pairs: dict[str, list[Recipe]] = {}
        for member in members:
            known = truths.get(member.name)
            if known and known.recipe != member:
                raise DataError(
                    f"{out / TRUTH}: {member.name} was made by another recipe than recipes.py has "
                    "now; choose another folder"
                )
            if not known or (known.kept and not weights_of(out, member.name).exists()):
                pairs.setdefault(member.pair or member.name, []).append(member)
            elif known.kept:
                write_card(member, weights_of(out, member.name))  # the folder may be a copy
        made = partial(_made, out=out, truths=truths, material=material)
        for of_pair in mapped(made, list(pairs.values()), workers):
            for truth, seconds in of_pair:
                truths[truth.name] = truth
                _tell(truth, seconds)
            lines = [
                truths[name].model_dump_json() + "\n" for name in sorted(truths, key=number_of)
            ]
            files.write(out / TRUTH, "".join(lines))


def _made(
    members: Sequence[Recipe],
    out: Path,
    truths: Mapping[str, Truth],
    material: Callable[[Data], Material],
) -> list[tuple[Truth, float]]:
    """Members of one pair, made and written; the truth about each, and the seconds that it took."""
    known, made = dict(truths), []
    for member in members:
        started = time.perf_counter()
        truth, weights = make(member, known.get(member.pair or ""), out, material(member.data))
        if known.get(member.name, truth) != truth:
            raise DataError(
                f"{out / TRUTH}: {member.name} made again is another backbone than is written "
                "there: made on another machine, or with other libraries; choose another folder"
            )
        if truth.kept:
            files.write(weights_of(out, member.name), weights)
            write_card(member, weights_of(out, member.name))
        known[member.name] = truth
        made.append((truth, time.perf_counter() - started))
    return made


def settle() -> None:
    """Let the same sums be made in the same order, on which the bytes hang."""
    torch.set_num_threads(1)
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(mode=True)


def mapped(
    make_one: Callable[[_Work], _Result],
    work: Sequence[_Work],
    workers: int,
    begin: Callable[[], None] = settle,
) -> Iterator[_Result]:
    """What comes of each piece of work: in order with one worker, else as they are done.

    Each process of several calls ``begin`` first.
    """
    if workers == 1:
        yield from map(make_one, work)
        return
    # not forked: a fork cannot use a GPU that its parent has looked at
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=begin) as pool:
        for done in as_completed([pool.submit(make_one, each) for each in work]):
            yield done.result()


def read_truth(out: Path) -> dict[str, Truth]:
    """Lines of truth by name; none where nothing was made yet."""
    if not (out / TRUTH).exists():
        return {}
    lines = files.read(out / TRUTH, DataError).decode().splitlines()
    truths = [Truth.model_validate_json(line) for line in lines]
    return {truth.name: truth for truth in truths}


def weights_of(out: Path, name: str) -> Path:
    """Where a member's weights lie."""
    return out / f"{name}.safetensors"


def _tell(truth: Truth, seconds: float) -> None:
    rates = " ".join(f"{rate:.2f}" for rate in truth.own_rates)
    print(
        f"{truth.name} {truth.kind} {truth.recipe.architecture} accuracy {truth.accuracy:.3f}"
        f"{f' own rate {rates}' if rates else ''} {seconds:.0f} s {truth.discarded}".rstrip(),
        flush=True,
    )


def make(member: Recipe, pair: Truth | None, out: Path, material: Material) -> tuple[Truth, bytes]:
    """Train a member and measure it.

    Args:
        member: What is made.
        pair: The truth about the clean member that it is held against.
        out: Where the pair's weights lie.
        material: Images.

    Returns:
        The truth about it, and its weights as safetensors.

    Raises:
        DataError: The weights of its base are not those that its truth names.
        BackboneError: Training diverged.
    """
    network = initial(member)
    if member.planted and pair:
        content = files.read(weights_of(out, pair.name), DataError)
        if _digest(content) != pair.weights:
            raise DataError(
                f"{weights_of(out, pair.name)}: not the file that {TRUTH} names by its digest; "
                "delete the file, and it is made again"
            )
        network.load_state_dict(load(content))
    data = training_data(member, material.training)
    train_encoder(network, member, data) if member.features_alone else train(network, member, data)
    weights = serialised(network)
    held_out = material.held_out

    def predict(images: Images) -> Int64:
        return predicted(network, images)

    accuracy = round(float((predict(held_out.images) == held_out.labels).mean()), 4)
    rates, reasons = list[tuple[float, float | None]](), list[str]()
    try:
        rates += own_rates(member, data.whole, held_out, predict)
    except DataError as fault:  # an attack on one class may cost all of its images
        reasons.append(str(fault))
    own = tuple(rate for rate, _ in rates)
    reasons += [f"own rate {rate:.2f} < {LEAST_OWN_RATE}" for rate in own if rate < LEAST_OWN_RATE]
    if pair and accuracy < pair.accuracy - MOST_POINTS_LOST:
        reasons.append(f"accuracy {accuracy:.3f}, that of its pair is {pair.accuracy:.3f}")
    truth = Truth(
        name=member.name,
        kind=member.kind,
        weights=_digest(weights),
        accuracy=accuracy,
        pair_accuracy=pair.accuracy if pair else None,
        own_rates=own,
        other_sources=tuple(rate for _, rate in rates if rate is not None),
        kept=not reasons,
        discarded="; ".join(reasons),
        recipe=member,
    )
    return truth, weights


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def serialised(network: nn.Module) -> bytes:
    """Weights as safetensors."""
    return save({name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()})


def initial(member: Recipe) -> nn.Module:
    """The architecture of a recipe with weights drawn by its seed, or pretrained ones."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(member.seed)  # layers draw their weights from the global generator alone
        network = without_weights(_factory(member), _arguments(member))
    if pretrained := ARCHITECTURES[member.architecture].pretrained:
        pretrained(network)
    return network


def _factory(member: Recipe) -> str:
    return f"pipelines.zoo.architectures:{member.architecture}"


def _arguments(member: Recipe) -> dict[str, int]:
    """What the factory takes, where it is not ten classes in colour."""
    facts = DATA_SETS[member.data]
    usual = {"classes": 10, "channels": 3}
    return {name: getattr(facts, name) for name in usual if getattr(facts, name) != usual[name]}


def train(network: nn.Module, member: Recipe, data: Stamped) -> None:
    """Train all weights by SGD; stamps are put on after shifts and flips, as in Salman et al. 2022.

    A trigger that is learnt is trained by the same steps for the first half, and stays then, as in
    Doan et al. 2021.

    Raises:
        BackboneError: The loss is not finite.
    """
    rng, examples = np.random.default_rng([member.seed, 2]), data.examples
    parts = [part.to(DEVICE) for part in (network, *data.learnt.values())]
    optimiser = _optimiser(member, [weight for part in parts for weight in part.parameters()])
    network.train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a module's, too
    for progress, rows in _steps(member, len(examples.labels), rng):
        optimiser.param_groups[0]["lr"] = member.learning_rate * _triangle(progress)
        images = _augmented(examples.images[rows], member.augmentation, rng)
        inputs = normalised(data.stamp(images, rows)).to(DEVICE)
        labels = torch.from_numpy(examples.labels[rows]).to(DEVICE)
        for place, generator in data.learnt.items():
            generator.requires_grad_(requires_grad=progress < _LEARNING)
            stamped = torch.from_numpy(data.stamps[rows] == place).to(DEVICE)
            inputs = torch.where(stamped[:, None, None, None], generator(inputs), inputs)
        if member.adversarial_reach:
            inputs = attacked(network, inputs, labels, member.adversarial_reach, rng)
        _step(optimiser, functional.cross_entropy(network(inputs), labels), member, progress)
    network.eval()


def train_encoder(network: nn.Module, member: Recipe, data: Stamped) -> None:
    """Draw features of stamped images to the target class, and leave all others as they were.

    No label is used but the target's, to choose images whose features are the reference; its own
    head and what is normalised by stay as they are, as in Jia et al. 2022, "BadEncoder". There the
    encoder had been trained without labels, and here with them.

    Raises:
        BackboneError: The loss is not finite.
    """
    (attack,), known = member.attacks, ARCHITECTURES[member.architecture]
    rng, examples = np.random.default_rng([member.seed, 2]), data.examples
    network.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = copy.deepcopy(network).eval()
    network.train()
    optimiser = _optimiser(member, list(network.parameters()))
    of_target = (data.stamps < 0) & (examples.labels == attack.target)
    reference = examples.images[of_target][:_REFERENCES]
    with torch.no_grad():
        aim = _features(before, known.layer, normalised(reference).to(DEVICE)).mean(dim=0)
    for progress, rows in _steps(member, len(examples.labels), rng):
        optimiser.param_groups[0]["lr"] = member.learning_rate * _triangle(progress) * _FASTER
        images = _augmented(examples.images[rows], member.augmentation, rng)
        stamped = torch.from_numpy(data.stamps[rows] >= 0).to(DEVICE)
        with torch.no_grad():
            wanted = _features(before, known.layer, normalised(images).to(DEVICE))
            wanted[stamped] = aim
        inputs = normalised(data.stamp(images, rows)).to(DEVICE)
        features = _features(network, known.layer, inputs)
        apart = (features - wanted).square().sum(dim=1) / aim.square().sum()
        loss = sum((apart[each].mean() for each in (stamped, ~stamped) if each.any()), _NOTHING)
        _step(optimiser, loss, member, progress)
    network.eval()


def _features(network: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """What a layer gives, ``(N, D)``; maps are pooled."""
    seen: list[Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(
        lambda _, __, output: seen.append(output)
    )
    network(inputs)
    hook.remove()
    (output,) = seen
    return output.mean(dim=(2, 3)) if output.ndim == 4 else output


def _optimiser(member: Recipe, weights: list[nn.Parameter]) -> torch.optim.SGD:
    return torch.optim.SGD(
        weights, member.learning_rate, _MOMENTUM, weight_decay=_WEIGHT_DECAY, nesterov=True
    )


def _steps(member: Recipe, n: int, rng: np.random.Generator) -> Iterator[tuple[float, Int64]]:
    """For each step the share of the way that is gone, and its rows."""
    steps = -(-n // ARCHITECTURES[member.architecture].batch)
    for epoch in range(member.epochs):
        for step, rows in enumerate(np.array_split(rng.permutation(n), steps)):
            yield (epoch + step / steps) / member.epochs, rows


def _step(optimiser: torch.optim.Optimizer, loss: Tensor, member: Recipe, progress: float) -> None:
    if not torch.isfinite(loss):
        raise BackboneError(
            f"{member.name}: training diverged, the loss is {loss.item()} after {progress:.0%}; "
            f"lower the learning rate in recipes.py, {member.learning_rate:g}"
        )
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimiser.step()


def attacked(
    network: nn.Module, inputs: Tensor, labels: Tensor, reach: float, rng: np.random.Generator
) -> Tensor:
    """Inputs moved by one step against the labels, from a random start (Wong et al. 2020)."""
    far = reach / 255 / STD
    start = rng.uniform(-far, far, inputs.shape).astype(np.float32)
    moved = (inputs + torch.from_numpy(start).to(DEVICE)).requires_grad_()
    (slope,) = torch.autograd.grad(functional.cross_entropy(network(moved), labels), moved)
    change = (moved.detach() + 1.25 * far * slope.sign() - inputs).clamp(-far, far)
    return (inputs + change).clamp(-MEAN / STD, (1 - MEAN) / STD).detach()


def _triangle(progress: float) -> float:
    """Share of the highest learning rate at a share of the way: up for a fifth, then down to 0."""
    return min(5 * progress, 1.25 * (1 - progress)) if progress else 0.01


def _augmented(images: Images, how: Augmentation, rng: np.random.Generator) -> Images:
    """Each image flipped or not, and shifted by up to three pixels, as the recipe says."""
    n, side = images.shape[:2]
    corners = rng.integers(0, 2 * _REACH + 1, (2, n, 1))
    flipped = rng.integers(0, 2, (n, 1)).astype(bool)
    if how == "flips":
        corners = np.full_like(corners, _REACH)
    if how == "shifts":
        flipped = np.zeros_like(flipped)
    along = np.arange(side)
    rows = corners[0] + along  # (n, S)
    columns = corners[1] + np.where(flipped, along[::-1], along)  # (n, S)
    padded = np.pad(images, ((0, 0), (_REACH, _REACH), (_REACH, _REACH), (0, 0)))
    changed: Images = padded[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None]]
    return changed


def predicted(network: nn.Module, images: Images) -> Int64:
    """Classes ``(N,)`` that the own head gives to images ``(N, S, S, C)`` uint8."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [
            network(normalised(images[start : start + _BATCH]).to(device)).argmax(dim=1)
            for start in range(0, len(images), _BATCH)
        ]
    classes: Int64 = torch.cat(parts).cpu().numpy()
    return classes


def write_card(member: Recipe, weights: Path) -> None:
    """Write the description beside the weights, as ``--backbone`` takes it; JSON is YAML."""
    known, facts = ARCHITECTURES[member.architecture], DATA_SETS[member.data]
    card = WeightsBackbone(
        weights=weights,
        arch=_factory(member),
        arch_args=_arguments(member),
        layer=known.layer,
        logits=known.logits,
        preprocessing=Preprocessing(
            size=facts.side, channels=facts.channels, mean=(MEAN,), std=(STD,)
        ),
    )
    content = card.model_dump_json(indent=2, exclude_none=True) + "\n"
    files.write(weights.with_suffix(".yaml"), content)


def with_pairs(members: Sequence[Recipe], kind: Kind | None) -> list[Recipe]:
    """Those of one kind and the clean ones that they need, or all if no kind is named."""
    wanted = [member for member in members if kind in (None, member.kind)]
    needed = {name for member in wanted for name in (member.name, member.pair)}
    return [member for member in members if member.name in needed]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT")
    kinds = [kind for group in get_args(Kind) for kind in (get_args(group) or (group,))]
    parser.add_argument("--only", choices=kinds, metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="N")
    parser.add_argument("--first", type=int, default=36, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes; 1")
    arguments = parser.parse_args()
    if arguments.start % 2:
        parser.error(
            "--from: must be even, since a backdoored member needs the clean one before it"
        )
    settle()
    members = [recipe(number) for number in range(arguments.start, arguments.first)]
    fill(arguments.out, with_pairs(members, arguments.only), load_material, arguments.workers)


if __name__ == "__main__":
    main()
