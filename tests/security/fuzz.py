"""Mutates every kind of file that gate reads, and has gate read it.

    python -m tests.security.fuzz [INPUTS] [SEED] [FIRST]

Each input is a sound file with one to four mutations, and must be read or be refused: an exit code
of the contract, with a line that says why. A fault is anything else: another exception, "a bug in
gate", another code, no line or one that steers a terminal, a process that dies, five seconds of
computing or two minutes of waiting; and a signed file that is let through though it was changed.
Prints a table of counts, also when it is ended early, and each fault with the number of its input:
to run that again alone, give 1, the seed, and the number as FIRST. Exits 1 if there is any.
"""

import contextlib
import io
import logging
import os
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from gate.errors import ExitCode
from gate.printable import escaped
from tests.security import fuzz_kinds
from tests.security.fuzz_kinds import Kind, Reader

COMPUTING, WAITING = 5.0, 120.0  # seconds an input
MEMORY = 4 << 30  # bytes that an input may take
LONGEST = 1 << 20  # bytes of an input
BATCH = 1_000  # inputs a process, so that none grows old
LOG = Path("libraries.log")
OUTCOMES = ("tried", "read", "refused", "faults")
ENDED: dict[int, str] = {
    signal.SIGPROF: f"computes for more than {COMPUTING:g} seconds",
    signal.SIGALRM: f"takes more than {WAITING:g} seconds",
}


def drawn(
    kinds: list[Kind], seeds: list[bytes], seed: int, number: int
) -> tuple[int, bytes, Reader]:
    """The input of a number: which kind, the file's content, and what reads it."""
    random = Random(f"{seed} {number}")  # noqa: S311  # the same number gives the same input
    (index,) = random.choices(range(len(kinds)), [kind.often for kind in kinds])
    content = seeds[index]
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        mutated = random.choice(kinds[index].mutations)(content, random)
        content = mutated if len(mutated) <= LONGEST else content
    return index, content, random.choice(kinds[index].readers)


def outcome(reader: Reader) -> str:
    """``read``, ``refused``, or what is wrong."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = reader()
        except BaseException as fault:
            return f"raises {type(fault).__name__}: {fault}"
        finally:
            logging.getLogger("gate").handlers.clear()  # each command adds one
    shown, said = (stream.buffer.getvalue().decode() for stream in (out, err))
    if code not in set(ExitCode) - {ExitCode.INTERRUPTED}:
        return f"exits {code}"
    said += log()
    if "this is a bug in gate" in said or "Traceback (most" in said:
        return said
    if code and "gate: " not in said:
        return f"exits {code} and does not say why"
    for text in (shown, said):
        if escaped(text) != text:
            return f"prints what would steer a terminal: {text!a}"
    return "refused" if code else "read"


def log() -> str:
    """What libraries wrote past Python's own stream, since it was last asked for."""
    if not LOG.exists():
        return ""
    content = LOG.read_text(errors="replace")
    os.truncate(LOG, 0)
    return content


def work(kinds: list[Kind], seeds: list[bytes], seed: int, numbers: range, answer: int) -> None:
    """Have each input read; writes a line when one begins, and one when it has ended."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in numbers:
        index, content, reader = drawn(kinds, seeds, seed, number)
        kind = kinds[index]
        os.write(answer, f"{index}\n".encode())
        Path(kind.file).write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, COMPUTING)  # when it ends, so does this process
        signal.setitimer(signal.ITIMER_REAL, WAITING)
        says = outcome(reader)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if says == "read" and kind.signed and content != seeds[index]:
            says = "is let through though it was changed"
        Path(kind.file).write_bytes(seeds[index])
        os.write(answer, f"{says[:2000]!a}\n".encode())


def tried(
    kinds: list[Kind], seeds: list[bytes], seed: int, numbers: range
) -> Iterator[tuple[int, int, str]]:
    """Number, kind and outcome of each input, which processes of their own read."""
    while numbers:
        sys.stdout.flush()
        result, answer = os.pipe()
        if not (process := os.fork()):
            try:
                os.close(result)
                os.dup2(os.open(os.devnull, os.O_RDWR), 0)
                os.dup2(os.open(LOG, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 1)
                os.dup2(1, 2)
                work(kinds, seeds, seed, numbers[:BATCH], answer)
            finally:
                os._exit(0)
        os.close(answer)
        index = None
        with os.fdopen(result) as answers:
            for line in answers:
                if index is None:
                    index = int(line)
                    continue
                yield numbers[0], index, line.strip().strip("'\"")
                numbers, index = numbers[1:], None
        ended_by = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert index is not None or ended_by == 0, f"input {numbers[0]} cannot be made: {ended_by}"
        if index is not None:
            Path(kinds[index].file).write_bytes(seeds[index])
            yield numbers[0], index, ENDED.get(-ended_by, f"ends the process: {ended_by}")
            numbers = numbers[1:]


def table(kinds: list[Kind], counts: Counter[tuple[str, str]]) -> str:
    """The counts of each kind, and of all."""
    names = [*(kind.file for kind in kinds), "all"]
    rows = [("", *OUTCOMES), *((name, *(counts[name, o] for o in OUTCOMES)) for name in names)]
    width = max(map(len, names))
    return "\n".join(f"{row[0]:<{width}}" + "".join(f"{n:>9}" for n in row[1:]) for row in rows)


def main(inputs: int, seed: int, first: int) -> int:
    """Try so many inputs; 0 where there is no fault, else 1."""
    counts, home = Counter[tuple[str, str]](), Path.cwd()
    for ends in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ends, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            kinds = fuzz_kinds.kinds()
            seeds = [kind.read_seed() for kind in kinds]
            for number, index, says in tried(kinds, seeds, seed, range(first, first + inputs)):
                outcome = says if says in OUTCOMES else "faults"
                for name in (kinds[index].file, "all"):
                    counts[name, "tried"] += 1
                    counts[name, outcome] += 1
                if outcome == "faults":
                    print(f"input {number} of seed {seed}: {kinds[index].file} {says}", flush=True)
        finally:
            os.chdir(home)
            print(table(kinds, counts), flush=True)
    return int(counts["all", "faults"] > 0)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(numbers + [2_000, 0, 0][len(numbers) :])))
