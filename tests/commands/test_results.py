"""An older result is removed, and nothing that is read is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.errors import ExitCode
from tests.conftest import Gate


def test_an_out_that_is_no_file_is_a_wrong_call(
    gate: Gate, case: Callable[..., list[object]], judged: list[object], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    for command in (judged[:-1], ["decide", *case(0.9)[:-1]]):
        for out in (tmp_path / "folder", tmp_path / "pipe"):
            code, _, err = gate(*command, out)

            assert code == ExitCode.USAGE
            assert f"{out} is a folder or a device; name a file to write" in err
            assert out.exists()


def test_an_older_result_that_cannot_be_removed_is_an_error(
    gate: Gate, judged: list[object], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")

    code, _, err = gate(*judged[:-1], tmp_path / "file" / "admission.json")

    assert code == ExitCode.ERROR
    assert "admission.json: cannot be removed: Not a directory" in err


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (["report", "FILE"], "{}"),
        (["validate", "FILE"], "tasks: {}"),
        (["probe", "clean_accuracy", "--plan", "FILE"], "tasks: {}"),
        (["prior", "--labels", "FILE", "--logits", "other.npy"], "0\n1\n"),
    ],
)
def test_no_command_writes_its_result_over_what_it_reads(
    gate: Gate, tmp_path: Path, command: list[str], content: str
) -> None:
    path = tmp_path / "file"
    path.write_text(content)

    code, _, err = gate(*(str(path) if each == "FILE" else each for each in command), "--out", path)

    assert code == ExitCode.USAGE
    assert f"{path} is, or lies in, {path}, which is read" in err
    assert path.read_text() == content
