"""pipelines/NAME.yaml -> Plan: what is measured, on which data. No threshold stands here."""

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from gate import strict_yaml
from gate.errors import PlanError
from gate.plan.backbone import AnyBackbone, BackbonePlan
from gate.plan.probes import ProbePlan
from gate.plan.split import Key, SplitPlan
from gate.plan.task import Task
from gate.probes import PROBES
from gate.values import Value

# what a probe does that takes nothing else
_DOES = {"images": "changes the pixels of images", "texts": "puts phrases into texts"}


class Plan(Value):
    """What is measured, on which data, with which settings."""

    name: str = Field(min_length=1, description="What reports call it.")
    seed: int = Field(0, ge=0, description="Of all that is drawn.")
    batch_size: int = Field(64, ge=1, description="Images per forward pass; part of the digest.")
    backbone: AnyBackbone = Field(description="The candidate: what is judged.")
    reference: AnyBackbone | None = Field(
        None, description="A backbone known to be clean, measured on the same images."
    )
    ancestor: AnyBackbone | None = Field(
        None, description="A backbone that this one is said to descend from, or must not."
    )
    splits: dict[Key, SplitPlan] = Field(min_length=1)
    tasks: dict[Key, Task] = Field(min_length=1)
    probes: ProbePlan

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        for name, task in self.tasks.items():
            self._require_sound_task(name, task)
        if not self.probes.named():
            raise ValueError("probes: none is named, so nothing would be measured")
        for split in self.used_splits:
            known = self.splits.get(split)  # a probe says itself which one it lacks
            if known and bool(known.text) != bool(self.backbone.text):
                raise ValueError(
                    f"splits.{split}: the backbone takes {self.backbone.takes}, and this split has "
                    "others; see text under the split and under backbone"
                )
        for probe in self.probes.named():
            takes = PROBES[probe].takes
            if takes and takes != self.backbone.takes:
                raise ValueError(
                    f"probes.{probe}: {_DOES[takes]}, and the backbone takes "
                    f"{self.backbone.takes}; drop it"
                )
            if PROBES[probe].needs_reference and not self.reference:
                raise ValueError(
                    f"probes.{probe}: compares with the plan's reference, and there is none; name "
                    "the backbone that is in use under reference, or drop the probe"
                )
        if self.reference and self.reference.input_shape != self.backbone.input_shape:
            raise ValueError(
                "reference: its input differs from the backbone's (images or texts; size and "
                "channels), and the same data must serve both"
            )
        if self.ancestor and self.ancestor.takes != self.backbone.takes:
            raise ValueError(
                f"ancestor: takes {self.ancestor.takes}, and the backbone takes "
                f"{self.backbone.takes}; the same data must serve both"
            )
        return self

    def _require_sound_task(self, name: str, task: Task) -> None:
        """Refuse a task whose splits are not there, or that the backbone cannot serve.

        Raises:
            ValueError: Says which key is at fault.
        """
        for split in task.splits:
            if split not in self.splits:
                near = strict_yaml.nearest(split, self.splits)
                raise ValueError(f"tasks.{name}: unknown split {split!r}; {near}")
        if task.train == task.test:
            raise ValueError(f"tasks.{name}: trains and tests on the same split {task.train!r}")
        if len(set(task.splits)) < len(task.splits):
            raise ValueError(f"tasks.{name}: names a split twice; each has one use")
        zero_shot = task.zero_shot
        if zero_shot and zero_shot.source and not self.backbone.logits:
            raise ValueError(
                f"tasks.{name}.zero_shot.source: needs backbone.logits, the output of its own head"
            )
        if zero_shot and zero_shot.prompts and not (zero_shot.encoder or self.backbone.text):
            raise ValueError(
                f"tasks.{name}.zero_shot.prompts: the backbone takes images; name the text "
                "encoder that belongs to it under encoder"
            )
        stamps = task.transfer.trains or task.remedy in ("debias", "head.ignore")
        if self.backbone.text and stamps:
            raise ValueError(
                f"tasks.{name}: transfer, debias and head.ignore are for images, and the "
                "backbone takes texts; drop them"
            )
        if task.head == "own" and not self.backbone.logits:
            raise ValueError(
                f"tasks.{name}: head: own needs backbone.logits, the output of its own head"
            )

    @property
    def used_splits(self) -> tuple[str, ...]:
        """Names of the splits that a task or a probe reads, each once."""
        names = [name for task in self.tasks.values() for name in task.splits]
        return tuple(dict.fromkeys([*names, *self.probes.training_splits]))


def load_plan(path: Path, backbone: Path | None = None) -> Plan:
    """Read a plan; paths in it are relative to the current folder, as in dvc.yaml.

    Args:
        path: The plan.
        backbone: Another candidate in the plan's place: weights of the same kind, or a YAML file
            with a whole description as it stands under ``backbone`` in a plan.

    Raises:
        PlanError: Missing, not YAML, or with an unknown key or a reference to nothing.
    """
    plan = strict_yaml.load(path, Plan, PlanError)
    if backbone is None:
        return plan
    if backbone.suffix in (".yaml", ".yml"):
        candidate = strict_yaml.load(backbone, BackbonePlan, PlanError)
    else:
        candidate = plan.backbone.with_path(backbone)
    # what the plan leaves out stays left out: some settings only then give way to small splits
    stated = plan.model_dump(exclude_unset=True)
    try:
        return Plan.model_validate({**stated, "backbone": candidate.model_dump()})
    except ValidationError as fault:  # the candidate does not suit the plan's data
        raise PlanError("\n".join(strict_yaml.explain(fault, backbone, Plan))) from fault
