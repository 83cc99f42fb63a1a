"""From a task to its classifier: a head on frozen features, a fine-tuned network, or its own head.

Whatever a remedy changes stands in the task: a plan can take it over as it is.
"""

from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from gate import files
from gate.arrays import Float32, Floats, Images, Int64
from gate.backbone.backbone import Backbone, Outputs
from gate.backbone.heads import LinearHead
from gate.data.split import Split
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure import embed
from gate.measure.bench import Bench
from gate.measure.class_order import better_order
from gate.measure.head import fit_linear, main_directions
from gate.measure.readers import Classes, Output
from gate.measure.shuffle import Shuffle
from gate.plan.backbone import WeightsBackbone
from gate.plan.task import HeadPlan, Ignored, Stamped, Task
from gate.strict_yaml import nearest
from gate.triggers.stamp import Stamp, StampOfEach

_FEATURES = {"features": Output("features")}
PASSES_OF_TRAINING = 3  # forward, and backward about twice as long


@dataclass(frozen=True)
class Classifier:
    """A backbone and the head on its features; without a head, the logits of its own are read.

    ``training_accuracy`` is that of each epoch, where it was trained by SGD: of images as they were
    met, in training mode; ``remark`` is what a reader of its answers must know.
    """

    backbone: Backbone
    head: LinearHead | None
    training_accuracy: Floats | None = None
    remark: str | None = None

    @property
    def linear(self) -> LinearHead:
        """The head that gate fitted or trained; of a task with a head of its own there is none."""
        assert self.head is not None  # noqa: S101  # callers leave such tasks out
        return self.head

    @property
    def accuracies(self) -> Floats:
        """The training accuracy of each epoch; of a head on frozen features there is none."""
        assert self.training_accuracy is not None  # noqa: S101  # callers leave such tasks out
        return self.training_accuracy

    @property
    def reader(self) -> Classes:
        """What keeps the classes that it gives."""
        return Classes(self.head)

    def predict(self, outputs: Outputs) -> Int64:
        """Classes ``(N,)`` for what the backbone gave."""
        return self.reader.of(outputs)


def classifier(
    bench: Bench,
    task: Task,
    backbone: Backbone,
    shuffle: Shuffle | None = None,
    seed: int | None = None,
) -> Classifier:
    """Train what the task says.

    Args:
        bench: The plan, opened.
        task: What is trained, on which split.
        backbone: What it starts from.
        shuffle: What training images go through; the task is then without a remedy.
        seed: Of training by SGD; that of the plan, unless another one is named.

    Raises:
        PlanError: Only a backbone with an architecture can be trained, and this has none; or it has
            no head of its own for these classes.
        EvidenceError: A head does not converge, or a group to balance by has no image.
    """
    if task.head == "own":
        return _own(bench, task, backbone)
    if task.transfer.trains:
        return _fine_tuned(bench, task, backbone, shuffle, seed)
    return Classifier(backbone, _fitted(bench, task, task.head, backbone, shuffle))


def _own(bench: Bench, task: Task, backbone: Backbone) -> Classifier:
    given, test = bench.outputs(task.test, backbone), bench.split(task.test)
    require_own_head(bench, task, backbone, given)
    own = Classifier(backbone, None)
    order = better_order(own.predict(given), test)
    if order is None:
        return own
    if test.has_sorted_classes:
        raise PlanError(
            f"{backbone.plan.path}: head: own on split {task.test}: {order.says}; nothing states "
            f"their order, so they were sorted by name: state classes under splits.{task.test} in "
            "the order of the head's outputs"
        )
    of_candidate = backbone.digest == bench.backbone.digest
    who = "own head" if of_candidate else "own head of the plan's other backbone"
    remark = (
        f"{who} on {task.test}: {order.says}: check the order of classes under "
        f"splits.{task.test}, and the labels"
    )
    return replace(own, remark=remark)


def require_own_head(bench: Bench, task: Task, backbone: Backbone, given: Outputs) -> None:
    """Refuse a task of another number of classes than a backbone's own head gives.

    Raises:
        PlanError: Or it has none.
    """
    classes, logits = bench.split(task.test).classes, given.logits
    if logits is None or logits.shape[1] != len(classes):
        found = "no logits are named" if logits is None else f"it gives {logits.shape[1]}"
        raise PlanError(
            f"{backbone.plan.path}: head: own needs one logit for each of the {len(classes)} "
            f"classes of split {task.test}, in their order, and {found}; name another output under "
            "logits, or a split with the head's own classes"
        )


# --- on frozen features ---------------------------------------------------------------------------


