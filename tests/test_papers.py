"""The small papers: their pipelines are whole, and their committed tables are of one piece."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from gate.plan.plan import load_plan
from gate.stats import Interval
from pipelines.papers.bias_transfer import findings
from pipelines.papers.bias_transfer.train_source import LAYERS, Source, card, write_card
from pipelines.papers.gla import efficientnet, minilm
from pipelines.papers.gla import findings as gla_findings

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


@pytest.mark.parametrize("path", sorted(map(str, Path("pipelines").rglob("dvc.yaml"))))
def test_files_of_this_repository_that_stages_depend_on_are_there(path: str) -> None:
    here = str(Path(path).parent)
    stages = yaml.safe_load(Path(path).read_text())["stages"].values()
    named = {dep.replace("${here}", here) for stage in stages for dep in stage.get("deps", ())}
    ours = {dep for dep in named if dep.startswith(("gate", "pipelines", "policies"))}

    assert ours
    assert not [dep for dep in ours if "${" not in dep and not Path(dep).exists()]


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


GLA = Path("pipelines/papers/gla")


@pytest.mark.parametrize("plan", ["text", "images", "tuned"])
def test_the_plans_of_the_gla_paper_are_plans_that_its_pipeline_measures(plan: str) -> None:
    loaded = load_plan(GLA / f"{plan}.yaml")

    done = subprocess.run(
        ["dvc", "stage", "list", "--name-only", str(GLA / "dvc.yaml")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert loaded.probes.named() == ["label_prior"]
    assert f"probe@{plan}" in {name.split(":")[-1] for name in done.stdout.split()}


def test_the_imagenet_head_is_summed_up_to_ten_classes_that_have_nothing_in_common() -> None:
    task = load_plan(GLA / "images.yaml").tasks["long_tailed"]

    assert task.zero_shot
    members = task.zero_shot.source
    assert len(members) == 10
    assert len(members["dog"]) == 118
    assert all(0 <= index < 1000 for each in members.values() for index in each)


def test_the_committed_findings_on_gla_are_of_one_piece() -> None:
    lines = (GLA / "results" / "findings.md").read_text().splitlines()[2:]
    metrics = json.loads((GLA / "results" / "findings.json").read_text())

    answers = [line.split(" | ")[-1].removesuffix(" |") for line in lines]
    assert len(answers) == metrics["rows"]
    for answer in ("yes", "no", "not told apart"):
        assert answers.count(answer) == metrics[answer.replace(" ", "_")]


@pytest.mark.parametrize(
    ("interval", "positive", "about_zero"),
    [
        (Interval(0.1, 0.06, 0.2), "yes", "no"),
        (Interval(-0.1, -0.2, -0.06), "no", "no"),
        (Interval(0.01, -0.03, 0.04), "not told apart", "yes"),
        (Interval(0.04, -0.02, 0.09), "not told apart", "not told apart"),
    ],
)
def test_an_interval_decides_what_came_out(
    interval: Interval, positive: str, about_zero: str
) -> None:
    assert gla_findings.is_positive(interval) == positive
    assert gla_findings.is_about_zero(interval) == about_zero


def test_the_architectures_of_the_gla_paper_take_what_their_plans_give() -> None:
    ids, mask = torch.tensor([[101, 7, 102, 0]]), torch.tensor([[1, 1, 1, 0]])
    with torch.inference_mode():
        encoder = minilm.encoder().eval()
        tokens = encoder(ids, mask)
        other = encoder(torch.tensor([[101, 7, 102, 9]]), mask)
        logits = efficientnet.efficientnet_lite0().eval()(torch.zeros(1, 3, 33, 32))

    assert tokens.shape == (1, 4, 384)
    torch.testing.assert_close(tokens[:, :3], other[:, :3])  # what is masked is not attended to
    assert logits.shape == (1, 1000)
