"""What a plan costs, before it is measured: passes, decoded images, features on disk, time."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

from gate.measure.bench import Bench
from gate.measure.count import Count, Kind, Place
from gate.measure.first_batch import FirstBatch, first_batch
from gate.measure.head_files import without_head
from gate.measure.transfer import require_own_head
from gate.progress import duration

Counting = Callable[[Count, Any], None]
_SECONDS = 1.0  # of passes that are measured, of each backbone


class Range(NamedTuple):
    """A number at the least and at the most."""

    at_least: float
    at_most: float

    def __str__(self) -> str:
        """As a whole number, or as two."""
        low, high = (f"{number:,.0f}" for number in self)
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Estimate:
    """What probes of a plan pass, decode and keep.

    Args:
        least: By place, at the least.
        most: By place, at the most.
        seconds: Of a pass, by the backbone as people call it; others take as long as the candidate.
        kept: Bytes on disk of an example, likewise.
        digests: Of the backbones whose passes were measured.
    """

    least: Counter[Place]
    most: Counter[Place]
    seconds: dict[str, float]
    kept: dict[str, int]
    digests: dict[str, str]

    def total(self, *kinds: Kind) -> Range:
        """How many there are, of some kinds, over all places."""
        least, most = (
            sum(n for place, n in counts.items() if place.kind in kinds)
            for counts in (self.least, self.most)
        )
        return Range(least, most)

    @property
    def time(self) -> Range:
        """Seconds that passes and training take, at the speed that was measured."""
        worth = ("passes", "training")
        least, most = (
            sum(
                n * self.seconds.get(place.backbone, self.seconds["candidate"])
                for place, n in counts.items()
                if place.kind in worth
            )
            for counts in (self.least, self.most)
        )
        return Range(least, most)

    @property
    def on_disk(self) -> int:
        """Bytes of features and logits, at the most."""
        return sum(
            n * self.kept.get(place.backbone, self.kept["candidate"])
            for place, n in self.most.items()
            if place.kind == "kept"
        )

    @property
    def seconds_by_digest(self) -> dict[str, float]:
        """Seconds of a pass, by the backbone's digest."""
        return {self.digests[name]: seconds for name, seconds in self.seconds.items()}

    @property
    def line(self) -> str:
        """All in a line."""
        time = [duration(seconds) for seconds in self.time]
        training = self.total("training")
        return (
            f"estimate: {self.total('passes')} forward passes"
            + (f", training worth {training} more" if training.at_most else "")
            + f", {self.total('decoded')} decoded images, {self.on_disk / 1e6:,.1f} MB of "
            f"features on disk; passes take {' to '.join(dict.fromkeys(time))} at "
            f"{1 / self.seconds['candidate']:,.0f} a second, measured here"
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Each step, split and backbone, with what is passed and decoded there."""
        rows: dict[tuple[str, str, str], dict[str, Any]] = {}
        for place in self.most:
            if place.kind != "kept":
                where = dict(zip(("step", "split", "backbone"), place[1:], strict=True))
                row = rows.setdefault(place[1:], where)
                row[place.kind] = Range(self.least[place], self.most[place])
        return list(rows.values())

    def as_json(self) -> dict[str, Any]:
        """All, as JSON holds it."""
        return {
            "steps": [
                {
                    name: each._asdict() if isinstance(each, Range) else each
                    for name, each in row.items()
                }
                for row in self.rows
            ],
            "passes": self.total("passes")._asdict(),
            "training_in_passes": self.total("training")._asdict(),
            "decoded_images": self.total("decoded")._asdict(),
            "bytes_on_disk": self.on_disk,
            "seconds": self.time._asdict(),
            "passes_a_second": {name: 1 / each for name, each in self.seconds.items()},
        }


def estimate(bench: Bench, probes: Iterable[str], *, calibrates: bool) -> Estimate:
    """Try a batch on each backbone, count what probes pass, then measure how long a pass takes.

    Args:
        bench: The plan, opened; what its folder has already is not counted again.
        probes: Names of those that run.
        calibrates: Whether calibrated heads are written, too.

    Raises:
        GateError: A backbone does not take a batch, a trigger cannot be drawn, a split cannot be
            read: what can fail before data are gone through.
    """
    batches = {"candidate": first_batch(bench, bench.backbone)}
    for name, other in (("reference", bench.reference), ("ancestor", bench.ancestor)):
        if other:
            batches[name] = first_batch(bench, other)
    for task in bench.plan.tasks.values():
        if task.head == "own":
            require_own_head(bench, task, bench.backbone, batches["candidate"].outputs)
    count = Count(bench)
    for probe in probes:
        passes: Counting = import_module(f"gate.probes.{probe}.measure").passes
        passes(count.of_step(probe), bench.plan.probes.settings(probe))
    if calibrates:
        left_out = without_head(bench.plan)
        for name in bench.plan.tasks:
            if name not in left_out:
                count.calibrated(name)
    for name, (encoder, texts) in count.encoders.items():
        batches[name] = first_batch(bench, encoder, texts)
    return Estimate(
        count.least,
        count.most,
        {name: _seconds(batch, name, count.most) for name, batch in batches.items()},
        {name: batch.bytes_of_each for name, batch in batches.items()},
        {name: batch.backbone.digest for name, batch in batches.items()},
    )


def table(price: Estimate) -> str:
    """The rows of an estimate in columns, and its line."""
    columns = ("step", "split", "backbone", "passes", "training", "decoded")
    cells = [columns, *(tuple(str(row.get(name, "")) for name in columns) for row in price.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join([*lines, price.line, ""])


def _seconds(batch: FirstBatch, name: str, most: Counter[Place]) -> float:
    """Seconds of a pass; where few come, measuring takes no longer than a small part of them."""
    rough = batch.seconds_of_each(0)
    passes = sum(n for place, n in most.items() if place[:1] == ("passes",) and place[3] == name)
    longest = min(_SECONDS, rough * passes / 20)
    return batch.seconds_of_each(longest) if longest else rough
