"""Backbones, as a plan describes them: one model a format, and the input that they take.

A format is a model here and a line in ``FORMATS``; what runs it is ``open_runtime`` in
``gate/backbone/FORMAT_runtime.py``.
"""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from gate.errors import PlanError
from gate.values import Value


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
        return self.model_dump(mode="json", exclude={self.format: True, "text": {"tokenizer"}})

    @property
    def input_shape(self) -> tuple[int, int] | None:
        """Side in pixels and channels of the images that it takes; None for texts."""
        images = self.preprocessing
        return (images.size, images.channels) if images else None

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


class OnnxBackbone(BackbonePlan):
    """An ONNX file, or a folder with one and the weights beside it."""

    format = "onnx"
    ending = ".onnx"
    misplaced: ClassVar = {"arch": _ARCH, "layer": _LAYER}

    onnx: Path
    output: str | None = Field(
        None, description="Name of the output that holds the features; default the first."
    )


class ExportedBackbone(BackbonePlan):
    """A file that torch.export wrote; it gives one output."""

    format = "exported"
    ending = ".pt2"
    misplaced: ClassVar = {
        "text": "exported: takes images only; export a text backbone to ONNX",
        "arch": _ARCH,
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
    layer: str | None = Field(
        None, description="Name of the submodule whose output holds the features."
    )

    @model_validator(mode="after")
    def _with_its_factory(self) -> Self:
        if not self.arch:
            raise ValueError(_ARCH)
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
