"""Logits in, logits out: file kinds, `gate prior` and `gate calibrate` on them, bad input."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from safetensors.numpy import load_file, save_file

from gate import label_prior as priors
from gate.errors import DataError
from gate.label_prior import gla, logits
from gate.label_prior.from_logits import Pair, calibrate, label_prior
from tests.planted import planted

KINDS = ["npy", "npz", "safetensors", "csv", "parquet"]


def keep(path: Path, name: str, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        logits.write(path, {name: array})
    return path


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "gate", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_prior(kind: str, tmp_path: Path) -> None:
    of = planted(4, 30, 0, features=4)
    scores = keep(tmp_path / f"f.{kind}", "logits", of.logits)
    labels = keep(tmp_path / f"y.{kind}", "labels", of.labels)

    found = label_prior(scores, labels, None)

    expected = priors.estimate(of.logits, of.labels)
    np.testing.assert_allclose(found["shares"], expected.shares, rtol=1e-3)
    np.testing.assert_allclose(found["standard_errors"], expected.errors, rtol=1e-2)
    assert found["files"]["logits"].startswith("sha256:")


def test_one_csv_may_hold_logits_and_labels_with_or_without_names(tmp_path: Path) -> None:
    both, bare = tmp_path / "both.csv", tmp_path / "bare.csv"
    both.write_text("id,logits_0,logits_1,labels\n7,0.5,1,1\n8,2,1,0\n")
    bare.write_text("0.5,1\n2,1\n")

    assert logits.read_logits(both).tolist() == logits.read_logits(bare).tolist()
    assert logits.read_logits(bare).tolist() == [[0.5, 1], [2, 1]]
    assert logits.read_labels(both).tolist() == [1, 0]


@pytest.mark.parametrize(
    "content",
    [
        b"0.5,1\n2,1\n",
        b"\xef\xbb\xbf0.5,1\r\n2,1\r\n",
        b'"0.5","1"\n"2","1"\n',
        b"\n\r\n0.5,1\n2,1\n",
        b"0,1\n0.5,1\n2,1\n",
        b'\xef\xbb\xbf\n"0","1"\n0.5,1\n2,1\n',
    ],
    ids=["bare", "byte order mark", "quoted", "empty lines", "pandas", "all at once"],
)
def test_no_row_of_a_csv_is_taken_for_names_and_no_names_for_a_row(
    content: bytes, tmp_path: Path
) -> None:
    assert logits.read_logits(file(tmp_path, "f.csv", content)).tolist() == [[0.5, 1], [2, 1]]


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
    scores = keep(tmp_path / "f.npy", "logits", of.logits)
    labels = keep(tmp_path / "y.npy", "labels", of.labels)

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
    scores = keep(tmp_path / "f.npy", "logits", np.eye(3)[labels] * 50)

    done = command("prior", "--logits", scores, "--labels", keep(tmp_path / "y.npy", "", labels))

    assert done.returncode == 0
    assert "(separable)" in done.stderr
    assert "it is not removed" in done.stderr
    assert json.loads(done.stdout)["removed"] is False


def pair(folder: Path, kind: str = "npy") -> tuple[Pair, Path, Path]:
    of = planted(10, 60, 0, features=8)
    other = planted(10, 60, 0, ratio=5, features=8).unbiased
    noise = np.random.default_rng(1).normal(size=other.shape).astype(np.float32)
    frequencies = np.linspace(1, 3, 10) / np.linspace(1, 3, 10).sum()
    fine_tuned = other + noise + np.log(frequencies).astype(np.float32)
    known = Pair(
        keep(folder / f"zs.{kind}", "logits", of.logits),
        keep(folder / f"ft.{kind}", "logits", fine_tuned),
        keep(folder / f"y.{kind}", "labels", of.labels),
    )
    shares = keep(folder / f"p.{kind}", "shares", frequencies)
    counts = np.repeat(np.arange(10), (frequencies * 1000).round().astype(int))
    return known, shares, keep(folder / f"train.{kind}", "labels", counts)


@pytest.mark.parametrize("kind", KINDS)
def test_calibrate_gives_the_formula_on_logits(kind: str, tmp_path: Path) -> None:
    known, shares, _ = pair(tmp_path, kind)

    adjusted, about = calibrate(known, shares, False, known, tmp_path / "out")

    told = json.loads(about.read_text())
    f_zs, f_ft, _ = known.read()
    expected = (
        told["temperature_scales"]["zero_shot"] * f_zs - np.log(told["prior"]["shares"])
        + told["temperature_scales"]["fine_tuned"] * f_ft - np.log(told["train_frequencies"])
    )  # fmt: skip
    np.testing.assert_allclose(logits.read_logits(adjusted), expected, rtol=1e-3, atol=1e-3)
    predictions = logits.read_labels(adjusted, "predictions")
    np.testing.assert_array_equal(predictions, logits.read_logits(adjusted).argmax(axis=1))
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
    kept = file(tmp_path, "zs.npz", before)
    test = Pair(mine, known.fine_tuned, None) if place == "test" else None
    known = Pair(kept if test else mine, known.fine_tuned, known.labels)

    with pytest.raises(DataError, match=r"gla\.npz: the results would be written over it; choose"):
        calibrate(known, shares, False, test, tmp_path / "link")

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


def test_gla_is_worth_more_than_its_parts_on_exact_evidence() -> None:
    from pipelines.papers.gla import planted as paper

    rows = paper.run()["worth"]

    _, low, high = ({m: row["accuracy"][end] for m, row in rows.items()} for end in range(3))
    assert high["zero_shot"] < low["debiased"]
    assert high["fine_tuned"] < low["logit_adjustment"]
    assert high["logit_adjustment"] < low["plain_ensemble"]
    assert high["plain_ensemble"] < low["gla"]


def test_the_calibration_error_is_the_sum_over_bins() -> None:
    confidence, hits = np.array([0.95, 0.95, 0.55, 0.55]), np.array([1.0, 1, 0, 1])

    found = gla.calibration_error(confidence, hits, seed=0)

    assert found.value == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert found.low <= found.value <= found.high


@pytest.mark.coverage(full=60, sampled=20)
@pytest.mark.parametrize("off", [0.0, 0.02, 0.1])
def test_the_interval_of_a_calibration_error_holds_it(off: float, simulations: range) -> None:
    rng, missed = np.random.default_rng(1), 0
    for seed in simulations:
        confidence = rng.uniform(0.3 + off, 1, 300)
        hits = (rng.uniform(size=300) < confidence - off).astype(float)
        found = gla.calibration_error(confidence, hits, seed)
        missed += not found.low <= off <= found.high
    assert missed <= len(simulations) / 10  # by chance half as many


def test_classes_are_grouped_by_prior_or_by_training_count() -> None:
    thirds = gla.by_prior(np.array([0.1, 0.4, 0.2, 0.05, 0.2, 0.05]))
    assert {name: which.tolist() for name, which in thirds.items()} == {
        "head": [1, 2],
        "medium": [4, 0],
        "tail": [3, 5],
    }
    assert list(gla.by_prior(np.array([0.2, 0.8]))) == ["head", "tail"]
    by_count = gla.by_count(np.array([101, 100, 20, 19]))
    assert {name: which.tolist() for name, which in by_count.items()} == {
        "many": [0],
        "medium": [1, 2],
        "few": [3],
    }
    assert list(gla.by_count(np.array([500, 5]))) == ["many", "few"]


def file(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    if isinstance(content, bytes | str):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    elif path.suffix == ".safetensors":
        save_file(content, path)  # type: ignore[arg-type]  # a case below
    elif path.suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]  # a case below
    else:
        np.save(path, content)  # type: ignore[arg-type]  # a case below
    return path


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("f.npy", np.zeros(3), r"shape \(3,\); logits are \(N, K\)"),
        ("f.npy", np.zeros((3, 1)), "at least 2 classes"),
        ("f.npy", np.zeros((0, 3)), r"shape \(0, 3\)"),
        ("f.npy", np.array([["a", "b"]]), "holds <U1 and not numbers"),
        ("f.npy", pickle.dumps([1]), "is no .npy file that logits can be read"),
        ("f.npz", {"a": np.zeros((2, 2)), "b": np.zeros((2, 2))}, "a, b, and none is named 'log"),
        ("f.safetensors", b"no", "is no .safetensors file that logits can be read"),
        ("f.csv", "a,b\n1,2\n3,\n", "column 'b' has 1 empty cells"),
        (
            "f.csv",
            ",cat,dog\n0,1,2\n",
            "a column is named '': an index, or a row that is no header",
        ),
        ("f.csv", "logits_1,logits_2\n1,2\n", "2 columns logits_NUMBER, and no logits_0 among"),
        (
            "f.csv",
            "logits_7,logits_1,logits_0\n1,2,3\n",
            "no logits_2 .* logits_0 .. logits_2, each",
        ),
        (
            "f.csv",
            "logits_0,logits_1,logits_1\n1,2,3\n",
            "3 columns logits_NUMBER, and no logits_2",
        ),
        ("f.csv", "id,0,1\n7,1,2\n", "a column is named 'id': an index"),
        ("f.csv", "1.5,NA\n1,2\n", "a column is named 'NA': .* or logits_0, logits_1"),
        ("f.pkl", b"", ".pkl is not read; give one of .npy, .npz"),
        ("f.parquet", b"no", "is no .parquet file that logits can be read"),
    ],
)
def test_a_file_that_holds_no_logits_is_refused(
    name: str, content: object, says: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says):
        logits.read_logits(file(tmp_path, name, content))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or directory; check the path"):
        logits.read_logits(tmp_path / "f.npy")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "f.npy"
    np.save(path, np.array([[{}, {}]]), allow_pickle=True)

    with pytest.raises(DataError, match=r"f\.npy: is no \.npy file that logits can be read from: "):
        logits.read_logits(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.array([0, 0.5]), "0.5 in row 1 is no label"),
        (np.array([0, np.nan]), "nan in row 1 is no label"),
        (np.array([0, 1e30]), r"1e\+30 in row 1 is no label"),
        (np.array([0, 2**63], np.uint64), "9223372036854775808 in row 1 is no label"),
        (np.zeros((2, 2)), r"shape \(2, 2\); labels are one row"),
    ],
)
def test_labels_that_are_none_are_refused(content: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        logits.read_labels(file(tmp_path, "y.npy", content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (np.array([0.5, 0.6]), "the shares sum to 1.1 and not to 1"),
        (np.array([1.0, 0.0]), "share 0 of class 1"),
        (np.array([1.0, np.nan]), "share nan of class 1"),
    ],
)
def test_shares_that_are_none_are_refused(content: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        logits.read_shares(file(tmp_path, "p.npy", content))


def test_files_that_do_not_fit_each_other_are_refused(tmp_path: Path) -> None:
    known, shares, _ = pair(tmp_path)
    narrow = file(tmp_path, "narrow.npy", np.zeros((600, 9)))
    few = file(tmp_path, "few.npy", np.full(9, 1 / 9))
    one = file(tmp_path, "one.npy", np.zeros(5, np.int64))
    test = Pair(narrow, narrow, None)
    holed = np.array(known.read()[0])
    holed[5, 0] = np.nan
    nan = file(tmp_path, "nan.npy", holed)
    zero_shot, fine_tuned, labels = known.zero_shot, known.fine_tuned, known.labels
    assert labels
    y = logits.read_labels(labels)
    some = file(tmp_path, "some.npy", np.maximum(y, 1))
    more = file(tmp_path, "more.npy", np.append(y, 0))
    high = file(tmp_path, "high.npy", y + 1)

    for arguments, says in [
        ((Pair(known.zero_shot, narrow, known.labels), shares, False, None), r"\(600, 9\)"),
        ((Pair(known.zero_shot, known.fine_tuned, None), shares, False, None), "give --labels"),
        ((known, few, False, None), r"few\.npy: 9 shares, and .*zs\.npy: 10 classes"),
        ((known, one, True, None), r"one\.npy: class 1 has no sample \(9 of 10 have none\)"),
        ((known, high, True, None), r"high\.npy: labels 1 .. 10; the logits' classes are 0 .. 9"),
        ((known, shares, False, test), r"narrow\.npy: 9 classes, and .*zs\.npy: 10"),
        ((known, shares, False, Pair(nan, fine_tuned, None)), r"nan\.npy: the logits in row 5 are"),
        ((Pair(zero_shot, nan, labels), shares, False, None), r"nan\.npy: the logits in row 5 are"),
        ((known, shares, False, Pair(zero_shot, fine_tuned, some)), r"some\.npy: class 0 has no"),
        ((known, shares, False, Pair(zero_shot, fine_tuned, more)), r"more\.npy: 601 labels, and"),
        ((known, shares, False, Pair(zero_shot, fine_tuned, high)), r"high\.npy: labels 1 .. 10"),
    ]:
        with pytest.raises(DataError, match=says):
            calibrate(*arguments, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_are_not_written_as_a_single_array(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"written as \.npz"):
        logits.write(tmp_path / "gla.npy", {"logits": np.zeros((2, 2))})


def test_a_written_npz_holds_what_was_given_and_no_more(tmp_path: Path) -> None:
    logits.write(tmp_path / "f.npz", {"logits": np.eye(2), "predictions": np.arange(2)})

    with np.load(tmp_path / "f.npz") as held:
        assert held.files == ["logits", "predictions"]


def test_written_logits_read_back(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    logits.write(path, {"logits": np.eye(3, dtype=np.float32)})

    np.testing.assert_array_equal(load_file(path)["logits"], np.eye(3))
