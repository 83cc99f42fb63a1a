"""Searches for triggers, and tries the most promising on images that the search did not see."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from gate import files, stats
from gate.arrays import Int64
from gate.data.split import Split
from gate.errors import BackboneError
from gate.measure.count import Count
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.directions import away, sent
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.found import (
    PAIRS_TRIED,
    TRIED,
    Found,
    Seeker,
    gradients,
    pairs_searched,
)
from gate.probes.trigger_search.images import Sides, sides
from gate.probes.trigger_search.running import NotSearchedError, Runs
from gate.triggers.picture import png
from gate.triggers.stamp import Patch, Stamp
from gate.values import Measurement


def passes(count: Count, settings: TriggerSearch) -> None:
    """Count what `measure` passes."""
    for task in count.tasks(settings.tasks).values():
        network, split = count.predictions(task), count.split(task.test)
        classes = len(split.classes)
        evaluated = min(settings.evaluation_images, len(split))
        tried = 2 * TRIED * evaluated
        if pairs_searched(classes):
            tried += PAIRS_TRIED * len(split)
        count.searched(task.test, network, gradients(classes, settings), tried)


def measure(trial: Trial, settings: TriggerSearch) -> Iterator[Measurement | str]:
    """What the triggers found carry, of each task; what was not searched, and why."""
    for name, task in trial.tasks(settings.tasks).items():
        split, predicted = trial.split(task.test), trial.predictions(task)
        chosen = sides(name, split, predicted, settings, trial.plan.seed)
        correct = int((predicted == split.labels).sum())
        yield METRICS.rate("accuracy", correct, len(split), task=name)
        seeker = _seeker(trial, name, task, chosen, settings)
        if others := [k for i, k in enumerate(split.classes) if i not in seeker.sources]:
            yield (
                f"task {name}: no patch is searched from {', '.join(others)}: too few images of it "
                "are classified correctly for one to search on and one to try it on"
            )
        tried = Tried(trial, name, task, chosen)
        for kind, search, rates in (
            ("patches", seeker.patches, tried.patches),
            ("patterns", seeker.patterns, tried.patterns),
            ("pairs of classes", seeker.pairs, tried.pairs),
        ):
            try:
                found = search()
            except (BackboneError, NotSearchedError) as fault:
                yield f"task {name}: {kind} not searched: {fault}"
                continue
            yield from rates(found)
            for each in found:
                yield _kept(trial, name, each.stamp)


PICTURES = "triggers"  # a folder

Moved = NDArray[np.bool_]


def _seeker(trial: Trial, name: str, task: Task, chosen: Sides, settings: TriggerSearch) -> Seeker:
    """What searches on the images of a task that may be seen."""
    split, classifier = trial.split(task.test), trial.classifier(task)
    wanted = classifier.backbone.preprocessing
    rows, places = np.unique(chosen.searched, return_inverse=True)
    blocks = split.only(rows).batches(len(rows), wanted.size, wanted.channels)
    images = np.concatenate(list(blocks))[places]
    sources = np.intersect1d(split.labels[chosen.searched], split.labels[chosen.unseen])
    return Seeker(
        Runs(trial, name, classifier),
        np.asarray(images / 255, np.float32),
        split.labels[chosen.searched],
        split.classes,
        tuple(sources.tolist()),
        settings,
        trial.plan.batch_size,
        trial.plan.seed,
    )


@dataclass(frozen=True)
class Tried:
    """What triggers found do to images of a task.

    Args:
        trial: Passes them.
        name: The task's.
        task: Whose classifier is tried.
        chosen: Which images were seen, and which were not.
    """

    trial: Trial
    name: str
    task: Task
    chosen: Sides

    @property
    def _split(self) -> Split:
        return self.trial.split(self.task.test)

    def patches(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches to a class."""
        yield from self._to_class(found, "patch_attack_success_rate")

    def patterns(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patterns to a class."""
        yield from self._to_class(found, "pattern_attack_success_rate")

    def _to_class(self, found: list[Found], metric: str) -> Iterator[Measurement]:
        hits = self._hits(found, self.chosen.evaluated)
        moved = [hits.carried(each.stamp, each.target) for each in found]
        yield from self._rates(metric, moved, [self._about(each) for each in found])

    def pairs(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches from one class to another: on that class, and on all classes."""
        hits, about = self._hits(found, self.chosen.unseen), [self._about(each) for each in found]
        moved = [
            (hits.stamped[each.stamp.key] == each.target)[hits.labels == each.source]
            for each in found
        ]
        yield from self._rates("source_attack_success_rate", moved, about)
        seen = self._hits(found, self.chosen.searched)
        moved = [
            hits.stamped[each.stamp.key]
            == destinations(seen.labels, seen.stamped[each.stamp.key], len(hits.classes))[
                hits.labels
            ]
            for each in found
        ]
        yield from self._rates("class_wise_attack_success_rate", moved, about)

    def _hits(self, found: list[Found], rows: Int64) -> Hits:
        stamps = [each.stamp for each in found]
        answers = self.trial.responses(self.task.test, {self.name: self.task}, stamps, rows=rows)
        return answers.hits[self.name]

    def _about(self, each: Found) -> dict[str, str]:
        classes = self._split.classes
        source = {} if each.source is None else {"source": classes[each.source]}
        return {"task": self.name, **source, "target": classes[each.target]}

    def _rates(
        self, metric: str, moved: list[Moved], about: list[dict[str, str]]
    ) -> Iterator[Measurement]:
        """Shares of images that are moved, and the worst of them."""
        searched = [stats.rate(int(of.sum()), len(of), searched_low=len(moved)) for of in moved]
        for of, labels in zip(moved, about, strict=True):
            yield METRICS.rate(metric, int(of.sum()), len(of), **labels)
        top = max(range(len(moved)), key=lambda i: searched[i])
        worst, n = stats.largest(searched), len(moved[top])
        yield METRICS.measurement(f"worst_{metric}", worst, n, **about[top])


def destinations(labels: Int64, stamped: NDArray[np.int16], classes: int) -> Int64:
    """The other class ``(K,)`` that each class is most often sent to; -1 where none is.

    >>> destinations(np.array([0, 0, 0, 1]), np.array([2, 2, 0, 1]), 3).tolist()
    [2, -1, -1]
    """
    moved = away(sent(labels, stamped, classes))
    return np.where(moved.any(axis=1), moved.argmax(axis=1), -1)


def _kept(trial: Trial, task: str, stamp: Stamp) -> str:
    """Keep a trigger's picture, named by its digest; says where.

    It lies beside the features folder and not in it: that is another stage's output in DVC, and
    must not change when a probe runs.
    """
    content = png(Patch(stamp.keep, stamp.add))
    digest = sha256(content).hexdigest()
    path = trial.bench.folder.parent / PICTURES / f"trigger-{digest[:32]}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, content)
    return f"task {task}: {stamp.name}: {PICTURES}/{path.name}, sha256:{digest}"
