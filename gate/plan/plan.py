"""pipelines/NAME.yaml -> Plan: what is measured, on which data. No threshold stands here."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from gate import strict_yaml
from gate.errors import PlanError
from gate.probes import ProbePlan
from gate.triggers.bank import TriggerGrid
from gate.values import Value

# YAML reads a class called 6 as a number, and one called `no` as false; only the first is meant
Name = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) in (int, str) else name)]
# of splits and tasks: files are called by it, and none may lead out of its folder
Key = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]


class Preprocessing(Value):
    """From pixels to what the backbone was trained on; part of the features' digest.

    Pixels are resized to ``size`` x ``size``, divided by 255, then normalised per channel.
    """

    size: int = Field(ge=1, description="Side of the input in pixels.")
    mean: tuple[float, ...] = Field((0.0,), description="Per channel, on the scale 0 .. 1.")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field((1.0,), description="Per channel.")
    channels: Literal[1, 3] = 3
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    @model_validator(mode="after")
    def _one_per_channel(self) -> Self:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, self.channels):
                raise ValueError(f"{name} has {len(numbers)} numbers for {self.channels} channels")
        return self


class Tokenization(Value):
    """From texts to tokens, and from a vector a token to one a text; part of the features' digest.

    The tokenizer is a ``tokenizer.json`` as the library of that name writes it.
    """

    tokenizer: Path
    max_tokens: int = Field(256, ge=2, description="Longer texts are cut off there.")
    pooling: Literal["mean", "first"] = Field(
        "mean", description="Of a vector a token: their mean without padding, or the first one."
    )


class BackboneFile(Value):
    """Where the weights lie, and what input they were trained on: images, or texts.

    An ONNX file (or a folder with one), a torch.export file, or safetensors with the factory of
    their architecture.
    """

    onnx: Path | None = None
    exported: Path | None = None
    weights: Path | None = None
    arch: str | None = Field(None, pattern=r"^[\w.]+:\w+$", description="module:factory")
    output: str | None = Field(
        None, description="ONNX: name of the output that holds the features; default the first."
    )
    layer: str | None = Field(
        None, description="torch: name of the submodule whose output holds the features."
    )
    logits: str | None = Field(
        None,
        description="Name of the output (torch: submodule) that gives the logits of the artefact's "
        "own head, for tasks with head: own.",
    )
    preprocessing: Preprocessing | None = Field(None, description="Of images.")
    text: Tokenization | None = Field(None, description="In its place, for a text backbone.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if bool(self.preprocessing) == bool(self.text):
            raise ValueError("state either preprocessing, for images, or text, for texts")
        if self.text and self.exported:
            raise ValueError("exported: takes images only; export a text backbone to ONNX")
        given = [name for name in ("onnx", "exported", "weights") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"state exactly one of onnx, exported and weights; found {given or 'none'}"
            )
        if bool(self.weights) != bool(self.arch):
            raise ValueError("weights and arch go together: the file, and 'module:factory'")
        if self.output and not self.onnx:
            raise ValueError("output names an ONNX output; for torch say layer")
        if self.layer and not self.weights:
            raise ValueError(
                "layer names a submodule, which only weights with an arch have; "
                "an ONNX file says output, an exported file gives what it returns"
            )
        if self.logits and self.exported:
            raise ValueError("logits: an exported file gives one output; export it to ONNX")
        return self

    @property
    def path(self) -> Path:
        """The file or folder that is judged."""
        return self.onnx or self.exported or self.weights or Path()

    @property
    def takes(self) -> str:
        """What its inputs are called."""
        return "texts" if self.text else "images"

    @property
    def hint(self) -> str:
        """What to check when a batch is refused."""
        if self.text:
            return "max_tokens under text in the plan, and the tokenizer"
        return "size, channels and layout in the plan's preprocessing"

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a number; not the files, whose digests stand elsewhere."""
        return self.model_dump(
            mode="json",
            exclude={"onnx": True, "exported": True, "weights": True, "text": {"tokenizer"}},
        )

    def with_path(self, path: Path) -> "BackboneFile":
        """Another file of the same kind in its place.

        Raises:
            PlanError: The ending says that it is of another kind.
        """
        kind = "onnx" if self.onnx else "exported" if self.exported else "weights"
        endings = {".onnx": "onnx", ".pt2": "exported", ".safetensors": "weights"}
        if endings.get(path.suffix, kind) != kind:
            raise PlanError(
                f"--backbone {path}: the plan describes a backbone by {kind!r}, and {path.suffix} "
                f"is {endings[path.suffix]!r}; give a file of the same kind, or a YAML file with "
                "the candidate's whole description"
            )
        return BackboneFile(**{**self.model_dump(), kind: path})


