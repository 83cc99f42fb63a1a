"""From a task to its classifier: a head on frozen features, a fine-tuned network, or its own head.

Whatever a remedy changes stands in the task: a plan can take it over as it is.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from gate import files
from gate.backbone import Backbone, Outputs
from gate.data.split import Split
from gate.errors import EvidenceError, PlanError
from gate.measure import embed
from gate.measure.head import LinearHead, fit_linear, main_directions
from gate.plan.plan import BackboneFile, Head, Ignored, Stamped, Task
from gate.strict_yaml import nearest
from gate.triggers.bank import Stamp

if TYPE_CHECKING:
    from gate.measure.trial import Trial


@dataclass(frozen=True)
class Classifier:
    """A backbone and the head on its features; without a head, the logits of its own are read."""

    backbone: Backbone
    head: LinearHead | None

    @property
    def linear(self) -> LinearHead:
        """The head that gate fitted or trained; of a task with a head of its own there is none."""
        assert self.head is not None  # noqa: S101  # callers leave such tasks out
        return self.head

    def predict(self, outputs: Outputs) -> NDArray[np.int64]:
        """Classes ``(N,)`` for what the backbone gave."""
        if self.head:
            return self.head.predict(outputs.features)
        assert outputs.logits is not None  # noqa: S101  # own_head saw to it
        return np.asarray(outputs.logits.argmax(axis=1))


def classifier(trial: "Trial", task: Task, backbone: Backbone) -> Classifier:
    """Train what the task says.

    Raises:
        PlanError: Only a backbone with an architecture can be trained, and this has none; or it has
            no head of its own for these classes.
        EvidenceError: A head does not converge, or a group to balance by has no image.
    """
    if task.head == "own":
        return _own(trial, task, backbone)
    if task.transfer.trains:
        return _fine_tuned(trial, task, backbone)
    return Classifier(backbone, _fitted(trial, task, task.head, backbone))


def _own(trial: "Trial", task: Task, backbone: Backbone) -> Classifier:
    classes = trial.split(task.test).classes
    logits = trial.outputs(task.test, backbone).logits
    if logits is None or logits.shape[1] != len(classes):
        found = "no logits are named" if logits is None else f"it gives {logits.shape[1]}"
        raise PlanError(
            f"{backbone.file.path}: head: own needs one logit for each of the {len(classes)} "
            f"classes of split {task.test}, in their order, and {found}; name another output under "
            "logits, or a split with the head's own classes"
        )
    return Classifier(backbone, None)


# --- on frozen features ---------------------------------------------------------------------------


def _fitted(trial: "Trial", task: Task, settings: Head, backbone: Backbone) -> LinearHead:
    train = trial.split(str(task.train))
    features, labels = trial.features(train.name, backbone), train.labels
    if task.debias:
        features = np.array(features)
        stamps = _stamps(trial, task.debias, train)
        for rows, stamped in _stamped(trial, train, stamps, backbone):
            features[rows] = stamped
    if settings.ignore:
        directions = _moved(trial, settings.ignore, train, backbone)
        features = np.asarray(features - (features @ directions) @ directions.T, np.float32)
    if settings.balanced_by:
        rows = balanced_rows(train, settings.balanced_by, trial.plan.seed)
        features, labels = features[rows], labels[rows]
    fitted = fit_linear(features, labels, settings.l2)
    if settings.ignore:  # the projection goes into the weights: one linear layer is left
        weight = fitted.weight - directions @ (directions.T @ fitted.weight)
        fitted = LinearHead(weight, fitted.bias)
    return fitted


def balanced_rows(split: Split, attribute: str, seed: int) -> NDArray[np.int64]:
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


def _moved(
    trial: "Trial", settings: Ignored, train: Split, backbone: Backbone
) -> NDArray[np.float32]:
    """Orthonormal ``(D, r)``: the directions in which the triggers move features most."""
    features = trial.features(train.name, backbone)
    moves = []
    for trigger in trial.bank(settings.triggers, train.name):
        everywhere: list[Stamp | None] = [trigger.stamp] * len(train)
        for rows, stamped in _stamped(trial, train, everywhere, backbone):
            moves.append(stamped - features[rows])
    return main_directions(np.concatenate(moves), settings.directions)


def _stamps(trial: "Trial", settings: Stamped, train: Split) -> list[Stamp | None]:
    """What is stamped on each training image: the triggers in turn, on a share of each class."""
    triggers = trial.bank(settings.triggers, train.name)
    rng = np.random.default_rng([trial.plan.seed, len(triggers)])
    stamps: list[Stamp | None] = [None] * len(train)
    for k in range(len(train.classes)):
        rows = rng.permutation(np.flatnonzero(train.labels == k))
        chosen = rows[: round(settings.share * len(rows))]
        for row, trigger in zip(chosen, cycle(triggers), strict=False):
            stamps[row] = trigger.stamp
    return stamps


def _stamped(
    trial: "Trial", split: Split, stamps: list[Stamp | None], backbone: Backbone
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Rows that are stamped, and their features, batch by batch."""
    preprocessing = backbone.preprocessing
    start = 0
    with trial.progress(f"stamp {split.name}", len(split)) as advance:
        for images in split.batches(
            trial.plan.batch_size, preprocessing.size, preprocessing.channels
        ):
            of_batch = stamps[start : start + len(images)]
            found = [(i, stamp) for i, stamp in enumerate(of_batch) if stamp]
            if found:
                stamped = np.concatenate([stamp.on(images[i : i + 1]) for i, stamp in found])
                rows = start + np.array([i for i, _ in found])
                yield rows, backbone.features(stamped)
            start += len(images)
            advance(len(images))


