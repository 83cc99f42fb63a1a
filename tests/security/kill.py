"""Kills `run`, `decide`, `admit` and `promote gto` at random points, and runs each again.

    python -m tests.security.kill [POINTS] [SEED]

POINTS kills of each command, and a tenth as many of all else: pairs of commands at once (two of
`run`, of `admit` and of `promote`, and `admit` while what it writes is promoted), files that may
not grow beyond some size, as on a full disk, and a folder that an ordinary user may not write to.
Whatever happens, each file and tag must be absent or that of an unbroken run; after the next run,
all must be, and nothing else may lie about. Prints counts, and exits 1 if anything is otherwise.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import yaml

from gate import cli
from tests import tiny
from tests.gated import PEM, PUBLIC, Gated

RUN = ["run", "plan.yaml", "--policy", "policy.yaml", "--out", "out"]
DECIDE = ["decide", "--policy", "policy.yaml", "--evidence", "whole/evidence", "--out", "v/v.json"]
ADMIT = [
    *("admit", "whole/verdict.json", "--artefact", "model.onnx", "--policy", "policy.yaml"),
    *("--key", "key.pem", "--out", "a/a.json"),
]
PROMOTE = [
    *("promote", "gto", "repository/model.onnx", "--name", "resnet", "--stage", "prod"),
    *("--admission", "a/a.json", "--policy", "policy.yaml", "--public-key", "public.pem"),
]
_SET_CHILD_SUBREAPER = 36  # of prctl, see prctl(2)
SHORTEST = 1_000  # bytes, so that what a command says fits into its log
PLAN = {
    "name": "killed",
    "backbone": {"onnx": "model.onnx", "preprocessing": tiny.PREPROCESSING},
    "splits": {"train": {"path": "train.npz"}, "test": {"path": "test.npz"}},
    "tasks": {"t": {"train": "train", "test": "test"}},
    "probes": {
        "clean_accuracy": {},
        "trigger_patch": {
            "triggers": [
                {"pattern": "square", "colour": ["yellow"], "size": [0.2], "place": ["top_left"]}
            ]
        },
    },
}
POLICY = {
    "name": "killed",
    "version": 1,
    "rules": [
        {"probe": "clean_accuracy", "metric": "accuracy", "at_least": 0.1, "why": "it is tried"}
    ],
}


def write_inputs() -> None:
    """A model, its data, a plan, a policy and a key, in the working directory."""
    tiny.write_onnx(Path("model.onnx"))
    for seed, name in enumerate(("train", "test")):
        label = np.arange(300) % 3
        images = np.random.default_rng(seed).integers(0, 256, (300, 8, 8, 3), dtype=np.uint8)
        images[np.arange(300), label * 2] = 255
        classes = np.array(["a", "b", "c"])
        np.savez(f"{name}.npz", image=images, label=label, class_names=classes)
    Path("plan.yaml").write_text(yaml.safe_dump(PLAN, sort_keys=False))
    Path("policy.yaml").write_text(yaml.safe_dump(POLICY, sort_keys=False))
    Path("key.pem").write_bytes(PEM)
    Path("public.pem").write_bytes(PUBLIC)
    repository = Gated(Path("repository"))
    repository.folder.mkdir()
    shutil.copy("model.onnx", "repository")
    for command in (
        "git init --quiet", "git config user.name t", "git config user.email t@t",
        "dvc init --quiet", "dvc remote add --quiet --default store ../store",
        "dvc add --quiet model.onnx", "dvc push --quiet",
    ):  # fmt: skip
        repository.must(*command.split())
    repository.commit()


def start(arguments: list[str], hinder: Callable[[], None] = lambda: None) -> int:
    """The command in a fork of this process, where all is imported; its process id.

    Args:
        arguments: Of the command.
        hinder: Called in the fork, before the command.
    """
    if process := os.fork():
        return process
    code = 3
    try:
        os.setpgid(0, 0)
        log = os.open(f"{os.getpid()}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        hinder()
        sys.argv = ["gate", *arguments]
        cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 3
    finally:
        os._exit(code)


def wait(process: int) -> tuple[int, str]:
    """Exit code (less than 0: the signal that ended it) and all that it said.

    What it started outlives it where it is killed, such as a git that tags, and is waited for.
    """
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-process, 0)
    log = Path(f"{process}.log")
    said = log.read_text() if log.exists() else ""
    log.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), said


def files_in(folder: str) -> dict[str, bytes]:
    """All files of a folder, but for what a clock wrote."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != "run-info.json"
    }


