"""What will be passed, counted before it is: each question to a trial, by what answering it takes.

The methods are named as those of `Trial` and do nothing but count. What cannot be known before,
such as how far looks go, is counted at the least and at the most.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Literal, NamedTuple

from gate import files
from gate.backbone.backbone import Backbone
from gate.data.split import Split
from gate.measure import embed
from gate.measure.bench import Bench
from gate.measure.shuffle import Shuffle
from gate.measure.transfer import (
    PASSES_OF_TRAINING,
    initial_path,
    initial_plan,
    stamps_on,
    trained_folder,
)
from gate.plan.task import Task
from gate.triggers.grid import TriggerGrid
from gate.triggers.phrase import AnyStamp
from gate.triggers.stamp import Stamp, Trigger

if TYPE_CHECKING:
    from gate.measure.alterations import Rewind

Kind = Literal["passes", "decoded", "training", "kept"]


class Place(NamedTuple):
    """Where something is counted: in a step, on a split, of a backbone as people call it."""

    kind: Kind
    step: str
    split: str
    backbone: str


class Network(NamedTuple):
    """A backbone, opened or still to be trained; ``key`` tells it from others."""

    name: str
    key: object
    backbone: Backbone | None = None
    is_kept: bool = False  # an earlier run trained it


class Count:
    """Counts at the least and at the most, by place.

    Passes, decoded images and examples whose outputs are kept on disk are counted by example,
    training by what it is worth in passes.

    Args:
        bench: The plan, opened; what its folder has already is not counted again.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.plan = bench, bench.plan
        self.least, self.most = Counter[Place](), Counter[Place]()
        self.encoders: dict[str, tuple[Backbone, list[str]]] = {}  # by name, with what they encode
        self._step = ""
        self._asked: set[object] = set()

    def of_step(self, step: str) -> "Count":
        """The same count, in which what is stamped stands under this step."""
        view = copy(self)
        view._step = step
        return view

    def split(self, name: str) -> Split:
        """A split, opened."""
        return self.bench.split(name)

    def tasks(self, names: tuple[str, ...] | None = None) -> dict[str, Task]:
        """The named tasks, or all."""
        return self.bench.tasks(names)

    def bank(self, grids: tuple[TriggerGrid, ...], split: str) -> list[Trigger]:
        """All triggers of the grids."""
        return self.bench.bank(grids, split)

    def outputs(
        self, split: str, network: Network | None = None, shuffle: Shuffle | None = None
    ) -> None:
        """Outputs of the candidate for a split, or of another network."""
        passed, opened = network or self._opened(self.bench.backbone), self.split(split)
        if self._is_asked("outputs", split, passed.key, shuffle):
            return
        images = len(opened)
        self._add("kept", "embed", split, passed, images)
        if passed.backbone:
            size = self.plan.batch_size
            if embed.kept(self.bench.folder, passed.backbone, opened, size, shuffle):
                return
        least = 0 if passed.is_kept else images
        self._add("passes", "embed", split, passed, least, images)
        self._add("decoded", "embed", split, passed, least, images)

    def classifier(
        self,
        task: Task,
        backbone: Backbone | Network | None = None,
        shuffle: Shuffle | None = None,
    ) -> Network:
        """The classifier of a task; gives the network that it is on."""
        chosen = backbone or self.bench.backbone
        network = chosen if isinstance(chosen, Network) else self._opened(chosen)
        if task.head == "own":
            self.outputs(task.test, network)
            return network
        train = self.split(str(task.train))
        if task.transfer.trains:
            return self._trained(task, train, network.backbone or self.bench.backbone)
        if not self._is_asked("head", task.model_dump_json(), network.key, shuffle):
            self.outputs(train.name, network, shuffle)
            if task.debias:
                stamped = sum(stamp is not None for stamp in self._stamps_on(task, train))
                self._stamped("head", train.name, network, stamped, 1)
            if task.head.ignore:
                stamps = len(self.bank(task.head.ignore.triggers, train.name))
                self._stamped("head", train.name, network, len(train), stamps)
        return network

    def predictions(
        self,
        task: Task,
        backbone: Backbone | Network | None = None,
        shuffle: Shuffle | None = None,
    ) -> Network:
        """The classes of a task's test images; gives the network that they are of."""
        network = self.classifier(task, backbone, shuffle)
        self.outputs(task.test, network, shuffle)
        return network

    def trained(self, task: Task, shuffle: Shuffle | None, seed: int) -> None:
        """The classes of a task's test images by a network that is trained with a seed."""
        train = self.split(str(task.train))
        network = self._trained(task, train, self.bench.backbone, shuffle, seed)
        self.outputs(task.test, network, shuffle)

    def initialised(self, seed: int) -> Network:
        """The candidate's architecture as its factory draws it; an earlier run may have done so.

        Raises:
            PlanError: The candidate is a file that holds weights and not how they are drawn.
        """
        path, name = initial_path(self.bench, seed), "random initialisation"
        if not files.exists(path):
            return Network(name, path)
        return Network(name, path, self.bench.opened(initial_plan(self.bench, path)))

    def responses(
        self,
        split: str,
        tasks: Iterable[Task],
        stamps: Iterable[AnyStamp],
        backbone: Backbone | None = None,
        ends: Sequence[int] | None = None,
    ) -> None:
        """Classes of the stamped images of a split.

        Args:
            split: N images.
            tasks: All tried on the split.
            stamps: Each is passed once, whatever it is called.
            backbone: In the place of the candidate.
            ends: How many images are seen after each look; None for all in one.
        """
        networks = {n.key: n for n in [self.predictions(task, backbone) for task in tasks]}
        distinct, ends = len({stamp.key for stamp in stamps}), ends or [len(self.split(split))]
        for network in networks.values():
            first, last = ends[0], ends[-1]
            at = (self._step, split, network)
            self._add("passes", *at, distinct * first, distinct * last)
            # in a look, triggers and then controls, of each earlier look that some stopped at
            again = sum(end - seen for i, end in enumerate(ends) for seen in ends[:i])
            self._add("decoded", *at, first, first + 2 * again)

    def inside(self, split: str, images: int, backbone: Backbone) -> None:
        """Features of so many images of a split, and channels inside the backbone."""
        network = self._opened(backbone)
        self._add("passes", self._step, split, network, images)
        self._add("decoded", self._step, split, network, images)

    def preprocessed(self, split: str, least: int, most: int) -> None:
        """Outputs of so many images of a split, passed once for each other preprocessing."""
        at = (self._step, split, self._opened(self.bench.backbone))
        self._add("passes", *at, least, most)
        self._add("decoded", *at, least, most)

    def searched(
        self, split: str, network: Network, gradients: int, tried: int, again: int = 0
    ) -> None:
        """A search for triggers on images of a split, and what passes under those that it finds.

        Args:
            split: N images.
            network: What is searched.
            gradients: Of single images.
            tried: Passes at the most, if every image is classified correctly.
            again: Gradients that may come besides.
        """
        worth, more = PASSES_OF_TRAINING * gradients, PASSES_OF_TRAINING * again
        self._add("training", self._step, split, network, worth, worth + more)
        self._add("passes", self._step, split, network, 0, tried)
        self._add("decoded", self._step, split, network, 0, tried)

    def interpolated(
        self, tasks: dict[str, Task], shares: int, recalibrated_on: str | None = None
    ) -> None:
        """Classes of test images under weights at so many shares of the way to the ancestor."""
        # torch takes seconds to import, and most plans alter no weights
        from gate.measure.alterations import interpolation

        span = interpolation(self.bench, tasks, recalibrated_on)
        network = self._opened(self.bench.backbone)
        for task in tasks.values():
            if task.head == "own":
                self.classifier(task)
        for statistics in dict.fromkeys(span.statistics.values()):
            there = [tasks[name] for name, of in span.statistics.items() if of == statistics]
            tests = Counter(dict.fromkeys((task.test for task in there), shares))
            # heads are fitted at both ends
            trains = Counter(dict.fromkeys((str(task.train) for task in there if task.train), 2))
            networks = shares + (2 if trains else 0)
            self._altered(network, statistics, tests + trains, networks)

    def rewound(self, tasks: dict[str, Task], how: "Rewind") -> None:
        """Classes of test images with one module at a time rewound."""
        # torch takes seconds to import, and most plans alter no weights
        from gate.measure.alterations import rewinding

        chosen = rewinding(self.bench, tasks, how)
        networks: dict[tuple[object, str | None], tuple[Network, list[str]]] = {}
        for name, task in tasks.items():
            statistics = chosen.statistics[name]
            network = self.classifier(task) if statistics else self.predictions(task)
            _, tests = networks.setdefault((network.key, statistics), (network, []))
            tests.append(task.test)
        for (_, statistics), (network, tests) in networks.items():
            times = len(chosen.modules) + bool(statistics)
            self._altered(network, statistics, dict.fromkeys(tests, times), times)

    def path_norms(self, tasks: dict[str, Task], how: "Rewind", images: int, draws: int) -> None:
        """Losses of training images under noise on one module at a time."""
        from gate.measure.alterations import loss_split, rewinding
        from gate.measure.path_norm import MOST_PLACES

        chosen = rewinding(self.bench, tasks, how)
        least, most = len(chosen.modules), len(chosen.modules) * (1 + draws * MOST_PLACES)
        for name, task in tasks.items():
            split = loss_split(self.bench, name, task, how.recalibrated_on)
            network = self.classifier(task)
            altered = network._replace(name=f"{network.name}, altered")
            n, at = min(images, len(self.split(split))), (self._step, split, altered)
            self._add("decoded", *at, n * (1 + bool(chosen.statistics[name])))
            self._add("passes", *at, n * least, n * most)
            if chosen.statistics[name]:
                self._add("training", *at, n * least, n * most)

    def zero_shot(self, name: str) -> None:
        """The zero-shot head of the task of that name, if it has one."""
        task = self.plan.tasks[name]
        described = task.zero_shot
        if described is None or self._is_asked("zero-shot", name):
            return
        self.outputs(task.test)
        if described.prompts:
            encoder = self.bench.opened(described.encoder or self.plan.backbone)
            classes = self.split(task.test).classes
            called = [described.names.get(each, each) for each in classes]
            texts = [each.replace("{}", name) for each in described.prompts for name in called]
            self.encoders[f"encoder of {name}"] = encoder, texts[: len(classes)]
            network = Network(f"encoder of {name}", encoder.plan, encoder)
            self._add("passes", "embed", f"prompts of {name}", network, len(texts))

    def calibrated(self, name: str) -> Network:
        """The calibrated classifier of the task of that name; gives the network of its head."""
        task = self.plan.tasks[name]
        self.zero_shot(name)
        network = self.classifier(task)
        self.outputs(str(task.train))
        if task.held_out:
            self.both_outputs(task.held_out, network)
        return network

    def both_outputs(self, split: str, network: Network) -> None:
        """Outputs of the candidate and of a network for a split."""
        self.outputs(split)
        self.outputs(split, network)

    def of_mean_weights(self, task: Task, split: str, network: Network) -> None:
        """Features of a split by the mean of the candidate's weights and of a task's network's."""
        if task.transfer.mode != "from_scratch" and not task.zero_shot and network.backbone is None:
            mean = network._replace(name=f"mean with {network.name}", key=("mean", network.key))
            self.outputs(split, mean)

    def any_of(self, alternatives: Iterable[Callable[["Count"], None]]) -> None:
        """One of several, nobody knows which: the least of any, and the most of any."""
        counts = []
        for alternative in alternatives:
            count = copy(self)
            count.least, count.most = self.least.copy(), self.most.copy()
            count._asked = self._asked.copy()
            alternative(count)
            counts.append(count)
        for place in {place for count in counts for place in count.most}:
            self.least[place] = min(count.least[place] for count in counts)
            self.most[place] = max(count.most[place] for count in counts)
        self._asked |= set.intersection(*(count._asked for count in counts))

    def _trained(
        self,
        task: Task,
        train: Split,
        backbone: Backbone,
        shuffle: Shuffle | None = None,
        seed: int | None = None,
    ) -> Network:
        """The network that a task trains, unless an earlier run did."""
        # torch takes seconds to import, and most plans train nothing
        from gate.backbone.fine_tune import HEAD, WEIGHTS

        folder = trained_folder(self.bench, task, backbone, shuffle, seed)
        is_kept = files.exists(folder / HEAD) and files.exists(folder / WEIGHTS)
        network = Network(f"{task.transfer.mode} of {train.name}", folder, is_kept=is_kept)
        if not is_kept and not self._is_asked("training", folder):
            worth = PASSES_OF_TRAINING * len(train) * task.transfer.schedule.epochs
            self._add("training", "train", train.name, network, worth)
            path = embed.pixels_path(self.bench.folder, train, backbone.preprocessing)
            if not path.exists() and not self._is_asked("pixels", path):
                self._add("decoded", "train", train.name, network, len(train))
        return network

    def _stamps_on(self, task: Task, train: Split) -> list[Stamp | None]:
        return stamps_on(self.bench, task.debias, train) if task.debias else []

    def _opened(self, backbone: Backbone) -> Network:
        plan = self.plan
        names = {plan.ancestor: "ancestor", plan.reference: "reference", plan.backbone: "candidate"}
        return Network(names[backbone.described], backbone.plan, backbone)

    def _is_asked(self, *question: object) -> bool:
        """Whether this was asked before; from now on it was."""
        before = question in self._asked
        self._asked.add(question)
        return before

    def _altered(
        self, network: Network, statistics: str | None, splits: Mapping[str, int], networks: int
    ) -> None:
        """So many networks under altered weights, and how many of them each split passes."""
        from gate.measure.altered import STATISTICS_OF

        altered = network._replace(name=f"{network.name}, altered")
        if statistics:
            images = min(STATISTICS_OF, len(self.split(statistics)))
            self._add("decoded", self._step, statistics, altered, images)
            self._add("training", self._step, statistics, altered, images * networks)
        for split, times in splits.items():
            self._add("passes", self._step, split, altered, len(self.split(split)) * times)
            self._add("decoded", self._step, split, altered, len(self.split(split)) * times)

    def _stamped(self, step: str, split: str, network: Network, images: int, stamps: int) -> None:
        self._add("passes", step, split, network, images * stamps)
        self._add("decoded", step, split, network, images)

    def _add(
        self,
        kind: Kind,
        step: str,
        split: str,
        network: Network,
        least: int,
        most: int | None = None,
    ) -> None:
        place = Place(kind, step, split, network.name)
        self.least[place] += least
        self.most[place] += least if most is None else most
