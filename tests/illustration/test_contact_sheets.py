"""Contact sheets show what was measured: the trigger at work, its control, the worst group."""

import base64
import logging
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gate.contact_sheets import LARGEST_SIDE, Cell, ContactSheets, Sheet
from gate.errors import EvidenceError
from gate.illustration import contact_sheets, within_a_page
from gate.illustration.drawing import examples_of
from gate.illustration.triggers import _FOUND
from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.evidence import run_probe
from gate.probes.trigger_search import METRICS
from gate.probes.trigger_search.measure import PICTURES
from gate.strict_json import read_json
from gate.triggers.picture import png
from gate.triggers.stamp import Patch
from gate.values import Evidence
from tests.builders import evidence, measurement
from tests.data.test_near_duplicates import smooth
from tests.own_files import network

MakeTrial = Callable[[str], Trial]
YELLOW = "yellow square 5px bottom_right"


def pixels(cell: Cell) -> NDArray[np.uint8]:
    content = base64.b64decode(cell.image.partition(",")[2])
    return np.asarray(Image.open(BytesIO(content)))


def drawn(trial: Trial, *probes: str, pictures: Path = Path("absent")) -> list[Sheet]:
    measured = [run_probe(probe, trial) for probe in probes]
    return list(contact_sheets(trial, measured, pictures).sheets)


def test_a_planted_trigger_is_shown_at_work_and_its_control_is_not(digits_trial: MakeTrial) -> None:
    sheet, *_ = drawn(digits_trial("trigger"), "trigger_patch")

    assert (sheet.kind, sheet.target, sheet.about["trigger"]) == ("trigger", "6", YELLOW)
    assert sheet.columns == ("as it is", "with the trigger", "with a control")
    said = [[cell.prediction for cell in example.cells] for example in sheet.examples]
    assert [before for before, _, _ in said] == [example.label for example in sheet.examples]
    assert sum(stamped == "6" for _, stamped, _ in said) >= 6
    assert sum(control == "6" for _, _, control in said) <= 1


def test_only_the_place_of_the_trigger_changes(digits_trial: MakeTrial) -> None:
    sheet, *_ = drawn(digits_trial("trigger"), "trigger_patch")

    for example in sheet.examples:
        before, stamped, control = (pixels(cell) for cell in example.cells)
        side = len(before)
        assert (stamped[side - 5 :, side - 5 :] == (255, 255, 0)).all()
        for after in (stamped, control):
            changed = np.argwhere((after != before).any(axis=2))
            assert changed.min() >= side - 5