class Shard(Value):
    """Every ``count``-th row, from row ``index`` on: parts of one file with no row in common."""

    index: int = Field(ge=0)
    count: int = Field(ge=1)

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"index {self.index} must be below count {self.count}")
        return self


class SplitPlan(Value):
    """A table of images or texts.

    Images: a folder with metadata.csv, Parquet with image bytes, or .npz. Texts: Parquet or .csv.
    """

    path: Path
    image: str = Field("image", description="Column (npz: key) of the images.")
    text: str | None = Field(None, description="Column of the texts, where there are no images.")
    label: str = Field("label", description="Column (npz: key) of the labels.")
    classes: tuple[Name, ...] | None = Field(
        None, description="Names of all classes, in order; not needed if the file names them."
    )
    keep: tuple[Name, ...] | None = Field(
        None, description="Only these classes, in this order; images of others are left out."
    )
    attributes: tuple[str, ...] = Field((), description="Columns of attributes.")
    shard: Shard | None = None
    long_tailed: float | None = Field(
        None,
        gt=1,
        description="Keep fewer and fewer examples from class to class, the last this many times "
        "fewer than the first.",
    )
    balanced: tuple[str, ...] = Field(
        (), description="Columns whose groups are claimed to be of equal size."
    )
    minimum_group: int = Field(2, ge=1, description="Least examples a class or group must have.")

    @property
    def kind(self) -> Literal["image", "text"]:
        """What an example is."""
        return "text" if self.text else "image"

    @property
    def examples(self) -> str:
        """Column of the texts or images."""
        return self.text or self.image

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        if self.text and self.image != "image":
            raise ValueError("text and image: a split has the one or the other; drop one")
        for column in self.balanced:
            if column not in (self.label, *self.attributes):
                raise ValueError(
                    f"balanced: {column!r} is neither the label nor an attribute of this split"
                )
        return self


class Stamped(Value):
    """Triggers stamped on training images, on the same share of every class."""

    triggers: tuple[TriggerGrid, ...] = Field(min_length=1)
    share: float = Field(0.5, gt=0, le=1, description="Of the images of each class.")


class Ignored(Value):
    """The few directions of feature space that triggers move, which a head is to ignore."""

    triggers: tuple[TriggerGrid, ...] = Field(min_length=1)
    directions: int = Field(3, ge=1)


class Head(Value):
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

    epochs: int = Field(15, ge=1)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(0.05, gt=0, description="At its peak.")
    weight_decay: float = Field(5e-4, ge=0)
    augment: bool = Field(
        False, description="Random shifts by up to an eighth of the side, and horizontal flips."
    )