def _fitted(
    bench: Bench, task: Task, settings: HeadPlan, backbone: Backbone, shuffle: Shuffle | None
) -> LinearHead:
    train = bench.split(str(task.train))
    features = bench.features(train.name, backbone, shuffle)
    if task.debias:
        features = _debiased(bench, task.debias, train, backbone)
    if settings.ignore:
        directions = _moved_directions(bench, settings.ignore, train, backbone)
        features = np.asarray(features - (features @ directions) @ directions.T, np.float32)
    fitted = plain_head(train, settings, features, bench.plan.seed)
    if settings.ignore:  # the projection goes into the weights: one linear layer is left
        weight = fitted.weight - directions @ (directions.T @ fitted.weight)
        fitted = LinearHead(weight, fitted.bias)
    return fitted


def plain_head(train: Split, settings: HeadPlan, features: Float32, seed: int) -> LinearHead:
    """A head on features as they are.

    Args:
        train: Of whose N images they are.
        settings: How it is fitted; directions to ignore are left out of account.
        features: ``(N, D)``.
        seed: Draws the rows, where groups are balanced.

    Raises:
        PlanError: The split lacks the attribute that groups are balanced by.
        EvidenceError: It does not converge, or a group has no image.
    """
    labels = train.labels
    if settings.balanced_by:
        rows = balanced_rows(train, settings.balanced_by, seed)
        features, labels = features[rows], labels[rows]
    return fit_linear(features, labels, settings.l2)


def _debiased(bench: Bench, settings: Stamped, train: Split, backbone: Backbone) -> Float32:
    """Features ``(N, D)`` of the training images, a share of each class stamped."""
    features = np.array(bench.features(train.name, backbone))
    stamps = stamps_on(bench, settings, train)
    rows = np.array([row for row, stamp in enumerate(stamps) if stamp], np.int64)
    each = StampOfEach(tuple(stamp for stamp in stamps if stamp))
    step, examples = f"stamp {train.name}", train.only(rows)
    ((features[rows],),) = bench.passed(step, examples, backbone, _FEATURES, [each]).values()
    return features


def _moved_directions(bench: Bench, settings: Ignored, train: Split, backbone: Backbone) -> Float32:
    """Orthonormal ``(D, r)``: the directions in which the triggers move features most."""
    features = bench.features(train.name, backbone)
    stamps = [trigger.stamp for trigger in bench.bank(settings.triggers, train.name)]
    (stamped,) = bench.passed(f"stamp {train.name}", train, backbone, _FEATURES, stamps).values()
    moves = np.concatenate([values - features for values in stamped])
    return main_directions(moves, settings.directions)


def stamps_on(bench: Bench, settings: Stamped, train: Split) -> list[Stamp | None]:
    """What is stamped on each training image: the triggers in turn, on a share of each class."""
    triggers = bench.bank(settings.triggers, train.name)
    rng = np.random.default_rng([bench.plan.seed, len(triggers)])
    stamps: list[Stamp | None] = [None] * len(train)
    for k in range(len(train.classes)):
        rows = rng.permutation(np.flatnonzero(train.labels == k))
        chosen = rows[: round(settings.share * len(rows))]
        for row, trigger in zip(chosen, cycle(triggers), strict=False):
            stamps[row] = trigger.stamp
    return stamps


def balanced_rows(split: Split, attribute: str, seed: int) -> Int64:
    """Rows of equally many images of every (class, value) group, drawn by the seed.

    Raises:
        PlanError: The split has no such attribute.
        EvidenceError: A group has no image.
    """
    if attribute not in split.attributes:
        raise PlanError(
            f"balanced_by: split {split.name} has no attribute {attribute!r}; "
            f"{nearest(attribute, split.attributes)}"
        )
    values = split.attributes[attribute]
    groups = {
        (split.classes[k], str(value)): np.flatnonzero((split.labels == k) & (values == value))
        for k in range(len(split.classes))
        for value in np.unique(values)
    }
    smallest = min(groups, key=lambda group: len(groups[group]))
    if not len(groups[smallest]):
        raise EvidenceError(
            f"balanced_by: group ({', '.join(smallest)}) has no image in split {split.name}, so "
            "groups cannot be of equal size; add images, or balance by another attribute"
        )
    rng = np.random.default_rng([seed, len(groups)])
    size = len(groups[smallest])
    chosen = [rng.choice(rows, size, replace=False) for rows in groups.values()]
    return np.sort(np.concatenate(chosen))


# --- trained through ------------------------------------------------------------------------------


def _fine_tuned(
    bench: Bench, task: Task, backbone: Backbone, shuffle: Shuffle | None, seed: int | None
) -> Classifier:
    """The network of a task, from the features folder if an earlier run trained it."""
    # torch takes seconds to import, and most plans train nothing
    from gate.backbone.fine_tune import HEAD, WEIGHTS

    folder = trained_folder(bench, task, backbone, shuffle, seed)
    head, weights = folder / HEAD, folder / WEIGHTS
    if not (files.exists(head) and files.exists(weights)):
        _train(bench, task, backbone, folder, shuffle, seed)
    tensors = load(files.kept(head))
    if files.sha256_of(weights, BackboneError) != f"sha256:{tensors['sha256'].tobytes().hex()}":
        raise BackboneError(
            f"{weights}: is not what was trained with {HEAD}, by its digest; delete the file"
        )
    changed = {"weights": weights, "logits": None}
    tuned = type(backbone.plan).model_validate({**dict(backbone.plan), **changed})
    linear = LinearHead(tensors["weight"], tensors["bias"])
    return Classifier(bench.opened(tuned), linear, tensors["training_accuracy"])