def tags() -> dict[str, bytes]:
    """The tags of the repository: which commit, and what they say of it."""
    form = "--format=%(refname:short)%00%(*objectname) %(contents:subject)"
    listed = Gated(Path("repository")).must("git", "for-each-ref", form, "refs/tags").splitlines()
    unfinished = {path.as_posix(): b"" for path in Path("repository/.git").rglob("*.lock")}
    said = (line.split("\0") for line in listed)
    return {name: says.encode() for name, says in said} | unfinished


def drop_tags() -> None:
    if names := Gated(Path("repository")).tags():
        Gated(Path("repository")).must("git", "tag", "--delete", *names)


class Command(NamedTuple):
    """A command, what it leaves, how that is removed, and what it may say where it does nothing."""

    arguments: list[str]
    left: Callable[[], dict[str, bytes]]
    remove: Callable[[], None]
    refuses: tuple[str, ...] = ()

    def whole(self) -> tuple[dict[str, bytes], float]:
        """What an unbroken call leaves, and the seconds that it takes.

        Raises:
            AssertionError: It does not succeed.
        """
        self.remove()
        begun = time.monotonic()
        code, said = wait(start(self.arguments))
        assert code == 0, said
        return self.left(), time.monotonic() - begun

    def refused(self, code: int, said: str) -> bool:
        """Whether it ended by saying that another call has done, or does, the same."""
        return code == 3 and any(says in said for says in self.refuses)


def into(folder: str, arguments: list[str], *refuses: str) -> Command:
    """A command that writes into a folder."""

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return Command(arguments, lambda: files_in(folder), remove, refuses)


HELD = "in use by process"
RUNS = into("out", RUN, HELD)
ADMITS = into("a", ADMIT)
PROMOTES = Command(PROMOTE, tags, drop_tags, ("is already in stage", HELD))
COMMANDS = (RUNS, into("v", DECIDE), ADMITS, PROMOTES)
FOLDERS = ("out", "v", "a", "repository/.git")
PAIRS = (
    (RUNS, RUNS),
    (ADMITS, ADMITS),
    (PROMOTES, PROMOTES),
    (ADMITS, PROMOTES._replace(refuses=("a/a.json: cannot be read",))),
)


