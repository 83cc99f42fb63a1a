"""Trial: a backbone with the splits and tasks that it is tried on. Probes measure on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gate import __version__
from gate.backbone import Backbone, Outputs
from gate.data.split import Split, open_split
from gate.errors import PlanError
from gate.measure import calibrate, embed, transfer, zero_shot
from gate.measure.calibrate import Calibrated
from gate.measure.head import ZeroShotHead
from gate.measure.transfer import Classifier
from gate.plan.plan import Plan, Task
from gate.strict_yaml import nearest
from gate.triggers.bank import Trigger, TriggerGrid, bank
from gate.values import Evidence, Measurement


class Trial:
    """A plan made ready: everything is opened when it is first asked for, and once.

    Args:
        plan: What is measured, on which data.
        folder: Where features are kept.
        show_progress: Bars on stderr.
    """

    def __init__(self, plan: Plan, folder: Path, *, show_progress: bool = False) -> None:
        self.plan = plan
        self.folder = folder
        self._show_progress = show_progress
        self._splits: dict[str, Split] = {}
        self._calibrated: dict[str, Calibrated] = {}
        self._zero_shots: dict[str, zero_shot.Made] = {}
        self._classifiers: dict[tuple[str, str], Classifier] = {}

    @cached_property
    def backbone(self) -> Backbone:
        """The candidate."""
        return Backbone(self.plan.backbone)

    @cached_property
    def reference(self) -> Backbone | None:
        """The backbone known to be clean, if the plan has one.

        Raises:
            PlanError: It is the candidate, from which nothing differs.
        """
        if self.plan.reference is None:
            return None
        reference = Backbone(self.plan.reference)
        if reference.digest == self.backbone.digest:
            raise PlanError(
                f"reference: is the candidate itself ({reference.digest}), from which nothing "
                "differs; name another backbone, or leave reference out to gate this one"
            )
        return reference

    def split(self, name: str) -> Split:
        """A split, opened."""
        if name not in self._splits:
            self._splits[name] = open_split(name, self.plan.splits[name])
        return self._splits[name]

    def bank(self, grids: tuple[TriggerGrid, ...], split: str) -> list[Trigger]:
        """All triggers of the grids, for images of a split as the backbones take them.

        Raises:
            GateError: A trigger cannot be drawn; says which field of its grid is at fault.
        """
        wanted = self.backbone.preprocessing  # a reference takes the same size and channels
        classes = self.split(split).classes
        return bank(grids, wanted.size, wanted.channels, self.plan.seed, classes)

    def tasks(self, names: tuple[str, ...] | None) -> dict[str, Task]:
        """The named tasks, or all.

        Raises:
            PlanError: An unknown one, or one whose splits differ in their classes.
        """
        for name in names or ():
            if name not in self.plan.tasks:
                raise PlanError(f"unknown task {name!r}; {nearest(name, self.plan.tasks)}")
        tasks = {name: self.plan.tasks[name] for name in names or self.plan.tasks}
        for name, task in tasks.items():
            wanted = self.split(task.test).classes
            for split in task.splits:
                if (found := self.split(split).classes) != wanted:
                    raise PlanError(
                        f"tasks.{name}: {split} has classes {', '.join(found)}, and {task.test} "
                        f"has {', '.join(wanted)}; a head needs the same on both"
                    )
        return tasks

    def outputs(self, split: str, backbone: Backbone | None = None) -> Outputs:
        """Features ``(N, D)`` of a split and the own head's logits ``(N, K)``, if it has one.

        Of the candidate, unless another backbone is given.
        """
        opened = self.split(split)
        chosen = backbone or self.backbone
        with self.progress(f"embed {split}", len(opened)) as advance:
            return embed.outputs(self.folder, chosen, opened, self.plan.batch_size, advance)

    def features(self, split: str, backbone: Backbone | None = None) -> NDArray[np.float32]:
        """Features ``(N, D)`` of a split, of the candidate unless another backbone is given."""
        return self.outputs(split, backbone).features

    def classifier(self, task: Task, backbone: Backbone | None = None) -> Classifier:
        """The classifier of a task of the plan or of a variant of one, trained once."""
        chosen = backbone or self.backbone
        key = (task.model_dump_json(), chosen.digest)
        if key not in self._classifiers:
            self._classifiers[key] = transfer.classifier(self, task, chosen)
        return self._classifiers[key]

    def averaged(self, tuned: Classifier) -> Backbone:
        """The candidate with its weights and those of a fine-tuned network averaged."""
        return transfer.averaged(self, tuned.backbone)

    def calibrated(self, name: str) -> Calibrated:
        """The calibrated classifier of the task of that name, fitted once."""
        if name not in self._calibrated:
            self._calibrated[name] = calibrate.fit(self, name)
        return self._calibrated[name]

    def zero_shot(self, name: str) -> ZeroShotHead | None:
        """The zero-shot classifier of the task of that name, if it has one, made once.

        Raises:
            GateError: Its file cannot be read, or it does not fit the classes or the features.
        """
        described = self.plan.tasks[name].zero_shot
        if described is None:
            return None
        if name not in self._zero_shots:
            self._zero_shots[name] = zero_shot.made(self, name, described)
        return self._zero_shots[name].head

    def zero_shot_digest(self, name: str) -> str | None:
        """What the zero-shot classifier of a task was made from, if it has one."""
        return self._zero_shots[name].digest if self.zero_shot(name) else None

    def predictions(self, task: Task, backbone: Backbone | None = None) -> NDArray[np.int64]:
        """Classes ``(N,)`` that the classifier gives for the test images of a task."""
        classifier = self.classifier(task, backbone)
        return classifier.predict(self.outputs(task.test, classifier.backbone))

    def evidence(
        self,
        probe: str,
        settings: dict[str, Any],
        measurements: tuple[Measurement, ...],
        remarks: tuple[str, ...] = (),
    ) -> Evidence:
        """What a probe measured, with all that it depends on."""
        splits = {name: split.digest for name, split in self._splits.items()}
        others = {f"zero_shot of {n}": found.digest for n, found in self._zero_shots.items()}
        return Evidence(
            probe=probe,
            settings={
                "probe": settings,
                "batch_size": self.plan.batch_size,
                "backbone": self.plan.backbone.settings,
                "tasks": {name: task.settings for name, task in self.plan.tasks.items()},
            },
            backbone=self.backbone.digest,
            reference=self.reference.digest if self.reference else None,
            data=dict(sorted({**splits, **others}.items())),
            seed=self.plan.seed,
            versions={
                "gate": __version__,
                "numpy": np.__version__,
                "scikit-learn": version("scikit-learn"),
                "scipy": version("scipy"),
                **self.backbone.versions,
            },
            measurements=measurements,
            remarks=remarks,
        )

    @contextmanager
    def progress(self, what: str, images: int) -> Iterator[embed.Advance]:
        """A bar on stderr where there is a terminal; gives the function that moves it on."""
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        with Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not self._show_progress,
        ) as bar:
            task = bar.add_task(what, total=images)
            yield lambda done: bar.advance(task, done)
