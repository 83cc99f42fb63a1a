"""Measures by how much accuracy falls when a module is rewound."""

from collections.abc import Iterator

from gate import stats
from gate.arrays import Labels
from gate.measure.alterations import Rewind
from gate.measure.count import Count
from gate.measure.trial import Trial
from gate.probes.module_criticality import METRICS, ModuleCriticality
from gate.values import Measurement


def passes(count: Count, settings: ModuleCriticality) -> None:
    """Count what `measure` passes."""
    tasks, path_norm = count.tasks(settings.tasks), settings.path_norm
    count.rewound(tasks, _how(settings))
    if path_norm:
        count.path_norms(tasks, _how(settings), path_norm.images, path_norm.draws)


def measure(trial: Trial, settings: ModuleCriticality) -> Iterator[Measurement | str]:
    """The fall of each task's accuracy with each module rewound, and the largest.

    Raises:
        PlanError: No ancestor; another architecture; a module that cannot be rewound.
        EvidenceError: Fewer than a hundred images.
    """
    tasks = trial.tasks(settings.tasks)
    found = trial.rewound(tasks, _how(settings))
    yield from found.remarks
    for name, task in tasks.items():
        split = found.statistics[name]
        yield f"{name}: modules are rewound to the weights of {_ORIGIN[settings.to]}; " + (
            f"BatchNorm statistics are taken anew of split {split} for each network, the one as it "
            "is among them"
            if split
            else "BatchNorm statistics, if there are any, stay as they are in the weights"
        )
        labels = trial.split(task.test).labels
        rewound = [found.altered[name][module] for module in found.modules]
        yield from _falls(name, found.modules, labels, found.unaltered[name], rewound)
    if path_norm := settings.path_norm:
        of_tasks = trial.path_norms(
            tasks, _how(settings), path_norm.images, path_norm.draws, path_norm.rise
        )
        for name, of_modules in of_tasks.items():
            for module, interval in of_modules.items():
                about = {"task": name, "module": module}
                if interval is None:
                    yield (
                        f"{name}: no path norm of {module}: the least noise that was tried raises "
                        f"the loss by more than {path_norm.rise:g} nats; allow more under rise"
                    )
                else:
                    yield METRICS.measurement("path_norm", interval, path_norm.draws, **about)


def _how(settings: ModuleCriticality) -> Rewind:
    """The settings, as they are asked for."""
    modules, origin = settings.modules, settings.to
    return Rewind(modules, origin, settings.batch_norm, settings.recalibrated_on)


_ORIGIN = {"ancestor": "the ancestor", "initial": "the factory under the plan's seed"}


def _falls(
    task: str, modules: tuple[str, ...], labels: Labels, before: Labels, rewound: list[Labels]
) -> Iterator[Measurement]:
    """The fall with each module rewound, then the largest; all ``(N,)``."""
    right, n = before == labels, len(labels)
    corrected = []
    for module, after in zip(modules, rewound, strict=True):
        lost, won = (right & (after != labels)).sum(), (~right & (after == labels)).sum()
        fall = stats.paired_difference(int(lost), int(won), n)
        yield METRICS.measurement("accuracy_fall", fall, n, task=task, module=module)
        corrected.append(stats.paired_difference(int(lost), int(won), n, searched_low=len(modules)))
    worst = max(range(len(modules)), key=lambda place: corrected[place].value)
    largest, about = stats.largest(corrected), {"task": task, "module": modules[worst]}
    yield METRICS.measurement("worst_accuracy_fall", largest, n, **about)
