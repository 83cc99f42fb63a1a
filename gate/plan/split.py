"""Tables of images or texts, as a plan describes them."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from gate.values import Value

# YAML reads a class called 6 as a number, and one called `no` as false; only the first is meant
Name = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) in (int, str) else name)]
# of splits and tasks: files are called by it, and none may lead out of its folder
Key = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]


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
        """Whether its examples are images or texts."""
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
