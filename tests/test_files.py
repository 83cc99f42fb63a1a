"""Files appear whole or not at all."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from gate import Verdict, files
from gate.errors import BackboneError, EvidenceError, GateError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write(path, "one")
    files.write(path, b"two")

    assert path.read_text() == "two"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyError("x")])
def test_a_block_that_breaks_off_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, fault: Exception
) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises((GateError, KeyError)), files.replacing(path) as partial:
        partial.write_text("half")
        raise fault

    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_is_said_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    # a limit on file size is what a test can set; the kernel fails the write in the same way
    code = (
        "import resource, signal, sys; from pathlib import Path; from gate import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "files.write(Path(sys.argv[1]), 'x' * 5000)\n"
    )
    path = tmp_path / "verdict.json"

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )

    assert f"GateError: {path}: cannot be written: File too large" in done.stderr
    assert "nothing was changed" in done.stderr
    assert names(tmp_path) == []


def test_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path; from gate import files\n"
        "with files.replacing(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    subprocess.run([sys.executable, "-c", code, str(path)], check=False)

    assert path.read_text() == "old"
    files.write(path, "new")
    assert names(tmp_path) == ["file"]


def test_the_digest_of_a_file_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")

    # the digest of "abc" in FIPS 180-2, appendix B
    expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_of(tmp_path / "a", BackboneError) == expected


def test_the_digest_of_a_folder_changes_with_every_name_and_byte(tmp_path: Path) -> None:
    def digest(**content: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, text in content.items():
            files.write(folder / name, text)
        return files.sha256_of(folder, BackboneError)

    base = digest(a="1", b="2")

    assert base == digest(b="2", a="1")
    assert (
        len({base, digest(a="1", b="3"), digest(a="1", c="2"), digest(a="1"), digest(a="12")}) == 5
    )


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    files.write(folder / "weights", "x")
    (folder / "link").symlink_to(folder / "weights")

    with pytest.raises(BackboneError, match="a link inside an artefact is refused"):
        files.sha256_of(folder, BackboneError)


def test_an_empty_folder_and_a_missing_file_have_no_digest(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="empty folder"):
        files.sha256_of(tmp_path, BackboneError)
    with pytest.raises(BackboneError, match="cannot be read: No such file"):
        files.sha256_of(tmp_path / "absent", BackboneError)


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
def test_a_file_that_is_no_verdict_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(content)

    with pytest.raises(EvidenceError, match=r"verdict\.json: "):
        files.read_json(path, Verdict, EvidenceError)
