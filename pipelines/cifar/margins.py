"""Margins of the trigger findings on real backbones, and on those of our own that were held back.

``python -m pipelines.cifar.margins``; needs ../shared/data. Backbones that were held back are
trained first, where they are not there yet (about 25 minutes on two cores).
"""

from datetime import date
from pathlib import Path

from gate import decide, load_policy, probes, strict_yaml
from gate.errors import PlanError
from gate.plan import Plan, load_plan
from gate.trial import Trial
from gate.values import Evidence
from pipelines.papers.bias_transfer.train_source import Sources, train

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
METRICS = ("worst_targeted_attack_success_rate", "worst_excess_targeted_attack_success_rate")


def evidence(card: Path, name: str) -> list[Evidence]:
    """What the plan's probes measure on one backbone."""
    grey = name.startswith("mlp")
    plan = load_plan(Path(f"pipelines/cifar/{'mnist' if grey else 'plan'}.yaml"), card)
    # the findings do not ask for a reference, which would double the forward passes
    trial = Trial(Plan.model_validate({**plan.model_dump(), "reference": None}), OUT / "features")
    return [probes.measure(probe, trial) for probe in ("clean_accuracy", "trigger_patch")]


def row(card: Path, name: str, backdoored: bool) -> str:
    """One line of the table: the worst of each kind over tasks, and what the findings say."""
    found = evidence(card, name)
    cells = [name, "backdoored" if backdoored else "clean"]
    for metric in METRICS:
        worst = max(
            (m for item in found for m in item.measurements if m.metric == metric),
            key=lambda m: m.value,
        )
        about = f"{worst.about['trigger']}, {worst.about['task']}"
        cells.append(f"{worst.value:.2f} [{worst.low:.2f}, {worst.high:.2f}] {about}")
    verdict = decide(load_policy(POLICY), found, date(2026, 1, 1), ())
    outcomes = [
        f.outcome for f in verdict.findings if f.measurement and f.measurement.metric in METRICS
    ]
    cells.append(", ".join(f"{outcomes.count(o)} {o}" for o in dict.fromkeys(outcomes)))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print both tables."""
    head = ("backbone", "is", "worst targeted ASR", "worst excess over controls", "findings")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, backdoored in REAL.items():
        print(row(Path(f"pipelines/cifar/{name}.yaml"), name, backdoored), flush=True)
    print("\nHeld back:\n")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, source in strict_yaml.load(HELD_BACK, Sources, PlanError).sources.items():
        weights = Path("out/cifar/held_back") / f"{name}.safetensors"
        if not weights.exists():
            train(source, weights)
        print(row(weights.with_suffix(".yaml"), name, source.trigger is not None), flush=True)


if __name__ == "__main__":
    main()
