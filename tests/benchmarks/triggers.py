"""Wall time of the trigger probe with a bank of 40 variants, against bare forward passes.

``python -m tests.benchmarks.triggers [CARD]``; needs ../shared/data. Imports are left out.
"""

import argparse
import tempfile
import time
from pathlib import Path

from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.backbone import OnnxBackbone
from gate.plan.plan import Plan, load_plan
from gate.probes.evidence import run_probe
from gate.probes.trigger_patch import TriggerPatch
from tests.benchmarks.throughput import bare_rate, import_what_a_run_imports

CORNERS = ["top_left", "top_right", "bottom_left", "bottom_right"]
BANK = [  # a trigger and its two controls each, and a sinusoid with three
    {"pattern": "checkerboard", "size": [0.1], "place": CORNERS},
    {"pattern": "checkerboard", "size": [0.16], "place": CORNERS[:3]},
    {"pattern": "noise", "size": [0.16], "place": CORNERS},
    {"pattern": "gaussian", "size": [1.0], "place": ["centre"], "opacity": [0.01]},
    {"pattern": "sinusoid", "size": [1.0], "place": ["centre"], "opacity": [0.1]},
]
VARIANTS = 40


def passes(trial: Trial) -> int:
    """Forward passes of single images through the candidate so far."""
    return trial.bench.engine.passes[trial.backbone.digest]


def main() -> None:
    """Make the plan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("card", type=Path, nargs="?", default=Path("pipelines/cifar/resnet20.yaml"))
    plan = load_plan(Path("pipelines/cifar/plan.yaml"), parser.parse_args().card)
    content = plan.model_dump() | {"reference": None}
    content["probes"]["trigger_patch"].update(triggers=BANK, first_look="all")
    with tempfile.TemporaryDirectory() as folder:
        compare(Trial(Bench(Plan.model_validate(content), Path(folder))))


def compare(trial: Trial) -> None:
    """Print the ratio, with the bare loop timed before and after."""
    settings = trial.plan.probes.settings("trigger_patch")
    assert isinstance(settings, TriggerPatch)
    triggers = trial.bank(settings.triggers, "test")
    assert len({s.key for t in triggers for s in (t.stamp, *t.controls)}) == VARIANTS
    import_what_a_run_imports()
    for task in trial.plan.tasks.values():
        trial.predictions(task)
    passed = passes(trial)
    assert isinstance(trial.plan.backbone, OnnxBackbone)
    before = bare_rate(trial.plan.backbone)[1]
    start = time.perf_counter()
    run_probe("trigger_patch", trial)
    wall = time.perf_counter() - start
    images = passes(trial) - passed
    bare = images / ((before + bare_rate(trial.plan.backbone)[1]) / 2)
    print(f"{VARIANTS} variants, {images:,} forward passes: {wall:.1f} s")
    print(f"bare loop: {bare:.1f} s, ratio {wall / bare:.2f}")


if __name__ == "__main__":
    main()
