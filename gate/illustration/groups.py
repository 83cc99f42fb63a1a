"""The worst groups of an attribute: images of a class with a value, and what they are taken for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gate.contact_sheets import Sheet
from gate.illustration.drawing import examples_of, images_of, spread
from gate.measure.trial import Trial
from gate.values import Evidence, Measurement


@dataclass(frozen=True)
class Group:
    """The group of a task and an attribute in which accuracy is lowest."""

    measurement: Measurement

    @property
    def rank(self) -> float:
        """The lowest is the worst."""
        return self.measurement.value

    def sheet(self, trial: Trial) -> Sheet:
        """Some images of the group, rightly classified or not."""
        m = self.measurement
        task, attribute, value = (m.about[each] for each in ("task", "attribute", "value"))
        plan = trial.tasks((task,))[task]
        split, predicted = trial.split(plan.test), trial.predictions(plan)
        wanted = split.labels == split.classes.index(m.about["class"])
        wanted &= split.attributes[attribute] == value
        rows = spread(wanted)
        images = images_of(split, rows, trial.backbone.preprocessing)
        said = [split.classes[k] for k in predicted[rows]]
        return Sheet(
            kind="group",
            probe="spurious_attribute",
            title=f"Class {m.about['class']} with {attribute} {value}, {len(rows)} images "
            f"of {split.name}; accuracy {m.value:.2f} [{m.low:.2f}, {m.high:.2f}], task {task}.",
            about=m.about,
            columns=("as it is",),
            examples=examples_of([m.about["class"]] * len(rows), [(images, said)]),
        )


def of_groups(trial: Trial, evidence: Mapping[str, Evidence]) -> Iterator[Group]:
    """The worst group of each task and attribute."""
    found = evidence.get("spurious_attribute")
    worst: dict[tuple[str, str], Measurement] = {}
    for m in found.measurements if found else ():
        if m.metric != "group_accuracy":
            continue
        key = m.about["task"], m.about["attribute"]
        task = trial.plan.tasks.get(m.about["task"])
        if task and not task.transfer.trains and (key not in worst or m.value < worst[key].value):
            worst[key] = m
    yield from map(Group, worst.values())
