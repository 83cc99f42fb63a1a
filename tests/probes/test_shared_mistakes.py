"""Shared mistakes: what users would see change if the candidate took the reference's place."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import save_file
from sklearn.metrics import cohen_kappa_score, jaccard_score
from torch import nn

from gate import decide, load_policy
from gate.data.source import Table
from gate.data.split import Split
from gate.errors import EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.plan.split import SplitPlan
from gate.probes.evidence import run_probe
from gate.probes.shared_mistakes.comparison import Comparison
from gate.probes.shared_mistakes.measure import _of_all, _of_classes
from gate.values import Evidence, Measurement
from tests import tiny_text
from tests.builders import of_the_probe

CLASSES = ("ant", "bee", "cow")
Classes = NDArray[np.int64]


class Reader(nn.Module):
    """Gives each image the class that stands in one of its channels, as the weights choose it."""

    def __init__(self) -> None:
        super().__init__()
        self.channel = nn.Parameter(torch.zeros(3))
        self.logits = nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        number = 255 * images.mean(dim=(2, 3)) @ self.channel  # (N,)
        return torch.as_tensor(self.logits(-((number[:, None] - torch.arange(3)) ** 2)))


def reader() -> Reader:
    return Reader()


MakeTrial = Callable[..., Trial]


@pytest.fixture
def make(tmp_path: Path) -> MakeTrial:
    """A trial whose candidate and reference say of each image what they are to say."""

    def backbone(name: str, channel: int) -> dict[str, Any]:
        path = tmp_path / f"{name}.safetensors"
        chosen = np.eye(3, dtype=np.float32)[channel]
        chosen[2] = 0.01  # so that features differ, though answers may not
        save_file({"channel": chosen}, path)
        arch = "tests.probes.test_shared_mistakes:reader"
        return {"weights": path, "arch": arch, "logits": "logits", "preprocessing": {"size": 2}}

    def trial(labels: Classes, ours: Classes, theirs: Classes, **changes: Any) -> Trial:
        said = np.stack([ours, theirs, np.arange(len(labels)) % 7], axis=1)[:, None, None]
        said = said.repeat(2, axis=1).repeat(2, axis=2)
        np.savez(tmp_path / "test.npz", image=said.astype(np.uint8), label=labels)
        split = {"path": tmp_path / "test.npz", "classes": CLASSES, **changes.pop("split", {})}
        content: dict[str, Any] = {
            "name": "said",
            "backbone": backbone("candidate", 0),
            "reference": backbone("reference", 1),
            "splits": {"test": split},
            "tasks": {"own": {"test": "test", "head": "own"}},
            "probes": {"shared_mistakes": {}},
            **changes,
        }
        return Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    return trial


def labelled(n: int) -> Classes:
    return np.arange(n) % 3


def by_name(found: Evidence) -> dict[tuple[str, ...], Measurement]:
    return {
        (m.metric, *(v for k, v in m.about.items() if k == "class")): m for m in found.measurements
    }


# --- planted and clean ----------------------------------------------------------------------------


def test_it_finds_the_class_that_got_worse_and_names_rows_of_it(make: MakeTrial) -> None:
    labels = labelled(300)
    ours, theirs = labels.copy(), labels.copy()
    ours[1:91:3] = 2  # 30 of the 100 bees become cows
    theirs[0:12:3] = 1  # 4 ants were bees before

    found = run_probe("shared_mistakes", make(labels, ours, theirs))

    measured = by_name(found)
    assert measured["negative_flip_rate",].value == 0.1
    assert measured["positive_flip_rate",].value == pytest.approx(4 / 300)
    assert measured["accuracy_over_reference",].value == pytest.approx(-26 / 300)
    assert measured["accuracy_over_reference",].high < 0
    assert measured["class_negative_flip_rate", "bee"].value == 0.3
    assert measured["class_agreement", "ant"].value == 0.96
    worst = measured["worst_class_negative_flip_rate", "bee"]
    assert (worst.value, worst.n) == (0.3, 100)
    assert worst.low < measured["class_negative_flip_rate", "bee"].low  # it holds for the search
    assert worst.high == pytest.approx(measured["class_negative_flip_rate", "bee"].high, abs=0.01)
    lowest = measured["worst_class_accuracy_over_reference", "bee"]
    assert (lowest.value, lowest.n) == (-0.3, 100)
    assert lowest.high > measured["class_accuracy_over_reference", "bee"].high
    assert measured["mistake_jaccard",].value == 0
    assert of_the_probe(found) == (
        "own, class bee: the candidate alone gets 30 of 100 images wrong; rows of split test, "
        "counted from 0: 1 (given cow), 4 (given cow), 7 (given cow), 10 (given cow), "
        "13 (given cow) and 25 more",
    )


def test_two_backbones_with_the_same_answers_are_clear(make: MakeTrial) -> None:
    labels = labelled(300)
    said = np.where(np.arange(300) % 10 == 0, (labels + 1) % 3, labels)

    found = run_probe("shared_mistakes", make(labels, said, said))

    measured = by_name(found)
    for metric in ("agreement", "mistake_jaccard", "mistake_kappa"):
        assert measured[metric,].value == 1
    assert measured["worst_class_negative_flip_rate", "ant"].value == 0
    assert measured["negative_flip_rate",].high < 0.013
    assert not of_the_probe(found)


def test_rows_are_those_of_the_file_where_a_split_is_a_part_of_it(make: MakeTrial) -> None:
    labels = labelled(400)
    ours = labels.copy()
    ours[[7, 30, 101]] = [0, 1, 1]  # a bee, an ant, a cow; row 30 is of the other part
    shard = {"shard": {"index": 1, "count": 2}}

    found = run_probe("shared_mistakes", make(labels, ours, labels, split=shard))

    rows = [remark.split("from 0: ")[1] for remark in of_the_probe(found)]
    assert rows == ["7 (given ant)", "101 (given bee)"]


# --- by other means -------------------------------------------------------------------------------


def split_of(labels: Classes, classes: tuple[str, ...] = CLASSES) -> Split:
    table = Table({}, None, lambda: iter(()), "")  # type: ignore[arg-type, return-value]  # unread
    plan, rows = SplitPlan(path=Path("unread.npz")), np.arange(len(labels))
    return Split("test", plan, classes, labels, {}, "", table, rows)


answers = st.integers(10, 60).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 2), min_size=n, max_size=n)] * 2)
)


@given(answers)
def test_measurements_agree_with_scikit_learn_and_with_counting(
    said: tuple[list[int], list[int]],
) -> None:
    ours, theirs = map(np.array, said)
    labels = labelled(len(ours))
    one, other = ours != labels, theirs != labels

    compared = Comparison("task", split_of(labels), ours, theirs)
    found = [m for m in _of_all(compared) if isinstance(m, Measurement)]
    found += _of_classes(compared)

    measured = {(m.metric, m.about.get("class")): m for m in found}
    assert measured["agreement", None].value == pytest.approx(np.mean(ours == theirs))
    if (one | other).any():
        jaccard = jaccard_score(one, other)
        assert measured["mistake_jaccard", None].value == pytest.approx(jaccard)
    if ("mistake_kappa", None) in measured:
        kappa = cohen_kappa_score(one, other)
        assert measured["mistake_kappa", None].value == pytest.approx(kappa)
    for k, label in enumerate(CLASSES):
        of_class = labels == k
        worse = np.mean((one & ~other)[of_class])
        more = np.mean(other[of_class]) - np.mean(one[of_class])
        assert measured["class_negative_flip_rate", label].value == pytest.approx(worse)
        assert measured["class_accuracy_over_reference", label].value == pytest.approx(more)
    down, up = measured["negative_flip_rate", None], measured["positive_flip_rate", None]
    more_right = measured["accuracy_over_reference", None].value
    assert up.value - down.value == pytest.approx(more_right)


@pytest.mark.coverage(full=4000, sampled=500)
def test_the_worst_class_has_ends_that_err_in_at_most_2_5_of_100_samples(
    simulations: range,
) -> None:
    rng, classes, each, share = np.random.default_rng(5), 8, 60, 0.1
    labels = np.repeat(np.arange(classes), each)
    split = split_of(labels, tuple("abcdefgh"))
    above = below = 0
    for _ in simulations:  # all classes alike, so that the largest is the largest by chance
        flipped = rng.random(len(labels)) < share
        ours = np.where(flipped, (labels + 1) % classes, labels)
        worst = {m.metric: m for m in _of_classes(Comparison("task", split, ours, labels))}
        above += worst["worst_class_negative_flip_rate"].low > share
        below += worst["worst_class_accuracy_over_reference"].high < -share

    allowed = 0.025 * len(simulations)
    assert max(above, below) <= allowed + 3 * np.sqrt(allowed)


@pytest.mark.coverage(full=4000, sampled=500)
def test_the_jaccard_index_covers_the_truth_in_about_95_of_100_samples(simulations: range) -> None:
    rng, n = np.random.default_rng(6), 300
    shares = {"both": 0.04, "candidate": 0.03, "reference": 0.05}
    labels = np.zeros(n, np.int64)
    truth, covered = 0.04 / 0.12, 0
    for _ in simulations:
        kind = rng.choice(4, n, p=[*shares.values(), 1 - sum(shares.values())])
        ours, theirs = np.isin(kind, (0, 1)), np.isin(kind, (0, 2))
        of = Comparison("task", split_of(labels), ours.astype(np.int64), theirs.astype(np.int64))
        found = {m.metric: m for m in _of_all(of) if isinstance(m, Measurement)}
        covered += found["mistake_jaccard"].low <= truth <= found["mistake_jaccard"].high

    assert 0.93 <= covered / len(simulations) <= 0.975


# --- remarks --------------------------------------------------------------------------------------


def test_remarks_are_few_however_much_is_worse() -> None:
    classes = tuple("abcdefghij")
    labels = np.arange(1000) % 10
    ours = np.where(np.arange(1000) < 500, (labels + 1) % 10, labels)
    ours[501:1000:10] = 2  # class b is the worst

    remarks = list(Comparison("t", split_of(labels, classes), ours, labels).examples())

    assert [remark.split(":")[0] for remark in remarks[:2]] == ["t, class b", "t, class a"]
    assert len(remarks) == 6
    assert remarks[-1] == (
        "t: of 5 more classes the candidate alone gets 250 images wrong; see "
        "class_negative_flip_rate"
    )
    assert all(len(remark) < 300 for remark in remarks)


@pytest.mark.parametrize(
    ("wrong", "missing", "says"),
    [
        (slice(0, 0), {"mistake_jaccard", "mistake_kappa"}, "both get none of 120 images wrong"),
        (slice(0, 120), {"mistake_kappa"}, "both get all of 120 images wrong, so mistake_kappa is"),
    ],
)
def test_what_is_undefined_is_a_remark_and_no_number(
    make: MakeTrial, wrong: slice, missing: set[str], says: str
) -> None:
    labels = labelled(120)
    said = labels.copy()
    said[wrong] = (said[wrong] + 1) % 3

    found = run_probe("shared_mistakes", make(labels, said, said))

    metrics = {m.metric for m in found.measurements}
    assert {"mistake_jaccard", "mistake_kappa"} - metrics == missing
    assert len(of_the_probe(found)) == 1
    assert says in found.remarks[0]


# --- any formats ----------------------------------------------------------------------------------


def test_a_text_backbone_on_torch_is_compared_with_one_in_onnx(tmp_path: Path) -> None:
    content = tiny_text.write_plan(tmp_path)
    pandas.DataFrame(tiny_text.texts(150, 1)).to_parquet(tmp_path / "test.parquet")
    content["reference"] = content["backbone"]
    text = content["backbone"]["text"]
    weights = tmp_path / "other.safetensors"
    save_file({"vectors.weight": tiny_text.VECTORS[::-1].copy()}, weights)
    content["backbone"] = {"weights": weights, "arch": "tests.tiny_text:factory", "text": text}
    content["probes"] = {"shared_mistakes": {}}
    trial = Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    found = run_probe("shared_mistakes", trial)

    assert trial.reference is not None
    task, labels = trial.plan.tasks["topics"], trial.split("test").labels
    ours, theirs = trial.predictions(task), trial.predictions(task, trial.reference)
    worse = np.mean((ours != labels) & (theirs == labels))
    assert by_name(found)["negative_flip_rate",].value == pytest.approx(worse)
    assert found.reference == trial.reference.digest
    assert "texts wrong" in found.remarks[0]


# --- refusals -------------------------------------------------------------------------------------


def test_a_plan_without_a_reference_is_refused(make: MakeTrial) -> None:
    with pytest.raises(
        ValidationError, match=r"shared_mistakes: compares with the plan's reference.*; name the"
    ):
        make(labelled(300), labelled(300), labelled(300), reference=None)


def test_fewer_than_100_images_are_refused(make: MakeTrial) -> None:
    labels = labelled(99)

    with pytest.raises(EvidenceError, match=r"task own has 99 test images.*at least 100.*; add"):
        run_probe("shared_mistakes", make(labels, labels, labels))


@pytest.mark.parametrize("whose", ["candidate", "reference"])
def test_a_classifier_that_gives_one_class_is_refused(make: MakeTrial, whose: str) -> None:
    labels, one = labelled(300), np.full(300, 2)
    said = (one, labels) if whose == "candidate" else (labels, one)

    with pytest.raises(
        EvidenceError, match=rf"the {whose}'s classifier .* all 300 images the class 'cow'.*mend"
    ):
        run_probe("shared_mistakes", make(labels, *said))


def test_what_is_trained_from_scratch_alone_is_refused_and_beside_others_left_out(
    make: MakeTrial,
) -> None:
    labels = labelled(300)
    scratch = {"train": "train", "test": "test", "transfer": {"mode": "from_scratch"}}
    tasks = {"own": {"test": "test", "head": "own"}, "scratch": scratch}
    trial = make(labels, labels, labels)
    content = trial.plan.model_dump()
    content |= {"tasks": tasks}
    content["splits"]["train"] = content["splits"]["test"]

    found = run_probe(
        "shared_mistakes", Trial(Bench(Plan.model_validate(content), trial.bench.folder))
    )

    assert "scratch: trains from scratch" in found.remarks[0]
    content["probes"]["shared_mistakes"] = {"tasks": ["scratch"]}
    with pytest.raises(PlanError, match="scratch: trained from scratch, a network says nothing"):
        run_probe("shared_mistakes", Trial(Bench(Plan.model_validate(content), trial.bench.folder)))


def test_evidence_that_names_no_reference_is_not_judged(make: MakeTrial, tmp_path: Path) -> None:
    labels = labelled(300)
    found = run_probe("shared_mistakes", make(labels, labels, labels))
    (tmp_path / "policy.yaml").write_text(
        "{name: p, version: 1, rules: [{probe: shared_mistakes, metric: negative_flip_rate, "
        "at_most: 0.1, why: because}]}"
    )
    policy = load_policy(tmp_path / "policy.yaml")
    assert decide(policy, [found], date(2026, 1, 1)).decision == "accept"

    forged = Evidence.model_validate({**found.model_dump(), "reference": None})

    with pytest.raises(EvidenceError, match="holds agreement and names no reference"):
        decide(policy, [forged], date(2026, 1, 1))
