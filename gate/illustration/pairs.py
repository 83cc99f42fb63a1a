"""Test images that nearly are a training image, beside that one."""

from collections.abc import Iterator

import numpy as np

from gate.arrays import Images
from gate.contact_sheets import MOST_EXAMPLES, Sheet
from gate.data.split import Split
from gate.illustration.drawing import examples_of, images_of
from gate.measure.trial import Trial


def of_near_duplicates(trial: Trial) -> Iterator[Sheet]:
    """The first pairs of each task's two splits, if there are any."""
    tried = set()
    for name, task in trial.plan.tasks.items():
        if not task.train or (task.train, task.test) in tried:
            continue
        tried.add((task.train, task.test))
        train, test = trial.split(task.train), trial.split(task.test)
        if not (pairs := test.near_duplicates_of(train)):
            continue
        shown = pairs[:MOST_EXAMPLES]
        columns = [
            (_images(trial, split, places), None)
            for split, places in (
                (test, [pair.test for pair in shown]),
                (train, [pair.train for pair in shown]),
            )
        ]
        yield Sheet(
            kind="near duplicates",
            title=f"{len(pairs)} images of {test.name} nearly are one of {train.name}, "
            f"task {name}; the first of them.",
            columns=(test.name, train.name),
            examples=examples_of([test.classes[test.labels[p.test]] for p in shown], columns),
        )


def _images(trial: Trial, split: Split, places: list[int]) -> Images:
    """Images at places in any order, which may name one twice."""
    rows, order = np.unique(places, return_inverse=True)
    return images_of(split, rows, trial.backbone.preprocessing)[order]
