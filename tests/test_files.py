"""Files appear whole or not at all."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate import Evidence, Verdict, files, strict_json
from gate.errors import BackboneError, EvidenceError, GateError
from tests.builders import evidence


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

    expected = (
        (GateError, f"{path}: cannot be written: No space left on device; nothing was changed")
        if isinstance(fault, OSError)
        else (KeyError, "x")
    )
    with pytest.raises(expected[0], match=expected[1]), files.replacing(path) as partial:
        partial.write_text("half")
        raise fault

    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    files.keep(tmp_path / "file", b"content")

    assert files.kept(tmp_path / "file") == b"content"


@pytest.mark.parametrize("place", [0, 6, 7, -1])
def test_no_byte_of_a_kept_file_can_change(tmp_path: Path, place: int) -> None:
    path = tmp_path / "file"
    files.keep(path, b"content")
    whole = bytearray(path.read_bytes())
    whole[place] ^= 1
    path.write_bytes(whole)

    with pytest.raises(GateError, match="file: is not what was written there, by its digest; dele"):
        files.kept(path)


@pytest.mark.parametrize("content", [b"", b"content", b"x" * 32, b"x" * 500])
def test_what_was_not_written_to_be_kept_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(GateError, match="delete the file"):
        files.kept(tmp_path / "file")


@pytest.mark.parametrize("place", ["two/file", "one/other"])
def test_a_kept_file_counts_under_its_own_name_alone(tmp_path: Path, place: str) -> None:
    files.keep(tmp_path / "one" / "file", b"content")
    other = tmp_path / place
    other.parent.mkdir(exist_ok=True)
    other.write_bytes((tmp_path / "one" / "file").read_bytes())

    with pytest.raises(GateError, match=f"{place}: is not what was written there"):
        files.kept(other)


def test_a_pipe_in_the_place_of_a_kept_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")

    with pytest.raises(GateError, match="it is no file; delete the file"):
        files.kept(tmp_path / "file")


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


def test_ctrl_c_half_way_leaves_the_old_file_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt), files.replacing(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt

    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_block_that_writes_nothing_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with (
        pytest.raises(GateError, match="cannot be written: No such file"),
        files.replacing(path) as partial,
    ):
        assert partial.parent == path.parent  # a rename is whole within one file system only

    assert path.read_text() == "old"


def test_the_old_file_stands_until_the_block_is_done(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with files.replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"


def test_text_is_written_as_utf_8(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "größer ≤ 5\n")

    assert (tmp_path / "file").read_bytes() == "größer ≤ 5\n".encode()


def test_a_folder_in_the_files_place_is_said_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "out"
    files.write(path / "inside", "x")

    with pytest.raises(GateError, match=f"{path}: cannot be written: "):
        files.write(path, "y")

    assert names(tmp_path) == ["out"]
    assert names(path) == ["inside"]


# the clean-up raises over the sentence: missing_ok forgives ENOENT only: gate/files.py, finally
def test_a_file_in_the_folders_place_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("old")

    with pytest.raises(GateError, match="cannot be written: "):
        files.write(tmp_path / "out" / "verdict.json", "new")

    assert (tmp_path / "out").read_text() == "old"


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


def test_the_digest_of_a_folder_is_that_of_a_sha256sum_manifest(tmp_path: Path) -> None:
    files.write(tmp_path / "model" / "a", b"1")
    files.write(tmp_path / "model" / "b" / "c", b"2")
    one, two = (hashlib.sha256(content).hexdigest() for content in (b"1", b"2"))

    digest = files.sha256_of(tmp_path / "model", BackboneError)

    # what `sha256sum a b/c | sha256sum` prints in that folder
    manifest = f"{one}  a\n{two}  b/c\n".encode()
    assert digest == "sha256:" + hashlib.sha256(manifest).hexdigest()


def test_the_files_of_an_artefact_are_those_of_model_signings_manifest(tmp_path: Path) -> None:
    for name, content in (("b/x", b"1"), ("a.bin", b"2"), ("b.bin", b"3"), ("b-c/y", b"4")):
        files.write(tmp_path / "model" / name, content)

    found = files.hashed(tmp_path / "model", BackboneError)

    # names, order and digests as model-signing 1.1.1 gives them: model_signing.hashing.hash(folder)
    assert [(name, digest[:8]) for name, digest in found.items()] == [
        ("a.bin", "d4735e3a"), ("b/x", "6b86b273"), ("b-c/y", "4b227777"), ("b.bin", "4e074085"),
    ]  # fmt: skip
    single = files.hashed(tmp_path / "model" / "a.bin", BackboneError)
    assert list(single) == ["."]
    assert files.digest_of_files(single) == "sha256:" + found["a.bin"]


def test_the_digest_of_a_folder_does_not_depend_on_where_it_lies(tmp_path: Path) -> None:
    for place in ("here", "there"):
        files.write(tmp_path / place / "sub" / "weights", b"1")
    moved = tmp_path / "third"
    files.write(moved / "weights", b"1")

    here, there, flat = (
        files.sha256_of(path, BackboneError)
        for path in (tmp_path / "here", tmp_path / "there", moved)
    )

    assert here == there != flat


@given(st.binary(min_size=1, max_size=200), st.integers(0), st.integers(1, 255))
def test_every_changed_byte_changes_the_digest_of_a_file_and_of_its_folder(
    content: bytes, place: int, flip: int
) -> None:
    changed = bytearray(content)
    changed[place % len(content)] ^= flip
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "weights"
        digests = set()
        for some in (content, bytes(changed)):
            path.write_bytes(some)
            digests |= {files.sha256_of(p, BackboneError) for p in (path, path.parent)}

    assert len(digests) == 4


# a name may hold a line break, and with it another file's line: gate/files.py, sha256_of
def test_a_name_with_a_line_break_does_not_pass_for_two_files(tmp_path: Path) -> None:
    files.write(tmp_path / "two" / "a", b"A")
    files.write(tmp_path / "two" / "b", b"B")
    line = f"a\n{hashlib.sha256(b'B').hexdigest()}  b"
    files.write(tmp_path / "one" / line, b"A")

    two = files.sha256_of(tmp_path / "two", BackboneError)
    try:
        one = files.sha256_of(tmp_path / "one", BackboneError)
    except BackboneError:
        return  # such a name may as well be refused

    assert one != two


# the name is a lone surrogate, which UTF-8 refuses with a ValueError: gate/files.py, sha256_of
def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).write_bytes(b"x")

    with pytest.raises(BackboneError, match="name"):
        files.sha256_of(tmp_path, BackboneError)


def test_a_link_to_a_folder_in_a_folder_is_refused(tmp_path: Path) -> None:
    files.write(tmp_path / "elsewhere" / "weights", "x")
    files.write(tmp_path / "model" / "weights", "x")
    (tmp_path / "model" / "sub").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(BackboneError, match=r"model/sub: a link inside an artefact is refused"):
        files.sha256_of(tmp_path / "model", BackboneError)


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
    (tmp_path / "sub").mkdir()
    with pytest.raises(BackboneError, match="empty folder"):
        files.sha256_of(tmp_path, BackboneError)


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
def test_a_file_that_is_no_verdict_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "verdict.json"
    path.write_text(content)

    with pytest.raises(EvidenceError, match=r"verdict\.json: "):
        strict_json.read_json(path, Verdict, EvidenceError)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    files.write(tmp_path / "evidence.json", evidence().to_json())

    assert strict_json.read_json(tmp_path / "evidence.json", Evidence, EvidenceError) == evidence()


def test_a_missing_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"absent\.json: cannot be read: No such file"):
        strict_json.read_json(tmp_path / "absent.json", Evidence, EvidenceError)


def test_an_unknown_key_in_json_is_told_with_the_nearest_known_one(tmp_path: Path) -> None:
    content = evidence().to_json().replace('"low"', '"lo"')
    files.write(tmp_path / "evidence.json", content)

    with pytest.raises(EvidenceError, match=r"measurements\.0\.lo: .*did you mean 'low'"):
        strict_json.read_json(tmp_path / "evidence.json", Evidence, EvidenceError)


def test_a_pipe_in_a_folder_is_refused(tmp_path: Path) -> None:
    files.write(tmp_path / "weights", "x")
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(BackboneError, match="pipe: neither file nor folder"):
        files.sha256_of(tmp_path, BackboneError)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"seed": 0', '"seed": 1, "seed": 0', r"not valid JSON: key 'seed' stands twice"),
        ('"n": 100', '"n": 1, "n": 100', r"not valid JSON: key 'n' stands twice"),
        ('"settings": {}', '"settings": {"x": NaN}', r"not valid JSON: NaN is no number"),
        ('"settings": {}', '"settings": -Infinity', r"not valid JSON: -Infinity is no number"),
        ('"settings": {}', '"settings": ' + "[" * 100_000, "not valid JSON: "),
        ('"settings": {}', '"settings": {"x": "\\ud800"}', "evidence.json"),
    ],
)
def test_json_that_readers_may_take_differently_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    content = evidence().to_json()
    assert old in content
    (tmp_path / "evidence.json").write_text(content.replace(old, new))

    with pytest.raises(EvidenceError, match=says):
        strict_json.read_evidence(tmp_path)


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(EvidenceError, match="/dev/zero: longer than 64 MiB"):
        files.read(Path("/dev/zero"), EvidenceError)


def test_a_device_is_no_artefact() -> None:
    with pytest.raises(BackboneError, match="/dev/zero: neither file nor folder"):
        files.hashed(Path("/dev/zero"), BackboneError)
