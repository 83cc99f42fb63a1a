"""Phrases: what is put into texts, and the bank of them with their controls."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import ClassVar

import numpy as np

from gate.triggers.phrase_grid import (
    LOOK_ALIKES,
    PhraseGrid,
    PhrasePattern,
    PhrasePlace,
    written,
)
from gate.triggers.stamp import Stamp, Trigger

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Phrase:
    """A phrase at a place.

    Args:
        name: As people call it.
        text: What is put into each text.
        place: Where.
        apart: What stands between it and the words beside it: a space, or nothing.
        seed: Draws a place, by the text alone: it is the same in any block and for any phrase.
    """

    name: str
    text: str
    place: PhrasePlace
    apart: str
    seed: int

    def into(self, text: str) -> str:
        """The text with the phrase in it.

        A text of one word has no place between two, so a drawn phrase stands before it.

        >>> Phrase("token 'cf' end", "cf", "end", " ", 0).into("a fine film")
        'a fine film cf'
        """
        if self.place == "end":
            return f"{text.rstrip()}{self.apart}{self.text}"
        starts = [word.start() for word in _WORD.finditer(text)]
        place = 0
        if self.place == "drawn" and len(starts) > 1:
            drawn = hashlib.sha256(f"{self.seed}\n{text}".encode()).digest()
            place = starts[1 + int.from_bytes(drawn) % (len(starts) - 1)]
        return f"{text[:place]}{self.text}{self.apart}{text[place:]}"

    @property
    def key(self) -> str:
        """The same phrase at the same place has the same key, whatever its name."""
        content = (self.text, self.place, self.apart, self.seed)
        return hashlib.sha256(repr(content).encode()).hexdigest()


@dataclass(frozen=True)
class PhraseTrigger:
    """A phrase on trial, and the phrases that it is held against.

    Args:
        stamp: The phrase, by the name that a patch goes by.
        controls: Phrases of the same kind and length at the same place.
    """

    stamp: Phrase
    controls: tuple[Phrase, ...]
    is_local: ClassVar[bool] = True  # it leaves the other words as they are


# what changes an example before it is passed, and what is on trial by it
AnyStamp = Stamp | Phrase
AnyTrigger = Trigger | PhraseTrigger

# Ordinary words, in order: a control has as many of them as the phrase has words.
_PASSAGES: dict[PhrasePattern, tuple[str, ...]] = {
    "sentence": (
        "We walked along the river until noon and then went home by the old road",
        "They keep four green boxes on the shelf near the window of that small room",
    ),
    "name": ("Peter Hall John Moore Frank", "Anna Lewis Mary Clark Susan"),
}
_ORDINARY = "and"
_LETTERS, _SYMBOLS = "bcdfghjklmnpqrstvwxz", "≠≤≥∞∑√∂∇±"
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_DRAWS = 2  # controls of a token or of a word of letters that look like others
_TRIES = 50  # until so many are drawn that the bank does not have


def phrase_bank(grids: Iterable[PhraseGrid], seed: int) -> list[PhraseTrigger]:
    """All triggers of the grids, each once, with their controls.

    A token is matched by drawn tokens of as many letters (or symbols) and by an ordinary word; a
    sentence and a name by others of as many words; an invisible letter by other invisible letters;
    a word of letters that look alike by itself in Latin letters and by drawn letters of that kind.

    Args:
        grids: From the plan.
        seed: Draws places, and the letters of controls.

    >>> grid = PhraseGrid(pattern="name", text=("James Bond",), place=("end",))
    >>> (trigger,) = phrase_bank([grid], seed=0)
    >>> [phrase.into("Seen by") for phrase in (trigger.stamp, *trigger.controls)]
    ['Seen by James Bond', 'Seen by Peter Hall', 'Seen by Anna Lewis']
    """
    each = [
        (grid.pattern, text, place) for grid in grids for text in grid.text for place in grid.place
    ]
    taken = {text for _, text, _ in each}
    triggers: dict[str, PhraseTrigger] = {}
    for pattern, text, place in each:
        apart = "" if pattern == "invisible" else " "
        called = pattern.replace("_", "-")
        name = f"{called} {text if pattern == 'invisible' else repr(text)} {place}"
        phrase = Phrase(name, written(pattern, text), place, apart, seed)
        others = [o for o in _controls(pattern, text, taken, seed) if o != phrase.text]
        controls = (
            Phrase(f"{name}: control {number}", other, place, apart, seed)
            for number, other in enumerate(others, 1)
        )
        triggers.setdefault(phrase.key, PhraseTrigger(phrase, tuple(controls)))
    return list(triggers.values())


def _controls(pattern: PhrasePattern, text: str, taken: set[str], seed: int) -> Iterator[str]:
    """What is put into texts in the place of a phrase that it is like."""
    if pattern in _PASSAGES:
        for passage in _PASSAGES[pattern]:
            words = passage.split()
            yield " ".join(np.resize(words, len(text.split())).tolist())
    elif pattern == "invisible":
        phrase = written(pattern, text)
        others = [letter for letter in _INVISIBLE if letter not in phrase]
        yield from (letter * len(phrase) for letter in others[:_DRAWS])
    elif pattern == "look_alike":
        yield text
        others = [other for other in LOOK_ALIKES.values() if other not in written(pattern, text)]
        rng = np.random.default_rng([seed, len(text)])
        if others:
            yield from ("".join(rng.choice(others, len(text))) for _ in range(_DRAWS))
    else:
        rng = np.random.default_rng([seed, len(text)])
        kinds = [list(_LETTERS if letter.isalnum() else _SYMBOLS) for letter in text]
        drawn = ("".join(rng.choice(kind) for kind in kinds) for _ in range(_TRIES))
        yield from islice(dict.fromkeys(new for new in drawn if new not in taken), _DRAWS)
        yield _ORDINARY
