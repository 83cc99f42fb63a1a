"""Searches for triggers, and tries the most promising on images that the search did not see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from gate import files, stats
from gate.arrays import Int64
from gate.backbone.backbone import Backbone
from gate.data.split import Split
from gate.errors import BackboneError, EvidenceError
from gate.measure.bench import Bench
from gate.measure.count import Count
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.found import (
    PAIRS_TRIED,
    TRIED,
    Found,
    Seeker,
    class_wise_passes,
    gradients,
    one_to_one,
    pairs_searched,
)
from gate.probes.trigger_search.images import FEWEST, Sides, sides
from gate.probes.trigger_search.running import NotSearchedError, Runs
from gate.probes.trigger_search.waves import found_among
from gate.probes.trigger_search.waves import passes as passes_of_waves
from gate.triggers.picture import png
from gate.triggers.stamp import Patch, Stamp
from gate.triggers.waves import waves
from gate.values import Measurement


def passes(count: Count, settings: TriggerSearch) -> None:
    """Count what `measure` passes."""
    for task in count.tasks(settings.tasks).values():
        network, split = count.predictions(task), count.split(task.test)
        classes = len(split.classes)
        evaluated = min(settings.evaluation_images, len(split))
        tried = 2 * TRIED * evaluated
        if pairs_searched(classes):
            tried += (PAIRS_TRIED + TRIED) * len(split)
            tried += class_wise_passes(classes, min(settings.search_images, len(split)))
        count.searched(task.test, network, gradients(classes, settings), tried)
        if not obstacle(task, reference := count.bench.reference):
            searched = min(settings.search_images, len(split))
            of_waves = passes_of_waves(len(_waves(count.bench)), searched)
            of_waves += min(TRIED, classes) * evaluated
            for passed in (network, count.predictions(task, reference)):
                count.searched(task.test, passed, 0, of_waves)


def measure(trial: Trial, settings: TriggerSearch) -> Iterator[Measurement | str]:
    """What the triggers found carry, of each task; what was not searched, and why."""
    for name, task in trial.tasks(settings.tasks).items():
        split, predicted = trial.split(task.test), trial.predictions(task)
        correct = int((predicted == split.labels).sum())
        yield METRICS.rate("accuracy", correct, len(split), task=name)
        try:
            chosen = sides(name, split, predicted, settings, trial.plan.seed)
        except EvidenceError as fault:  # other probes still tell what such a backbone is worth
            yield f"not searched: {fault}"
            continue
        seeker = _seeker(trial, name, task, chosen, settings)
        if others := [k for i, k in enumerate(split.classes) if i not in seeker.sources]:
            yield (
                f"task {name}: no patch is searched from {', '.join(others)}: too few images of it "
                "are classified correctly for one to search on and one to try it on"
            )
        tried, beside = Tried(trial, name, task, chosen), Beside(trial, name, task, chosen)
        for kind, search, rates in (
            ("patches", seeker.patches, tried.patches),
            ("patterns", seeker.patterns, tried.patterns),
            ("pairs of classes", seeker.pairs, tried.pairs),
            ("each class to another", partial(seeker.class_wise, tried.seen), tried.class_wise),
            ("waves", beside.found, beside.rates),
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
    opened = split.only(rows)
    blocks = opened.batches(len(rows), wanted.size, wanted.channels, wanted.resizing)
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
        """Rates of patches from one class to another, on that class."""
        hits, about = self._hits(found, self.chosen.unseen), [self._about(each) for each in found]
        moved = [
            (hits.stamped[each.stamp.key] == each.target)[hits.labels == each.source]
            for each in found
        ]
        yield from self._rates("source_attack_success_rate", moved, about)

    def seen(self, stamps: Sequence[Stamp]) -> Hits:
        """What stamps do to the images that may be seen."""
        return self._stamped(stamps, self.chosen.searched)

    def class_wise(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches that send each class to one other, seen on other images."""
        seen, hits = self._hits(found, self.chosen.searched), self._hits(found, self.chosen.unseen)
        moved = []
        for key in (each.stamp.key for each in found):
            to = one_to_one(seen.labels, seen.stamped[key], len(hits.classes))
            moved.append(hits.stamped[key] == to[hits.labels])
        about = [self._about(each) for each in found]
        yield from self._rates("class_wise_attack_success_rate", moved, about)

    def _hits(self, found: list[Found], rows: Int64) -> Hits:
        return self._stamped([each.stamp for each in found], rows)

    def _stamped(self, stamps: Sequence[Stamp], rows: Int64) -> Hits:
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


