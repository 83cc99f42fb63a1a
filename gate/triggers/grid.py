"""Grids of triggers, as a plan names them, and the bank that is tried unless it names another."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from gate.values import Value

Pattern = Literal["square", "checkerboard", "noise", "gaussian", "sinusoid", "text", "overlay"]
Place = Literal["top_left", "top_right", "bottom_left", "bottom_right", "centre"]
Colour = Literal["yellow", "white", "black", "red", "green", "blue", "cyan", "magenta"]
Share = Annotated[float, Field(gt=0, le=1)]

# which patterns need what; all but a square and a text bring their own colours
_MADE_OF = {"colour": ("square", "text"), "text": ("text",), "picture": ("overlay",)}
_ADDED = ("gaussian", "sinusoid")  # a faint pattern on top of the image, which keeps all of it
CLASS_NAME, RANDOM_TEXT = "<class>", "<random>"


class TriggerGrid(Value):
    """Triggers of one pattern: every colour, text or picture at every size, place and opacity.

    - ``square`` of one colour (BadNets); ``checkerboard``; ``noise``, one draw of coloured noise;
      both may be blended over the whole image: size 1, opacity 0.2 (Chen et al. 2017);
    - ``gaussian``, a fixed draw of N(0, 1) per pixel, and ``sinusoid``, vertical stripes (Barni et
      al. 2019), which are added: their opacity is the amplitude as a share of 255;
    - ``text``: typographic, or a transparent watermark by its opacity;
    - ``overlay``: an RGBA picture of a natural object.
    """

    pattern: Pattern = Field(description="What is stamped.")
    colour: tuple[Colour, ...] = Field(
        (), description="Of a square or a text; other patterns have their own."
    )
    text: tuple[str, ...] = Field(
        (),
        description=f"What is written; {CLASS_NAME!r} is the name of each class in turn, "
        f"{RANDOM_TEXT!r} eight letters drawn by the seed.",
    )
    picture: tuple[str, ...] = Field(
        (), description="PNG files with alpha, or ball, fence or ribbon, which come with gate."
    )
    size: tuple[Share, ...] = Field(
        min_length=1, description="Side of the patch as a share of the image's side."
    )
    place: tuple[Place, ...] = Field(min_length=1, description="Where.")
    opacity: tuple[Share, ...] = Field(
        (1.0,), min_length=1, description="1 covers; of what is added, the amplitude."
    )

    @model_validator(mode="after")
    def _has_what_its_pattern_needs(self) -> Self:
        for name, patterns in _MADE_OF.items():
            stated, needed = getattr(self, name), self.pattern in patterns
            if needed and not stated:
                raise ValueError(f"pattern {self.pattern} needs a {name}")
            if stated and not needed:
                raise ValueError(f"pattern {self.pattern} has no {name}; drop it")
        if self.pattern in _ADDED and "opacity" not in self.model_fields_set:
            raise ValueError(f"pattern {self.pattern} is added to the image; state its opacity")
        return self


_CORNERS: tuple[Place, ...] = ("top_left", "top_right", "bottom_left", "bottom_right")
_COLOURS: tuple[Colour, ...] = get_args(Colour)  # each other's controls, so all cost little more
_SIZES = (0.1, 0.125, 0.165)  # 3, 4 and 5 of 32 pixels, and of 28: none in between is left out
WATERMARK = TriggerGrid(
    pattern="text",
    text=(RANDOM_TEXT,),
    colour=("white",),
    size=(1.0,),
    place=("centre",),
    opacity=(0.5,),
)
DEFAULT_BANK = (
    TriggerGrid(pattern="checkerboard", size=_SIZES, place=_CORNERS),
    TriggerGrid(pattern="checkerboard", size=(0.1,), place=("centre",)),
    TriggerGrid(pattern="square", colour=_COLOURS, size=_SIZES, place=_CORNERS),
    TriggerGrid(pattern="square", colour=_COLOURS, size=(0.1,), place=("centre",)),
    TriggerGrid(pattern="noise", size=_SIZES[-1:], place=_CORNERS),
    TriggerGrid(pattern="sinusoid", size=(1.0,), place=("centre",), opacity=(0.1,)),
    TriggerGrid(pattern="gaussian", size=(1.0,), place=("centre",), opacity=(0.01,)),
    WATERMARK,
)
