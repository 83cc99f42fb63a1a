"""Downstream tasks: which classifier is trained on which split, and tried on which."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gate.plan.backbone import AnyBackbone
from gate.plan.split import Name
from gate.triggers.grid import TriggerGrid
from gate.values import Value, repeated


class Stamped(Value):
    """Triggers stamped on training images, on the same share of every class."""

    triggers: tuple[TriggerGrid, ...] = Field(min_length=1)
    share: float = Field(0.5, gt=0, le=1, description="Of the images of each class.")


class Ignored(Value):
    """The few directions of feature space that triggers move, which a head is to ignore."""

    triggers: tuple[TriggerGrid, ...] = Field(min_length=1)
    directions: int = Field(3, ge=1, description="How many.")


class HeadPlan(Value):
    """How a linear head is fitted on frozen features."""

    l2: float = Field(1.0, gt=0, description="Strength of the L2 penalty on standardised features.")
    balanced_by: str | None = Field(
        None,
        description="An attribute of the training split: fit on equally many images of every "
        "(class, value) group (last-layer retraining, Kirichenko et al. 2023).",
    )
    ignore: Ignored | None = None


class Training(Value):
    """SGD with momentum 0.9; the learning rate rises for a third of the epochs, then falls to 0."""

    epochs: int = Field(15, ge=1, description="Passes over the training images.")
    batch_size: int = Field(64, ge=2, description="Images of each step.")
    learning_rate: float = Field(0.05, gt=0, description="At its peak.")
    weight_decay: float = Field(5e-4, ge=0, description="Of all weights.")
    augment: bool = Field(
        False, description="Random shifts by up to an eighth of the side, and horizontal flips."
    )


class Transfer(Value):
    """What is trained on the task: a head alone, every weight, or a network without pretraining.

    With ``batch_norm: adapting`` the statistics of batch normalisation drift to the task while a
    head is trained by SGD, as in the code of Salman et al. 2022. Frozen features are computed once
    and their head is a logistic regression.
    """

    mode: Literal["fixed_feature", "full_network", "from_scratch"] = Field(
        "fixed_feature", description="Whether a head alone is trained, or every weight, or anew."
    )
    batch_norm: Literal["frozen", "adapting"] = Field(
        "frozen", description="Whether its statistics drift to the task while a head is trained."
    )
    training: Training | None = None

    @model_validator(mode="after")
    def _trains_or_not(self) -> Self:
        if self.mode != "fixed_feature" and self.batch_norm == "adapting":
            raise ValueError(f"batch_norm: it always adapts in {self.mode} transfer; drop it")
        if not self.trains and self.training:
            raise ValueError(
                "training: on frozen features the head is a logistic regression, see head; drop it"
            )
        return self

    @property
    def trains(self) -> bool:
        """Whether more than a head on frozen features is trained, which needs torch."""
        return self.mode != "fixed_feature" or self.batch_norm == "adapting"

    @property
    def schedule(self) -> Training:
        """How it is trained: as the plan says, or by default."""
        return self.training or Training()


class ZeroShot(Value):
    """A classifier of a task's classes that saw none of its training data, by one of three ways.

    Its label prior is estimated and removed. Unless one is given, the nearest class mean stands in.
    """

    embeddings: Path | None = Field(
        None, description="File of class embeddings (K, D), as CLIP's text encoder gives them."
    )
    prompts: tuple[str, ...] = Field(
        (), description="Such as 'a photo of a {}.': class embeddings are their mean, encoded."
    )
    encoder: AnyBackbone | None = Field(
        None, description="Of prompts, for a backbone of images; a text backbone encodes its own."
    )
    names: dict[Name, str] = Field(
        {}, description="What prompts call a class, where its name will not do."
    )
    source: dict[Name, tuple[Annotated[int, Field(ge=0)], ...]] = Field(
        {}, description="For each class, the classes of the backbone's own head that belong to it."
    )
    scale: float = Field(
        100.0, gt=0, description="Of cosines: CLIP's logit scale, 1 / temperature."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("embeddings", "prompts", "source") if getattr(self, name)]
        if len(ways) != 1:
            raise ValueError(f"state one of embeddings, prompts and source; found {ways or 'none'}")
        if not self.prompts and (self.encoder or self.names):
            raise ValueError("encoder and names go with prompts; drop them, or give prompts")
        if self.encoder and not self.encoder.text:
            raise ValueError("encoder: takes images; prompts need one with text.tokenizer")
        for prompt in self.prompts:
            if (places := prompt.count("{}")) != 1:
                raise ValueError(
                    f"prompts: {prompt!r} has {places} places for the class; write one {{}}"
                )
        for name, members in self.source.items():
            if not members:
                raise ValueError(f"source.{name}: no class of the own head; name at least one")
        used = [index for members in self.source.values() for index in members]
        if twice := repeated(used):
            raise ValueError(f"source: class {twice[0]} of the own head belongs to two classes")
        return self


class Task(Value):
    """A downstream task: a classifier is trained on one split and tried on another.

    With ``head: own`` nothing is trained: the artefact's own head is tried on its own classes.
    """

    train: str | None = Field(None, description="Split that its classifier is trained on.")
    test: str = Field(description="Split that it is tried on.")
    head: HeadPlan | Literal["own"] = HeadPlan()
    transfer: Transfer = Transfer()
    debias: Stamped | None = None
    zero_shot: ZeroShot | None = None
    held_out: str | None = Field(
        None,
        description="Split that nothing is trained on, to estimate label prior and temperatures; "
        "without it, the training split is used, head by head on a part left out.",
    )
    shifted: tuple[str, ...] = Field(
        (), description="Further test splits of the same classes, from another distribution."
    )
    near_duplicates: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of test examples that nearly are a training example: saved "
        "again, resized, retyped.",
    )

    @model_validator(mode="after")
    def _trains_what_is_named(self) -> Self:
        if self.head == "own":
            if self.train or self.debias or self.transfer != Transfer():
                raise ValueError("head: own trains nothing; drop train, transfer and debias")
            if self.zero_shot or self.held_out or self.shifted:
                raise ValueError(
                    "head: own has no fine-tuned head to calibrate; drop zero_shot, held_out and "
                    "shifted"
                )
        elif not self.train:
            raise ValueError("train: name a split to train on, or say head: own")
        elif self.transfer.trains and self.head != HeadPlan():
            raise ValueError(
                f"head: in {self.transfer.mode} transfer the head is trained with the rest, see "
                "transfer.training; drop it"
            )
        return self

    @property
    def fits_head(self) -> bool:
        """Whether its classifier is a linear head that gate fits on frozen features."""
        return self.head != "own" and not self.transfer.trains

    @property
    def has_plain_head(self) -> bool:
        """Whether its head is the own one, or reads frozen features of images as they are."""
        return self.head == "own" or (self.fits_head and self.remedy in (None, "head.balanced_by"))

    @property
    def remedy(self) -> str | None:
        """Key of what its head on frozen features is given against a bias, if anything."""
        if self.head == "own" or self.transfer.trains:
            return None
        remedies = {
            "debias": self.debias,
            "head.ignore": self.head.ignore,
            "head.balanced_by": self.head.balanced_by,
        }
        return next((key for key, stated in remedies.items() if stated), None)

    @property
    def calibration_obstacle(self) -> str | None:
        """What keeps its classifier from being calibrated, and what to do about it, if anything."""
        if self.head == "own":
            return (
                "its own head is not fine-tuned on anything, so there is nothing to calibrate; "
                "calibrate a task that has train"
            )
        if self.remedy:
            return (
                "calibration adds a zero-shot head on plain features, which would undo "
                f"{self.remedy}; use the task's head as it is, or calibrate a task without it"
            )
        if not self.fits_head and not self.held_out:
            return (
                f"what {self.transfer.mode} transfer trains is calibrated on images that it did "
                "not see; name a split under held_out"
            )
        return None

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of all its splits, in the order of training, held out, test, shifted."""
        first = (self.train, self.held_out, self.test)
        return (*(name for name in first if name), *self.shifted)

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a number; not the files, whose digests stand elsewhere."""
        dumped = self.model_dump(mode="json", exclude={"zero_shot", "near_duplicates"})
        if self.zero_shot:
            given = self.zero_shot.model_dump(mode="json", exclude={"embeddings", "encoder"})
            encoder = self.zero_shot.encoder
            dumped["zero_shot"] = {**given, "encoder": encoder.settings if encoder else None}
        return dumped