# --- trained through ------------------------------------------------------------------------------


def _fine_tuned(trial: "Trial", task: Task, backbone: Backbone) -> Classifier:
    """The network of a task, from the features folder if an earlier run trained it."""
    # torch takes seconds to import, and most plans train nothing
    from gate.backbone.fine_tune import HEAD, WEIGHTS, fine_tune

    train, file, preprocessing = trial.split(str(task.train)), backbone.file, backbone.preprocessing
    content = {
        "backbone": None if task.transfer.mode == "from_scratch" else backbone.digest,
        "file": file.settings,
        "versions": backbone.versions,
        "task": task.model_dump(mode="json", exclude={"test", "head"}),
        "train": train.digest,
        "seed": trial.plan.seed,
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
    folder = trial.folder / f"{task.transfer.mode}-{key}"
    if not (folder / WEIGHTS).exists():  # the last file that training writes
        stamps: list[Stamp | None] = [None] * len(train)
        if task.debias:
            stamps = _stamps(trial, task.debias, train)
        images = len(train) * task.transfer.schedule.epochs
        with trial.progress(f"{task.transfer.mode} {task.train}", images) as advance:
            fine_tune(
                folder,
                file,
                task.transfer,
                embed.pixels(trial.folder, train, preprocessing.size, preprocessing.channels),
                train.labels,
                stamps,
                backbone.inputs,
                trial.plan.seed,
                advance,
            )
    tensors = load_file(folder / HEAD)
    tuned = BackboneFile(**{**file.model_dump(), "weights": folder / WEIGHTS, "logits": None})
    return Classifier(Backbone(tuned), LinearHead(tensors["weight"], tensors["bias"]))


def averaged(trial: "Trial", tuned: Backbone) -> Backbone:
    """The candidate with the mean of its weights and of the tuned network's; itself if not tuned.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models".
    """
    first, second = trial.backbone, tuned
    if first.digest == second.digest:
        return first
    path = trial.folder / f"average-{first.digest[7:23]}-{second.digest[7:23]}.safetensors"
    if not path.exists():
        pretrained, weights = load_file(first.file.path), load_file(second.file.path)
        for name, tensor in weights.items():
            if name in pretrained and np.issubdtype(tensor.dtype, np.floating):
                weights[name] = (tensor + pretrained[name].astype(tensor.dtype)) / 2
        files.write(path, save(weights))
    return Backbone(BackboneFile(**{**second.file.model_dump(), "weights": path}))