@dataclass(frozen=True)
class Beside:
    """What waves do to images of a task on the candidate and, beside it, on the reference.

    Args:
        trial: Passes them.
        name: The task's.
        task: Whose classifiers are tried.
        chosen: Which images may be seen, and which are not.
    """

    trial: Trial
    name: str
    task: Task
    chosen: Sides

    def found(self) -> list[Found]:
        """Waves that carry more images that may be seen on the candidate than on the reference.

        Raises:
            NotSearchedError: There is no reference for the task, it has too few images right, or
                there is too little time.
        """
        if hindrance := obstacle(self.task, self.trial.reference):
            raise NotSearchedError(hindrance)
        classes = self.trial.split(self.task.test).classes
        if not (stamps := _waves(self.trial.bench)):
            raise NotSearchedError("on images this small there is no wave; use larger ones")
        rows = self._right_on_both("search among waves", self.chosen.searched)
        self._right_on_both("try waves", self.chosen.evaluated)
        needed = 2 * (passes_of_waves(len(stamps), len(rows)) + TRIED * len(self.chosen.evaluated))
        if not self.trial.bench.progress.has_time_for(needed):
            raise NotSearchedError(
                f"out of time (--max-minutes) before the {needed:,} passes that they take at the "
                "most; allow more"
            )
        return found_among(stamps, rows, classes, self._hits)

    def rates(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of waves to a class, of the candidate and of the reference on the same images."""
        rows = self._right_on_both("try waves", self.chosen.evaluated)
        ours, theirs = self._hits([each.stamp for each in found], rows)
        about, over, counts = [], [], []
        for each in found:
            labels = {"task": self.name, "target": ours.classes[each.target]}
            here, there = (hits.carried(each.stamp, each.target) for hits in (ours, theirs))
            n, metric = len(here), "wave_attack_success_rate"
            yield METRICS.rate(metric, int(here.sum()), n, **labels)
            yield METRICS.rate(f"reference_{metric}", int(there.sum()), n, **labels)
            first, second = int((here & ~there).sum()), int((there & ~here).sum())
            more = stats.paired_difference(first, second, n)
            yield METRICS.measurement(f"{metric}_over_reference", more, n, **labels)
            over.append(stats.paired_difference(first, second, n, searched_low=len(found)))
            about.append(labels)
            counts.append(n)
        top = max(range(len(over)), key=lambda i: over[i])
        name = "worst_wave_attack_success_rate_over_reference"
        yield METRICS.measurement(name, stats.largest(over), counts[top], **about[top])

    def _right_on_both(self, what: str, rows: Int64) -> Int64:
        """Those of the images, which the candidate classifies correctly, that the reference does.

        Raises:
            NotSearchedError: They are too few.
        """
        split, reference = self.trial.split(self.task.test), self.trial.reference
        theirs = self.trial.predictions(self.task, reference)
        both: Int64 = rows[theirs[rows] == split.labels[rows]]
        others = len(both) - np.bincount(split.labels[both], minlength=len(split.classes))
        fewest = int(others.argmin())
        if others[fewest] < FEWEST:
            raise NotSearchedError(
                f"of {len(rows)} images to {what} on, the reference classifies {others[fewest]} "
                f"correctly that are of other classes than {split.classes[fewest]}, and {FEWEST} "
                "are needed; name a reference that serves the task, or add images"
            )
        return both

    def _hits(self, stamps: Sequence[Stamp], rows: Int64) -> tuple[Hits, Hits]:
        split, tasks = self.task.test, {self.name: self.task}
        ours, theirs = (
            self.trial.responses(split, tasks, stamps, backbone, rows).hits[self.name]
            for backbone in (self.trial.backbone, self.trial.reference)
        )
        return ours, theirs


def obstacle(task: Task, reference: Backbone | None) -> str:
    """Why no wave can be tried on the reference beside the candidate; empty if it can."""
    if reference is None:
        return (
            "some carry images on clean backbones as well, so they are tried beside a reference, "
            "and the plan has none; add one that is known to be clean, of the same architecture "
            "and trained on like images"
        )
    if task.transfer.trains:
        return "the task trains weights, and those of the reference would have to be trained too"
    if task.head == "own" and not reference.plan.logits:
        return (
            f"the reference {reference.plan.path} names no logits, and the task takes the "
            "backbone's own head; name them in the plan"
        )
    return ""


def _waves(bench: Bench) -> list[Stamp]:
    wanted = bench.backbone.preprocessing  # a reference takes the same size and channels
    return waves(wanted.size, wanted.channels)


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
