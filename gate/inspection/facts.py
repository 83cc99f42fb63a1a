"""What was found in a model or in data, as values: the keys of ``--format json``."""

from typing import Literal

from pydantic import Field

from gate.values import Digest, Value

Dimension = int | str | None  # a number, the name of one that may be any, or unknown


class Tensor(Value):
    """An input or output; a shape of None is not declared."""

    name: str
    type: str
    shape: tuple[Dimension, ...] | None
    what: str = ""  # what it likely holds: images, texts; features, tokens, maps, logits, ...


class Features(Value):
    """The value of the graph that is taken for the features, and why."""

    name: str
    shape: tuple[Dimension, ...] | None
    why: str


class Images(Value):
    """Images as a model takes them; None where the file does not say."""

    size: int | None
    channels: int | None
    layout: Literal["NCHW", "NHWC"] | None


class Sidecar(Value):
    """A file beside a model that says how its inputs are made."""

    path: str
    what: Literal["preprocessing", "tokenizer"]


class ModelFacts(Value):
    """A model file; what cannot be known without running it is None or empty."""

    schema_: Literal["gate.inspection.model/v1"] = "gate.inspection.model/v1"
    path: str
    format: str  # onnx, exported, weights: a plan's key; or what it is that gate does not read
    bytes: int
    digest: Digest  # what evidence would name
    producer: str = ""
    opsets: dict[str, int] = Field({})
    parameters: int | None = None
    takes: Literal["images", "texts"] | None = None
    images: Images | None = None
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    features: Features | None = None
    logits: Features | None = None  # of the file's own head
    tensors: dict[str, int] = Field({})  # of weights: how many of each type
    likely: str = ""  # whose names they are
    sidecars: tuple[Sidecar, ...] = ()
    refused: tuple[str, ...] = ()  # why gate does not take it, and what to do
    notes: tuple[str, ...] = ()


class Column(Value):
    """A column of a table."""

    name: str
    type: str
    distinct: int | None  # None where they were not counted
    examples: tuple[str, ...] = ()


class Pictures(Value):
    """Of images, by their headers."""

    looked_at: int
    sizes: dict[str, int]  # such as 640 x 480
    modes: dict[str, int]  # as Pillow calls them
    formats: dict[str, int]
    turned: int  # that have an EXIF tag which turns them
    unreadable: int


class DataFacts(Value):
    """A table of images or texts."""

    schema_: Literal["gate.inspection.data/v1"] = "gate.inspection.data/v1"
    path: str
    layout: str
    why: str
    kind: Literal["image", "text"] | None
    rows: int | None
    columns: tuple[Column, ...] = ()
    examples: str = ""  # column of the images or texts
    label: str = ""
    classes: dict[str, int] = Field({})
    split_column: str = ""
    splits: dict[str, int | None] = Field({})  # rows by value of that column, or by subfolder
    attributes: tuple[str, ...] = ()  # that could be spurious
    pictures: Pictures | None = None
    refused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
