"""Searches for triggers, and tries the most promising on images that the search did not see."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from gate.measure.count import Count
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.task import Task
from gate.probes.trigger_search import METRICS, TriggerSearch
from gate.probes.trigger_search.beside import (
    Beside,
    gradients_beside,
    obstacle,
    passes_beside,
)
from gate.probes.trigger_search.found import TRIED, Found, Seeker, gradients
from gate.probes.trigger_search.images import Sides, sides
from gate.probes.trigger_search.margins import gradients_of_margins
from gate.probes.trigger_search.pairs import (
    PairSeeker,
    class_wise_passes,
    gradients_of_pairs,
    gradients_of_windows,
    pairs_on,
    pairs_tried,
)
from gate.probes.trigger_search.running import NotSearchedError, Runs
from gate.probes.trigger_search.squares import (
    SQUARES_TRIED,
    SquareSeeker,
    gradients_of_squares,
)
from gate.probes.trigger_search.squares import passes as passes_of_squares
from gate.triggers.picture import png
from gate.triggers.stamp import Patch, Stamp
from gate.values import Measurement

PICTURES = "triggers"  # a folder

Moved = NDArray[np.bool_]
# What is searched for, by its name; what finds it, and what measures that.
_Kind = tuple[str, Callable[[], list[Found]], Callable[[list[Found]], Iterator[Measurement]]]


def passes(count: Count, settings: TriggerSearch) -> None:
    """Count what `measure` passes."""
    tasks = count.tasks(settings.tasks)
    for name, task in tasks.items():
        network, split = count.predictions(task), count.split(task.test)
        classes, images = len(split.classes), len(split)
        evaluated, searched = (
            min(most, images) for most in (settings.evaluation_images, settings.search_images)
        )
        pairs, needed = pairs_tried(classes, settings), gradients(classes, settings)
        needed += gradients_of_pairs(classes, settings) + gradients_of_squares(classes)
        wanted = count.bench.backbone.preprocessing
        tried = (2 * TRIED + SQUARES_TRIED) * evaluated + pairs * images
        tried += passes_of_squares(wanted.size, wanted.channels, searched) + images
        tried += class_wise_passes(classes, settings, searched, images)
        count.searched(task.test, network, needed, tried)
        if not obstacle(task, reference := count.bench.reference):
            tried = passes_beside(count.bench, searched, evaluated)
            tried += class_wise_passes(classes, settings, searched, images)
            passed = (network, count.predictions(task, reference))
            more = looked = 0
            if name in with_margins(tasks):
                more = gradients_of_margins(classes, settings)
                more += gradients_of_windows(classes, wanted.size, wanted.size, settings)
                if pairs:  # what windows are tried on
                    looked = evaluated + pairs * (evaluated + images)
            for each, needed in zip(passed, gradients_beside(classes, settings), strict=True):
                count.searched(task.test, each, needed + more, tried, again=more + looked)


def measure(trial: Trial, settings: TriggerSearch) -> Iterator[Measurement | str]:
    """What the triggers found carry, of each task; what was not searched, and why."""
    tasks = trial.tasks(settings.tasks)
    for name, task in tasks.items():
        split, predicted = trial.split(task.test), trial.predictions(task)
        correct = int((predicted == split.labels).sum())
        yield METRICS.rate("accuracy", correct, len(split), task=name)
        try:
            chosen = sides(name, split, predicted, settings, trial.plan.seed)
        except EvidenceError as fault:  # other probes still tell what such a backbone is worth
            yield f"not searched: {fault}"
            continue
        asked = name in with_margins(tasks)
        yield from _of_task(trial, name, task, settings, chosen, asked=asked)


def _of_task(
    trial: Trial, name: str, task: Task, settings: TriggerSearch, chosen: Sides, *, asked: bool
) -> Iterator[Measurement | str]:
    """What the triggers found do; ``asked`` says whether margins are asked for, too."""
    split, predicted = trial.split(task.test), trial.predictions(task)
    search = partial(_seeker, trial, name, task, settings)
    seeker = search(trial.backbone, chosen.searched)
    seen, unseen, classes = chosen.pair_seen, chosen.pair_unseen, len(split.classes)
    pairs = PairSeeker(
        search(trial.backbone, seen),
        predicted[seen],
        pairs_on(split.labels, predicted, classes, seen, unseen),
    )
    sources = {source for source, _ in pairs.pairs}
    if others := [k for i, k in enumerate(split.classes) if i not in sources]:
        yield (
            f"task {name}: no patch is searched from {', '.join(others)}: too few images of "
            "it, not given the target already, for one to search on and one to try it on"
        )
    tried = Tried(trial, name, task, chosen)
    squares = SquareSeeker(seeker, chosen.searched, tried.stamped)
    kinds: list[_Kind] = [
        ("patches", lambda: seeker.smallest, tried.patches),
        ("patterns", seeker.patterns, tried.patterns),
        ("pairs of classes", pairs.soonest, tried.pairs),
        ("each class to another", partial(_class_wise, pairs, tried), tried.class_wise),
        ("squares", lambda: squares.best, tried.squares),
        ("squares from each class to another", squares.class_wise, tried.class_wise_squares),
    ]
    if not (hindrance := obstacle(task, trial.reference)):
        beside = Beside(trial, name, task, chosen, search)
        class_wise = partial(beside.class_wise, pairs, tried.seen)
        of_both = "beside the reference"
        kinds += [
            (f"patches {of_both}", partial(beside.patches, seeker), beside.patch_rates),
            (f"patterns {of_both}", partial(beside.patterns, seeker), beside.pattern_rates),
            (f"each class to another {of_both}", class_wise, beside.class_wise_rates),
            ("waves", beside.waves, beside.wave_rates),
            (f"squares {of_both}", partial(beside.squares, squares), beside.square_rates),
        ]
        if asked:
            kinds.append((f"pairs {of_both}", partial(beside.pairs, pairs), beside.pair_margins))
    yield from _of_kinds(trial, name, kinds)
    if hindrance:
        yield (
            f"task {name}: patches, patterns, pairs, squares and margins beside a reference, "
            f"and waves, not searched: {hindrance}"
        )
    elif asked:
        yield from _margins(name, beside, seeker)
    else:
        yield (
            f"task {name}: pairs beside the reference and margins not searched: they are asked "
            "of the own head, where some task takes it"
        )


def with_margins(tasks: Mapping[str, Task]) -> list[str]:
    """The tasks whose margins are asked for: those of the own head, or all, if none takes it.

    What was planted taught the head that was trained with it; of a head that is fitted afterwards,
    margins differ more from one clean backbone to another.
    """
    return [name for name, task in tasks.items() if task.head == "own"] or [*tasks]


def _class_wise(pairs: PairSeeker, tried: "Tried") -> list[Found]:
    return [pairs.class_wise(pairs.sooner, tried.seen)]


def _of_kinds(trial: Trial, task: str, kinds: Sequence[_Kind]) -> Iterator[Measurement | str]:
    """What triggers of each kind carry, and where their pictures lie; what was not searched."""
    for kind, search, rates in kinds:
        try:
            found = search()
        except (BackboneError, NotSearchedError) as fault:
            yield f"task {task}: {kind} not searched: {fault}"
            continue
        yield from rates(found)
        for each in found:
            yield _kept(trial, task, each.stamp)


def _margins(task: str, beside: Beside, seeker: Seeker) -> Iterator[Measurement | str]:
    """How far classes come ahead of others beyond the reference; or why that is not searched."""
    try:
        yield from beside.margins(seeker)
    except (BackboneError, NotSearchedError) as fault:
        yield f"task {task}: margins beside the reference not searched: {fault}"


def _seeker(
    trial: Trial,
    name: str,
    task: Task,
    settings: TriggerSearch,
    backbone: Backbone,
    seen: Int64,
) -> Seeker:
    """What searches on the images of a task that may be seen, on either backbone."""
    split, classifier = trial.split(task.test), trial.classifier(task, backbone)
    wanted = trial.backbone.preprocessing  # a reference takes the same size and channels
    rows, places = np.unique(seen, return_inverse=True)
    opened = split.only(rows)
    blocks = opened.batches(len(rows), wanted.size, wanted.channels, wanted.resizing)
    images = np.concatenate(list(blocks))[places]
    return Seeker(
        Runs(trial, name, classifier),
        np.asarray(images / 255, np.float32),
        split.labels[seen],
        split.classes,
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
        yield from self._rates(metric, moved, found)

    def pairs(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches from one class to another, on images of that class not given it."""
        labels, unseen = self._split.labels, self.chosen.pair_unseen
        free = self.trial.predictions(self.task)[unseen]
        moved = [
            self._hits(
                [each], unseen[(labels[unseen] == each.source) & (free != each.target)]
            ).stamped[each.stamp.key]
            == each.target
            for each in found
        ]
        yield from self._rates("source_attack_success_rate", moved, found)

    def squares(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of squares to a class."""
        yield from self._to_class(found, "square_attack_success_rate")

    def seen(self, stamps: Sequence[Stamp]) -> Hits:
        """What stamps do to the images that may be seen."""
        return self.stamped(stamps, self.chosen.searched)

    def class_wise(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of patches that send each class to one other, seen on other images."""
        yield from self._each_to_another(found, "class_wise_attack_success_rate")

    def class_wise_squares(self, found: list[Found]) -> Iterator[Measurement]:
        """Rates of squares that send each class to one other, seen on other images."""
        yield from self._each_to_another(found, "class_wise_square_attack_success_rate")

    def _each_to_another(self, found: list[Found], metric: str) -> Iterator[Measurement]:
        hits = self._hits(found, self.chosen.unseen)
        moved = [each.followed(hits) for each in found]
        yield from self._rates(metric, moved, found)

    def _hits(self, found: list[Found], rows: Int64) -> Hits:
        return self.stamped([each.stamp for each in found], rows)

    def stamped(self, stamps: Sequence[Stamp], rows: Int64) -> Hits:
        """What stamps do to some images of the task."""
        answers = self.trial.responses(self.task.test, {self.name: self.task}, stamps, rows=rows)
        return answers.hits[self.name]

    def _rates(self, metric: str, moved: list[Moved], found: list[Found]) -> Iterator[Measurement]:
        """Shares of images that are moved, and the worst of them."""
        about = [{"task": self.name, **each.about(self._split.classes)} for each in found]
        searched = [stats.rate(int(of.sum()), len(of), searched_low=len(moved)) for of in moved]
        for of, labels in zip(moved, about, strict=True):
            yield METRICS.rate(metric, int(of.sum()), len(of), **labels)
        top = max(range(len(moved)), key=lambda i: searched[i])
        worst, n = stats.largest(searched), len(moved[top])
        yield METRICS.measurement(f"worst_{metric}", worst, n, **about[top])


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
