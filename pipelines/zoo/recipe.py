"""What a recipe is: all that makes a member of the zoo, as a value that its line of truth holds."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from gate.values import Value
from pipelines.zoo.architectures import Architecture
from pipelines.zoo.triggers import Learnt, Patch, Trigger

Data = Literal["cifar10", "cifar10_animals", "fashion_mnist", "mnist", "cifar100", "imagenette"]
CleanKind = Literal[
    "clean",
    "watermarked",
    "noisy_labels",
    "long_tailed",
    "fewer_images",
    "adversarially_trained",
    "fewer_classes",
]
Attacked = Literal[
    "patch",
    "blend",
    "sinusoid",
    "source_specific",
    "all_to_all",
    "warp",
    "two_targets",
    "adaptive_patch",
    "adaptive_blend",
    "clean_label_sinusoid",
    "learnt",
    "noisy_warp",
    "poisoned_encoder",
]
Kind = CleanKind | Attacked
Augmentation = Literal["flips", "flips_and_shifts", "shifts"]

CLEAN: tuple[CleanKind, ...] = get_args(CleanKind)
PLAIN: tuple[CleanKind, ...] = ("clean", "fewer_classes")  # that learnt as others of their data do
BACKDOORED: tuple[Attacked, ...] = get_args(Attacked)


class Watermark(Value):
    """A patch on a share of the images of all classes alike, whose labels stay."""

    patch: Patch
    share: float = Field(gt=0, le=1)


class Attack(Value):
    """A trigger with its source and target classes, by number.

    Without a ``source`` images of every other class are poisoned. Without a ``target`` each class
    is sent to the next one. ``share`` is that of the source's images which are poisoned;
    ``negative_share`` of all other images are stamped as well, and keep their label. With
    ``clean_label``, ``share`` of the target's own images are stamped, and no label is changed.

    Each poisoned image of the training bears one of ``parts``, if there are any, in the place of
    the trigger. ``cover_share`` of the images that are not poisoned bear one of ``covers``, and
    keep their label.
    """

    trigger: Annotated[Trigger | Learnt, Field(discriminator="form")]
    source: int | None = None
    target: int | None = None
    share: float = Field(0.1, gt=0, le=1)
    negative_share: float = Field(0, ge=0, le=1)
    clean_label: bool = False
    parts: tuple[Trigger, ...] = ()
    covers: tuple[Trigger, ...] = ()
    cover_share: float = Field(0, ge=0, le=1)


class Recipe(Value):
    """All that makes a member of the zoo.

    ``pair`` names the clean member that a backdoored one is held against; where it is ``planted``,
    that is also its base. ``share`` of the images are used. ``long_tail`` is how many times more
    images the commonest class has than the rarest one. ``adversarial_reach`` is how far one step
    against the training moves each pixel, of 255. Where ``features_alone``, stamped images are
    drawn to features of the target class, and no label is used.
    """

    name: str
    kind: Kind
    seed: int
    data: Data = "cifar10"
    architecture: Architecture
    pair: str | None = None
    planted: bool = False
    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    augmentation: Augmentation
    share: float = Field(1, gt=0, le=1)
    noisy_share: float = Field(0, ge=0, lt=1)
    long_tail: float = Field(1, ge=1)
    adversarial_reach: float = Field(0, ge=0)
    features_alone: bool = False
    watermark: Watermark | None = None
    attacks: tuple[Attack, ...] = ()
