"""Backbones, as a plan describes them: one model a format, and the input that they take.

A format is a model here and a line in ``FORMATS``; what runs it is ``open_runtime`` in
``gate/backbone/FORMAT_runtime.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from gate.errors import PlanError
from gate.frozen import FrozenDict, frozen
from gate.plan.preprocessing_file import Interpolation, preprocessing_of
from gate.values import Value


class Resizing(NamedTuple):
    """How an image comes to S x S pixels; see the keys of `Preprocessing` that are called so."""

    resize: Literal["squash", "shorter"] = "squash"
    crop: int | None = None
    interpolation: Interpolation = "bilinear"


SQUASHED = Resizing()


class Preprocessing(Value):
    """From pixels to what the backbone was trained on; part of the features' digest.

    Images are resized, cut to ``size`` x ``size``, multiplied by ``rescale``, and normalised per
    channel. What a file says that others wrote is read by ``from``; keys that stand beside it come
    first.
    """

    source: Path | None = Field(
        None,
        alias="from",
        description="A preprocessor_config.json of Hugging Face, or a config.json of timm: what "
        "is not said here is read from it.",
    )
    size: int = Field(ge=1, description="Side of the input in pixels.")
    resize: Literal["squash", "shorter"] = Field(
        "squash",
        description="Both sides to one length, or the shorter side, after which the middle is cut "
        "out.",
    )
    crop: int | None = Field(
        None,
        ge=1,
        description="Side in pixels to which images are resized before size x size is cut out of "
        "the middle; size itself, unless stated.",
    )
    interpolation: Interpolation = Field("bilinear", description="As Pillow calls it.")
    rescale: float | None = Field(
        None,
        gt=0,
        description="By what pixels 0 .. 255 are multiplied: 1/255, or 1 where a graph takes whole "
        "numbers, unless stated.",
    )
    mean: tuple[float, ...] | None = Field(
        None, description="Per channel as it goes in, of rescaled pixels; 0 unless stated."
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="Per channel as it goes in, of rescaled pixels; 1 unless stated."
    )
    channels: Literal[1, 3] = 3
    channel_order: Literal["rgb", "bgr"] = Field("rgb", description="In which channels go in.")
    layout: Literal["NCHW", "NHWC"] | None = Field(
        None, description="As the file declares its input, or NCHW, unless stated."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_what_others_wrote(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("from"), str | Path):
            return content
        stated = {key: value for key, value in content.items() if key in cls.model_fields}
        return {**preprocessing_of(Path(content["from"]), stated), **content}

    @model_validator(mode="after")
    def _one_per_channel(self) -> Self:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if numbers is not None and len(numbers) not in (1, self.channels):
                raise ValueError(f"{name} has {len(numbers)} numbers for {self.channels} channels")
        if self.crop is not None and self.crop < self.size:
            raise ValueError(
                f"crop: images are resized to {self.crop} pixels, and {self.size} are cut out of "
                "the middle; write a crop of size or more, or leave it out"
            )
        if self.channel_order == "bgr" and self.channels == 1:
            raise ValueError("channel_order: bgr, and images of one channel have no order")
        return self

    @property
    def resizing(self) -> Resizing:
        """How an image comes to ``size`` x ``size``."""
        return Resizing(self.resize, self.crop, self.interpolation)


class Tokenization(Value):
    """From texts to tokens, and from a vector a token to one a text; part of the features' digest.

    The tokenizer is a ``tokenizer.json`` as the library of that name writes it.
    """

    tokenizer: Path
    max_tokens: int = Field(256, ge=2, description="Longer texts are cut off there.")
    pooling: Literal["mean", "first"] = Field(
        "mean", description="Of a vector a token: their mean without padding, or the first one."
    )
    length: int | None = Field(
        None,
        ge=2,
        description="Tokens to which every text is padded; as the graph declares it, or those of "
        "the longest text of a batch, unless stated.",
    )


class BackbonePlan(Value):
    """Where weights lie, and what input they were trained on: images, or texts.

    A description is of one of the ``FORMATS``: the key that holds its path says which.
    """

    format: ClassVar[str]
    ending: ClassVar[str]
    misplaced: ClassVar[dict[str, str]]  # keys of other formats, and what to say instead
    # whether what is computed stands in the file; else it is the team's own code, with its weights
    holds_program: ClassVar[bool] = True

    logits: str | None = Field(
        None,
        description="Name of the output (torch: submodule) that gives the logits of the artefact's "
        "own head, for tasks with head: own.",
    )
    pooling: Literal["mean", "first", "none"] = Field(
        "mean",
        description="Of maps and of a vector a token of an image: their mean over places, the "
        "first token (CLS), or none, where the output is (N, D) as it is. That of texts stands "
        "under text.",
    )
    preprocessing: Preprocessing | None = Field(None, description="Of images.")
    text: Tokenization | None = Field(None, description="In its place, for a text backbone.")

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_format(cls, content: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(content, dict):
            return handler(content)
        if cls is not BackbonePlan:
            for key, says in cls.misplaced.items():
                if content.get(key):
                    raise ValueError(says)
            return handler(content)
        keys = {key for known in FORMATS.values() for key in known.model_fields}
        if unknown := [key for key in content if key not in keys]:
            faults = [
                InitErrorDetails(type="extra_forbidden", loc=(key,), input=content[key])
                for key in unknown
            ]
            raise ValidationError.from_exception_data(cls.__name__, faults)
        stated = [name for name in FORMATS if content.get(name) is not None]
        if len(stated) != 1:
            *names, last = FORMATS
            raise ValueError(
                f"state exactly one of {', '.join(names)} and {last}; found {stated or 'none'}"
            )
        chosen: Any = FORMATS[stated[0]]
        # a key of another format that says nothing is none
        said = {key: value for key, value in content.items() if value or key in chosen.model_fields}
        return chosen.model_validate(said)  # type: ignore[no-any-return]  # a format is one of us

    @model_validator(mode="after")
    def _of_images_or_of_texts(self) -> Self:
        if bool(self.preprocessing) == bool(self.text):
            raise ValueError("state either preprocessing, for images, or text, for texts")
        if self.text and self.pooling != "mean":
            raise ValueError("pooling: that of texts stands under text; move it there")
        return self

    @property
    def path(self) -> Path:
        """The file or folder that is judged."""
        path: Path = getattr(self, self.format)
        return path

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
        places: Any = {self.format: True, "text": {"tokenizer"}, "preprocessing": {"source"}}
        return self.model_dump(mode="json", exclude=places)

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Side in pixels and channels of the images that it takes; None for texts."""
        images = self.preprocessing
        return (images.size, images.channels) if images else None

    def settled(self, found: Mapping[str, Any]) -> Self:
        """The same with what its file says, and with what stands where nobody says anything.

        Args:
            found: Values of keys, also of those under preprocessing and text.

        Raises:
            ValidationError: A value is none of its key's.
        """
        content = {**dict(self), **found}
        for place in ("preprocessing", "text"):
            if section := getattr(self, place):
                content[place] = {**dict(section), **found.get(place, {})}
        if images := content["preprocessing"]:
            images.pop("source")  # its values stand beside it
            images["layout"] = images["layout"] or "NCHW"
            images["rescale"] = images["rescale"] or 1 / 255
        return type(self).model_validate(content)

    def with_path(self, path: Path) -> Self:
        """Another file of the same format in its place.

        Raises:
            PlanError: The ending says that it is of another format.
        """
        endings = {known.ending: name for name, known in FORMATS.items()}
        if endings.get(path.suffix, self.format) != self.format:
            raise PlanError(
                f"--backbone {path}: the plan describes a backbone by {self.format!r}, and "
                f"{path.suffix} is {endings[path.suffix]!r}; give a file of the same kind, or a "
                "YAML file with the candidate's whole description"
            )
        return type(self).model_validate({**dict(self), self.format: path})


