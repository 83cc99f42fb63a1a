"""Trial: a bench with classifiers trained on it. Probes ask it; it notes what they asked for."""

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from gate.arrays import Float32, Floats, Int64
from gate.backbone.backbone import Backbone, Outputs
from gate.backbone.heads import ZeroShotHead
from gate.data.split import Split
from gate.errors import PlanError
from gate.lineage.network import Site
from gate.measure import calibrate
from gate.measure.bench import Bench
from gate.measure.preprocessed import Preprocessed
from gate.measure.readers import Channels, Cosines, Output, PairwiseCosine, Reader
from gate.measure.responses import Hits, Responses
from gate.measure.shuffle import Shuffle
from gate.measure.transfer import Classifier, classifier, initialised
from gate.measure.zero_shot import zero_shot_head
from gate.plan.task import Task
from gate.stats import Interval
from gate.triggers.grid import TriggerGrid
from gate.triggers.phrase import AnyStamp
from gate.triggers.stamp import Trigger

if TYPE_CHECKING:
    from gate.measure.alterations import Rewind, Rewound

_ANCESTOR = "backbone of ancestor"  # among data; no split can be called so
_COSINES = "pairwise cosine"  # a reader's name that no task can have


class Trial:
    """A backbone on trial: classifiers are trained when they are first asked for, and once.

    Args:
        bench: The plan, opened.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench, self.plan = bench, bench.plan
        self._calibrated: dict[str, calibrate.Calibrated] = {}
        self._zero_shots: dict[str, tuple[ZeroShotHead, str]] = {}
        self._classifiers: dict[tuple[str, str, Shuffle | None], Classifier] = {}
        self._initialised: dict[int, Backbone] = {}
        self._asked: dict[str, str] = {}
        self._asked_tasks: set[str] = set()
        self._asked_ancestor: Backbone | None = None
        self._remarks: list[str] = []

    def for_probe(self) -> "Trial":
        """The same trial, of which nothing was asked yet; all that was trained is shared."""
        view = copy(self)
        view._asked, view._asked_tasks, view._asked_ancestor = {}, set(), None
        view._remarks = []
        return view

    @property
    def asked_data(self) -> dict[str, str]:
        """Digests of all data that was asked for, by name, whether or not it was open already."""
        return dict(sorted(self._asked.items()))

    @property
    def asked_splits(self) -> list[Split]:
        """The splits that were asked for, in the order of their names."""
        return [self.bench.split(name) for name in self.asked_data if name in self.plan.splits]

    @property
    def asked_tasks(self) -> dict[str, Task]:
        """The tasks that were asked for, in the order of the plan."""
        return {n: task for n, task in self.plan.tasks.items() if n in self._asked_tasks}

    @property
    def asked_ancestor(self) -> Backbone | None:
        """The ancestor, if it was asked for."""
        return self._asked_ancestor

    @property
    def remarks(self) -> list[str]:
        """What a reader must know of the classifiers and splits that were asked for, each once."""
        of_splits = [each for split in self.asked_splits for each in self.bench.remarks(split)]
        return list(dict.fromkeys([*self._remarks, *of_splits]))

    @property
    def backbone(self) -> Backbone:
        """The candidate."""
        return self.bench.backbone

    @property
    def reference(self) -> Backbone | None:
        """The backbone known to be clean, if the plan has one."""
        return self.bench.reference

    @property
    def ancestor(self) -> Backbone | None:
        """The backbone that the candidate may descend from, if the plan has one."""
        self._note_ancestor()
        return self._asked_ancestor

    def _note_ancestor(self) -> None:
        self._asked_ancestor = self.bench.ancestor
        if self._asked_ancestor:
            self._asked[_ANCESTOR] = self._asked_ancestor.digest

    def split(self, name: str) -> Split:
        """A split, opened."""
        split = self.bench.split(name)
        self._asked[name] = split.digest
        return split

    def _note_splits(self, task: Task) -> None:
        for name in filter(None, (task.train, task.test)):
            self.split(name)

    def tasks(self, names: tuple[str, ...] | None = None) -> dict[str, Task]:
        """The named tasks, or all.

        Raises:
            PlanError: An unknown one, or one whose splits differ in their classes.
        """
        tasks = self.bench.tasks(names)
        self._asked_tasks |= set(tasks)
        for task in tasks.values():
            for name in task.splits:
                self.split(name)
        return tasks

    def bank(self, grids: tuple[TriggerGrid, ...], split: str) -> list[Trigger]:
        """All triggers of the grids, for images of a split as the backbones take them.

        Raises:
            GateError: A trigger cannot be drawn; says which field of its grid is at fault.
        """
        return self.bench.bank(grids, self.split(split).name)

    def outputs(
        self, split: str, backbone: Backbone | None = None, shuffle: Shuffle | None = None
    ) -> Outputs:
        """Features ``(N, D)`` of a split and the own head's logits ``(N, K)``, if it has one.

        They are the candidate's, unless another backbone is named, and of images as they are,
        unless they are shuffled.
        """
        return self.bench.outputs(self.split(split).name, backbone, shuffle)

    def features(self, split: str, backbone: Backbone | None = None) -> Float32:
        """Features ``(N, D)`` of a split: the candidate's, unless another backbone is named."""
        return self.outputs(split, backbone).features

    def inside(
        self, split: str, rows: Int64, backbone: Backbone, sites: Sequence[Site] = ()
    ) -> Outputs:
        """Features of some images, and channels at sites inside the backbone; none is kept on disk.

        Args:
            split: N images or texts.
            rows: Places ``(n,)`` of those that are passed, ascending.
            backbone: The candidate, or the ancestor.
            sites: As its layers name them.

        Returns:
            Features ``(n, D)`` and of each site ``(n, C)``; no logits.
        """
        readers: dict[str, Reader] = {"features": Output("features")}
        readers |= {str(place): Channels(site) for place, site in enumerate(sites)}
        some = self.split(split).only(rows)
        kept = self.bench.passed(f"look inside on {split}", some, backbone, readers, (None,))
        whole = {name: of[0] for name, of in kept.items()}
        channels = {site: whole[str(place)] for place, site in enumerate(sites)}
        return Outputs(whole["features"], None, channels)

    def preprocessed(self, split: str, rows: Int64, other: Preprocessed) -> Outputs:
        """What the candidate gives for some images preprocessed otherwise; none is kept on disk.

        Args:
            split: N images.
            rows: Places ``(n,)`` of those that are passed, ascending.
            other: In the place of the plan's preprocessing.

        Returns:
            Features ``(n, D)``, and the own head's logits ``(n, K)``, if it has one.

        Raises:
            BackboneError: Something that it gives is not finite.
        """
        readers: dict[str, Reader] = {"features": Output("features")}
        if self.backbone.plan.logits:
            readers["logits"] = Output("logits")
        some, what = self.split(split).only(rows), f"preprocess {split} otherwise"
        kept = self.bench.passed(what, some, self.backbone, readers, (other,))
        return Outputs(kept["features"][0], kept["logits"][0] if "logits" in kept else None)

    def classifier(
        self, task: Task, backbone: Backbone | None = None, shuffle: Shuffle | None = None
    ) -> Classifier:
        """The classifier of a task of the plan or of a variant of one, trained once."""
        self._note_splits(task)
        chosen = backbone or self.backbone
        key = (task.model_dump_json(), chosen.digest, shuffle)
        if key not in self._classifiers:
            self._classifiers[key] = classifier(self.bench, task, chosen, shuffle)
        found = self._classifiers[key]
        if found.remark:
            self._remarks.append(found.remark)
        return found

    def predictions(
        self, task: Task, backbone: Backbone | None = None, shuffle: Shuffle | None = None
    ) -> Int64:
        """Classes ``(N,)`` that the classifier gives for the test images of a task.

        Under a shuffle, training and test images go through it alike.
        """
        chosen = self.classifier(task, backbone, shuffle)
        return chosen.predict(self.outputs(task.test, chosen.backbone, shuffle))

    def trained(self, task: Task, shuffle: Shuffle | None, seed: int) -> tuple[Int64, Floats]:
        """Classes ``(N,)`` by a network that is trained with a seed, and its training accuracies.

        Training and test images go through the shuffle alike. The network is closed afterwards:
        there may be many of them.

        Args:
            task: One that trains the network through, or a variant of one.
            shuffle: What images go through.
            seed: Of training.

        Returns:
            The classes of the test images, and the training accuracy of each epoch.
        """
        self._note_splits(task)
        chosen = classifier(self.bench, task, self.backbone, shuffle, seed)
        predicted = chosen.predict(self.outputs(task.test, chosen.backbone, shuffle))
        self.bench.close(chosen.backbone.plan)
        return predicted, chosen.accuracies

    def initialised(self, seed: int) -> Backbone:
        """The candidate's architecture as its factory draws it with a seed, drawn once.

        Raises:
            PlanError: The candidate is a file that holds weights and not how they are drawn.
            BackboneError: The factory cannot be imported, raises something, or gives no module.
        """
        if seed not in self._initialised:
            self._initialised[seed] = initialised(self.bench, seed)
        drawn = self._initialised[seed]
        self._asked[f"initial weights of seed {seed}"] = drawn.digest
        return drawn

    def responses(
        self,
        split: str,
        tasks: dict[str, Task],
        stamps: Sequence[AnyStamp],
        backbone: Backbone | None = None,
        rows: Int64 | None = None,
    ) -> Responses:
        """What classifiers make of stamped images; each stamp passes each backbone once.

        Args:
            split: N images.
            tasks: By name, all tried on the split; those on one backbone share its passes.
            stamps: May name the same pixels or phrase twice; each is passed once.
            backbone: In the place of the candidate.
            rows: Places of the images in the split, in the order of the answers; default all.
        """
        whole, distinct = self.split(split), {stamp.key: stamp for stamp in stamps}
        rows = np.arange(len(whole)) if rows is None else rows
        # images stream as they lie in the file, and are put back into the order of rows
        opened, places = whole.only(np.sort(rows)), np.argsort(np.argsort(rows))
        classifiers = {name: self.classifier(task, backbone) for name, task in tasks.items()}
        hits: dict[str, Hits] = {}
        cosines: dict[str, dict[str, PairwiseCosine]] = {}
        for digest, passed in {c.backbone.digest: c.backbone for c in classifiers.values()}.items():
            ours = {n: c.reader for n, c in classifiers.items() if c.backbone.digest == digest}
            readers: dict[str, Reader] = {_COSINES: Cosines(), **ours}
            variants = list(distinct.values())
            kept = self.bench.passed(f"stamp {split}", opened, passed, readers, variants)
            cosines[digest] = dict(zip(distinct, kept.pop(_COSINES), strict=True))
            for name, classes in kept.items():
                clean = self.predictions(tasks[name], backbone)[rows]
                stamped = {key: of[places] for key, of in zip(distinct, classes, strict=True)}
                labels, examples = whole.labels[rows], f"{whole.plan.kind}s"
                hits[name] = Hits(name, whole.classes, labels, clean, stamped, examples)
        return Responses(hits, cosines)

    def has_time_for(self, passes: int) -> bool:
        """Whether so many passes more, at the most of the next look, end in time."""
        self.bench.progress.guess(passes)
        return self.bench.progress.has_time_for(passes)

    def expect_no_more(self) -> None:
        """Say that there will be no further look."""
        self.bench.progress.guess(0)

    def expect(self, passes: int) -> None:
        """Say that so many passes come now, which were not sure to come before."""
        self.bench.progress.expect(passes)

    def interpolated(
        self, tasks: dict[str, Task], shares: Sequence[float], recalibrated_on: str | None = None
    ) -> dict[str, Int64]:
        """Classes of test images under weights at shares of the way from candidate to ancestor.

        The own head, where a task has it, is interpolated with the rest. Else a head is fitted on
        the features of each end under the statistics that BatchNorm has there then, on the same
        split, and the head between is interpolated, too.
        BatchNorm statistics, of which there may be none, are taken anew at every share, also at 0
        and 1; numbers that are no floating point ones, such as counters, stay the candidate's.

        Args:
            tasks: By name.
            shares: L numbers from 0 to 1.
            recalibrated_on: Split that BatchNorm takes its statistics of; a task's training split
                unless one is named.

        Returns:
            By the task's name ``(L, N)``.

        Raises:
            PlanError: No ancestor; another architecture; a task whose head both do not share.
            EvidenceError: Fewer than a hundred examples.
            BackboneError: Weights that are not finite.
        """
        # torch takes seconds to import, and most plans alter no weights
        from gate.backbone.altered_weights import interpolated
        from gate.measure.alterations import interpolation
        from gate.measure.altered import Altered, between

        span = interpolation(self.bench, tasks, recalibrated_on)
        self._note_ancestor()
        for task in tasks.values():
            self._note_splits(task)
            if task.head == "own":
                self.classifier(task)  # which refuses one of other classes
        found: dict[str, list[Int64]] = {name: [] for name in tasks}
        for statistics in dict.fromkeys(span.statistics.values()):
            if statistics:
                self.split(statistics)
            altered = Altered(self.bench, self.backbone, statistics)
            first, second = altered.weights, span.weights
            there = {n: tasks[n] for n, of in span.statistics.items() if of == statistics}
            ours, theirs = (
                altered.heads(interpolated(first, second, end), f"fit heads at {end:g}", there)
                for end in (0, 1)
            )
            for share in shares:
                what = f"interpolate {share:g}"
                heads = {name: between(ours[name], theirs[name], share) for name in there}
                classes = altered.classes(interpolated(first, second, share), what, heads)
                for name, of_test in classes.items():
                    found[name].append(of_test)
        return {name: np.stack(classes) for name, classes in found.items()}

    def rewound(self, tasks: dict[str, Task], how: "Rewind") -> "Rewound":
        """Classes of test images with one module at a time rewound, and the rest kept.

        The classifier of a task is kept, too, unless it is the own head and that is rewound. Of a
        network that a task trains, modules of this network are rewound.

        Args:
            tasks: By name.
            how: Which modules, whose weights they get, and what becomes of BatchNorm.

        Raises:
            PlanError: No ancestor; another architecture; a module that cannot be rewound.
            EvidenceError: Fewer than a hundred examples.
            BackboneError: Weights that are not finite.
        """
        # torch takes seconds to import, and most plans alter no weights
        from gate.backbone.altered_weights import rewound
        from gate.measure.alterations import Rewound, in_forward_order, rewinding
        from gate.measure.altered import Altered

        chosen = rewinding(self.bench, tasks, how)
        order = in_forward_order(self.bench, chosen.modules)
        if how.origin == "ancestor":
            self._note_ancestor()
        classifiers = {name: self.classifier(task) for name, task in tasks.items()}
        found = Rewound(order, chosen.remarks, chosen.statistics, {}, {name: {} for name in tasks})
        others = chosen.weights(self.bench)
        networks: dict[tuple[str, str | None], dict[str, Classifier]] = {}
        for name, of_task in classifiers.items():
            key = (of_task.backbone.digest, chosen.statistics[name])
            networks.setdefault(key, {})[name] = of_task
        for (_, statistics), of_tasks in networks.items():
            if statistics:
                self.split(statistics)
            (backbone, *_) = (of_task.backbone for of_task in of_tasks.values())
            altered = Altered(self.bench, backbone, statistics)
            weights, heads = altered.weights, {name: of.head for name, of in of_tasks.items()}
            found.unaltered.update(
                altered.classes(weights, "recalibrate", heads)
                if statistics
                else {name: self.predictions(tasks[name]) for name in heads}
            )
            for module in order:
                moved = rewound(weights, others, module)
                for name, of_test in altered.classes(moved, f"rewind {module}", heads).items():
                    found.altered[name][module] = of_test
        return found

    def path_norms(
        self,
        tasks: dict[str, Task],
        how: "Rewind",
        images: int,
        draws: int,
        rise: float,
    ) -> "dict[str, dict[str, Interval | None]]":
        """The measure mu of each module of each task's network; see `path_norm.path_norm`.

        Args:
            tasks: By name.
            how: As in `rewound`; BatchNorm statistics are taken of the images of the loss.
            images: Training images at the most, of which the loss is.
            draws: Of noise.
            rise: Of the loss that noise may cause, in nats.

        Returns:
            By the task's name and the module's; None where no noise that was tried is borne.

        Raises:
            PlanError: As in `rewound`; and a task with an own head where no split is named.
        """
        from gate.backbone.altered_weights import Architecture, weights_backbone
        from gate.measure.alterations import in_forward_order, loss_split, rewinding
        from gate.measure.altered import Altered, sample
        from gate.measure.path_norm import path_norm

        chosen = rewinding(self.bench, tasks, how)
        order, others = in_forward_order(self.bench, chosen.modules), chosen.weights(self.bench)
        if how.origin == "ancestor":
            self._note_ancestor()
        architecture = Architecture(weights_backbone(self.backbone.plan, "backbone"))
        found: dict[str, dict[str, Interval | None]] = {}
        for name, task in tasks.items():
            split = self.split(loss_split(self.bench, name, task, how.recalibrated_on))
            of_task = self.classifier(task)
            altered = Altered(self.bench, of_task.backbone, chosen.statistics[name], images)
            drawn = sample(self.bench, of_task.backbone, split, images)
            found[name] = {
                module: path_norm(
                    altered, architecture, others, module, drawn, of_task.head, rise, draws,
                    self.plan.seed,
                )
                for module in order
            }  # fmt: skip
        return found

    def zero_shot(self, name: str) -> ZeroShotHead | None:
        """The zero-shot head of the task of that name, if it has one, made once.

        Raises:
            GateError: Its file cannot be read, or it does not fit the classes or the features.
        """
        described = self.plan.tasks[name].zero_shot
        if described is None:
            return None
        if name not in self._zero_shots:
            self._zero_shots[name] = zero_shot_head(self.bench, name, described)
        head, digest = self._zero_shots[name]
        self._asked[f"zero_shot of {name}"] = digest
        if described.encoder:  # the candidate's own tokenizer is among its versions
            tokenizer = self.bench.opened(described.encoder).versions["tokenizer"]
            self._asked[f"tokenizer of zero_shot of {name}"] = tokenizer
        return head

    def zero_shot_digest(self, name: str) -> str | None:
        """Digest of what the zero-shot head of a task was made from, if it has one."""
        return self._zero_shots[name][1] if self.zero_shot(name) else None

    def calibrated(self, name: str) -> calibrate.Calibrated:
        """The calibrated classifier of the task of that name, fitted once.

        Raises:
            PlanError: The task cannot be calibrated.
            EvidenceError: No estimate.
        """
        task = self.plan.tasks[name]
        if task.calibration_obstacle:
            raise PlanError(f"tasks.{name}: {task.calibration_obstacle}")
        zero_shot = self.zero_shot(name)
        for split in task.splits:
            self.split(split)
        if name not in self._calibrated:
            tuned = self.classifier(task)
            self._calibrated[name] = calibrate.calibrated(self.bench, name, tuned, zero_shot)
        return self._calibrated[name]

    def both_logits(self, name: str, split: str) -> tuple[Floats, Floats]:
        """Logits ``(N, K)`` of a split by a task's zero-shot and by its fine-tuned classifier."""
        return calibrate.both_logits(self.bench, self.calibrated(name), self.split(split).name)

    def wise_ft_logits(self, name: str, split: str) -> Floats | None:
        """Logits ``(N, K)`` of a split by the mean of both classifiers' weights, if these exist."""
        calibrated, opened = self.calibrated(name), self.split(split)
        return calibrate.wise_ft_logits(self.bench, name, calibrated, opened.name)
