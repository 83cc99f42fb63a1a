"""Commands killed half-way, two at once, and without leave to write; for more, see `kill.py`."""

import subprocess
import sys


def test_what_is_cut_short_and_run_again_leaves_the_bytes_of_an_unbroken_run() -> None:
    command = [sys.executable, "-m", "tests.security.kill", "2", "7"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "     2  run: kills" in done.stdout
    assert "     2  promote: kills" in done.stdout
    assert "     1  promote and promote at once: pairs" in done.stdout
    assert "     1  admit on a full disk: tries" in done.stdout
    assert "     2  decide into a read-only folder: refused" in done.stdout
    assert "     0  otherwise than they must be" in done.stdout
