"""Tables of images or texts, as a plan describes them."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from gate.frozen import FrozenDict
from gate.values import Value

# YAML reads a class called 6 as a number, and one called `no` as false; only the first is meant
Name = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) in (int, str) else name)]
# of splits and tasks: files are called by it, and none may lead out of its folder
Key = Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$")]
# a value as a table has it: 0 is written "0", 0.5 "0.5", and true as Python writes it
Written = Annotated[
    str, BeforeValidator(lambda x: str(x) if isinstance(x, bool | int | float) else x)
]
LISTS = (".csv", ".tsv", ".txt")  # endings of tables in plain text


def _several(content: Any) -> Any:
    """One name or value in the place of a list of one."""
    return content if content is None or isinstance(content, list | tuple) else (content,)


def _names_of_classes(content: Any) -> Any:
    """A mapping may have whole numbers as its keys, which YAML's users write without quotes."""
    if isinstance(content, dict):
        return {str(k) if type(k) is int else k: name for k, name in content.items()}
    return content


ClassNames = Annotated[
    tuple[Name, ...] | Annotated[dict[str, Name], AfterValidator(FrozenDict)] | Path,
    BeforeValidator(_names_of_classes),
]


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

    Images: a folder of class folders (torchvision's ImageFolder), a folder with metadata.csv
    (Hugging Face's imagefolder) or another table of paths, Parquet, a folder that ``save_to_disk``
    wrote, WebDataset's .tar, or .npz. Texts: Parquet, ``save_to_disk`` or .csv.
    """

    path: Path = Field(
        description="File or folder, all of which is in the split's digest. A .csv, .tsv or .txt "
        "of images' paths stands for its folder, with this file as its table."
    )
    table: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        (),
        description="Inside the folder, the table that names its images (.csv, .tsv, .txt or "
        ".parquet); several are joined on the column of the images. Of shards, a pattern such as "
        "data/train-*.parquet.",
    )
    images: str | None = Field(
        None,
        description="Folder inside the folder that the table's names of images are relative to; or "
        "a pattern in which {} stands for the name, such as train/{}.jpg.",
    )
    image: str = Field("image", description="Column (npz: key) of the images.")
    text: str | None = Field(None, description="Column of the texts, where there are no images.")
    label: str = Field("label", description="Column (npz: key) of the labels.")
    where: dict[str, Annotated[tuple[Written, ...], BeforeValidator(_several)]] = Field(
        {},
        description="Only rows that have one of these values in this column, such as "
        "{split: [0, 1]}; values are compared as they are written.",
    )
    classes: ClassNames | None = Field(
        None,
        description="Names of all classes, in order; not needed if the file names them. Or a "
        "mapping from labels to names, such as {-1: dark, 1: blond}. Or the path of a file: a name "
        "a line, a JSON list or mapping, or the config.json of a Hugging Face model.",
    )
    keep: tuple[Name, ...] | None = Field(
        None, description="Only these classes, in this order; images of others are left out."
    )
    attributes: tuple[str, ...] = Field((), description="Columns of attributes.")
    orientation: Literal["exif", "stored"] | None = Field(
        None,
        description="Whether images are turned by their EXIF tag or left as they are stored. "
        "Unless stated, as the loader does that the layout was made for: turned in metadata.csv "
        "with file_name, Parquet and save_to_disk (Hugging Face), stored elsewhere (torchvision, "
        "webdataset).",
    )
    sixteen_bit: Literal["clip", "scale"] = Field(
        "clip",
        description="What becomes of grey images of 16 bits: clipped at 255, as Pillow, "
        "torchvision and datasets do, or divided by 257.",
    )
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

    @model_validator(mode="before")
    @classmethod
    def _folder_of_its_list(cls, content: Any) -> Any:
        """A list of images stands for its folder, since the digest holds what the list names."""
        if not isinstance(content, dict) or content.get("text") or content.get("table"):
            return content
        path = content.get("path")
        if not isinstance(path, str | Path) or os.path.isdir(path):  # noqa: PTH112  # takes any name
            return content
        if Path(path).suffix in LISTS:
            return {**content, "path": Path(path).parent, "table": (Path(path).name,)}
        return content

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        if self.text and self.image != "image":
            raise ValueError("text and image: a split has the one or the other; drop one")
        if self.text and self.images:
            raise ValueError("text and images: a split has the one or the other; drop one")
        for column, values in self.where.items():
            if not values:
                raise ValueError(f"where.{column}: names no value; name one, or drop the column")
        for column in self.balanced:
            if column not in (self.label, *self.attributes):
                raise ValueError(
                    f"balanced: {column!r} is neither the label nor an attribute of this split"
                )
        return self
