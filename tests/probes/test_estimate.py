"""What is counted before a run is what its engine counts; and looks end in time."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from gate import decide, load_policy
from gate.errors import ExitCode, PlanError
from gate.measure.bench import Bench
from gate.measure.count import Place
from gate.measure.head_files import write_heads
from gate.measure.passes import Examples, InProcess, Part, Pass
from gate.measure.preprocessed import alternatives
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.estimate import Estimate, Range, estimate
from gate.probes.evidence import run_probe
from gate.progress import Advance, Progress
from gate.values import Evidence
from tests import tiny_text
from tests.conftest import Gate, PlanMaker
from tests.measure.test_transfer import SIDE, Normed

GRIDS = [
    {"pattern": "square", "colour": ["yellow", "white"], "size": [0.4], "place": ["top_left"]},
    {"pattern": "sinusoid", "size": [1.0], "place": ["centre"], "opacity": [0.2]},
]
BRIEF = {"epochs": 1, "batch_size": 30}
EVERY_REMEDY = [
    "weight_decay", "debiased_target", "ignored_directions",
    "full_network", "full_network_weight_decay", "full_network_debiased_target",
]  # fmt: skip
TASKS: dict[str, dict[str, Any]] = {
    "fixed": {"train": "train", "test": "test", "held_out": "known", "shifted": ["more"]},
    "debiased": {"train": "train", "test": "test", "debias": {"triggers": GRIDS, "share": 0.3}},
    "ignoring": {"train": "train", "test": "test", "head": {"ignore": {"triggers": GRIDS}}},
    "full": {
        "train": "train", "test": "test", "held_out": "known", "shifted": ["more"],
        "transfer": {"mode": "full_network", "training": BRIEF},
    },
    "scratch": {
        "train": "train", "test": "more", "transfer": {"mode": "from_scratch", "training": BRIEF},
    },
    "own": {"test": "test", "head": "own"},
    "compared": {"train": "train", "test": "many"},
    "plain": {"train": "many", "test": "plenty"},
    "plain_own": {"test": "plenty", "head": "own"},
    "full_compared": {
        "train": "train", "test": "many",
        "transfer": {"mode": "full_network", "training": {"epochs": 3, "batch_size": 16}},
    },
}  # fmt: skip
SIZES = {"train": 60, "test": 90, "known": 50, "more": 45, "many": 100, "plenty": 230}
LOOKS = {"triggers": GRIDS, "first_look": 40, "resolution": 0.01}


class Counting(InProcess):
    """The engine of this process, which counts decoded images beside passes."""

    decoded = 0

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        self.decoded += len(examples)
        yield from super().map(work, examples, size, advance)


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(tmp_path: Path) -> MakeBench:
    """A bench on bright and dark images; candidate and reference differ in their weights."""
    rng = np.random.default_rng(1)
    for name, size in SIZES.items():
        labels = np.arange(size) % 2
        pixels = rng.integers(0, 160, (size, SIDE, SIDE, 3)) + labels[:, None, None, None] * 60
        shade = np.array(["a", "b", "b", "a", "a"] * size)[:size]
        image = pixels.astype(np.uint8)
        np.savez(tmp_path / f"{name}.npz", image=image, label=labels, shade=shade)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = Normed().state_dict()
    for name, factor in (("candidate", 1.02), ("reference", 1.01)):
        weights["conv.weight"] *= factor
        save_file(weights, tmp_path / f"{name}.safetensors")

    def backbone(name: str) -> dict[str, Any]:
        return {
            "weights": tmp_path / f"{name}.safetensors",
            "arch": "tests.measure.test_transfer:normed",
            "layer": "relu",
            "logits": "linear",
            "preprocessing": {"size": SIDE, "mean": [0.5], "std": [0.25]},
        }

    def split(name: str) -> dict[str, Any]:
        path = tmp_path / f"{name}.npz"
        return {"path": path, "classes": ["dark", "bright"], "attributes": ["shade"]}

    def make(tasks: list[str], probes: dict[str, Any], progress: Progress | None = None) -> Bench:
        content = {
            "name": "tiny",
            "batch_size": 16,
            "backbone": backbone("candidate"),
            "reference": backbone("reference"),
            "splits": {name: split(name) for name in SIZES},
            "tasks": {name: TASKS[name] for name in tasks},
            "probes": probes,
        }
        made = Bench(Plan.model_validate(content), tmp_path / "features", progress)
        made.engine = Counting(made.opened)
        return made

    return make


def counted(bench: Bench) -> Estimate:
    return estimate(bench, bench.plan.probes.named(), calibrates=True)


def run(bench: Bench) -> tuple[int, int]:
    """Run a plan as `gate run` does; forward passes and decoded images."""
    trial = Trial(bench)
    for probe in bench.plan.probes.named():
        run_probe(probe, trial)
    list(write_heads(trial, bench.folder / "heads"))
    assert isinstance(bench.engine, Counting)
    return bench.engine.passes.total(), bench.engine.decoded


@pytest.mark.parametrize(
    ("tasks", "probes"),
    [
        ([name for name in TASKS if "plain" not in name], {"clean_accuracy": {}}),
        (["fixed", "debiased", "own"], {"trigger_patch": {**LOOKS, "first_look": "all"}}),
        (["scratch", "full", "fixed"], {"natural_overlay": {"overlays": GRIDS}}),
        (["debiased", "ignoring"], {"spurious_attribute": {
            "attributes": ["shade"], "dose_response": "known", "remedies": ["balanced_groups"],
        }}),
        (["full", "fixed"], {"label_prior": {}, "clean_accuracy": {}}),
        (["full"], {"natural_overlay": {"overlays": GRIDS}, "label_prior": {}}),
        (["compared", "full_compared"], {"shared_mistakes": {}}),
        (["compared", "scratch"], {"feature_reuse": {"blocks": ["values", "none"]}}),
        (["full_compared", "compared"], {"feature_reuse": {
            "tasks": ["compared", "full_compared"], "blocks": [2, "none"],
        }, "clean_accuracy": {}}),
    ],
    ids=[
        "heads", "triggers", "overlays", "attributes", "priors", "trained", "mistakes", "reuse",
        "trained reuse",
    ],
)  # fmt: skip
def test_passes_are_those_that_the_engine_counts_then(
    bench: MakeBench, tasks: list[str], probes: dict[str, Any]
) -> None:
    opened = bench(tasks, probes)

    expected = counted(opened)

    passes, decoded = run(opened)
    assert expected.total("passes") == Range(passes, passes)
    pixels = sum(
        n for place, n in expected.most.items() if place[:2] == ("decoded", "train")
    )  # which training decodes by itself
    assert expected.total("decoded") == Range(decoded + pixels, decoded + pixels)
    again = bench(tasks, probes)
    kept = counted(again)
    passes, _ = run(again)
    assert kept.total("passes").at_least <= passes <= kept.total("passes").at_most
    assert kept.total("passes").at_least < expected.total("passes").at_least
    assert kept.total("training") == (0, 0)
    if not expected.total("training").at_most:
        assert kept.total("passes") == Range(passes, passes)


def test_looks_and_remedies_lie_between_the_least_and_the_most(bench: MakeBench) -> None:
    checkerboard = {"pattern": "checkerboard", "size": [0.4], "place": ["centre"]}
    bank = [*GRIDS, checkerboard]  # one with fewer controls, which may be the worst or not
    settings = {**LOOKS, "triggers": bank, "resolution": 0.3, "remedies": EVERY_REMEDY}
    opened = bench(["fixed"], {"trigger_patch": settings})

    expected = counted(opened)

    passes, decoded = run(opened)
    assert expected.total("passes").at_least < passes < expected.total("passes").at_most
    assert expected.total("decoded").at_least <= decoded <= expected.total("decoded").at_most
    after = Place("passes", "trigger_patch", "test", "full_network of train")
    assert (expected.least[after], expected.most[after]) == (3 * 3 * 90, 3 * 4 * 90)
    assert "reference" in {place.backbone for place in expected.most}
    assert expected.seconds.keys() == {"candidate", "reference"}  # both passed a batch


def test_other_preprocessing_counts_with_the_images_of_its_first_look_and_of_its_second(
    bench: MakeBench,
) -> None:
    opened = bench(["plain", "plain_own", "fixed"], {"clean_accuracy": {}})

    expected = counted(opened)

    passes, decoded = run(opened)
    least, most = expected.total("passes")
    assert least <= passes <= most
    assert expected.total("decoded").at_least <= decoded <= expected.total("decoded").at_most
    places = [Place("passes", "clean_accuracy", name, "candidate") for name in ("many", "plenty")]
    others = len(alternatives(opened.backbone))
    assert others >= 4
    # "fixed" has too few images, and the own head needs none for training
    assert [expected.least[place] / others for place in places] == [100, 2 * 100]
    assert [expected.most[place] / others for place in places] == [100, 2 * 230]


def test_prompts_that_are_encoded_count_too(tmp_path: Path) -> None:
    zero_shot = {
        "prompts": ["the {}", "news of {}"],
        "names": {"sport": "ball goal", "money": "stock price"},
    }
    plan = Plan.model_validate(tiny_text.write_plan(tmp_path, zero_shot=zero_shot))
    opened = Bench(plan, tmp_path / "features")
    opened.engine = Counting(opened.opened)

    expected = counted(opened)

    passes, _ = run(opened)
    assert expected.total("passes") == Range(passes, passes)
    assert {"passes", "embed"} < {part for row in expected.rows for part in (*row, row["step"])}


def test_features_on_disk_are_as_large_as_they_become(bench: MakeBench) -> None:
    opened = bench(["fixed", "own"], {"clean_accuracy": {}, "label_prior": {}})

    expected = counted(opened).on_disk

    run(opened)
    written = sum(path.stat().st_size for path in opened.folder.glob("*.npy"))
    headers = 160 * len(list(opened.folder.glob("*.npy")))  # and a digest
    assert expected == written - headers


def test_the_command_says_what_run_counts(
    gate: Gate, digits_plan: PlanMaker, tmp_path: Path
) -> None:
    probes = yaml.safe_load(Path("pipelines/digits.yaml").read_text())["probes"]
    # which trigger a remedy is measured for, and on how many images one that was found or another
    # preprocessing is tried, who knows
    probes["trigger_patch"] |= {"first_look": "all", "remedies": []}
    del probes["trigger_search"], probes["clean_accuracy"]
    plan, out = digits_plan(probes=probes), tmp_path / "out"

    code, shown, _ = gate("estimate", plan, "--format", "json")

    assert code == ExitCode.ACCEPT
    found = json.loads(shown)
    _, text, _ = gate("estimate", plan)
    _, _, said = gate("run", plan, "--policy", "policies/digits.yaml", "--out", out)
    counted = json.loads((out / "run-info.json").read_text())["forward_passes"]
    assert found["passes"] == {"at_least": counted["backbone"], "at_most": counted["backbone"]}
    line = f"estimate: {counted['backbone']:,} forward passes, "
    assert line in text.splitlines()[-1]
    assert f"gate: {line}" in said
    assert found["seconds"]["at_least"] > 0
    rows = {(row["step"], row["split"]): row["passes"]["at_most"] for row in found["steps"]}
    assert sum(rows.values()) == counted["backbone"]
    assert rows["embed", "train"] == 1144
    assert text.splitlines()[1].split() == ["embed", "train", "candidate", "1,144", "1,144"]


def test_a_backbone_that_takes_no_batch_is_refused_before_data_are_gone_through(
    gate: Gate, digits_plan: PlanMaker, example: Path, tmp_path: Path
) -> None:
    backbone = {
        "onnx": str(example / "backbones" / "clean.onnx"),
        "output": "features",
        "preprocessing": {"size": 32, "mean": [0.5], "std": [0.25], "channels": 1},
    }
    plan, out = digits_plan(backbone=backbone), tmp_path / "out"

    code, _, said = gate("run", plan, "--policy", "policies/digits.yaml", "--out", out)

    assert code == ExitCode.ERROR
    assert "takes 'images' float32 (N, 3, 32, 32), and the plan gives NCHW (N, 1, 32, 32)" in said
    assert not list(out.iterdir())  # validation.json would be the first


def test_an_own_head_of_other_classes_is_refused_before_data_are_gone_through(
    bench: MakeBench,
) -> None:
    opened = bench(["own"], {"clean_accuracy": {}})
    content = opened.plan.model_dump()
    name = opened.plan.splits["test"].path
    with np.load(name) as whole:
        columns = dict(whole)
    columns["label"][:3] = 2
    np.savez(name, **columns)
    content["splits"]["test"]["classes"] = ["dark", "bright", "none"]
    faulty = Bench(Plan.model_validate(content), opened.folder)

    with pytest.raises(PlanError, match=r"needs one logit for each of the 3 classes .* it gives 2"):
        counted(faulty)


# --- time -----------------------------------------------------------------------------------------


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ended(bench: MakeBench, minutes: float, each: float = 1.0) -> tuple[Evidence, int]:
    """Evidence of looks that may take so long, where each pass takes so many seconds."""
    clock = Clock()
    opened = bench(["fixed"], {"trigger_patch": LOOKS}, Progress("lines", minutes, clock))

    class Slow(Counting):
        def map(self, work: Pass, examples: Examples, size: int, told: Advance) -> Iterator[Part]:
            def advance(count: int) -> None:
                clock.now += each * count
                told(count)

            return super().map(work, examples, size, advance)

    opened.engine = Slow(opened.opened)
    price = estimate(opened, ["trigger_patch"], calibrates=False)
    opened.progress.measured(each, {})
    opened.progress.expect(int(price.total("passes").at_least))
    opened.progress.require_time()
    found = run_probe("trigger_patch", Trial(opened))
    return found, opened.engine.passes.total()


def test_looks_end_in_time_and_say_what_they_left_open(bench: MakeBench) -> None:
    whole, most = ended(bench, float("inf"))
    least = 13 * 40  # of 3 triggers with 7 controls, and of the triggers on the reference

    found, passes = ended(bench, (least + 5) / 60)

    assert passes == least < most - 2 * (60 + 90)  # features are kept by now
    (remark,) = found.remarks
    assert remark.startswith("out of time (--max-minutes) after look 1 of 3, 40 of 90 images of ")
    assert "not settled: " in remark
    assert not whole.remarks
    assert found.settings == whole.settings


def test_a_look_leaves_time_for_what_is_sure_to_come(bench: MakeBench) -> None:
    ended(bench, float("inf"))  # keeps features
    every = 10 * 90 + 3 * 40  # every stamp on every image, and the triggers on the reference

    found, _ = ended(bench, (every - 5) / 60)

    assert "after look 2 of 3, 80 of 90 images of split test" in found.remarks[0]


@pytest.mark.parametrize("minutes", [float("inf"), 850 * 10 / 60])
def test_what_is_shown_of_a_run_comes_out_at_its_end(
    bench: MakeBench, caplog: pytest.LogCaptureFixture, minutes: float
) -> None:
    caplog.set_level("INFO", "gate")

    found, passes = ended(bench, minutes, each=10)

    assert len(found.remarks) == (minutes < float("inf"))
    lines = [record.getMessage().replace(",", "") for record in caplog.records]
    shown = [re.search(r"; (\d+) of about (\d+) passes", line) for line in lines]
    counts = [(int(line[1]), int(line[2])) for line in shown if line]
    assert counts[-1] == (passes, passes)
    assert all(done <= whole for done, whole in counts)
    sure = 13 * 40 + 2 * (60 + 90)
    looks = [sure + 10 * 40, sure + 10 * 50] if minutes == float("inf") else []
    assert sorted({whole for _, whole in counts}) == [sure, *looks]


def test_what_time_left_open_is_inconclusive(bench: MakeBench, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(
        "{name: p, version: 1, rules: [{probe: trigger_patch, at_most: 0.2, why: because, "
        "metric: worst_targeted_attack_success_rate}]}"
    )

    found, _ = ended(bench, (13 * 40 + 2 * (60 + 90) + 5) / 60)

    assert found.remarks
    verdict = decide(load_policy(tmp_path / "policy.yaml"), [found], date(2026, 1, 1))
    assert verdict.decision == "inconclusive"


def test_time_that_suffices_leaves_the_same_evidence(bench: MakeBench) -> None:
    unlimited, most = ended(bench, float("inf"))

    limited, _ = ended(bench, 2 * most / 60)

    assert limited.to_json() == unlimited.to_json()


@pytest.mark.parametrize("minutes", [0.001, 0, -1, float("nan")])
def test_time_for_no_look_is_an_error_that_says_how_much_is_needed(
    gate: Gate, digits_plan: PlanMaker, tmp_path: Path, minutes: float
) -> None:
    out, policy = tmp_path / "out", "policies/digits.yaml"
    limit = f"--max-minutes={minutes}"

    code, _, said = gate("run", digits_plan(), "--policy", policy, "--out", out, limit)

    assert code == ExitCode.ERROR
    assert f"--max-minutes: {minutes:g}, and the first look of every stamp" in said
    assert "need about 0." in said
    assert not list(out.iterdir())
