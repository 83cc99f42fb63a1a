"""Evidence: what a probe measured, with all that it asked for and nothing else."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from gate import __version__
from gate.measure.trial import Trial
from gate.values import Evidence, Measurement

_PICTURE = re.compile(r"\.png, sha256:[0-9a-f]{64}$")
# a probe yields measurements and, as text, what a reader of them must know
Measure = Callable[[Trial, Any], Iterator[Measurement | str]]


def run_probe(probe: str, trial: Trial) -> Evidence:
    """Run one probe of a trial's plan.

    The evidence names the data and tasks that this probe asked for, whatever the process opened
    before: the same plan gives the same bytes in any order of probes.

    Args:
        probe: Its name, one that the plan runs.
        trial: What it measures on.

    Raises:
        GateError: It cannot be measured; says why and what to do.
    """
    measure: Measure = import_module(f"gate.probes.{probe}.measure").measure
    plan, view = trial.plan, trial.for_probe()
    settings = plan.probes.settings(probe)
    said = list(measure(view, settings))
    remarks = (*(each for each in said if isinstance(each, str)), *view.remarks)
    # where a picture was kept is for whoever reads the evidence
    trial.bench.say(each for each in remarks if not _PICTURE.search(each))
    ancestor = view.asked_ancestor
    return Evidence(
        probe=probe,
        settings={
            "probe": settings.model_dump(mode="json"),
            "batch_size": plan.batch_size,
            "backbone": trial.backbone.plan.settings,
            "reference": trial.reference.plan.settings if trial.reference else None,
            **({"ancestor": ancestor.plan.settings} if ancestor else {}),
            "tasks": {name: task.settings for name, task in view.asked_tasks.items()},
        },
        backbone=trial.backbone.digest,
        bytes=trial.backbone.artefact.bytes,
        reference=trial.reference.digest if trial.reference else None,
        data=view.asked_data,
        seed=plan.seed,
        versions={
            "gate": __version__,
            "numpy": np.__version__,
            "scikit-learn": version("scikit-learn"),
            "scipy": version("scipy"),
            **trial.backbone.versions,
            **(
                {f"{name} of ancestor": each for name, each in ancestor.versions.items()}
                if ancestor
                else {}
            ),
        },
        measurements=tuple(each for each in said if isinstance(each, Measurement)),
        remarks=(*remarks, *_of_backbones(trial)),
    )


def _of_backbones(trial: Trial) -> Iterator[str]:
    """What was chosen of a backbone where the plan says nothing."""
    opened = {"backbone": trial.backbone, "reference": trial.reference}
    for name, backbone in opened.items():
        for remark in backbone.remarks if backbone else ():
            yield f"{name}: {remark}"
