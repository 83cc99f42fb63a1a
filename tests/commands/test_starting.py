"""The commands for those who start."""

from gate.errors import ExitCode
from tests.conftest import Gate


def test_exit_codes_are_printed_from_the_table(gate: Gate) -> None:
    _, out, _ = gate("exit-codes")

    assert [line.split()[:2] for line in out.splitlines()] == [
        [str(code.value), code.name] for code in ExitCode
    ]
