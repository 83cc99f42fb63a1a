"""Margins of the trigger findings on real backbones that other people trained.

``python -m pipelines.cifar.margins``; needs ../shared/data, and takes about a minute a backbone.
Those of our own making are in pipelines/zoo.
"""

from datetime import date
from pathlib import Path

from gate import decide, load_policy
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan, load_plan
from gate.probes.evidence import run_probe

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
COLUMNS = {
    "worst targeted ASR": "worst_targeted_attack_success_rate",
    "worst excess over controls": "worst_excess_targeted_attack_success_rate",
    "patch found": "worst_patch_attack_success_rate",
    "pattern found": "worst_pattern_attack_success_rate",
    "pair found": "worst_source_attack_success_rate",
    "map found": "worst_class_wise_attack_success_rate",
    "square found": "worst_square_attack_success_rate",
    "map of a square": "worst_class_wise_square_attack_success_rate",
}
PROBES = ("clean_accuracy", "trigger_patch", "trigger_search")


def trial(card: Path, name: str) -> Trial:
    """One backbone under the plan for its images."""
    grey = name.startswith("mlp")
    plan = load_plan(Path(f"pipelines/cifar/{'mnist' if grey else 'plan'}.yaml"), card)
    # the findings do not ask for a reference, which would double the forward passes
    content = {**plan.model_dump(exclude_unset=True), "reference": None}
    return Trial(Bench(Plan.model_validate(content), OUT / "features"))


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


def main() -> None:
    """Print the table."""
    head = ("backbone", "is", "decision", "what did not pass", *COLUMNS)
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, backdoored in REAL.items():
        print(row(Path(f"pipelines/cifar/{name}.yaml"), name, backdoored), flush=True)


if __name__ == "__main__":
    main()
