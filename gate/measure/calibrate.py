"""Calibrated heads: a task's classifier with both label priors removed (GLA), fitted and written.

Source: Zhu et al. 2023, arXiv 2310.08106.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gate import files
from gate.arrays import Floats
from gate.errors import BackboneError, PlanError
from gate.label_prior import gla
from gate.label_prior.gla import Adjustment
from gate.measure.head import (
    CosineHead,
    LinearHead,
    SourceHead,
    ZeroShotHead,
    fit_linear,
    fit_nearest_class_mean,
    out_of_fold_logits,
)

if TYPE_CHECKING:
    from gate.backbone import Outputs
    from gate.data.split import Split
    from gate.measure.transfer import Classifier
    from gate.measure.trial import Trial
    from gate.plan.plan import Plan, Task

log = logging.getLogger("gate")


def by_zero_shot(head: ZeroShotHead, outputs: "Outputs") -> Floats:
    """Logits ``(N, K)`` by a zero-shot head of what a backbone gave: features or own logits."""
    return head.logits(getattr(outputs, head.reads))


@dataclass(frozen=True)
class Calibrated:
    """Two classifiers of a task's K classes, and how they are joined."""

    zero_shot: ZeroShotHead
    fine_tuned: "Classifier"
    how: Adjustment

    def both(self, trial: "Trial", split: str) -> tuple[Floats, Floats]:
        """Logits ``(N, K)`` of a split by the zero-shot and by the fine-tuned classifier."""
        f_zs = by_zero_shot(self.zero_shot, trial.outputs(split))
        return f_zs, _logits(trial, self.fine_tuned, split)

    def logits(self, outputs: "Outputs") -> NDArray[np.float64]:
        """Calibrated logits ``(N, K)`` of what the candidate gave, of a head on frozen features."""
        f_zs = by_zero_shot(self.zero_shot, outputs)
        return self.how.scores(f_zs, self.fine_tuned.linear.logits(outputs.features))["gla"]

    def parts(self) -> tuple[LinearHead, CosineHead | SourceHead | None]:
        """As one linear head, ``W = a_zs W_zs + a_ft W_ft``, ``bias = ... - log q - log p``.

        Where the zero-shot classifier is not linear on the same features, it stands beside it, at
        its temperature, and logits are the sum of both.
        """
        tuned, a_zs, a_ft = self.fine_tuned.linear, self.how.prior.scale, self.how.fine_tuned_scale
        weight, beside = a_ft * tuned.weight, None
        bias = a_ft * tuned.bias - self.how.prior.removed - np.log(self.how.frequencies)
        if isinstance(self.zero_shot, LinearHead):
            weight = weight + a_zs * self.zero_shot.weight
            bias = bias + a_zs * self.zero_shot.bias
        else:
            beside = replace(self.zero_shot, scale=a_zs * self.zero_shot.scale)
        return LinearHead(weight.astype(np.float32), bias.astype(np.float32)), beside


def fit(trial: "Trial", name: str) -> Calibrated:
    """The calibrated classifier of the task of that name.

    Prior and temperatures come from logits of images that their classifiers were not fitted on: of
    the held-out split, if the task has one, else of the training split, head by head on the part
    left out.

    Raises:
        PlanError: Its head is the backbone's own or has a remedy, or a held-out split is needed.
        EvidenceError: No estimate.
    """
    task = trial.plan.tasks[name]
    if why := _why_not(task):
        raise PlanError(f"tasks.{name}: {why}")
    assert task.head != "own"  # noqa: S101  # seen to just now
    train, fine_tuned = trial.split(str(task.train)), trial.classifier(task)
    given = trial.zero_shot(name)
    features = trial.features(train.name)
    zero_shot = given or fit_nearest_class_mean(features, train.labels)
    known = trial.split(task.held_out) if task.held_out else train
    if given or task.held_out:
        f_zs = by_zero_shot(zero_shot, trial.outputs(known.name))
    else:
        f_zs = _left_out(trial, fit_nearest_class_mean, train)
    if task.held_out:
        f_ft = _logits(trial, fine_tuned, known.name)
    else:
        f_ft = _left_out(trial, partial(fit_linear, l2=task.head.l2), train)
    frequencies = np.bincount(train.labels) / len(train)
    how = gla.adjustment(f_zs, f_ft, known.labels, frequencies, trial.plan.seed)
    return Calibrated(zero_shot, fine_tuned, how)


def averaged(trial: "Trial", name: str, found: Calibrated, split: str) -> dict[str, Floats]:
    """WiSE-FT: logits ``(N, K)`` by the mean of both classifiers' weights, where these exist.

    They do where the zero-shot head is linear on the same backbone's features, or on those of the
    backbone before its full network was fine-tuned.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", at alpha = 0.5.
    """
    scratch = trial.plan.tasks[name].transfer.mode == "from_scratch"
    if scratch or not isinstance(found.zero_shot, LinearHead):
        return {}
    tuned, own = found.fine_tuned.linear, found.zero_shot
    weight, bias = (own.weight + tuned.weight) / 2, (own.bias + tuned.bias) / 2
    head = LinearHead(weight.astype(np.float32), bias.astype(np.float32))
    return {"wise_ft": head.logits(trial.features(split, trial.averaged(found.fine_tuned)))}


def tasks(trial: "Trial", names: tuple[str, ...] | None) -> "dict[str, Task]":
    """The named tasks, or all that can be calibrated."""
    found = trial.tasks(names)
    return found if names else {name: task for name, task in found.items() if not _why_not(task)}