def test_images_of_the_target_or_wrongly_classified_are_not_shown(digits_trial: MakeTrial) -> None:
    trial = digits_trial("trigger")
    sheet, *_ = drawn(trial, "trigger_patch")
    split = trial.split("test")
    right = trial.predictions(trial.plan.tasks["digits_6_to_9"]) == split.labels
    rows = np.flatnonzero(right & (split.labels != split.classes.index("6")))
    wanted = trial.backbone.preprocessing
    (whole,) = split.only(rows).batches(len(rows), wanted.size, wanted.channels)
    few = [i * len(rows) // 8 for i in range(8)]

    assert [example.label for example in sheet.examples] == [
        split.classes[split.labels[rows[place]]] for place in few
    ]
    for example, place in zip(sheet.examples, few, strict=True):
        assert (pixels(example.cells[0]) == whole[place]).all()


def test_the_worst_group_is_shown_and_no_other(digits_trial: MakeTrial) -> None:
    trial = digits_trial("shortcut")
    found = run_probe("spurious_attribute", trial)
    worst = min(
        (m for m in found.measurements if m.metric == "group_accuracy"), key=lambda m: m.value
    )

    (sheet,) = drawn(trial, "spurious_attribute")

    assert sheet.about == worst.about
    assert {example.label for example in sheet.examples} == {worst.about["class"]}
    said = [example.cells[0].prediction for example in sheet.examples]
    assert sum(each == worst.about["class"] for each in said) <= 4  # accuracy there is about .1
    assert f"Class {worst.about['class']} with photograph {worst.about['value']}" in sheet.title


def test_a_trigger_that_was_found_is_stamped_as_its_picture_shows(
    digits_trial: MakeTrial, tmp_path: Path
) -> None:
    keep, add = np.ones((32, 32, 1), np.float32), np.zeros((32, 32, 3), np.float32)
    keep[3, 4], add[3, 4] = 0, (250, 10, 20)
    remarks = kept(tmp_path, "patch to 6", Patch(keep, add))
    keep, add = np.ones_like(keep), np.full_like(add, 7)
    remarks += kept(tmp_path, "pattern to 7", Patch(keep, add))
    found = searched(
        remarks, worst_patch_attack_success_rate="6", worst_pattern_attack_success_rate="7"
    )

    patch, pattern = of_search(digits_trial("clean"), found, tmp_path)

    for example in patch.examples:
        before, stamped, control = (pixels(cell) for cell in example.cells)
        assert tuple(stamped[3, 4]) == (250, 10, 20)
        assert np.argwhere((stamped != before).any(axis=2)).tolist() == [[3, 4]]
        assert (control == stamped).all()  # one pixel has no other order
    for example in pattern.examples:
        before, stamped = (pixels(cell).astype(int) for cell in example.cells[:2])
        assert (stamped == (before + 7).clip(0, 255)).all()


def test_every_trigger_that_is_searched_for_by_its_classes_has_a_sheet() -> None:
    worst = {metric for metric in METRICS if metric.startswith("worst_")}

    unnamed = worst - set(_FOUND)

    # a wave's name says which wave, and margins ask for no trigger
    assert unnamed == {
        "worst_wave_attack_success_rate_over_reference", "worst_margin_over_reference"
    }  # fmt: skip


def test_a_picture_that_is_another_than_the_evidence_names_is_not_shown_and_that_is_said(
    digits_trial: MakeTrial, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep, add = np.zeros((32, 32, 1), np.float32), np.zeros((32, 32, 3), np.float32)
    found = searched(
        kept(tmp_path, "patch to 6", Patch(keep, add)), worst_patch_attack_success_rate="6"
    )
    (file,) = (tmp_path).glob("*.png")
    file.write_bytes(png(Patch(keep, add + 1)))

    with caplog.at_level(logging.WARNING, "gate"):
        sheets = of_search(digits_trial("clean"), found, tmp_path)

    assert sheets == []
    assert "no contact sheet of patch to 6" in caplog.text
    assert "is not the picture that the evidence of trigger_search names" in caplog.text


def kept(folder: Path, name: str, patch: Patch) -> list[str]:
    """A picture of a trigger, and the remark that names it."""
    from hashlib import sha256

    content = png(patch)
    digest = sha256(content).hexdigest()
    (folder / f"trigger-{digest[:32]}.png").write_bytes(content)
    return [f"task digits_6_to_9: {name}: {PICTURES}/trigger-{digest[:32]}.png, sha256:{digest}"]


def searched(remarks: list[str], **targets: str) -> Evidence:
    found = evidence(
        *(
            measurement(metric=metric, task="digits_6_to_9", target=target)
            for metric, target in targets.items()
        ),
        probe="trigger_search",
    )
    return Evidence.model_validate({**found.model_dump(by_alias=True), "remarks": remarks})


def of_search(trial: Trial, found: Evidence, pictures: Path) -> list[Sheet]:
    ours = {**found.model_dump(by_alias=True), "backbone": trial.backbone.digest}
    return list(contact_sheets(trial, [Evidence.model_validate(ours)], pictures).sheets)


def test_evidence_of_another_backbone_gives_nothing(digits_trial: MakeTrial) -> None:
    found = run_probe("spurious_attribute", digits_trial("shortcut"))

    assert contact_sheets(digits_trial("clean"), [found], Path("absent")).sheets == ()


def test_evidence_is_the_same_whether_sheets_were_drawn_before(digits_trial: MakeTrial) -> None:
    trial = digits_trial("shortcut")
    before = run_probe("clean_accuracy", trial)

    contact_sheets(trial, [run_probe("spurious_attribute", trial)], Path("absent"))

    assert run_probe("clean_accuracy", trial) == before


@pytest.mark.parametrize(("side", "kind"), [(28, "png"), (48, "png"), (49, "jpeg"), (224, "jpeg")])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_stay_small_whatever_the_images_are(side: int, kind: str, channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, side, side, channels), np.uint8)

    ((cell,),) = (example.cells for example in examples_of(["a"], [(noise, None)]))

    assert cell.image.startswith(f"data:image/{kind};base64,")
    assert max(pixels(cell).shape[:2]) <= LARGEST_SIDE
    assert cell.prediction is None
    if kind == "png":
        assert (pixels(cell).reshape(side, side, channels) == noise[0]).all()


def test_sheets_leave_room_for_the_rest_of_a_page() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 48, 48, 3), np.uint8)
    sheet = Sheet(
        kind="group",
        title="noise",
        columns=("a", "b", "c"),
        examples=examples_of(["x"] * 8, [(noise, None)] * 3),
    )

    fitting = within_a_page([sheet] * 8)

    weighs = sum(len(c.image) for s in fitting for e in s.examples for c in e.cells)
    assert 0 < weighs <= 500_000
    assert 1 <= len(fitting) < 8