class Transfer(Value):
    """What is trained on the task: a head alone, every weight, or a network without pretraining.

    With ``batch_norm: adapting`` the statistics of batch normalisation drift to the task while a
    head is trained by SGD, as in the code of Salman et al. 2022. Frozen features are computed once
    and their head is a logistic regression.
    """

    mode: Literal["fixed_feature", "full_network", "from_scratch"] = "fixed_feature"
    batch_norm: Literal["frozen", "adapting"] = "frozen"
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
    encoder: BackboneFile | None = Field(
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
            if prompt.count("{}") != 1:
                raise ValueError(
                    f"prompts: {prompt!r} has {prompt.count('{}')} places for the class; write one "
                    "{}"
                )
        for name, members in self.source.items():
            if not members:
                raise ValueError(f"source.{name}: no class of the own head; name at least one")
        used = [index for members in self.source.values() for index in members]
        if twice := sorted({index for index in used if used.count(index) > 1}):
            raise ValueError(f"source: class {twice[0]} of the own head belongs to two classes")
        return self


class Task(Value):
    """A downstream task: a classifier is trained on one split and tried on another.

    With ``head: own`` nothing is trained: the artefact's own head is tried on its own classes.
    """

    train: str | None = None
    test: str
    head: Head | Literal["own"] = Head()
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
        elif self.transfer.trains and self.head != Head():
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
    def remedy(self) -> str | None:
        """Key of what its head on frozen features is given against a bias, if anything."""
        if self.head == "own" or self.transfer.trains:
            return None
        remedies = {
            "debias": self.debias,
            "head.ignore": self.head.ignore,
            "head.balanced_by": self.head.balanced_by,
        }
        return next((key for key, given in remedies.items() if given), None)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of all its splits, in the order of training, held out, test, shifted."""
        first = (self.train, self.held_out, self.test)
        return (*(name for name in first if name), *self.shifted)

    @property
    def settings(self) -> dict[str, Any]:
        """All that changes a number; not the files, whose digests stand elsewhere."""
        dumped = self.model_dump(mode="json", exclude={"zero_shot"})
        if self.zero_shot:
            given = self.zero_shot.model_dump(mode="json", exclude={"embeddings", "encoder"})
            encoder = self.zero_shot.encoder
            dumped["zero_shot"] = {**given, "encoder": encoder.settings if encoder else None}
        return dumped


class Plan(Value):
    """What is measured, on which data, with which settings."""

    name: str = Field(min_length=1)
    seed: int = Field(0, ge=0)
    batch_size: int = Field(64, ge=1, description="Images per forward pass; part of the digest.")
    backbone: BackboneFile
    reference: BackboneFile | None = Field(
        None, description="A backbone known to be clean, measured on the same images."
    )
    splits: dict[Key, SplitPlan] = Field(min_length=1)
    tasks: dict[Key, Task] = Field(min_length=1)
    probes: ProbePlan

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        for name, task in self.tasks.items():
            for split in task.splits:
                if split not in self.splits:
                    raise ValueError(
                        f"tasks.{name}: unknown split {split!r}; "
                        f"{strict_yaml.nearest(split, self.splits)}"
                    )
            if task.train == task.test:
                raise ValueError(f"tasks.{name}: trains and tests on the same split {task.train!r}")
            if len(set(task.splits)) < len(task.splits):
                raise ValueError(f"tasks.{name}: names a split twice; each has one use")
            if task.zero_shot and task.zero_shot.source and not self.backbone.logits:
                raise ValueError(
                    f"tasks.{name}.zero_shot.source: needs backbone.logits, the output of its own "
                    "head"
                )
            if (
                task.zero_shot
                and task.zero_shot.prompts
                and not task.zero_shot.encoder
                and not self.backbone.text
            ):
                raise ValueError(
                    f"tasks.{name}.zero_shot.prompts: the backbone takes images; name the text "
                    "encoder that belongs to it under encoder"
                )
            if self.backbone.text and (
                task.transfer.trains or task.remedy in ("debias", "head.ignore")
            ):
                raise ValueError(
                    f"tasks.{name}: transfer, debias and head.ignore are for images, and the "
                    "backbone takes texts; drop them"
                )
            if task.head == "own" and not self.backbone.logits:
                raise ValueError(
                    f"tasks.{name}: head: own needs backbone.logits, the output of its own head"
                )
        if not self.probes.named():
            raise ValueError("probes: none is named, so nothing would be measured")
        for split in self.used_splits:
            known = self.splits.get(split)  # a probe says itself which one it lacks
            if known and bool(known.text) != bool(self.backbone.text):
                raise ValueError(
                    f"splits.{split}: the backbone takes {self.backbone.takes}, and this split has "
                    "others; see text under the split and under backbone"
                )
        for probe in ("trigger_patch", "natural_overlay"):
            if self.backbone.text and getattr(self.probes, probe):
                raise ValueError(
                    f"probes.{probe}: stamps images, and the backbone takes texts; drop it"
                )
        if self.reference and _input(self.reference) != _input(self.backbone):
            raise ValueError(
                "reference: its input differs from the backbone's (images or texts; size and "
                "channels), and the same data must serve both"
            )
        return self

    @property
    def used_splits(self) -> tuple[str, ...]:
        """Names of the splits that a task or a probe reads, each once."""
        names = [name for task in self.tasks.values() for name in task.splits]
        if self.probes.spurious_attribute and self.probes.spurious_attribute.dose_response:
            names.append(self.probes.spurious_attribute.dose_response)
        return tuple(dict.fromkeys(names))


def _input(backbone: BackboneFile) -> tuple[int, int] | None:
    images = backbone.preprocessing
    return (images.size, images.channels) if images else None


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
        candidate = strict_yaml.load(backbone, BackboneFile, PlanError)
    else:
        candidate = plan.backbone.with_path(backbone)
    return Plan.model_validate({**plan.model_dump(), "backbone": candidate.model_dump()})
