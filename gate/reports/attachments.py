"""What a report may show beside a verdict and its evidence, and how it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from gate.contact_sheets import ContactSheets
from gate.strict_yaml import Place
from gate.values import Evidence

Verbosity = Literal["quiet", "normal", "verbose"]


@dataclass(frozen=True, kw_only=True)
class Attachments:
    """What is at hand.

    ``day`` is when the verdict was reached; no format looks at a clock. ``policy_file`` is the file
    that judged, and ``places`` says where each of its rules stands, in it or in one that it
    extends. ``candidate`` is what people call the candidate, ``champion`` the evidence of the
    backbone that it would replace, ``admission`` the file that a verdict led to, and
    ``admission_digest`` that of its bytes. ``verbosity`` and ``colour`` are for terminals: how much
    is told, and whether sequences set colours.
    """

    day: date | None = None
    policy_file: Path | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    candidate: str | None = None
    sheets: ContactSheets | None = None
    champion: tuple[Evidence, ...] = ()
    admission: Path | None = None
    admission_digest: str | None = None
    verbosity: Verbosity = "normal"
    colour: bool = False


NONE = Attachments()
