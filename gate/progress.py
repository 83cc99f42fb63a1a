"""How far a run is and how long it still takes: one bar on a terminal, else a line now and then.

All is counted in forward passes, those that are sure to come and those that looks add.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from gate.errors import EvidenceError

log = logging.getLogger("gate")

Advance = Callable[[int], None]
_SECONDS = 10  # between two lines


class Progress:
    """What a run has passed and will pass, and the time that it may take.

    Args:
        shown: As a bar on stderr or as lines of the log; None shows nothing.
        minutes: How long the run may take from now on.
        clock: Gives seconds.
    """

    def __init__(
        self,
        shown: Literal["bar", "lines"] | None = None,
        minutes: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._minutes, self._clock = shown, minutes, clock
        self._starts = self._said = clock()
        self._ends = self._starts + 60 * minutes
        self._done = self._sure = self._guessed = 0  # passes
        # seconds that these take by what was measured before, and what those that are done took
        self._done_by_measure = self._sure_by_measure = self._spent = 0.0
        self._usual, self._of_backbone = 0.0, dict[str, float]()

    def measured(self, usual: float, of_backbone: Mapping[str, float]) -> None:
        """Say how many seconds a pass takes, usually and of some backbones by their digests."""
        self._usual, self._of_backbone = usual, dict(of_backbone)

    def expect(self, passes: int, seconds: float | None = None) -> None:
        """Say that so many passes more are sure to come, in the place of as many that were guessed.

        Without a number, they take as long as usual.
        """
        self._sure += passes
        self._sure_by_measure += passes * self._usual if seconds is None else seconds
        self._guessed = max(0, self._guessed - passes)

    def guess(self, passes: int) -> None:
        """Say how many passes may come besides."""
        self._guessed = passes

    def has_time_for(self, passes: int) -> bool:
        """Whether so many passes more end in time, and all that are sure to come."""
        return self._clock() + self._seconds_left(passes) <= self._ends

    def require_time(self) -> None:
        """Stop where what is sure to come does not end in time.

        Raises:
            EvidenceError: Says how much time it takes.
        """
        if not self.has_time_for(0):
            needed = self._clock() - self._starts + self._seconds_left(0)
            raise EvidenceError(
                f"--max-minutes: {self._minutes:g}, and the first look of every stamp and all that "
                f"is no look need about {math.ceil(needed / 6) / 10 or 0.1:g}; allow more, or let "
                "the plan measure less"
            )

    def _seconds_left(self, besides: int) -> float:
        """Of what is sure to come and of so many passes besides, as fast as this run has been."""
        sure = max(0.0, self._sure_by_measure - self._done_by_measure)
        return (sure + besides * self._usual) * self._pace

    @property
    def _pace(self) -> float:
        """How many times as long passes take as was measured, once they went on for a while."""
        seen = self._done_by_measure and self._spent > 1
        return self._spent / self._done_by_measure if seen else 1.0

    @contextmanager
    def __call__(
        self, what: str, total: int, passes: int = 1, backbone: str = ""
    ) -> Iterator[Advance]:
        """A step of the run.

        Args:
            what: Its name.
            total: How many examples it goes through.
            passes: What going through an example is worth.
            backbone: Digest of what they pass.

        Returns:
            A function that is told how many more examples went through.
        """
        before, of_step = self._clock(), 0
        each = self._of_backbone.get(backbone, self._usual)
        with self._drawn() as draw:

            def advance(count: int) -> None:
                nonlocal before, of_step
                now = self._clock()
                if passes:
                    self._done += count * passes
                    self._done_by_measure += count * passes * each
                    self._spent += now - before
                before, of_step = now, of_step + count
                # what nobody counted before, such as of `gate embed`
                ahead = self._done + (total - of_step) * passes
                draw(f"{what} {of_step}/{total}", max(self._sure + self._guessed, ahead), now)

            yield advance

    @contextmanager
    def _drawn(self) -> Iterator[Callable[[str, int, float], None]]:
        """What shows a step's name and count, the run's passes, and the time left."""
        if self._shown != "bar":
            yield self._say if self._shown else lambda _step, _whole, _now: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[left]}"))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", left="")

            def draw(step: str, whole: int, _now: float) -> None:
                left = self._left(whole)
                bar.update(task, description=step, completed=self._done, total=whole, left=left)

            yield draw

    def _say(self, step: str, whole: int, now: float) -> None:
        if now - self._said >= _SECONDS:
            self._said = now
            log.info("%s; %s", step, self._left(whole))

    def _left(self, whole: int) -> str:
        passes = f"{self._done:,} of about {whole:,} passes"
        if not self._sure:  # nothing was measured before
            left = (whole - self._done) * self._spent / max(self._done, 1)
        else:
            left = self._seconds_left(self._guessed)
        return f"{passes}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds, as people say them.

    >>> [duration(seconds) for seconds in (0.4, 75, 600, 36_000)]
    ['1 s', '75 s', '10 min', '10 h']
    """
    for unit, length in (("s", 1), ("min", 60)):
        if seconds < 100 * length:
            return f"{math.ceil(seconds / length) or 1} {unit}"
    return f"{math.ceil(seconds / 3600)} h"
