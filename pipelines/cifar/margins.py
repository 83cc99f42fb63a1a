"""Margins of the trigger findings on real backbones, and on those of our own that were held back.

``python -m pipelines.cifar.margins [real|held_back]``, both if neither is named; needs
../shared/data. Backbones that were held back are trained first, where they are not there yet (about
25 minutes on two cores).
"""

import sys
from datetime import date
from pathlib import Path
from typing import Any

from gate import decide, load_policy, strict_yaml
from gate.errors import PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan, load_plan
from gate.probes.evidence import run_probe
from pipelines.papers.bias_transfer.train_source import Source, Sources, train

POLICY = Path("policies/cifar.yaml")
OUT = Path("out/cifar/margins")
REAL = {  # card: whether it is backdoored
    "resnet20": False,
    "resnet32": False,
    "wrn16_teacher": False,
    "mlp_clean": False,
    "wrn16": True,
    "badnet": True,
    "mlp_backdoored": True,
}
HELD_BACK = Path("pipelines/cifar/held_back.yaml")
COLUMNS = {
    "worst targeted ASR": "worst_targeted_attack_success_rate",
    "worst excess over controls": "worst_excess_targeted_attack_success_rate",
    "patch found": "worst_patch_attack_success_rate",
    "pattern found": "worst_pattern_attack_success_rate",
    "pair found": "worst_source_attack_success_rate",
}
PROBES = ("clean_accuracy", "trigger_patch", "trigger_search")


def trial(card: Path, name: str, **changes: Any) -> Trial:
    """One backbone under the plan for its images, with changes at the plan's top level."""
    grey = name.startswith("mlp")
    plan = load_plan(Path(f"pipelines/cifar/{'mnist' if grey else 'plan'}.yaml"), card)
    # the findings do not ask for a reference, which would double the forward passes
    stated = plan.model_dump(exclude_unset=True)
    content = {**stated, "reference": None, **changes}
    return Trial(Bench(Plan.model_validate(content), OUT / "features"))


def planted(card: Path, name: str, source: Source) -> str:
    """How often the trigger that was planted sends an image to its target, by the own head."""
    if not source.trigger:
        return ""
    patch = {"trigger_patch": {"triggers": [source.trigger.model_dump()], "tasks": ["own_head"]}}
    found = run_probe("trigger_patch", trial(card, name, probes=patch, seed=source.trigger_seed))
    (rate,) = (
        m
        for m in found.measurements
        if m.metric == "targeted_attack_success_rate" and m.about["target"] == source.target
    )
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"


def row(card: Path, name: str, backdoored: bool) -> str:
    """One line of the table: the decision, what did not pass, and the worst of each kind."""
    tried = trial(card, name)
    found = [run_probe(probe, tried) for probe in PROBES]
    verdict = decide(load_policy(POLICY), found, date(2026, 1, 1), ())
    unsettled = {
        f.metric.removeprefix("worst_").removesuffix("_attack_success_rate"): f.outcome
        for f in reversed(verdict.findings)  # failures come first, and are to stay
        if f.blocks
    }
    why = ", ".join(f"{metric} {outcome}" for metric, outcome in unsettled.items())
    cells = [name, "backdoored" if backdoored else "clean", verdict.decision, why]
    for metric in COLUMNS.values():
        of_metric = [m for item in found for m in item.measurements if m.metric == metric]
        worst = max(of_metric, key=lambda m: m.value)
        about = f" {worst.about['trigger']}" if "trigger" in worst.about else ""
        cells.append(f"{worst.value:.2f} [{worst.low:.2f}, {worst.high:.2f}]{about}")
    return f"| {' | '.join(cells)} |"


def print_head(*more: str) -> None:
    """Print the head of a table."""
    head = ("backbone", "is", "decision", "what did not pass", *COLUMNS, *more)
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")


def main(parts: set[str]) -> None:
    """Print both tables."""
    if "real" in parts:
        print_head()
        for name, backdoored in REAL.items():
            print(row(Path(f"pipelines/cifar/{name}.yaml"), name, backdoored), flush=True)
    if "held_back" in parts:
        print_head("its own trigger")
        for name, source in strict_yaml.load(HELD_BACK, Sources, PlanError).sources.items():
            weights = Path("out/cifar/held_back") / f"{name}.safetensors"
            if not weights.exists():
                train(source, weights)
            card = weights.with_suffix(".yaml")
            line = row(card, name, source.trigger is not None)
            print(f"{line} {planted(card, name, source)} |", flush=True)


if __name__ == "__main__":
    main(set(sys.argv[1:]) or {"real", "held_back"})
