"""Kills `gate run`, `decide` and `admit` at random points, runs each again and compares every byte.

    python -m tests.security.kill [POINTS] [SEED]

POINTS kills of each command, and a tenth as many pairs of runs at once into one folder. After a
kill, each file must be absent or that of an unbroken run; after the next run, all must be, and
nothing else may lie about. Prints counts, and exits 1 if anything is otherwise.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import yaml

from gate import cli
from tests import tiny
from tests.gated import PEM

RUN = ["run", "plan.yaml", "--policy", "policy.yaml", "--out", "out"]
DECIDE = ["decide", "--policy", "policy.yaml", "--evidence", "whole/evidence", "--out", "v/v.json"]
ADMIT = [
    *("admit", "whole/verdict.json", "--artefact", "model.onnx", "--policy", "policy.yaml"),
    *("--key", "key.pem", "--out", "a/a.json"),
]
# each command, and the folder that it writes to
COMMANDS = ((RUN, Path("out")), (DECIDE, Path("v")), (ADMIT, Path("a")))
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


def start(arguments: list[str]) -> int:
    """The command in a fork of this process, where all is imported; its process id."""
    if process := os.fork():
        return process
    code = 3
    try:
        log = os.open(f"{os.getpid()}.log", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["gate", *arguments]
        cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 3
    finally:
        os._exit(code)


def wait(process: int) -> tuple[int, str]:
    """Exit code (less than 0: the signal that ended it) and all that it said."""
    _, status = os.waitpid(process, 0)
    log = Path(f"{process}.log")
    said = log.read_text() if log.exists() else ""
    log.unlink(missing_ok=True)
    return os.waitstatus_to_exitcode(status), said


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but for what a clock wrote."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run-info.json"
    }


def whole(arguments: list[str], folder: Path) -> tuple[dict[str, bytes], float]:
    """What an unbroken call leaves, and the seconds that it takes.

    Raises:
        AssertionError: It does not succeed.
    """
    begun = time.monotonic()
    code, said = wait(start(arguments))
    assert code == 0, said
    return content(folder), time.monotonic() - begun


def killed(
    arguments: list[str], folder: Path, points: int, random: Random, counts: Counter[str]
) -> Iterator[str]:
    """Kill a command at many points; what was otherwise than it must be."""
    reference, seconds = whole(arguments, folder)
    name = arguments[0]
    for point in range(points):
        if random.random() < 0.7:
            shutil.rmtree(folder, ignore_errors=True)
        process = start(arguments)
        time.sleep(random.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        code, _ = wait(process)
        counts[f"{name}: kills"] += 1
        counts[f"{name}: in flight"] += code == -signal.SIGKILL
        left = content(folder)
        hidden = {path for path in left if Path(path).name.startswith(".")}
        counts[f"{name}: kills that left something unfinished"] += bool(hidden)
        for path in left.keys() - hidden:
            if left[path] != reference.get(path):
                yield f"{name} {point}: after the kill {path} is of no unbroken run"
        code, said = wait(start(arguments))
        if code != 0:
            yield f"{name} {point}: run again, it exits {code}: {said}"
        elif (after := content(folder)) != reference:
            differ = sorted(p for p in after | reference if after.get(p) != reference.get(p))
            yield f"{name} {point}: run again, these differ: {', '.join(differ)}"


def at_once(pairs: int, random: Random, counts: Counter[str]) -> Iterator[str]:
    """Two runs into one folder; what was otherwise than it must be."""
    out = Path("out")
    reference, seconds = whole(RUN, out)
    for pair in range(pairs):
        shutil.rmtree(out)
        first = start(RUN)
        time.sleep(random.uniform(0, seconds / 2))
        ends = [wait(start(RUN)), wait(first)]
        counts["pairs of runs at once"] += 1
        for code, said in ends:
            refused = code == 3 and "in use by process" in said
            counts["pairs of runs at once: refused"] += refused
            if code != 0 and not refused:
                yield f"pair {pair}: exits {code}: {said}"
        if content(out) != reference:
            yield f"pair {pair}: what is left is of no unbroken run"


def main(points: int, seed: int) -> int:
    """Kill all commands; 0 where all was as it must be, else 1."""
    # imported once, so that a fork is killed at work and not while it imports
    import gate.run
    import gate.trust.admission
    import gate.trust.envelope  # noqa: F401  # as above

    random = Random(seed)  # noqa: S311  # the same seed kills at the same points
    counts, home = Counter[str](), Path.cwd()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(prefix="gate-kill-") as place:
        os.chdir(place)
        try:
            write_inputs()
            whole([*RUN[:-1], "whole"], Path("whole"))
            for arguments, folder in COMMANDS:
                faults += killed(arguments, folder, points, random, counts)
            faults += at_once(max(points // 10, 1), random, counts)
        finally:
            os.chdir(home)
    for what, count in counts.items():
        print(f"{count:>6}  {what}")
    print(f"{len(faults):>6}  otherwise than they must be", *faults, sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*(numbers + [100, 0][len(numbers) :])))
