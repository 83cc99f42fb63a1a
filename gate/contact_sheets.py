"""Contact sheets: what a probe's finding looks like on images, for the eyes of whoever reads it.

A report shows them beside a verdict. They are no evidence: nothing is decided on them.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gate.values import About, Digest, Value

MOST_SHEETS, MOST_EXAMPLES = 8, 8
LARGEST_SIDE = 96  # pixels of a picture
_LONGEST_URI = 40_000  # letters: 30 kB in base 64

Uri = Annotated[
    str,
    Field(
        max_length=_LONGEST_URI,
        pattern=r"^data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2}$",
    ),
]


class Cell(Value):
    """A picture, at most 96 pixels a side, and the class that a classifier gives to it.

    What is shown without being classified, such as a training image, has no prediction.
    """

    image: Uri
    prediction: str | None = None


class Example(Value):
    """An example of a split, and what was done to it: a cell for each column of its sheet."""

    label: str
    cells: tuple[Cell, ...] = Field(min_length=1)


class Sheet(Value):
    """Examples of one finding.

    ``about`` are labels of the measurement that it belongs to, ``columns`` the headings of its
    cells, such as ``as it is``, ``with the trigger``, ``with the control``.
    """

    kind: Literal["trigger", "overlay", "group", "near duplicates"]
    probe: str | None = None
    title: str
    about: About = Field(default={})
    target: str | None = None
    columns: tuple[str, ...] = Field(min_length=1)
    examples: tuple[Example, ...] = Field(min_length=1, max_length=MOST_EXAMPLES)

    @model_validator(mode="after")
    def _each_column(self) -> Self:
        for at, example in enumerate(self.examples):
            if len(example.cells) != len(self.columns):
                raise ValueError(
                    f"examples.{at} has {len(example.cells)} cells, and the sheet has "
                    f"{len(self.columns)} columns; give a cell for each"
                )
        return self


class ContactSheets(Value):
    """All sheets of one backbone, worst first."""

    schema_: Literal["gate.contact-sheets/v1"] = Field("gate.contact-sheets/v1", alias="schema")
    backbone: Digest
    sheets: tuple[Sheet, ...] = Field((), max_length=MOST_SHEETS)
