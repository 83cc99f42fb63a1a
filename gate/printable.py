"""Names that show as what they are: others are refused where they are read, escaped where shown."""

import codecs
import json
import re
import unicodedata

# joiners are part of emoji and of Persian words
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
# what GitHub and Azure read as a command: :: where a line begins, ##[ and ##vso[ anywhere
_COMMAND = re.compile(r"^[^\S\n]*:(?=:)|#(?=#\w*\[)", re.MULTILINE)
_COLOURS = re.compile(r"(\x1b\[[\d;]*m)")


def _plain(letter: str) -> bool:
    """Whether a letter shows, and moves nothing else: no control, no change of direction."""
    return letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"


def require_printable(text: str, *, lines: bool) -> str:
    r"""The text, if it shows as what it is.

    Args:
        text: A name, or a sentence.
        lines: Whether it may have several.

    Raises:
        ValueError: It holds a letter that does not show, or a line break where it may have none.

    >>> require_printable("cat [tabby], größer 🐈", lines=False)
    'cat [tabby], größer 🐈'
    >>> require_printable("a\u202eb", lines=False)
    Traceback (most recent call last):
    ValueError: 'a\u202eb' holds '\u202e', which does not show as text; take it out
    """
    if text.isprintable():
        return text
    for letter in text:
        if not (_plain(letter) or (lines and letter in "\r\n\t")):
            raise ValueError(
                f"{text[:80]!a} holds {letter!a}, which does not show as text; take it out"
            )
    return text


def escaped(text: str, *, colours: bool = False) -> str:
    r"""Text for a terminal or a log: what would steer it stands as in JSON, such as \u001b.

    Args:
        text: Any number of lines.
        colours: Whether sequences that only set colours stay.

    Returns:
        The same, or lines that neither move a cursor nor begin a command of a CI system.

    >>> print(escaped("accept\x1b[2J\n::error::forged"))
    accept\u001b[2J
    \u003a:error::forged
    """
    if colours:
        parts = _COLOURS.split(text)
        return "".join(part if i % 2 else escaped(part) for i, part in enumerate(parts))
    shown = "".join(c if c in "\n\t" or _plain(c) else _code(c) for c in text)
    return _COMMAND.sub(lambda begins: begins[0][:-1] + f"\\u{ord(begins[0][-1]):04x}", shown)


def _code(text: str) -> str:
    """Letters as JSON writes them in ASCII; DEL, which it leaves, as the others."""
    return json.dumps(text)[1:-1].replace("\x7f", "\\u007f")


def _coded(fault: UnicodeError) -> tuple[str, int]:
    """What an encoding does not have is written as in JSON, which stays JSON."""
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    return _code(fault.object[fault.start : fault.end]), fault.end


codecs.register_error("gate.escaped", _coded)
