"""Logits in, logits out: `gate prior` and `gate calibrate` on files, and files that do not fit."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from gate.errors import DataError
from gate.label_prior import array_files, gla
from gate.label_prior import prior as priors
from gate.label_prior.from_logits import AdjustmentFiles, LogitFiles, adjust_logits, label_prior
from tests.label_prior.written import write_array, write_file
from tests.planted import planted

KINDS = ["npy", "npz", "safetensors", "csv", "parquet"]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "gate", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_prior(kind: str, tmp_path: Path) -> None:
    of = planted(4, 30, 0, features=4)
    scores = write_array(tmp_path / f"f.{kind}", "logits", of.logits)
    labels = write_array(tmp_path / f"y.{kind}", "labels", of.labels)

    found = label_prior(scores, labels, None)

    expected = priors.estimate(of.logits, of.labels)
    np.testing.assert_allclose(found["shares"], expected.shares, rtol=1e-3)
    np.testing.assert_allclose(found["standard_errors"], expected.errors, rtol=1e-2)
    assert found["files"]["logits"].startswith("sha256:")


def test_a_lone_zero_that_pandas_wrote_above_labels_is_one_label_too_many(tmp_path: Path) -> None:
    of = planted(4, 30, 0, features=4)
    scores, labels = tmp_path / "f.csv", tmp_path / "y.csv"
    pandas.DataFrame(of.logits).to_csv(scores, index=False)
    pandas.DataFrame(of.labels).to_csv(labels, index=False)

    with pytest.raises(
        DataError, match=r"y\.csv: 121 labels.*f\.csv: 120 rows.* a lone 0 as a label"
    ):
        label_prior(scores, labels, None)

    pandas.DataFrame({"labels": of.labels}).to_csv(labels, index=False)
    assert len(label_prior(scores, labels, None)["shares"]) == 4


def test_the_command_writes_shares_with_errors(tmp_path: Path) -> None:
    of = planted(10, 50, 0)
    scores = write_array(tmp_path / "f.npy", "logits", of.logits)
    labels = write_array(tmp_path / "y.npy", "labels", of.labels)

    printed = command("prior", "--logits", scores, "--labels", labels)
    kept = command("prior", "--logits", scores, "--labels", labels, "--out", tmp_path / "q.json")

    found = json.loads(printed.stdout)
    assert (printed.returncode, kept.returncode, kept.stdout) == (0, 0, "")
    assert json.loads((tmp_path / "q.json").read_text()) == found
    assert len(found["shares"]) == len(found["standard_errors"]) == 10
    assert sum(found["shares"]) == pytest.approx(1, abs=1e-4)
    assert found["cross_fitted"]["log_loss_gain"]["value"] > 0


def test_what_the_ridge_or_the_fallback_did_is_said(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(3), 10)
    scores = write_array(tmp_path / "f.npy", "logits", np.eye(3)[labels] * 50)

    done = command(
        "prior", "--logits", scores, "--labels", write_array(tmp_path / "y.npy", "", labels)
    )

    assert done.returncode == 0
    assert "(separable)" in done.stderr
    assert "it is not removed" in done.stderr
    assert json.loads(done.stdout)["removed"] is False


def pair(folder: Path, kind: str = "npy") -> tuple[LogitFiles, Path, Path]:
    of = planted(10, 60, 0, features=8)
    other = planted(10, 60, 0, ratio=5, features=8).unbiased
    noise = np.random.default_rng(1).normal(size=other.shape).astype(np.float32)
    frequencies = np.linspace(1, 3, 10) / np.linspace(1, 3, 10).sum()
    fine_tuned = other + noise + np.log(frequencies).astype(np.float32)
    known = LogitFiles(
        write_array(folder / f"zs.{kind}", "logits", of.logits),
        write_array(folder / f"ft.{kind}", "logits", fine_tuned),
        write_array(folder / f"y.{kind}", "labels", of.labels),
    )
    shares = write_array(folder / f"p.{kind}", "shares", frequencies)
    counts = np.repeat(np.arange(10), (frequencies * 1000).round().astype(int))
    return known, shares, write_array(folder / f"train.{kind}", "labels", counts)


@pytest.mark.parametrize("kind", KINDS)
def test_calibrate_gives_the_formula_on_logits(kind: str, tmp_path: Path) -> None:
    known, shares, _ = pair(tmp_path, kind)

    adjusted, about = adjust_logits(AdjustmentFiles(known, None, shares, known), tmp_path / "out")

    told = json.loads(about.read_text())
    f_zs, f_ft, _ = known.read()
    expected = (
        told["temperature_scales"]["zero_shot"] * f_zs - np.log(told["prior"]["shares"])
        + told["temperature_scales"]["fine_tuned"] * f_ft - np.log(told["train_frequencies"])
    )  # fmt: skip
    np.testing.assert_allclose(array_files.read_logits(adjusted), expected, rtol=1e-3, atol=1e-3)
    predictions = array_files.read_labels(adjusted, "predictions")
    np.testing.assert_array_equal(predictions, array_files.read_logits(adjusted).argmax(axis=1))
    assert set(told["test"]["methods"]) == set(gla.METHODS)
    assert set(told["files"]) >= {"zero_shot", "test_labels", "train"}


def test_the_command_calibrates_logits_and_counts_train_labels(tmp_path: Path) -> None:
    known, _, counts = pair(tmp_path)
    given = ["--zero-shot", known.zero_shot, "--fine-tuned", known.fine_tuned]

    done = command(
        "calibrate", *given, "--labels", known.labels, "--train-labels", counts,
        "--out", tmp_path / "out",
    )  # fmt: skip

    told = json.loads((tmp_path / "out" / "gla.json").read_text())
    assert done.returncode == 0, done.stderr
    assert "test" not in told
    assert told["adjusted"] == "estimation set"
    assert sum(told["train_frequencies"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("place", ["zero_shot", "test"])
def test_results_are_not_written_over_what_they_are_made_from(place: str, tmp_path: Path) -> None:
    known, shares, _ = pair(tmp_path, "npz")
    (tmp_path / "link").symlink_to(tmp_path)
    mine = known.zero_shot.rename(tmp_path / "gla.npz")
    before = mine.read_bytes()
    kept = write_file(tmp_path, "zs.npz", before)
    test = LogitFiles(mine, known.fine_tuned, None) if place == "test" else None
    known = LogitFiles(kept if test else mine, known.fine_tuned, known.labels)

    with pytest.raises(DataError, match=r"gla\.npz: the results would be written over it; choose"):
        adjust_logits(AdjustmentFiles(known, None, shares, test), tmp_path / "link")

    assert mine.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "either PLAN or --zero-shot"),
        (["plan.yaml", "--zero-shot", "f.npy"], "either PLAN or --zero-shot"),
        (["plan.yaml", "--labels", "f.npy"], "PLAN takes no files of logits"),
        (["--zero-shot", "f.npy"], "--zero-shot needs --fine-tuned and --labels"),
        (
            ["--zero-shot", "f.npy", "--fine-tuned", "f.npy", "--labels", "y.npy"],
            "either --train-labels or --train-shares",
        ),
    ],
)
def test_half_of_what_calibrate_needs_is_a_wrong_use(arguments: list[str], says: str) -> None:
    done = command("calibrate", *arguments, "--out", "nowhere")

    assert done.returncode == 2
    assert says in done.stderr


def test_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    known, shares, _ = pair(tmp_path)
    narrow = write_file(tmp_path, "narrow.npy", np.zeros((600, 9)))
    few = write_file(tmp_path, "few.npy", np.full(9, 1 / 9))
    one = write_file(tmp_path, "one.npy", np.zeros(5, np.int64))
    test = LogitFiles(narrow, narrow, None)
    holed = np.array(known.read()[0])
    holed[5, 0] = np.nan
    nan = write_file(tmp_path, "nan.npy", holed)
    zero_shot, fine_tuned, labels = known.zero_shot, known.fine_tuned, known.labels
    assert labels
    y = array_files.read_labels(labels)
    some = write_file(tmp_path, "some.npy", np.maximum(y, 1))
    more = write_file(tmp_path, "more.npy", np.append(y, 0))
    high = write_file(tmp_path, "high.npy", y + 1)

    for arguments, says in [
        ((LogitFiles(known.zero_shot, narrow, known.labels), None, shares, None), r"\(600, 9\)"),
        (
            (LogitFiles(known.zero_shot, known.fine_tuned, None), None, shares, None),
            "give --labels",
        ),
        ((known, None, few, None), r"few\.npy: 9 shares, and .*zs\.npy: 10 classes"),
        ((known, one, None, None), r"one\.npy: class 1 has no sample \(9 of 10 have none\)"),
        ((known, high, None, None), r"high\.npy: labels 1 .. 10; the logits' classes are 0 .. 9"),
        ((known, None, shares, test), r"narrow\.npy: 9 classes, and .*zs\.npy: 10"),
        (
            (known, None, shares, LogitFiles(nan, fine_tuned, None)),
            r"nan\.npy: the logits in row 5 are",
        ),
        (
            (LogitFiles(zero_shot, nan, labels), None, shares, None),
            r"nan\.npy: the logits in row 5 are",
        ),
        (
            (known, None, shares, LogitFiles(zero_shot, fine_tuned, some)),
            r"some\.npy: class 0 has no",
        ),
        (
            (known, None, shares, LogitFiles(zero_shot, fine_tuned, more)),
            r"more\.npy: 601 labels, and",
        ),
        (
            (known, None, shares, LogitFiles(zero_shot, fine_tuned, high)),
            r"high\.npy: labels 1 .. 10",
        ),
    ]:
        with pytest.raises(DataError, match=says):
            adjust_logits(AdjustmentFiles(*arguments), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_copies_of_samples_are_counted_in_a_remark(tmp_path: Path) -> None:
    of = planted(4, 25, 0, features=4)
    scores, labels = np.tile(of.logits, (10, 1)), np.tile(of.labels, 10)
    f = write_array(tmp_path / "f.npy", "logits", scores)
    y = write_array(tmp_path / "y.npy", "labels", labels)
    copies = write_array(tmp_path / "c.npy", "clusters", np.tile(np.arange(100), 10))

    done = command("prior", "--logits", f, "--labels", y)
    clustered = label_prior(f, y, copies)

    remark = json.loads(done.stdout)["remarks"][0]
    assert "1,000 rows are 100 distinct ones" in remark
    assert "about 3.2 times too narrow" in remark
    assert remark in done.stderr
    assert not any("distinct" in each for each in clustered["remarks"])
    once = priors.estimate(of.logits, of.labels)
    tenfold = priors.estimate(scores, labels)
    np.testing.assert_allclose(once.errors / tenfold.errors, 10**0.5, rtol=0.3)


def test_a_remark_on_copies_is_made_where_logits_are_adjusted(tmp_path: Path) -> None:
    of = planted(4, 25, 0, features=4)
    f = write_array(tmp_path / "f.npy", "logits", np.tile(of.logits, (2, 1)))
    y = write_array(tmp_path / "y.npy", "labels", np.tile(of.labels, 2))

    done = command(
        "calibrate", "--zero-shot", f, "--fine-tuned", f, "--labels", y, "--train-labels", y,
        "--test-zero-shot", f, "--test-fine-tuned", f, "--test-labels", y,
        "--out", tmp_path / "out",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "out" / "gla.json").read_text())
    for remarks in (said["prior"]["remarks"], said["test"]["remarks"]):
        assert "200 rows are 100 distinct ones" in remarks[0]
        assert remarks[0] in done.stderr


def test_samples_that_differ_in_their_logits_or_labels_are_no_copies(tmp_path: Path) -> None:
    of = planted(4, 25, 0, features=4)
    f = write_array(tmp_path / "f.npy", "logits", of.logits)
    y = write_array(tmp_path / "y.npy", "labels", of.labels)

    assert not any("distinct" in each for each in label_prior(f, y, None)["remarks"])
