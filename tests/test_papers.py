"""The small papers: their pipelines are whole, and their committed tables are of one piece."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

from gate.plan import load_plan
from pipelines.papers.bias_transfer import findings
from pipelines.papers.bias_transfer.train_source import LAYERS, Source, card, write_card

HERE = Path("pipelines/papers/bias_transfer")


def test_the_plan_of_the_small_paper_is_a_plan_and_dvc_reads_its_pipeline() -> None:
    plan = load_plan(HERE / "plan.yaml")

    done = subprocess.run(
        ["dvc", "stage", "list", "--name-only", str(HERE / "dvc.yaml")],
        capture_output=True,
        text=True,
        check=True,
    )

    stages = {name.split(":")[-1] for name in done.stdout.split()}
    assert "findings" in stages
    assert {f"source@{source}" for source in findings.SHARES} <= stages
    for target in findings.TRAINED:
        assert {f"{target}_full", f"{target}_scratch", f"{target}_fixed"} <= set(plan.tasks)


@pytest.mark.parametrize("arch", LAYERS)
def test_gate_reads_the_description_of_a_source_as_it_was_meant(arch: str, tmp_path: Path) -> None:
    meant = card(Source.model_validate({"arch": arch}), tmp_path / "source.safetensors")

    write_card(meant)

    assert load_plan(HERE / "plan.yaml", tmp_path / "source.yaml").backbone == meant


def test_the_committed_table_metrics_and_plots_agree() -> None:
    table = (HERE / "results" / "findings.md").read_text().splitlines()[2:]
    metrics = json.loads((HERE / "results" / "findings.json").read_text())
    with (HERE / "results" / "asr_by_share.csv").open() as file:
        plotted = list(csv.DictReader(file))

    assert len(table) == metrics["rows"]
    assert sum(line.endswith("| yes |") for line in table) == metrics["rows_that_came_out"]
    names = dict(zip(findings.SHARES.values(), findings.SHARES, strict=True))
    for row in plotted:
        source = names[float(row["poisoned_share"])]
        rate = metrics["attack_success_rate"][source][f"{row['target']}_fixed"]
        assert float(row["attack_success_rate"]) == pytest.approx(rate)
        assert float(row["low"]) <= rate <= float(row["high"])
