"""What a report may show beside a verdict and its evidence, and how it is shown."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from gate.contact_sheets import ContactSheets
from gate.values import Evidence

Verbosity = Literal["quiet", "normal", "verbose"]


@dataclass(frozen=True, kw_only=True)
class Attachments:
    """What is at hand.

    ``day`` is when the verdict was reached; no format looks at a clock. ``policy_file`` is the file
    that judged, ``candidate`` what people call the candidate, ``champion`` the evidence of the
    backbone that it would replace, ``admission`` the file that a verdict led to. ``verbosity`` and
    ``colour`` are for terminals: how much is told, and whether sequences set colours.
    """

    day: date | None = None
    policy_file: Path | None = None
    candidate: str | None = None
    sheets: ContactSheets | None = None
    champion: tuple[Evidence, ...] = ()
    admission: Path | None = None
    verbosity: Verbosity = "normal"
    colour: bool = False


NONE = Attachments()