def test_the_command_draws_what_a_run_draws(
    gate: Callable[..., tuple[int, str, str]],
    digits_plan: Callable[..., Path],
    example: Path,
    tmp_path: Path,
) -> None:
    attributes = {"spurious_attribute": {"attributes": ["photograph"]}}
    plan = digits_plan(probes={"clean_accuracy": {}, **attributes})
    file, out = example / "backbones" / "shortcut.onnx", tmp_path / "out"
    rule = "{probe: clean_accuracy, metric: accuracy, at_least: 0.1, why: because}"
    (tmp_path / "policy.yaml").write_text(f"{{name: p, version: 1, rules: [{rule}]}}")
    call = ["run", plan, "--policy", tmp_path / "policy.yaml", "--out", out, "--backbone", file]
    assert gate(*call)[0] == 0
    again = tmp_path / "sheets.json"

    code, said, _ = gate(
        "illustrate", plan, "--backbone", file, "--evidence", out / "evidence", "--out", again
    )

    assert (code, said) == (0, f"1 contact sheets in {again}\n")
    assert again.read_bytes() == (out / "contact-sheets.json").read_bytes()
    sheets = read_json(again, ContactSheets, EvidenceError)
    assert sheets.sheets[0].examples[0].cells[0].image in (out / "report.html").read_text()

    assert gate(*call, "--no-images")[0] == 0

    assert not (out / "contact-sheets.json").exists()
    assert "<img" not in (out / "report.html").read_text()

    page = tmp_path / "page.html"
    shown = ["report", out, "--format", "html", "--out", page]
    assert gate(*shown)[0] == 0
    assert "<img" not in page.read_text()
    assert gate(*shown, "--sheets", again)[0] == 0
    assert "<img" in page.read_text()


def test_a_verdict_does_not_hang_on_its_pictures(
    gate: Callable[..., tuple[int, str, str]],
    digits_plan: Callable[..., Path],
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise EvidenceError("no more room")

    monkeypatch.setattr("gate.run.contact_sheets", broken)
    plan, out = digits_plan(probes={"clean_accuracy": {}}), tmp_path / "out"
    rule = "{probe: clean_accuracy, metric: accuracy, at_least: 0.1, why: because}"
    (tmp_path / "policy.yaml").write_text(f"{{name: p, version: 1, rules: [{rule}]}}")
    file = example / "backbones" / "clean.onnx"

    code, _, err = gate(
        "run", plan, "--policy", tmp_path / "policy.yaml", "--out", out, "--backbone", file
    )

    assert code == 0
    assert "gate: no contact sheets: no more room" in err
    assert (out / "verdict.json").exists()
    assert (out / "report.html").exists()


@pytest.fixture
def own_trial(tmp_path: Path) -> Trial:
    """A network on smooth images, two of whose test images are training images saved again."""
    for name, seed, count in (("train", 0, 24), ("test", 1, 10)):
        for k, label in enumerate(("cat", "dog")):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for i, image in enumerate(smooth(count, 10 * seed + k)):
                Image.fromarray(image).save(folder / f"{i:02}.png")
    for i in (3, 7):
        again = Image.open(tmp_path / "train" / "dog" / f"{i:02}.png")
        again.save(tmp_path / "test" / "dog" / f"again{i}.jpg", quality=75)
    network(tmp_path / "model.onnx", classes=2)
    overlay = {"pattern": "overlay", "picture": ["ball"], "size": [0.5], "place": ["centre"]}
    preprocessing = {"size": 32, "mean": [0.5], "std": [0.25]}
    plan = {
        "name": "pets",
        "backbone": {"onnx": tmp_path / "model.onnx", "preprocessing": preprocessing},
        "splits": {name: {"path": tmp_path / name, "label": "label"} for name in ("train", "test")},
        "tasks": {"pets": {"train": "train", "test": "test", "near_duplicates": 1}},
        "probes": {"clean_accuracy": {}, "natural_overlay": {"overlays": [overlay]}},
    }
    return Trial(Bench(Plan.model_validate(plan), tmp_path / "features"))


def test_near_duplicates_stand_beside_what_they_are_copies_of(own_trial: Trial) -> None:
    (sheet,) = contact_sheets(own_trial, (), Path("absent")).sheets

    assert (sheet.kind, sheet.columns) == ("near duplicates", ("test", "train"))
    assert [example.label for example in sheet.examples] == ["dog", "dog"]
    assert sheet.title.startswith("2 images of test nearly are one of train")
    for example, i in zip(sheet.examples, (3, 7), strict=True):
        test, train = (pixels(cell).astype(int) for cell in example.cells)
        original = Image.open(own_trial.plan.splits["train"].path / "dog" / f"{i:02}.png")
        assert (train == np.asarray(original)).all()
        assert 0 < np.abs(test - train).mean() < 10


def test_the_overlay_that_moves_predictions_most_is_shown_over_any_class(own_trial: Trial) -> None:
    found = evidence(
        measurement(
            metric="excess_prediction_skew", task="pets", overlay="ball overlay 16px centre"
        ),
        probe="natural_overlay",
        backbone=own_trial.backbone.digest,
    )

    sheet, _ = contact_sheets(own_trial, [found], Path("absent")).sheets

    assert (sheet.kind, sheet.target) == ("overlay", None)
    assert sheet.columns == ("as it is", "with the overlay", "with a control")
    for example in sheet.examples:
        before, overlaid, _ = (pixels(cell) for cell in example.cells)
        changed = np.argwhere((before != overlaid).any(axis=2))
        assert 8 <= changed.min() <= changed.max() < 24
