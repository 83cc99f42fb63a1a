"""Calibrated heads as files: one safetensors and one ONNX for each task."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from gate import files
from gate.backbone.onnx_runtime import linear_head
from gate.probes.label_prior import calibrate
from gate.trial import Trial


def write_heads(trial: Trial, folder: Path) -> Iterator[Path]:
    """Write each head on frozen features with both priors removed (GLA); gives each file's path.

    A task with a remedy has none: GLA would undo it.

    A head is one linear layer on the backbone's features: ``weight`` (D, K), ``bias`` (K,). Its
    metadata, JSON under the key ``gate``, say which backbone and classes it is for and how it was
    made.

    Raises:
        GateError: A prior cannot be estimated, or a file cannot be written.
    """
    for name, task in trial.tasks(None).items():
        if not task.fits_head or task.remedy:
            continue
        prior, head = calibrate(trial, name)
        train = trial.split(str(task.train))
        about = {
            "backbone": trial.backbone.digest,
            "classes": train.classes,
            "label_prior": [round(float(share), 6) for share in prior.shares],
            "method": "generalized logit adjustment (arXiv 2310.08106), nearest class mean as "
            "zero-shot head",
            "task": name,
            "temperature_scale": prior.scale,
            "train_data": train.digest,
            "train_frequencies": [
                round(float(p), 6) for p in np.bincount(train.labels) / len(train)
            ],
        }
        # under one key, because safetensors writes several in an order of its own each time
        metadata = {"gate": json.dumps(about, sort_keys=True)}
        tensors = {"weight": np.ascontiguousarray(head.weight), "bias": head.bias}
        for path, content in (
            (folder / f"{name}.safetensors", save(tensors, metadata)),
            (folder / f"{name}.onnx", linear_head(head.weight, head.bias, metadata)),
        ):
            files.write(path, content)
            yield path
