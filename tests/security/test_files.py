"""Whoever plants links, writes at the same time or is killed leaves no mixed or foreign file."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gate import files
from gate.errors import GateError


@contextmanager
def other_process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the code and says ``ready`` half-way, ended with SIGKILL."""
    command = [sys.executable, "-c", "import sys, time; from pathlib import Path\n" + code]
    with subprocess.Popen([*command, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


HOLDS = """\
from gate import files
with files.claimed(Path(sys.argv[1])):
    print('ready', flush=True)
    time.sleep(60)
"""
WRITES = """\
from gate import files
with files.replacing(Path(sys.argv[1])) as partial:
    partial.write_text('half')
    print('ready', flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("planted", ["verdict.json.partial", ".verdict.json.partial"])
def test_a_planted_link_is_not_written_through(tmp_path: Path, planted: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / planted).symlink_to(victim)

    files.write(tmp_path / "verdict.json", "new")

    assert victim.read_text() == "precious"
    assert not (tmp_path / "verdict.json").is_symlink()


def test_a_link_in_the_results_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "verdict.json").symlink_to(victim)

    files.write(tmp_path / "verdict.json", "new")

    assert victim.read_text() == "precious"
    assert not (tmp_path / "verdict.json").is_symlink()


def test_a_link_at_the_place_of_writing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even to whoever guesses the digits."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(os, "urandom", lambda _: bytes(8))
    (tmp_path / "sub").mkdir()
    # not swept away beforehand: somebody else writes there
    with files.replacing(tmp_path / "sub" / "other") as other:
        other.write_text("x")
        place = tmp_path / "sub" / "link"
        monkeypatch.setattr(os, "urandom", lambda _: b"12345678")
        (tmp_path / "sub" / f".{b'12345678'.hex()}.partial").symlink_to(victim)

        with pytest.raises(GateError, match="link: cannot be written: File exists"):
            files.write(place, "new")

    assert victim.read_text() == "precious"


def test_two_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path, wrong = tmp_path / "file", []
    files.write(path, "a" * 100_000)
    code = (
        "from gate import files\n"
        "print('ready', flush=True)\n"
        "while True: files.write(Path(sys.argv[1]), 'b' * 100_000)\n"
    )

    with other_process(code, path):
        for _ in range(200):
            files.write(path, "a" * 100_000)
            content = path.read_text()
            if len(content) != 100_000 or len(set(content)) != 1:
                wrong.append(content[:10])

    assert not wrong


def test_what_a_killed_writer_left_is_no_result_and_goes_with_the_next_write(
    tmp_path: Path,
) -> None:
    with other_process(WRITES, tmp_path / "evidence.json") as writer:
        writer.kill()
        writer.wait()

    (leftover,) = tmp_path.iterdir()
    assert not list(tmp_path.glob("*.json"))
    files.write(tmp_path / "another.json", "{}")
    assert not leftover.exists()


def test_what_a_living_writer_writes_is_left_alone(tmp_path: Path) -> None:
    with other_process(WRITES, tmp_path / "evidence.json"):
        (living,) = tmp_path.iterdir()
        files.write(tmp_path / "another.json", "{}")

        assert living.read_text() == "half"


def test_a_folder_in_use_is_refused_and_names_the_process(tmp_path: Path) -> None:
    with other_process(HOLDS, tmp_path / "out") as holder:
        says = rf"out: in use by process {holder.pid} on \S+; wait until that has ended"
        with pytest.raises(GateError, match=says), files.claimed(tmp_path / "out"):
            pytest.fail("two processes hold one folder")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_folder_whose_holder_was_killed_is_free(tmp_path: Path, how: int) -> None:
    with other_process(HOLDS, tmp_path / "out") as holder:
        holder.send_signal(how)
        holder.wait()

        with files.claimed(tmp_path / "out"):
            pass

    assert not list((tmp_path / "out").iterdir())


def test_many_who_claim_a_folder_hold_it_one_at_a_time(tmp_path: Path) -> None:
    held, both, got = threading.Lock(), [], []

    def claim() -> None:
        for _ in range(300):
            try:
                with files.claimed(tmp_path):
                    both.append(not held.acquire(blocking=False))
                    got.append(1)
                    held.release()
            except GateError:
                pass

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert got
    assert not any(both)
    assert not list(tmp_path.iterdir())


def test_a_link_planted_as_the_lock_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".gate.lock").symlink_to(victim)

    with (
        pytest.raises(GateError, match="cannot be written: Too many levels of symbolic links"),
        files.claimed(tmp_path / "out"),
    ):
        pytest.fail("a link was followed")

    assert victim.read_text() == "precious"


@pytest.mark.parametrize("call", ["files.claimed(path).__enter__()", "files.write(path / 'x', '')"])
def test_a_folder_that_an_ordinary_user_may_not_write_to_is_said_in_a_line(
    tmp_path: Path, call: str
) -> None:
    path = tmp_path / "out"
    path.mkdir(mode=0o555)
    code = (
        "import os, sys; from pathlib import Path; from gate import files\n"
        "if os.getuid() == 0: os.setuid(65534)  # root may write anywhere\n"
        f"path = Path(sys.argv[1]); os.chdir('/'); {call}\n"
    )
    for above in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        above.chmod(0o755)

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )

    assert "cannot be written: Permission denied; nothing was changed" in done.stderr
    assert not list(path.iterdir())
