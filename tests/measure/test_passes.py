"""Passes are pure functions of a block, made of values that can be sent elsewhere."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gate.backbone.backbone import Backbone, Outputs
from gate.backbone.heads import LinearHead
from gate.data.split import Split, open_split
from gate.errors import PlanError
from gate.measure.blocks import BLOCKS
from gate.measure.passes import Examples, InProcess, Part, Pass, gathered
from gate.measure.readers import Classes, Cosines, Output, PairwiseCosine, Reader
from gate.measure.trial import Trial
from gate.plan.backbone import BackbonePlan
from gate.plan.split import SplitPlan
from gate.progress import Advance
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from tests import tiny
from tests.data.test_split import as_npz, table

HEAD = LinearHead(
    np.random.default_rng(3).normal(size=(5, 3)).astype(np.float32), np.zeros(3, np.float32)
)
GRID = TriggerGrid(pattern="square", colour=("yellow",), size=(0.5,), place=("top_left", "centre"))
STAMPS = tuple(trigger.stamp for trigger in bank((GRID,), tiny.SIDE, 3, 0, ()))


MakeTrial = Callable[[str], Trial]


def silent(_done: int) -> None:
    pass


@pytest.fixture
def work(tmp_path: Path) -> Pass:
    """Two stamps and the images as they are, with a reader of each kind."""
    path = tiny.write_onnx(tmp_path / "m.onnx")
    plan = BackbonePlan.model_validate({"onnx": path, "preprocessing": tiny.PREPROCESSING})
    readers: dict[str, Reader] = {
        "features": Output("features"),
        "classes": Classes(HEAD),
        "cosines": Cosines(),
    }
    return Pass(plan, readers, (None, *STAMPS))


@pytest.fixture
def split(tmp_path: Path, images: np.ndarray) -> Split:
    return open_split("test", SplitPlan.model_validate(as_npz(tmp_path, table(images))))


def test_each_variant_is_what_its_stamped_images_give(
    work: Pass, split: Split, images: np.ndarray
) -> None:
    whole = gathered(InProcess(Backbone).map(work, split, 16, silent), work, len(split))

    for place, stamp in enumerate((None, *STAMPS)):
        features = tiny.by_hand(stamp.on(images) if stamp else images)
        np.testing.assert_allclose(whole["features"][place], features, rtol=1e-4, atol=1e-5)
        classes = (features @ HEAD.weight).argmax(axis=1)
        assert whole["classes"][place].tolist() == classes.tolist()
        unit = features / np.linalg.norm(features, axis=1, keepdims=True)
        cosine = (unit @ unit.T)[~np.eye(60, dtype=bool)].mean()
        assert whole["cosines"][place].distances[0] == pytest.approx(1 - cosine, abs=1e-5)


def test_what_comes_back_does_not_depend_on_the_order_of_blocks(work: Pass, split: Split) -> None:
    parts = list(InProcess(Backbone).map(work, split, 16, silent))

    forth, back = (gathered(iter(some), work, len(split)) for some in (parts, parts[::-1]))

    assert [len(part.rows) for part in parts] == [16, 16, 16, 12]
    for place in range(3):
        for name in ("features", "classes"):
            np.testing.assert_array_equal(forth[name][place], back[name][place])
        one, other = (whole["cosines"][place].sums for whole in (forth, back))
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_pass_that_was_sent_to_another_process_gives_the_same(
    work: Pass, split: Split, tmp_path: Path
) -> None:
    images = next(split.batches(60, tiny.SIDE, 3))
    rows = np.arange(60)
    (tmp_path / "sent").write_bytes(pickle.dumps((work, rows, images)))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "from gate.backbone.backbone import Backbone\n"
        "folder = Path(sys.argv[1])\n"
        "work, rows, images = pickle.loads((folder / 'sent').read_bytes())\n"
        "part = work.opened(Backbone(work.backbone))(rows, images, lambda _done: None)\n"
        "(folder / 'back').write_bytes(pickle.dumps(part))\n"
    )

    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)

    back: Part = pickle.loads((tmp_path / "back").read_bytes())  # noqa: S301  # our own
    here = work.opened(Backbone(work.backbone))(rows, images, silent)
    assert back.kept.keys() == here.kept.keys()
    for place in range(3):
        for name in ("features", "classes"):
            np.testing.assert_array_equal(back.kept[name][place], here.kept[name][place])


def test_passes_are_counted_by_the_engine_a_variant_of_an_example_each(
    work: Pass, split: Split
) -> None:
    engine = InProcess(Backbone)
    told: list[int] = []

    list(engine.map(work, split, 25, told.append))

    assert engine.passes == {Backbone(work.backbone).digest: 3 * 60}
    assert told == [25] * 6 + [10] * 3


def test_a_backbone_is_opened_once_for_one_description(digits_trial: MakeTrial) -> None:
    bench = digits_trial("clean").bench
    again = BackbonePlan.model_validate(bench.plan.backbone.model_dump())

    assert bench.opened(again) is bench.backbone


class Scattered(InProcess):
    """Another engine: blocks are lists of rows, as far apart as can be, and come back anyhow."""

    def map(self, work: Pass, examples: Examples, size: int, advance: Advance) -> Iterator[Part]:
        assert isinstance(examples, Split)
        for start in (2, 0, 1):
            rows = np.arange(start, len(examples), 3)
            for part in super().map(work, examples.only(rows), size, advance):
                yield Part(rows[part.rows], part.kept)


def test_it_does_not_matter_where_and_in_which_lists_of_rows_blocks_are_passed(
    work: Pass, split: Split
) -> None:
    one, other = (
        gathered(engine(Backbone).map(work, split, 16, silent), work, len(split))
        for engine in (InProcess, Scattered)
    )

    for place in range(3):
        np.testing.assert_allclose(one["features"][place], other["features"][place], rtol=1e-5)
        np.testing.assert_array_equal(one["classes"][place], other["classes"][place])


def test_part_of_a_split_is_passed_by_itself(work: Pass, split: Split, images: np.ndarray) -> None:
    rows = np.array([3, 20, 59])

    whole = gathered(InProcess(Backbone).map(work, split.only(rows), 2, silent), work, len(rows))

    expected = tiny.by_hand(images[rows])
    np.testing.assert_allclose(whole["features"][0], expected, rtol=1e-4, atol=1e-5)


def test_images_are_no_texts(tmp_path: Path, split: Split) -> None:
    from tests import tiny_text

    path = tiny_text.write_onnx(tmp_path, ("input_ids", "attention_mask"))
    text = {"tokenizer": tiny_text.write_tokenizer(tmp_path)}
    plan = BackbonePlan.model_validate({"onnx": path, "text": text})
    work = Pass(plan, {"features": Output("features")})

    with pytest.raises(PlanError, match=r"splits\.test: has images, and the backbone takes texts"):
        list(InProcess(Backbone).map(work, split, 16, silent))


def test_sums_over_blocks_are_sums_over_all(
    images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.measure.readers.ROWS", 7)  # so that all are read in pieces
    features = tiny.by_hand(images).astype(np.float32)
    cosines = Cosines()
    whole = None
    for start in (0, 7, 40):
        rows = np.arange(start, {0: 7, 7: 40, 40: 60}[start])
        kept = cosines.read(rows, Outputs(features[rows], None))
        whole = cosines.put(whole, kept, rows, 60)

    assert whole is not None
    at_once = PairwiseCosine.of_all(features)
    np.testing.assert_allclose(whole.sums, at_once.sums, rtol=1e-6)
    assert whole.counts.tolist() == at_once.counts.tolist() == [60 // BLOCKS] * BLOCKS
    for of_all in (whole.sums, whole.counts):
        with pytest.raises(ValueError, match="read-only"):
            of_all[0] = 1
