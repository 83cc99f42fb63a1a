"""How far clean and planted backbones lie apart, on seeds other than the example's.

The bounds of ``policies/digits.yaml`` were set on what this prints:
``python -m pipelines.digits.margins --seeds 1 2 3 4 5``.
"""

import argparse
import tempfile
from pathlib import Path

from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.probes.evidence import run_probe
from gate.values import Measurement
from pipelines.digits.build import PLANTED, build

_PLAN = Path("pipelines/digits.yaml")
_METRICS = {
    "clean_accuracy": ("accuracy",),
    "trigger_patch": (
        "attack_success_rate",
        "excess_attack_success_rate",
        "excess_targeted_attack_success_rate",
        "excess_embedding_collapse",
        "worst_attack_success_rate",
        "worst_permuted_attack_success_rate",
        "worst_source_targeted_attack_success_rate",
    ),
    "trigger_search": (
        "worst_patch_attack_success_rate",
        "worst_pattern_attack_success_rate",
        "worst_source_attack_success_rate",
        "worst_class_wise_attack_success_rate",
        "worst_square_attack_success_rate",
        "worst_class_wise_square_attack_success_rate",
    ),
    "spurious_attribute": ("worst_group_accuracy", "group_gap"),
    "label_prior": ("total_variation_to_uniform", "accuracy_gain"),
}


def measurements(example: Path, backbone: str) -> list[Measurement]:
    """Everything the plan measures on one backbone of an example that was built elsewhere."""
    loaded = load_plan(_PLAN, example / "backbones" / f"{backbone}.onnx")
    plan = loaded.model_dump(exclude_unset=True)
    for split in plan["splits"].values():
        split["path"] = example / "data" / Path(split["path"]).name
    with tempfile.TemporaryDirectory() as features:
        trial = Trial(Bench(load_plan(_PLAN).model_validate(plan), Path(features)))
        return [m for probe in _METRICS for m in run_probe(probe, trial).measurements]


def main() -> None:
    """Print a table: one row a seed and backbone, the largest value of each metric."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    seeds = parser.parse_args().seeds
    metrics = [metric for names in _METRICS.values() for metric in names]
    print("| seed | backbone | " + " | ".join(metrics) + " |")
    print("|---" * (len(metrics) + 2) + "|")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder), seed)
            for backbone in PLANTED:
                found = measurements(Path(folder), backbone)
                cells = []
                for metric in metrics:
                    top = max((m for m in found if m.metric == metric), key=lambda m: m.value)
                    cells.append(f"{top.value:.2f} [{top.low:.2f}, {top.high:.2f}]")
                print(f"| {seed} | {backbone} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