_ARCH = "weights and arch go together: the file, and 'module:factory'"
_OUTPUT = "output names an ONNX output; for torch say layer"
_LAYER = (
    "layer names a submodule, which only weights with an arch have; "
    "an ONNX file says output, an exported file gives what it returns"
)


# arguments of factories of timm, torchvision and others that load weights, some of them pickles
_WEIGHTS_OF_OTHERS = {
    *("pretrained", "weights", "weights_backbone", "checkpoint_path", "pretrained_cfg"),
    *("pretrained_cfg_overlay", "pretrained_backbone"),
}
_HUBS = ("hf-hub:", "hf_hub:", "local-dir:", "local_dir:", "http://", "https://")


class OnnxBackbone(BackbonePlan):
    """An ONNX file, or a folder with one and the weights beside it."""

    format = "onnx"
    ending = ".onnx"
    misplaced: ClassVar = {"arch": _ARCH, "arch_args": _ARCH, "layer": _LAYER}

    onnx: Path
    output: str | None = Field(
        None,
        description="Name of the output, or of a value inside, that holds the features; chosen by "
        "rule, and said, unless stated.",
    )


class ExportedBackbone(BackbonePlan):
    """A file that torch.export wrote; it gives one output."""

    format = "exported"
    ending = ".pt2"
    misplaced: ClassVar = {
        "text": "exported: takes images only; export a text backbone to ONNX",
        "arch": _ARCH,
        "arch_args": _ARCH,
        "output": _OUTPUT,
        "layer": _LAYER,
        "logits": "logits: an exported file gives one output; export it to ONNX",
    }

    exported: Path


class WeightsBackbone(BackbonePlan):
    """A safetensors file with the factory of its architecture, from the team's own repository."""

    format = "weights"
    holds_program = False
    ending = ".safetensors"
    misplaced: ClassVar = {"output": _OUTPUT}

    weights: Path
    arch: str = Field("", pattern=r"^[\w.]+:\w+$", description="module:factory")
    arch_args: Annotated[dict[str, Any], AfterValidator(frozen)] = Field(
        FrozenDict(), description="Keyword arguments of the factory."
    )
    layer: str | None = Field(
        None, description="Name of the submodule whose output holds the features."
    )

    @model_validator(mode="after")
    def _with_its_factory(self) -> Self:
        if not self.arch:
            raise ValueError(_ARCH)
        for name, value in self.arch_args.items():
            if name in _WEIGHTS_OF_OTHERS and value not in (False, None):
                raise ValueError(
                    f"arch_args.{name}: weights come from the file that is judged, and from "
                    "nowhere else; leave it out"
                )
            if isinstance(value, str) and value.startswith(_HUBS):
                raise ValueError(
                    f"arch_args.{name}: {value!r} is fetched from elsewhere, and no digest covers "
                    "it; name a model that the library brings itself"
                )
        return self


FORMATS: dict[str, type[BackbonePlan]] = {
    plan.format: plan
    for plan in (
        OnnxBackbone,
        ExportedBackbone,
        WeightsBackbone,
    )
}
AnyBackbone = SerializeAsAny[BackbonePlan]  # a field of whichever format; dumps have all its keys
