"""Which weights of a plan's backbones can be altered, and which cannot: refused before any pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from gate.arrays import Int64
from gate.backbone.altered_weights import (
    Architecture,
    Weights,
    as_bytes,
    initial_weights,
    interpolated,
    is_of,
    unlike,
    weights_backbone,
    weights_of,
)
from gate.backbone.backbone import Backbone
from gate.errors import PlanError
from gate.measure.altered import require_examples
from gate.measure.bench import Bench
from gate.measure.first_batch import first_batch
from gate.plan.task import Task
from gate.strict_yaml import nearest

Origin = Literal["ancestor", "initial"]
BatchNorm = Literal["recalibrated", "kept"]

_BARRIER, _REWIND = "interpolation_barrier", "module_criticality"
_MEASURED = "networks are measured on"
_ROUNDING = 1e-3  # of the largest feature, by which two runs of the same function may differ


@dataclass(frozen=True)
class Common:
    """What the candidate and the ancestor have in common.

    Args:
        ancestor: The ancestor.
        ours: The candidate's architecture.
        theirs: The ancestor's.
        apart: Tensors that differ in shape, or that one of both lacks; all are the own head's.
    """

    ancestor: Backbone
    ours: Architecture
    theirs: Architecture
    apart: tuple[str, ...]


def common(bench: Bench, who: str) -> Common:
    """What the candidate and the ancestor have in common.

    Args:
        bench: The plan, opened.
        who: Asks for it.

    Raises:
        PlanError: The plan has no ancestor, one of both is not given as weights with an arch, or
            they are of two architectures.
    """
    if bench.ancestor is None:
        raise PlanError(
            f"{who}: needs the weights of an ancestor, and the plan has none; name a backbone "
            "under ancestor"
        )
    first = weights_backbone(bench.backbone.plan, "backbone")
    second = weights_backbone(bench.ancestor.plan, "ancestor")
    ours, theirs = Architecture(first), Architecture(second)
    apart = unlike(ours.weights, theirs.weights)
    if beyond := [name for name in apart if not (first.logits and is_of(name, first.logits))]:
        head = "" if first.logits else " (or if that is its own head, name it under logits)"
        raise PlanError(
            f"{who}: ancestor {second.arch} and backbone {first.arch} differ in {len(beyond)} "
            f"tensors, the first is {beyond[0]}, {_shapes(ours, theirs, beyond[0])}, so they are "
            f"of two architectures; give an ancestor of the same one, or leave {who} out{head}"
        )
    return Common(bench.ancestor, ours, theirs, tuple(apart))


def _weights_of(ancestor: Backbone) -> Weights:
    return weights_of(weights_backbone(ancestor.plan, "ancestor"), ancestor.artefact)


def _shapes(ours: Architecture, theirs: Architecture, name: str) -> str:
    """What both have under a name."""
    found = [
        str(tuple(of.weights[name].shape)) if name in of.weights else "absent"
        for of in (theirs, ours)
    ]
    return " and ".join(found)


def statistics_of(
    architecture: Architecture, bench: Bench, name: str, task: Task, chosen: str | None
) -> str | None:
    """The split that BatchNorm takes its statistics of; None where a network has no such layer.

    Args:
        architecture: Of the network.
        bench: The plan, opened.
        name: Of the task.
        task: Its training split is taken.
        chosen: Another split in its place.

    Raises:
        PlanError: The task trains nothing, so that it has no training split.
        EvidenceError: Fewer than a hundred examples.
    """
    if not architecture.has_batch_norm:
        return None
    if not (split := chosen or task.train):
        raise PlanError(
            f"tasks.{name}: head: own has no training split, and the network has BatchNorm, whose "
            "statistics are taken anew under altered weights; name a split of training images "
            "under recalibrated_on"
        )
    require_examples(f"splits.{split}", bench.split(split), "BatchNorm takes its statistics of")
    return split


def loss_split(bench: Bench, name: str, task: Task, chosen: str | None) -> str:
    """The split of training images whose loss a path norm is about.

    Raises:
        PlanError: The task trains nothing, so that it has no training split.
        EvidenceError: Fewer than a hundred examples.
    """
    if not (split := chosen or task.train):
        raise PlanError(
            f"tasks.{name}: head: own has no training split, of whose loss a path norm is; name a "
            "split of training images under recalibrated_on"
        )
    require_examples(f"splits.{split}", bench.split(split), "a loss is taken of")
    return split


# --- between candidate and ancestor ---------------------------------------------------------------


@dataclass(frozen=True)
class Interpolation:
    """What lies between the candidate and the ancestor.

    Args:
        ancestor: The other end.
        statistics: By task, the split that BatchNorm takes its statistics of.
    """

    ancestor: Backbone
    statistics: dict[str, str | None]

    @property
    def weights(self) -> Weights:
        """The weights of the other end.

        Raises:
            BackboneError: Some are not finite.
        """
        return _weights_of(self.ancestor)


def interpolation(
    bench: Bench, tasks: Mapping[str, Task], recalibrated_on: str | None
) -> Interpolation:
    """What lies between the candidate and the ancestor, for tasks.

    Args:
        bench: The plan, opened.
        tasks: By name; they share an own head, or fit heads on plain frozen features.
        recalibrated_on: Split that BatchNorm takes its statistics of; a task's training split
            unless one is named.

    Raises:
        PlanError: No ancestor; another architecture; a task whose head both do not share.
        EvidenceError: Fewer than a hundred examples.
    """
    both = common(bench, _BARRIER)
    first = weights_backbone(bench.backbone.plan, "backbone")
    second = weights_backbone(both.ancestor.plan, "ancestor")
    for key in ("layer", "logits", "pooling", "preprocessing", "text"):
        ours, theirs = (getattr(plan, key) for plan in (first, second))
        if ours != theirs:
            raise PlanError(
                f"{_BARRIER}: {key} of ancestor is {theirs!r}, and of backbone {ours!r}; what lies "
                "between both is passed in one way, so describe both alike, or leave it out"
            )
    if (first.arch, first.arch_args) != (second.arch, second.arch_args):
        _require_same_function(bench, both)
    statistics = {}
    for name, task in tasks.items():
        if task.head == "own" and both.apart:
            raise PlanError(
                f"tasks.{name}: head: own, and {both.apart[0]} of ancestor and backbone are of "
                f"shapes {_shapes(both.ours, both.theirs, both.apart[0])}, so no common head "
                "classifies what lies between; name a task with train, whose heads gate fits"
            )
        if not task.has_plain_head:
            raise PlanError(
                f"tasks.{name}: its classifier is more than a head on plain frozen features, and a "
                "barrier is one between the backbones as they are; name another task under tasks"
            )
        require_examples(f"tasks.{name}: split {task.test}", bench.split(task.test), _MEASURED)
        statistics[name] = statistics_of(both.ours, bench, name, task, recalibrated_on)
    return Interpolation(both.ancestor, statistics)


def _require_same_function(bench: Bench, both: Common) -> None:
    """Refuse two architectures that compute otherwise with tensors of the same names and shapes.

    Raises:
        PlanError: The ancestor's weights give other features in the candidate's architecture.
    """
    first = weights_backbone(bench.backbone.plan, "backbone")
    second = weights_backbone(both.ancestor.plan, "ancestor")
    batch = first_batch(bench, both.ancestor)
    own, other = weights_of(first, bench.backbone.artefact), _weights_of(both.ancestor)
    moved = bench.backbone.with_weights(as_bytes(interpolated(own, other, 1.0)))
    theirs, ours = batch.outputs.features, moved.outputs(batch.inputs).features
    if (gap := float(np.abs(ours - theirs).max())) > _ROUNDING * float(np.abs(theirs).max()):
        raise PlanError(
            f"{_BARRIER}: ancestor {second.arch} and backbone {first.arch} have tensors of the "
            f"same names and shapes, and give features that differ by up to {gap:.3g} under the "
            "same weights, so they are of two architectures; give an ancestor of the same one, or "
            f"leave {_BARRIER} out"
        )


# --- modules rewound ------------------------------------------------------------------------------


class Rewind(NamedTuple):
    """Which modules are to be rewound, to what, and what becomes of BatchNorm.

    Args:
        modules: Their names; none for all parts that have parameters.
        origin: Whose weights they get: the ancestor's, or those that the factory draws under the
            plan's seed, which are those that training from scratch begins at.
        batch_norm: Whether its statistics are taken anew for each network, the one that is not
            altered among them, or kept, those of a rewound module being rewound.
        recalibrated_on: Split that they are taken of; a task's training split unless one is named.
    """

    modules: tuple[str, ...] = ()
    origin: Origin = "ancestor"
    batch_norm: BatchNorm = "recalibrated"
    recalibrated_on: str | None = None


@dataclass(frozen=True)
class Rewinding:
    """What is rewound, where all of it can be.

    Args:
        origin: Whose weights they get.
        modules: Their names, in the order of the network's children.
        statistics: By task, the split that BatchNorm takes its statistics of; None where they are
            kept.
        remarks: What a reader must know of modules that were left out.
    """

    origin: Origin
    modules: tuple[str, ...]
    statistics: dict[str, str | None]
    remarks: tuple[str, ...]

    def weights(self, bench: Bench) -> Weights:
        """The weights that modules are rewound to.

        Raises:
            BackboneError: Some are not finite.
        """
        if self.origin == "initial" or bench.ancestor is None:
            plan = weights_backbone(bench.backbone.plan, "backbone")
            return initial_weights(plan, bench.plan.seed)
        return _weights_of(bench.ancestor)


def rewinding(bench: Bench, tasks: Mapping[str, Task], how: Rewind) -> Rewinding:
    """What is rewound for tasks, named by what they are called.

    Raises:
        PlanError: No ancestor; another architecture; a module that is not there, has no
            parameters, or differs in shape from the ancestor's.
        EvidenceError: Fewer than a hundred examples.
    """
    architecture = Architecture(weights_backbone(bench.backbone.plan, "backbone"))
    both = common(bench, _REWIND) if how.origin == "ancestor" else None
    for module in how.modules:
        _require_module(architecture, module)
    modules, remarks = [], []
    for module in how.modules or architecture.modules:
        differing = [name for name in (both.apart if both else ()) if is_of(name, module)]
        if not both or not differing:
            modules.append(module)
            continue
        says = (
            f"{module} cannot be rewound: {differing[0]} of ancestor and backbone are of shapes "
            f"{_shapes(both.ours, both.theirs, differing[0])}"
        )
        if how.modules:
            raise PlanError(f"{_REWIND}.modules: {says}; drop it, or say to: initial")
        remarks.append(f"{says}; it is left out")
    if not modules:
        raise PlanError(f"{_REWIND}: {'; '.join(remarks)}; so none is left, say to: initial")
    statistics: dict[str, str | None] = {}
    for name, task in tasks.items():
        require_examples(f"tasks.{name}: split {task.test}", bench.split(task.test), _MEASURED)
        statistics[name] = (
            statistics_of(architecture, bench, name, task, how.recalibrated_on)
            if how.batch_norm == "recalibrated"
            else None
        )
    return Rewinding(how.origin, tuple(modules), statistics, tuple(remarks))


@dataclass(frozen=True)
class Rewound:
    """What classifiers make of test images with one module at a time rewound.

    Args:
        modules: Their names, in the order in which images reach them.
        remarks: What a reader must know of modules that were left out.
        statistics: By task, the split that BatchNorm takes its statistics of; None where they are
            kept.
        unaltered: By task, classes ``(N,)`` with no module rewound.
        altered: By task and then by module, classes ``(N,)``.
    """

    modules: tuple[str, ...]
    remarks: tuple[str, ...]
    statistics: dict[str, str | None]
    unaltered: dict[str, Int64]
    altered: dict[str, dict[str, Int64]]


def in_forward_order(bench: Bench, modules: tuple[str, ...]) -> tuple[str, ...]:
    """Modules of the candidate in the order in which a batch first reaches them."""
    batch = first_batch(bench, bench.backbone)
    architecture = Architecture(weights_backbone(bench.backbone.plan, "backbone"))
    return tuple(architecture.in_forward_order(modules, batch.inputs))


def _require_module(architecture: Architecture, module: str) -> None:
    """Refuse what is no module, or has nothing to be rewound.

    Raises:
        PlanError: Says which is nearest, or which have parameters.
    """
    if not architecture.has(module):
        near = nearest(module, architecture.names)
        raise PlanError(f"{_REWIND}.modules: no module {module!r}; {near}")
    if not architecture.parameters_of(module):
        raise PlanError(
            f"{_REWIND}.modules: {module} has no parameters, so it cannot be rewound; drop it, or "
            f"name one of {', '.join(architecture.modules)}"
        )
