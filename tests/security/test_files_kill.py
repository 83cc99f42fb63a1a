"""Commands killed half-way, and two runs at once; for more of them, see `kill.py`."""

import subprocess
import sys


def test_what_is_killed_and_run_again_leaves_the_bytes_of_an_unbroken_run() -> None:
    command = [sys.executable, "-m", "tests.security.kill", "3", "7"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "     3  run: kills" in done.stdout
    assert "     1  pairs of runs at once" in done.stdout
