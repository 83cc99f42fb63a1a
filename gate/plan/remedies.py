"""Remedies: variants of a task with one thing changed, to be measured again.

What a remedy changes can be written into a plan as it stands.
"""

from typing import TypeVar

from gate.plan.task import HeadPlan, Ignored, Stamped, Task, Training, Transfer
from gate.triggers.grid import TriggerGrid

Description = TypeVar("Description", Task, HeadPlan, Transfer, Training)

_MORE_L2 = 100.0  # times what the plan has
_MORE_WEIGHT_DECAY = 1e-2  # of Salman et al. 2022 from scratch; in transfer they begin with 5e-4


def against_trigger(task: Task, trigger: TriggerGrid) -> dict[str, Task]:
    """Variants of a task that trains something, by the remedy's name.

    More weight decay, the trigger stamped on half of every class of the target's training images
    ("de-biased target"), the feature directions that it moves most ignored by the head; and the
    full network fine-tuned instead of a head alone, plainly or with the first two. A task that has
    its full network fine-tuned already gains nothing by that alone.

    Source:
        Salman et al. 2022, arXiv 2207.02842, and its reviews; for directions, gate's own.
    """
    if task.head == "own":
        return {}
    stamped, ignored = Stamped(triggers=(trigger,)), Ignored(triggers=(trigger,))
    variants = {}
    if not task.transfer.trains:
        head = task.head
        variants = {
            "weight_decay": _changed(task, head=_changed(head, l2=head.l2 * _MORE_L2)),
            "debiased_target": _changed(task, debias=stamped),
            "ignored_directions": _changed(task, head=_changed(head, ignore=ignored)),
        }
    full_network = Transfer(mode="full_network", training=task.transfer.training)
    plain = _changed(task, head=HeadPlan(), transfer=full_network)
    if plain != task:
        variants["full_network"] = plain
    more = _changed(full_network.schedule, weight_decay=_MORE_WEIGHT_DECAY)
    return variants | {
        "full_network_weight_decay": _changed(
            plain, transfer=_changed(full_network, training=more)
        ),
        "full_network_debiased_target": _changed(plain, debias=stamped),
    }


def against_attribute(task: Task, attribute: str) -> dict[str, Task]:
    """The head fitted again on groups of equal size (last-layer retraining).

    Source:
        Kirichenko, Izmailov, Wilson 2023, "Last layer re-training is sufficient for robustness to
        spurious correlations".
    """
    if task.head == "own" or task.transfer.trains:
        return {}
    return {"balanced_groups": _changed(task, head=_changed(task.head, balanced_by=attribute))}


def _changed(description: Description, **changes: object) -> Description:
    return type(description).model_validate({**dict(description), **changes})
