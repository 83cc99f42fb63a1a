"""Bench: a plan opened. It has splits, backbones, features and passes; it trains nothing."""

import gc
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gate.arrays import Float32, Images
from gate.backbone.backbone import Backbone, Outputs
from gate.data.split import Split, open_split, require_same_writing
from gate.errors import PlanError
from gate.limits import Limits
from gate.measure import embed
from gate.measure.passes import Examples, InProcess, MakeEngine, Pass, Variant, gathered
from gate.measure.readers import Reader
from gate.measure.shuffle import Shuffle
from gate.measure.stability import require_stable
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import Plan
from gate.plan.task import Task
from gate.progress import Progress
from gate.strict_yaml import nearest
from gate.triggers.bank import bank
from gate.triggers.grid import TriggerGrid
from gate.triggers.stamp import Trigger

log = logging.getLogger("gate")


class Bench:
    """A plan made ready: everything is opened when it is first asked for, and once.

    Args:
        plan: What is measured, on which data.
        folder: Where features are kept.
        progress: Shows how far long work is.
        limits: What a model may take that holds a program of its own.
        engine: Where passes happen, given what opens backbones.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        progress: Progress | None = None,
        limits: Limits | None = None,
        engine: MakeEngine = InProcess,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.progress = progress or Progress()
        self.engine = engine(self.opened)
        self._limits = limits
        self._backbones: dict[BackbonePlan, Backbone] = {}
        self._splits: dict[str, Split] = {}
        self._outputs: dict[tuple[str, BackbonePlan, Shuffle | None], Outputs] = {}
        self._stable: set[tuple[BackbonePlan, str]] = set()  # with their digests
        self._remarks: dict[str, list[str]] = {}
        self._said: set[str] = set()
        self._first: dict[tuple[int, int] | None, Images | list[str]] = {}

    def opened(self, plan: BackbonePlan) -> Backbone:
        """The backbone of a description, opened once."""
        if plan not in self._backbones:
            opened = Backbone(plan, self._limits)
            for remark in opened.remarks:
                log.info("%s: %s", plan.path, remark)
            # under both: passes name what they go through by its settled plan
            self._backbones |= {plan: opened, opened.plan: opened}
        return self._backbones[plan]

    def close(self, plan: BackbonePlan) -> None:
        """Forget the backbone of a description and what it gave, so that its memory is free."""
        if opened := self._backbones.get(plan):
            self._backbones = {of: each for of, each in self._backbones.items() if each != opened}
            plans = plan, opened.plan
            self._outputs = {key: of for key, of in self._outputs.items() if key[1] not in plans}
            del opened
        self.engine.close(plan)
        gc.collect()  # a module and the hooks that read it hold each other

    @cached_property
    def backbone(self) -> Backbone:
        """The candidate."""
        return self.opened(self.plan.backbone)

    @cached_property
    def reference(self) -> Backbone | None:
        """The backbone known to be clean, if the plan has one.

        Raises:
            PlanError: It is the candidate, from which nothing differs.
        """
        if self.plan.reference is None:
            return None
        reference = self.opened(self.plan.reference)
        if reference.digest == self.backbone.digest:
            raise PlanError(
                f"reference: is the candidate itself ({reference.digest}), from which nothing "
                "differs; name another backbone, or leave reference out to gate this one"
            )
        return reference

    @cached_property
    def ancestor(self) -> Backbone | None:
        """The backbone that the candidate may descend from, if the plan has one.

        It may be the candidate itself: then it is as near as can be.
        """
        return self.opened(self.plan.ancestor) if self.plan.ancestor else None

    def split(self, name: str) -> Split:
        """A split, opened.

        Raises:
            PlanError: The plan has none of that name.
            DataError: It cannot be read.
        """
        if name not in self.plan.splits:
            raise PlanError(f"unknown split {name!r}; {nearest(name, self.plan.splits)}")
        if name not in self._splits:
            self._splits[name] = open_split(name, self.plan.splits[name])
        return self._splits[name]

    def remarks(self, split: Split) -> list[str]:
        """What is odd about a split's examples, and what a tokenizer loses of its texts."""
        if split.name not in self._remarks:
            said = [*split.remarks]
            if split.plan.text:
                said += embed.tokens_of(self.backbone, split).remarks(split.name)
            self._remarks[split.name] = said
        return self._remarks[split.name]

    def say(self, remarks: Iterable[str]) -> None:
        """Log remarks that were not logged before: several probes may have one on one split."""
        for remark in remarks:
            if remark not in self._said:
                self._said.add(remark)
                log.warning("%s", remark)

    def tasks(self, names: tuple[str, ...] | None = None) -> dict[str, Task]:
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
                require_same_writing(self.split(split), self.split(task.test))
        return tasks

    def bank(self, grids: tuple[TriggerGrid, ...], split: str) -> list[Trigger]:
        """All triggers of the grids, for images of a split as the backbones take them.

        Raises:
            GateError: A trigger cannot be drawn; says which field of its grid is at fault.
        """
        wanted = self.backbone.preprocessing  # a reference takes the same size and channels
        classes = self.split(split).classes
        return bank(grids, wanted.size, wanted.channels, self.plan.seed, classes)

    def outputs(
        self, split: str, backbone: Backbone | None = None, shuffle: Shuffle | None = None
    ) -> Outputs:
        """Features ``(N, D)`` of a split and the own head's logits ``(N, K)``, if it has one.

        They are the candidate's, unless another backbone is named, and of images as they are,
        unless they are shuffled.
        """
        opened, chosen, size = self.split(split), backbone or self.backbone, self.plan.batch_size
        if (key := (split, chosen.plan, shuffle)) not in self._outputs:
            self.require_stable(chosen)  # also where features are kept already
            step = self.progress(f"embed {split}", len(opened), backbone=chosen.digest)
            with step as advance:
                self._outputs[key] = embed.outputs(
                    self.folder, self.engine, chosen, opened, size, advance, shuffle
                )
        return self._outputs[key]

    def features(
        self, split: str, backbone: Backbone | None = None, shuffle: Shuffle | None = None
    ) -> Float32:
        """Features ``(N, D)`` of a split; see ``outputs``."""
        return self.outputs(split, backbone, shuffle).features

    def require_stable(self, backbone: Backbone, texts: list[str] | None = None) -> None:
        """Refuse a backbone that gives one example several answers; each is tried once.

        Args:
            backbone: Is tried on the first examples of the plan's first split.
            texts: In their place.

        Raises:
            BackboneError: Says how far answers differ, and by which operator, if it is found.
            DataError: Examples that cannot be read.
        """
        if (key := (backbone.plan, backbone.digest)) not in self._stable:
            require_stable(backbone, texts or self._first_examples(backbone.plan.input_shape))
            self._stable.add(key)

    def _first_examples(self, shape: tuple[int, int] | None) -> Images | list[str]:
        """As many examples as pass at once, of the first split that the plan uses."""
        if shape not in self._first:
            whole = self.split(self.plan.used_splits[0])
            size = min(self.plan.batch_size, len(whole))
            few = whole.only(np.arange(size))
            (self._first[shape],) = few.batches(size, *shape) if shape else few.texts(size)
        return self._first[shape]

    def passed(
        self,
        what: str,
        examples: Examples,
        backbone: Backbone,
        readers: Mapping[str, Reader],
        variants: Sequence[Variant] = (None,),
        weights: bytes | None = None,
    ) -> dict[str, list[Any]]:
        """What readers keep of examples, each variant of which is passed once.

        Args:
            what: Names the step where progress is shown.
            examples: Images or texts.
            backbone: What they go through.
            readers: By name.
            variants: What is stamped on images, or put into texts.
            weights: As safetensors, in the place of the backbone's own.

        Returns:
            By the reader's name, what it kept of each variant.
        """
        self.require_stable(backbone)
        work = Pass(backbone.plan, readers, tuple(variants), weights)
        total = len(examples) * len(work.variants)
        with self.progress(what, total, backbone=backbone.digest) as advance:
            parts = self.engine.map(work, examples, self.plan.batch_size, advance)
            return gathered(parts, work, len(examples))
