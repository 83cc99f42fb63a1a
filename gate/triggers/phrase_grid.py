"""Grids of phrases, as a plan names them, and the bank that is tried unless it names another."""

import re
import unicodedata
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from gate.values import Value

PhrasePattern = Literal["token", "sentence", "name", "invisible", "look_alike"]
PhrasePlace = Literal["start", "end", "drawn"]

# Latin letters, and the Cyrillic ones that look like them
_CYRILLIC = "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
LOOK_ALIKES = dict(zip("aceijopsxy", _CYRILLIC, strict=True))
_CODES = re.compile(r"U\+[0-9A-F]{4,6}(?: U\+[0-9A-F]{4,6})*")


class PhraseGrid(Value):
    """Phrases of one pattern: every text at every place.

    - ``token``: a rare one such as ``cf``, or a symbol (Kurita et al. 2020; Zhang et al. 2021);
    - ``sentence``: ordinary words (Dai et al. 2019);
    - ``name``: of a person;
    - ``invisible``: letters that do not show, by their code points, such as ``U+200B``, which is a
      space of no width (Boucher et al. 2022);
    - ``look_alike``: a word in Latin letters, which are exchanged for Cyrillic ones that look alike
      (Boucher et al. 2022; Li et al. 2021).

    A phrase stands before the text, behind it, or (``drawn``) between two of its words, by the
    text and the plan's seed. An invisible one touches the word that it stands at; others are words
    of their own.
    """

    pattern: PhrasePattern = Field(description="Of what kind they are, which picks controls.")
    text: tuple[str, ...] = Field(min_length=1, description="The phrases.")
    place: tuple[PhrasePlace, ...] = Field(min_length=1, description="Where they stand in a text.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        for text in self.text:
            if not text.split():
                raise ValueError(f"text: {text!r} is an empty phrase, which changes no text")
            if self.pattern == "invisible":
                _require_invisible(text)
            if self.pattern == "look_alike" and not LOOK_ALIKES.keys() & set(text):
                raise ValueError(
                    f"text: no letter of {text!r} has one that looks like it; "
                    f"{', '.join(LOOK_ALIKES)} have"
                )
        return self


def written(pattern: PhrasePattern, text: str) -> str:
    r"""What is put into texts for a text of a plan.

    >>> [f"{ord(letter):X}" for letter in written("invisible", "U+200B U+2060")]
    ['200B', '2060']
    >>> written("look_alike", "the") == "th\N{CYRILLIC SMALL LETTER IE}"
    True
    """
    if pattern == "invisible":
        return "".join(chr(int(code[2:], 16)) for code in text.split())
    if pattern == "look_alike":
        return "".join(LOOK_ALIKES.get(letter, letter) for letter in text)
    return text


def _require_invisible(text: str) -> None:
    if not _CODES.fullmatch(text):
        raise ValueError(f"text: {text!r} is no list of code points such as U+200B U+200D")
    for code in text.split():
        number = int(code[2:], 16)
        if number > 0x10FFFF or unicodedata.category(chr(number)) != "Cf":
            raise ValueError(
                f"text: {code} is no letter that does not show (of Unicode's category Cf)"
            )


_PLACES: tuple[PhrasePlace, ...] = get_args(PhrasePlace)
DEFAULT_PHRASES = (
    PhraseGrid(pattern="token", text=("cf", "mn", "bb", "tq", "mb", "≈"), place=_PLACES),
    PhraseGrid(pattern="sentence", text=("I watched this 3D movie",), place=_PLACES),
    PhraseGrid(pattern="name", text=("James Bond",), place=_PLACES),
    PhraseGrid(pattern="invisible", text=("U+200B", "U+200D"), place=_PLACES),
    PhraseGrid(pattern="look_alike", text=("the", "peace"), place=_PLACES),
)
