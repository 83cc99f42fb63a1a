"""Two thousand mutated files; for more of them, and for fuzzing by coverage, see `fuzz.py`."""

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from gate.commands.results import say
from gate.errors import DataError, ExitCode
from tests.conftest import ROOT
from tests.security import fuzz, fuzz_kinds
from tests.security import fuzz_mutations as m
from tests.security.fuzz_kinds import call

Done = subprocess.CompletedProcess[str]


def run(*arguments: str, folder: Path = ROOT) -> Done:
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def counts(done: Done) -> dict[str, list[int]]:
    rows = (line.split() for line in done.stdout.splitlines())
    return {name: list(map(int, numbers)) for name, *numbers in rows if len(numbers) == 4}


def test_mutated_files_are_read_or_refused_and_nothing_else() -> None:
    done = run("-m", "tests.security.fuzz", "2000", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    every = counts(done)
    tried, read, refused, faults = every.pop("all")
    assert (tried, faults) == (2_000, 0)
    assert read > 200
    assert refused > 1_000
    assert min(tried for tried, *_ in every.values()) > 0


SOUND = """\
import os, sys
from tests.security import fuzz, fuzz_kinds
os.chdir(sys.argv[1])
for kind in fuzz_kinds.kinds():
    for reader in kind.readers:
        if (says := fuzz.outcome(reader)) != "read":
            print(kind.file, says)
"""


def test_what_is_mutated_was_sound_to_everybody_who_reads_it(tmp_path: Path) -> None:
    done = run("-c", SOUND, str(tmp_path))

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def raises() -> None:
    raise KeyError("x")


def refuses() -> None:
    raise DataError("x.csv: no; mend it")


def steers() -> int:
    sys.stdout.write("\x1b[2J")
    return ExitCode.ACCEPT


def gives_up() -> int:
    say("unexpected KeyError: 'x'; this is a bug in gate: report it")
    return ExitCode.ERROR


@pytest.mark.parametrize(
    ("reader", "says"),
    [
        (call(refuses), "refused"),
        (call(lambda: None), "read"),
        (call(raises), "raises KeyError: 'x'"),
        (call(sys.exit), "raises SystemExit: "),
        (lambda: ExitCode.REJECT, "exits 1 and does not say why"),
        (lambda: ExitCode.INTERRUPTED, "exits 130"),
        (lambda: -1, "exits -1"),
        (steers, r"prints what would steer a terminal: '\x1b[2J'"),
        (gives_up, "gate: unexpected KeyError: 'x'; this is a bug in gate: report it\n"),
    ],
)
def test_a_reader_ends_as_the_contract_says_or_it_is_a_fault(
    reader: Callable[[], int], says: str
) -> None:
    assert fuzz.outcome(reader) == says


FAULTY = """\
import os, sys, time
from pathlib import Path
from tests.security import fuzz
from tests.security.fuzz_kinds import Kind
fuzz.COMPUTING, fuzz.WAITING = 0.2, 1
def computes():
    while True: pass
def waits():
    time.sleep(60)
    return 0
def reads(): return 0
def mutate(content, random): return b"x"
os.chdir(sys.argv[1])
Path("file").write_bytes(b"sound")
kinds = [
    Kind("file", (mutate,), (reader,), signed=signed)
    for reader, signed in ((computes, 0), (waits, 0), (os.abort, 0), (reads, 1), (reads, 0))
]
for index, kind in enumerate(kinds):
    for number, _, says in fuzz.tried([kind], [b"sound"], 0, range(index, index + 1)):
        print(number, says, Path("file").read_text())
"""


def test_who_computes_waits_dies_or_lets_a_forgery_through_is_found(tmp_path: Path) -> None:
    done = run("-c", FAULTY, str(tmp_path))

    assert done.stdout.splitlines() == [
        "0 computes for more than 5 seconds sound",
        "1 takes more than 120 seconds sound",
        "2 ends the process: -6 sound",
        "3 is let through though it was changed sound",
        "4 read sound",
    ], done.stderr


def test_an_input_is_the_same_whenever_its_number_is_run(tmp_path: Path) -> None:
    random_kinds = [
        fuzz_kinds.Kind(str(number), (m.of_yaml, m.of_bytes()), (lambda: 0,)) for number in range(9)
    ]
    seeds = [b"a: [1, 2, {b: c}]"] * 9

    drawn = [fuzz.drawn(random_kinds, seeds, 5, number)[:2] for number in range(50)]

    assert drawn == [fuzz.drawn(random_kinds, seeds, 5, number)[:2] for number in range(50)]
    assert len({content for _, content in drawn}) > 30


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_fuzzing_by_coverage_finds_nothing_in_fifty_policies(tmp_path: Path) -> None:
    done = run("-m", "tests.security.fuzz_guided", "policy.yaml", "-runs=50", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "Done 50 runs" in done.stderr