def trained_folder(
    bench: Bench,
    task: Task,
    backbone: Backbone,
    shuffle: Shuffle | None = None,
    seed: int | None = None,
) -> Path:
    """Where the network of a task is kept; its name says all that it depends on."""
    train = bench.split(str(task.train))
    content = {
        "backbone": None if task.transfer.mode == "from_scratch" else backbone.digest,
        "file": backbone.plan.settings,
        "versions": backbone.versions,
        "task": task.model_dump(mode="json", exclude={"test", "head"}),
        "train": train.digest,
        "seed": bench.plan.seed if seed is None else seed,
        # heads of before they did are not met
        "head_ends_with": "training accuracy and sha256",
        **({"shuffle": shuffle.settings} if shuffle else {}),
    }
    return bench.folder / f"{task.transfer.mode}-{files.digest_of_json(content)[7:39]}"


def _train(
    bench: Bench,
    task: Task,
    backbone: Backbone,
    folder: Path,
    shuffle: Shuffle | None,
    seed: int | None,
) -> None:
    """Leave the weights and the head of a task in a folder."""
    from gate.backbone.fine_tune import TrainingSet, fine_tune

    train = bench.split(str(task.train))
    stamps: list[Stamp | None] = [None] * len(train)
    if task.debias:
        stamps = stamps_on(bench, task.debias, train)
    pixels = embed.pixels(bench.folder, train, backbone.preprocessing)

    def inputs(images: Images) -> Float32:
        normalised = backbone.inputs(images)
        return shuffle.on(normalised) if shuffle else normalised

    examples = TrainingSet(pixels, train.labels, stamps, inputs)
    total = len(train) * task.transfer.schedule.epochs
    step = f"{task.transfer.mode} {task.train}"
    with bench.progress(step, total, PASSES_OF_TRAINING) as advance:
        fine_tune(
            folder,
            backbone.plan,
            None if task.transfer.mode == "from_scratch" else backbone.artefact,
            task.transfer,
            examples,
            bench.plan.seed if seed is None else seed,
            advance,
        )


# --- without pretraining --------------------------------------------------------------------------


def initial_path(bench: Bench, seed: int) -> Path:
    """Where the weights of the candidate's architecture lie as its factory draws them with a seed.

    Raises:
        PlanError: The candidate is a file that holds weights and not how they are drawn.
    """
    backbone = bench.backbone
    if not isinstance(backbone.plan, WeightsBackbone):
        raise PlanError(
            f"{backbone.plan.path}: random initialisation is drawn by the factory of an "
            f"architecture, and {backbone.plan.format} holds weights and not how they were drawn; "
            "give the backbone as weights with an arch"
        )
    content = {
        "arch": backbone.plan.arch,
        "arch_args": backbone.plan.arch_args,
        "seed": seed,
        "versions": backbone.versions,
    }
    return bench.folder / f"initial-{files.digest_of_json(content)[7:39]}.safetensors"


def initialised(bench: Bench, seed: int) -> Backbone:
    """The candidate's architecture with the weights that its factory draws with a seed.

    Raises:
        PlanError: The candidate is a file that holds weights and not how they are drawn.
        BackboneError: The factory cannot be imported, raises something, or gives no module.
    """
    # torch takes seconds to import, and most plans need none
    from gate.backbone.altered_weights import as_bytes, initial_weights

    path = initial_path(bench, seed)
    plan = initial_plan(bench, path)
    # also where it lies there: to check it would take as long
    files.write(path, as_bytes(initial_weights(plan, seed)))
    bench.close(plan)  # an estimate may have opened what lay there before
    return bench.opened(plan)


def initial_plan(bench: Bench, path: Path) -> WeightsBackbone:
    """The candidate's description with those weights in the place of its own."""
    changed = {"weights": path, "logits": None}
    return WeightsBackbone.model_validate({**dict(bench.backbone.plan), **changed})


def with_mean_weights(bench: Bench, tuned: Backbone) -> Backbone:
    """The candidate with the mean of its weights and of the tuned network's; itself if not tuned.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    first = bench.backbone
    if first.digest == tuned.digest:
        return first
    path = bench.folder / f"average-{first.digest[7:23]}-{tuned.digest[7:23]}.safetensors"
    pretrained, weights = load(first.artefact.read()), load(tuned.artefact.read())
    for name, tensor in weights.items():
        if name in pretrained and np.issubdtype(tensor.dtype, np.floating):
            weights[name] = (tensor + pretrained[name].astype(tensor.dtype)) / 2
    files.write(path, save(weights))  # also where it lies there: to check it would take as long
    return bench.opened(tuned.plan.with_path(path))
