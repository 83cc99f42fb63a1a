"""Progress of long work: bars on stderr where there is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]


def progress_bars(shown: bool) -> Progress:
    """What shows a bar for each step, given its name and how many examples it goes through.

    Args:
        shown: Whether there is somebody to see them.

    Returns:
        A function to be entered with; it gives the function that moves the bar on.
    """

    @contextmanager
    def step(what: str, total: int) -> Iterator[Advance]:
        if not shown:
            yield lambda _done: None
            return
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.advance(task, done)

    return step