def killed(command: Command, points: int, random: Random, counts: Counter[str]) -> Iterator[str]:
    """Kill a command at many points; what was otherwise than it must be."""
    reference, seconds = command.whole()
    name = command.arguments[0]
    for point in range(points):
        if command is PROMOTES or random.random() < 0.7:  # what is promoted stays so
            command.remove()
        process = start(command.arguments)
        time.sleep(random.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        code, _ = wait(process)
        counts[f"{name}: kills"] += 1
        counts[f"{name}: in flight"] += code == -signal.SIGKILL
        left = command.left()
        hidden = {path for path in left if Path(path).name.startswith(".") or ".lock" in path}
        counts[f"{name}: kills that left something unfinished"] += bool(hidden)
        finished = {path: left[path] for path in left.keys() - hidden}
        for path, content in finished.items():
            if content != reference.get(path):
                yield f"{name} {point}: after the kill {path} is of no unbroken run"
        code, said = wait(start(command.arguments))
        # killed when all was done but for taking back its claim, it rightly does nothing more
        if code != 0 and not (finished == reference and command.refused(code, said)):
            yield f"{name} {point}: run again, it exits {code}: {said}"
        elif (after := command.left()) != reference:
            differ = sorted(p for p in after | reference if after.get(p) != reference.get(p))
            yield f"{name} {point}: run again, these differ: {', '.join(differ)}"


def on_a_full_disk(
    command: Command, points: int, random: Random, counts: Counter[str]
) -> Iterator[str]:
    """Let no file grow beyond some size; what was otherwise than it must be."""
    reference, _ = command.whole()
    name, largest = f"{command.arguments[0]} on a full disk", max(map(len, reference.values()))
    for point in range(points):
        command.remove()
        size = random.randrange(SHORTEST, max(largest, SHORTEST + 1))
        limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
        code, said = wait(start(command.arguments, limit))
        counts[f"{name}: tries"] += 1
        counts[f"{name}: refused"] += code == 3
        if code not in (0, 3) or "bug in gate" in said or (code and "gate: " not in said):
            yield f"{name} {point}: with {size} bytes a file, it exits {code}: {said}"
        for path, content in command.left().items():
            if content != reference.get(path):
                yield f"{name} {point}: {path} is of no unbroken run"
        if (after := command.whole()[0]) != reference:
            yield f"{name} {point}: run again, these are left: {', '.join(after)}"


def not_writable(command: Command, folder: Path, counts: Counter[str]) -> Iterator[str]:
    """Let it write to a folder that it may only read; what was otherwise than it must be."""
    reference, _ = command.whole()
    name = f"{command.arguments[0]} into a read-only folder"
    for older in (True, False):
        if not older:
            command.remove()
        before = command.left()
        folder.mkdir(exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
        code, said = wait(start(command.arguments, without_privileges))
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)
        counts[f"{name}: tries"] += 1
        counts[f"{name}: refused"] += code == 3
        if code != 3 or "bug in gate" in said or "gate: " not in said:
            yield f"{name}: exits {code}: {said}"
        if command.left() != before:
            yield f"{name}: it changed what lay there"
    if command.whole()[0] != reference:
        yield f"{name}: run again, what is left is of no unbroken run"


def adopt_orphans() -> None:
    """Let what a killed process started become a child of this one, to be waited for."""
    assert ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def without_privileges() -> None:
    """Take from root what an ordinary user has not; a read-only folder is then so to it, too."""
    if os.getuid() == 0:
        version, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(version, none) == 0


def at_once(
    first: Command, second: Command, pairs: int, random: Random, counts: Counter[str]
) -> Iterator[str]:
    """Two commands at once; what was otherwise than it must be."""
    reference, seconds = first.whole()
    references = [reference, second.whole()[0]]
    name = " and ".join(command.arguments[0] for command in (first, second)) + " at once"
    for pair in range(pairs):
        second.remove()  # and the other reads or writes the same, or what the second reads
        process = start(first.arguments)
        time.sleep(random.uniform(0, seconds / 2))
        ends = [(second, *wait(start(second.arguments))), (first, *wait(process))]
        counts[f"{name}: pairs"] += 1
        for command, code, said in ends:
            refused = command.refused(code, said)
            counts[f"{name}: refused"] += refused
            if code != 0 and not refused:
                yield f"{name} {pair}: {command.arguments[0]} exits {code}: {said}"
        for command, whole in zip((first, second), references, strict=True):
            succeeds = any(code == 0 for ended, code, _ in ends if ended is command)
            if command.left() != (whole if succeeds else {}):
                yield f"{name} {pair}: what {command.arguments[0]} left is of no unbroken run"


def main(points: int, seed: int) -> int:
    """Kill all commands; 0 where all was as it must be, else 1."""
    # imported once, so that a fork is killed at work and not while it imports
    import dvc.api  # noqa: F401  # as above
    import gto.api  # noqa: F401  # as above

    import gate.run
    import gate.trust.admission
    import gate.trust.gto  # noqa: F401  # as above

    adopt_orphans()
    random = Random(seed)  # noqa: S311  # the same seed kills at the same points
    counts, home = Counter[str](), Path.cwd()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gate-kill-") as place:
        os.chdir(place)
        try:
            write_inputs()
            into("whole", [*RUN[:-1], "whole"]).whole()
            for command in COMMANDS:
                faults += killed(command, points, random, counts)
            few = max(points // 10, 1)
            for first, second in PAIRS:
                faults += at_once(first, second, few, random, counts)
            for command in COMMANDS:
                faults += on_a_full_disk(command, few, random, counts)
            for command, folder in zip(COMMANDS, FOLDERS, strict=True):
                faults += not_writable(command, Path(folder), counts)
        finally:
            os.chdir(home)
    for what, count in counts.items():
        print(f"{count:>6}  {what}")
    print(f"{len(faults):>6}  otherwise than they must be", *faults, sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(numbers + [100, 0][len(numbers) :])))
