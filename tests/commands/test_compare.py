"""The command that compares: what it takes, writes, and leaves alone."""

from pathlib import Path

import pytest

from gate import decide
from gate.commands.options import Attached, Telling
from gate.comparison.values import Comparison
from gate.errors import ExitCode
from tests.builders import policy
from tests.comparison.sides import patched
from tests.conftest import Gate
from tests.gated import issue, today_in_utc


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """A candidate that got worse, as a folder of evidence, and the champion, as a file."""
    folder, champion = tmp_path / "evidence", tmp_path / "champion.json"
    folder.mkdir()
    (folder / "trigger_patch.json").write_text(patched({"a": 900}).to_json())
    champion.write_text(patched({"a": 1}, champion=True).to_json())
    return folder, champion


def test_compare_exits_0_whatever_it_finds(gate: Gate, sides: tuple[Path, Path]) -> None:
    for call, says in ((sides, "1 worse, 0 better"), (sides[::-1], "0 worse, 1 better")):
        code, out, err = gate("compare", *call)

        assert (code, err) == (ExitCode.ACCEPT, "")
        assert says in out


@pytest.mark.parametrize("shown", ["text", "json", "markdown"])
def test_a_file_gets_what_stdout_would(
    gate: Gate, sides: tuple[Path, Path], tmp_path: Path, shown: str
) -> None:
    place = tmp_path / "out" / "comparison"

    code, out, _ = gate("compare", *sides, "--format", shown)
    gate("compare", *sides, "--format", shown, "--out", place)

    assert code == 0
    assert place.read_text() == out
    if shown == "json":
        assert Comparison.model_validate_json(out).having("worse")


def test_a_comparison_is_not_written_over_what_it_reads(
    gate: Gate, sides: tuple[Path, Path]
) -> None:
    folder, champion = sides
    before = champion.read_text()

    for place in (champion, folder / "comparison.txt"):
        code, _, err = gate("compare", *sides, "--out", place)
        assert code == ExitCode.USAGE
        assert "is, or lies in, " in err
    assert champion.read_text() == before


def test_a_comparison_that_fails_leaves_no_older_one(
    gate: Gate, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    place = tmp_path / "comparison.txt"
    place.write_text("an older one")
    sides[1].write_text("{}")

    code, _, err = gate("compare", *sides, "--out", place)

    assert code == ExitCode.ERROR
    assert "champion.json" in err
    assert not place.exists()


def test_sides_of_other_probes_exit_3_and_say_what_each_has(
    gate: Gate, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    other = issue(tmp_path / "evidence" / "..") / "admission.json"

    code, out, err = gate("compare", sides[0], other)

    assert (code, out) == (ExitCode.ERROR, "")
    assert "no measurement stands on both sides" in err
    assert "the admission's signature was not checked" in err


def test_the_evidence_of_a_champion_that_must_be_signed_is_refused(
    gate: Gate, sides: tuple[Path, Path], tmp_path: Path
) -> None:
    key = issue(tmp_path) / "public.pem"

    code, out, err = gate("compare", *sides, "--public-key", key)

    assert (code, out) == (ExitCode.ERROR, "")
    assert "is evidence, which nobody signs" in err


def test_a_report_is_given_its_champion(sides: tuple[Path, Path]) -> None:
    verdict = decide(policy(), [patched({"a": 900})], today_in_utc())
    attached = Attached(champion=str(sides[1]))

    found = attached.attachments(Telling(), verdict, colour=False)

    assert found.champion == (patched({"a": 1}, champion=True),)
    assert sides[1] in attached.files
    assert Attached(champion="gto:resnet@prod").files == (None,) * 4


def test_help_says_what_a_side_may_be(gate: Gate) -> None:
    out = " ".join(gate("compare", "--help")[1].split())

    assert "gto:NAME@STAGE, mlflow:NAME@ALIAS" in out
