"""How far a run is, and how long it still takes."""

import logging
import os
import pty
import re
import subprocess
import sys

import pytest

from gate.errors import EvidenceError
from gate.progress import Progress


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_comes_at_most_every_ten_seconds_and_says_what_is_left(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gate")
    progress = Progress("lines", clock=clock)
    progress.measured(0.5, {})
    progress.expect(1000)

    with progress("embed test", 100) as advance:
        for _ in range(25):
            clock.now += 1
            advance(2)

    assert lines(caplog) == [
        "embed test 20/100; 20 of about 1,000 passes, about 9 min left",
        "embed test 40/100; 40 of about 1,000 passes, about 8 min left",
    ]


def test_what_is_no_pass_says_nothing_of_how_long_passes_take(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gate")
    progress = Progress("lines", clock=clock)
    progress.measured(2.0, {})
    progress.expect(100)

    with progress("validate test", 5000, passes=0) as advance:
        clock.now += 15
        advance(5000)

    with progress("embed test", 10) as advance:
        clock.now += 10
        advance(10)

    assert lines(caplog) == [
        "validate test 5000/5000; 0 of about 100 passes, about 4 min left",
        "embed test 10/10; 10 of about 100 passes, about 90 s left",
    ]


def test_training_is_worth_more_passes(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gate")
    progress = Progress("lines", clock=clock)
    progress.measured(0.1, {})
    progress.expect(90)

    with progress("full_network train", 30, passes=3) as advance:
        clock.now += 12
        advance(10)

    assert lines(caplog) == ["full_network train 10/30; 30 of about 90 passes, about 24 s left"]


def test_passes_that_come_take_the_place_of_those_that_were_guessed(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gate")
    progress = Progress("lines", clock=clock)
    progress.measured(1.0, {})
    progress.expect(100)
    progress.guess(60)
    progress.expect(20)

    with progress("stamp test", 20) as advance:
        clock.now += 11
        advance(11)

    assert "of about 160 passes" in lines(caplog)[0]


def test_a_backbone_that_is_slower_is_given_more_time(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gate")
    progress = Progress("lines", clock=clock)
    progress.measured(0.5, {"reference": 2.0})
    progress.expect(40 + 40, 40 * 0.5 + 40 * 2.0)

    with progress("stamp test", 40) as advance:
        clock.now += 40  # twice as slow as was measured
        advance(40)
    with progress("stamp test", 40, backbone="reference") as advance:
        clock.now += 80
        advance(20)

    assert lines(caplog) == [
        "stamp test 40/40; 40 of about 80 passes, about 3 min left",
        "stamp test 20/40; 60 of about 80 passes, about 80 s left",
    ]


def test_passes_that_nobody_counted_are_shown_by_their_own_speed(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gate")

    with Progress("lines", clock=clock)("embed test", 40) as advance:
        clock.now += 10
        advance(10)

    assert lines(caplog) == ["embed test 10/40; 10 of about 40 passes, about 30 s left"]


def test_there_is_time_for_passes_beside_those_that_are_sure_to_come(clock: Clock) -> None:
    progress = Progress(None, minutes=2, clock=clock)
    progress.measured(1.0, {})
    progress.expect(100)

    assert progress.has_time_for(20)
    assert not progress.has_time_for(21)
    with progress("stamp test", 50) as advance:
        clock.now += 25
        advance(50)  # twice as fast as was measured
    assert progress.has_time_for(140)
    assert not progress.has_time_for(141)


def test_too_little_time_is_refused_with_what_is_needed(clock: Clock) -> None:
    progress = Progress(None, minutes=1, clock=clock)
    progress.measured(0.1, {})
    progress.expect(600)
    progress.require_time()

    clock.now += 30

    with pytest.raises(EvidenceError, match=r"--max-minutes: 1, and .* need about 1\.5; allow"):
        progress.require_time()


def test_on_a_terminal_one_bar_goes_over_all_steps() -> None:
    code = (
        "from gate.progress import Progress\n"
        "progress = Progress('bar')\n"
        "progress.measured(1.0, {})\n"
        "progress.expect(40)\n"
        "for step in ('embed test', 'stamp test'):\n"
        "    with progress(step, 20) as advance:\n"
        "        advance(20)\n"
    )
    ours, theirs = pty.openpty()
    size = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}

    subprocess.run([sys.executable, "-c", code], stderr=theirs, env=size, check=True)

    os.close(theirs)
    shown = os.read(ours, 1 << 20).decode()
    assert re.search(r"embed test 20/20.*20 of about 40 passes, about", shown)
    assert re.search(r"stamp test 20/20.*40 of about 40 passes, about", shown)


def test_nothing_is_shown_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress()("embed test", 10) as advance:
        advance(10)

    assert capsys.readouterr() == ("", "")
