"""The paper on transfer in small: what is trained from what, and what its table says."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gate.errors import EvidenceError
from gate.plan.plan import load_plan
from gate.values import Evidence, Measurement
from pipelines.papers.transfer_anatomy import findings, measure, train
from pipelines.papers.transfer_anatomy.data import _parted
from pipelines.papers.transfer_anatomy.networks import TRAINING, Training

HERE = Path("pipelines/papers/transfer_anatomy")


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All networks of a seed, each trained for a moment on a few images."""
    monkeypatch.setattr(train, "_EVERY", 2)
    for task in TRAINING:
        monkeypatch.setitem(TRAINING, task, Training(3, 0.01, 0.01))
    rng = np.random.default_rng(0)
    for task, classes in (("source", 10), ("near", 20), ("far", 10)):
        images = rng.integers(0, 256, (2 * classes, 32, 32, 3), dtype=np.uint8)
        np.savez(
            tmp_path / f"{task}_train.npz", image=images, label=np.arange(2 * classes) % classes
        )
    train.Networks(1, tmp_path, tmp_path / "networks").all()
    return tmp_path / "networks"


def body(path: Path) -> dict[str, torch.Tensor]:
    """Weights but for the own head and counters."""
    weights = load_file(path).items()
    return {n: of for n, of in weights if not n.startswith("fc.") and of.is_floating_point()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_fine_tuning_starts_from_the_source_and_training_from_scratch_does_not(
    networks: Path,
) -> None:
    for task in ("near", "far"):
        pretrained = body(networks / f"{task}_pretrained.safetensors")
        assert same(pretrained, body(networks / "source.safetensors"))
        for name in ("fine_tuned_1", "fine_tuned_2", "scratch_1", "scratch_1_again", "scratch_2"):
            assert not same(pretrained, body(networks / f"{task}_{name}.safetensors"))
        first, second = (body(networks / f"{task}_initial_{n}.safetensors") for n in (1, 2))
        assert not same(first, second)
        assert not same(first, pretrained)
        both = (body(networks / f"{task}_fine_tuned_{n}.safetensors") for n in (1, 2))
        assert not same(*both)


def test_the_row_holds_the_source_from_its_start_to_its_end(networks: Path) -> None:
    row = networks / "row"

    assert [path.stem for path in sorted(row.glob("*.safetensors"))] == [
        f"epoch_{epoch:02}" for epoch in range(4)
    ]
    ends = {"epoch_00": "source_initial", "epoch_03": "source"}
    for epoch, name in ends.items():
        assert same(body(row / f"{epoch}.safetensors"), body(networks / f"{name}.safetensors"))
    between = [body(path) for path in sorted(row.glob("*.safetensors"))]
    assert not any(same(a, b) for a, b in pairwise(between))


def test_what_is_there_is_left_alone(networks: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in networks.glob("*.safetensors")}

    train.Networks(1, networks.parent, networks).all()

    trained = [path for path in before if not path.stem.endswith("pretrained")]
    assert all(path.stat().st_mtime_ns == before[path] for path in trained)


def test_every_plan_of_the_paper_is_one(networks: Path) -> None:
    assert load_plan(HERE / "row.yaml").tasks.keys() == {"near", "far"}
    for target in train.TARGETS:
        for work in measure.works(0):
            plan = measure.plan(1, networks.parent, networks, target, work)
            assert plan.probes.named() == [n for n in plan.probes.named() if n in work.probes]
            assert len(plan.probes.named()) == len(work.probes)


def test_the_first_of_each_class_are_trained_on_and_no_other() -> None:
    labels = np.repeat([0, 1], 150)
    images = np.arange(300, dtype=np.uint8)[:, None, None, None]

    tables = _parted(images, labels, ("a", "b"))

    assert np.bincount(tables.train_labels).tolist() == [100, 100]
    assert tables.train[:, 0, 0, 0].tolist() == [*range(100), *(n % 256 for n in range(150, 250))]
    assert len(tables.test) == 100


def write(folder: Path, work: str, metric: str, probe: str, ends: tuple[float, float]) -> None:
    """Evidence that holds one measurement."""
    low, high = ends
    unit = "fraction" if probe == "shared_mistakes" else "difference of fractions"
    measured = Measurement(
        metric=metric, about={"task": "own"}, value=(low + high) / 2, low=low, high=high, n=9,
        unit=unit,
    )  # fmt: skip
    digest = "sha256:" + "ab" * 32
    evidence = Evidence(
        probe=probe, settings={}, backbone=digest, data={"test": digest}, seed=0,
        versions={"gate": "0"}, measurements=(measured,),
    )  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / f"near_{work}.{probe}.json").write_text(evidence.to_json())


def test_a_finding_comes_out_where_intervals_lie_apart_and_not_where_they_meet(
    tmp_path: Path,
) -> None:
    asks = findings.FINDINGS["Mistakes: two P-T share more of them (Jaccard) than P-T and RI-T"]
    for seed, other in ((0, (0.1, 0.3)), (1, (0.1, 0.5))):
        folder = tmp_path / f"seed_{seed}"
        write(folder, "pt_pt", "mistake_jaccard", "shared_mistakes", (0.4, 0.6))
        write(folder, "pt_rit", "mistake_jaccard", "shared_mistakes", other)

    held = [asks(findings.Found(tmp_path / f"seed_{seed}", "near")) for seed in (0, 1)]

    assert held[0] == ("0.50 [0.40, 0.60] against 0.20 [0.10, 0.30]", True)
    assert not held[1][1]


def test_a_barrier_is_flat_where_it_may_be_nothing(tmp_path: Path) -> None:
    found = findings.Found(tmp_path, "near")
    for ends, is_flat in (((-0.1, 0.2), True), ((0.01, 0.2), False)):
        write(tmp_path, "pt_pt", "interpolation_barrier", "lineage", ends)
        assert findings.flat(found)[1] is is_flat


def test_what_was_not_measured_is_said_and_no_finding(tmp_path: Path) -> None:
    write(tmp_path, "pt_pt", "weight_alignment", "lineage", (0.1, 0.2))

    with pytest.raises(EvidenceError, match="has no interpolation_barrier"):
        findings.flat(findings.Found(tmp_path, "near"))


def test_committed_tables_are_of_one_piece() -> None:
    lines = (HERE / "results/findings.md").read_text().splitlines()
    metrics = json.loads((HERE / "results/findings.json").read_text())

    assert len(lines) - 2 == metrics["rows"]
    assert (
        sum("**" not in line for line in lines[2:]) == metrics["rows_that_came_out_on_every_seed"]
    )
