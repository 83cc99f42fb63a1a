"""Calibrated heads as files: safetensors and ONNX, with all that they were made from."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gate import files
from gate.backbone.heads import CosineHead, JoinedHead, SourceHead
from gate.errors import PlanError
from gate.measure.calibrate import Calibrated
from gate.measure.trial import Trial
from gate.plan.backbone import OnnxBackbone
from gate.plan.plan import Plan

log = logging.getLogger("gate")

_TRAINS = (
    "its transfer changes the network, and a head is written for the backbone as it is; drop "
    "transfer, or calibrate logits with --zero-shot and --fine-tuned"
)


def without_head(plan: Plan) -> dict[str, str]:
    """Tasks that no calibrated head is written of, and what keeps each from it."""
    obstacles = {
        name: _TRAINS if task.transfer.trains else task.calibration_obstacle
        for name, task in plan.tasks.items()
    }
    return {name: obstacle for name, obstacle in obstacles.items() if obstacle}


def require_heads(plan: Plan) -> None:
    """Stop where no calibrated head would be written.

    Raises:
        PlanError: One line for each task.
    """
    left_out = without_head(plan)
    if len(left_out) == len(plan.tasks):
        lines = [f"tasks.{name}: {why}" for name, why in left_out.items()]
        raise PlanError("\n".join([f"{plan.name}: none of its tasks has a head to write", *lines]))


def write_heads(trial: Trial, folder: Path, *, with_backbone: bool = False) -> Iterator[Path]:
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

    from gate.backbone import onnx_heads

    backbone = trial.plan.backbone
    if with_backbone and not isinstance(backbone, OnnxBackbone):
        raise PlanError(
            f"{backbone.path}: --with-backbone puts the head behind an ONNX backbone, "
            "and this is none; export it to ONNX"
        )
    left_out = without_head(trial.plan)
    for name in trial.tasks():
        if why := left_out.get(name):
            log.warning("tasks.%s: no calibrated head: %s", name, why)
            continue
        calibrated = trial.calibrated(name)
        # under one key, because safetensors writes several in an order of its own each time
        metadata = {"gate": json.dumps(_about(trial, name, calibrated), sort_keys=True)}
        head = calibrated.joined()
        contents = {
            folder / f"{name}.safetensors": save(_tensors(head), metadata),
            folder / f"{name}.onnx": onnx_heads.head_model(head, metadata),
        }
        if with_backbone and isinstance(backbone, OnnxBackbone):
            whole = trial.backbone.with_head(head, metadata)
            contents[folder / f"{name}.with_backbone.onnx"] = whole
        for path, content in contents.items():
            files.write(path, content)
            yield path


def _tensors(head: JoinedHead) -> dict[str, Any]:
    linear, beside = head
    tensors: dict[str, Any] = {"weight": linear.weight, "bias": linear.bias}
    if beside:
        tensors["zero_shot.scale"] = np.array([beside.scale], np.float32)
    if isinstance(beside, CosineHead):
        tensors["zero_shot.weight"] = beside.weight
    if isinstance(beside, SourceHead):
        tensors["zero_shot.members"] = beside.padded()
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _about(trial: Trial, name: str, calibrated: Calibrated) -> dict[str, Any]:
    plan, task, adjustment = trial.plan, trial.plan.tasks[name], calibrated.adjustment
    train = trial.split(str(task.train))
    known = trial.split(task.held_out) if task.held_out else train
    encoder = task.zero_shot.encoder if task.zero_shot else None
    tokenizers = {
        of: trial.bench.opened(described).versions["tokenizer"]
        for of, described in (("backbone", plan.backbone), ("encoder", encoder))
        if described and described.text
    }
    return {
        "backbone": trial.backbone.digest,
        "classes": train.classes,
        "estimation_data": known.digest,
        "fine_tuned_scale": adjustment.fine_tuned_scale,
        "label_prior": files.rounded(adjustment.prior.shares),
        "label_prior_removed": adjustment.prior.helps,
        "method": "generalized logit adjustment (arXiv 2310.08106)",
        "seed": plan.seed,
        "settings": {
            "backbone": trial.backbone.plan.settings,
            "batch_size": plan.batch_size,
            "task": task.settings,
        },
        "task": name,
        "temperature_scale": adjustment.prior.scale,
        "tokenizers": tokenizers,
        "train_data": train.digest,
        "train_frequencies": files.rounded(adjustment.frequencies),
        "zero_shot": trial.zero_shot_digest(name) or "nearest class mean",
    }