def _why_not(task: "Task") -> str | None:
    """What keeps a task from being calibrated, and what to do about it."""
    if task.head == "own":
        return (
            "its own head is not fine-tuned on anything, so there is nothing to calibrate; "
            "calibrate a task that has train"
        )
    if task.remedy:
        return (
            f"calibration adds a zero-shot head on plain features, which would undo {task.remedy}; "
            "use the task's head as it is, or calibrate a task without it"
        )
    if not task.fits_head and not task.held_out:
        return (
            f"what {task.transfer.mode} transfer trains is calibrated on images that it did not "
            "see; name a split under held_out"
        )
    return None


def _left_out(trial: "Trial", fit_head: Any, train: "Split") -> Floats:
    features = trial.features(train.name)
    return out_of_fold_logits(fit_head, features, train.labels, trial.plan.seed)


def _logits(trial: "Trial", classifier: "Classifier", split: str) -> Floats:
    return classifier.linear.logits(trial.features(split, classifier.backbone))


# --- as files -------------------------------------------------------------------------------------


def without_head(plan: "Plan") -> dict[str, str]:
    """Tasks that no calibrated head is written of, and what keeps each from it."""
    found = {}
    for name, task in plan.tasks.items():
        why = _why_not(task)
        if task.transfer.trains:
            why = (
                "its transfer changes the network, and a head is written for the backbone as it "
                "is; drop transfer, or calibrate logits with --zero-shot and --fine-tuned"
            )
        if why:
            found[name] = why
    return found


def require_heads(plan: "Plan") -> None:
    """Stop where no calibrated head would be written.

    Raises:
        PlanError: One line for each task.
    """
    left_out = without_head(plan)
    if len(left_out) == len(plan.tasks):
        lines = [f"tasks.{name}: {why}" for name, why in left_out.items()]
        raise PlanError("\n".join([f"{plan.name}: none of its tasks has a head to write", *lines]))


def write_heads(trial: "Trial", folder: Path, *, with_backbone: bool = False) -> Iterator[Path]:
    """Write each calibrated head on frozen features, as safetensors and ONNX; gives the paths.

    Tasks that have none are logged, each with its reason.

    Where both classifiers are linear on the same features, a head is one linear layer: ``weight``
    (D, K) and ``bias`` (K,). Else it is a small graph, and ``zero_shot.scale`` and
    ``zero_shot.weight`` (D, K) or ``zero_shot.members`` (K, G) stand beside them. Metadata, JSON
    under the key ``gate``, say which backbone and classes it is for and all that it was made from.

    Args:
        trial: Its tasks' heads.
        folder: Where they go.
        with_backbone: Also one ONNX file of backbone and head, from images to logits.

    Raises:
        GateError: A prior cannot be estimated, the backbone is not ONNX, or a file cannot be
            written.
    """
    from safetensors.numpy import save

    from gate.backbone import onnx_runtime

    if with_backbone and not trial.plan.backbone.onnx:
        raise PlanError(
            f"{trial.plan.backbone.path}: --with-backbone puts the head behind an ONNX backbone, "
            "and this is none; export it to ONNX"
        )
    left_out = without_head(trial.plan)
    for name in trial.tasks(None):
        if why := left_out.get(name):
            log.warning("tasks.%s: no calibrated head: %s", name, why)
            continue
        found = trial.calibrated(name)
        # under one key, because safetensors writes several in an order of its own each time
        metadata = {"gate": json.dumps(_about(trial, name, found), sort_keys=True)}
        parts = found.parts()
        written = {
            folder / f"{name}.safetensors": save(_tensors(*parts), metadata),
            folder / f"{name}.onnx": onnx_runtime.head_model(*parts, metadata),
        }
        if with_backbone:
            whole = onnx_runtime.with_head(trial.plan.backbone, *parts, metadata)
            written[folder / f"{name}.with_backbone.onnx"] = whole
        for path, content in written.items():
            files.write(path, content)
            yield path


def _tensors(linear: LinearHead, beside: CosineHead | SourceHead | None) -> dict[str, Any]:
    tensors: dict[str, Any] = {"weight": linear.weight, "bias": linear.bias}
    if beside:
        tensors["zero_shot.scale"] = np.array([beside.scale], np.float32)
    if isinstance(beside, CosineHead):
        tensors["zero_shot.weight"] = beside.weight
    if isinstance(beside, SourceHead):
        tensors["zero_shot.members"] = beside.padded()
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _about(trial: "Trial", name: str, found: Calibrated) -> dict[str, Any]:
    plan, task, how = trial.plan, trial.plan.tasks[name], found.how
    train = trial.split(str(task.train))
    known = trial.split(task.held_out) if task.held_out else train
    encoder = task.zero_shot.encoder if task.zero_shot else None
    tokenizers = {
        of: files.sha256_of(file.text.tokenizer, BackboneError)
        for of, file in (("backbone", plan.backbone), ("encoder", encoder))
        if file and file.text
    }
    return {
        "backbone": trial.backbone.digest,
        "classes": train.classes,
        "estimation_data": known.digest,
        "fine_tuned_scale": how.fine_tuned_scale,
        "label_prior": files.rounded(how.prior.shares),
        "label_prior_removed": how.prior.helps,
        "method": "generalized logit adjustment (arXiv 2310.08106)",
        "seed": plan.seed,
        "settings": {
            "backbone": plan.backbone.settings,
            "batch_size": plan.batch_size,
            "task": task.settings,
        },
        "task": name,
        "temperature_scale": how.prior.scale,
        "tokenizers": tokenizers,
        "train_data": train.digest,
        "train_frequencies": files.rounded(how.frequencies),
        "zero_shot": trial.zero_shot_digest(name) or "nearest class mean",
    }
