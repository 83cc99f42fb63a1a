"""How long the light commands take, and an unchanged `dvc repro`, beside what cannot be avoided.

``python -m tests.benchmarks.startup``, after ``make gate``.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

OUT = Path("out/digits/clean")
LIGHT = {
    "gate --help": ["--help"],
    "gate policy lint": ["policy", "lint", "policies/digits.yaml"],
    "gate decide": [
        "decide", "--policy", "policies/digits.yaml",
        "--evidence", str(OUT / "evidence"), "--out", "{folder}/verdict.json",
    ],
}  # fmt: skip


def seconds(command: list[str], cwd: str = ".", repeats: int = 7) -> float:
    """Median wall time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run(command, cwd=cwd, check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main() -> None:
    """Print a line a command."""
    bare = seconds([sys.executable, "-c", "pass"])
    print(f"python -c pass: {bare:.2f} s")
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in LIGHT.items():
            filled = [argument.format(folder=folder) for argument in arguments]
            took = seconds([str(scripts / "gate"), *filled])
            print(f"{name}: {took:.2f} s, {took / bare:.0f} x python -c pass")
        dvc = str(scripts / "dvc")
        for command in (["git", "init", "-q"], [dvc, "init", "-q"]):
            subprocess.run(command, cwd=folder, check=True)
        (Path(folder) / "dvc.yaml").write_text("stages:\n  nothing:\n    cmd: 'true'\n")
        start = seconds([dvc, "repro"], cwd=folder)
        unchanged = seconds([dvc, "repro", "report"])
        print(f"dvc repro of one empty stage: {start:.2f} s")
        print(f"dvc repro report, nothing changed: {unchanged:.2f} s, {unchanged - start:+.2f} s")


if __name__ == "__main__":
    main()
