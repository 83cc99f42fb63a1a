"""What a report may show beside a verdict and its evidence."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gate.contact_sheets import ContactSheets
from gate.values import Evidence


@dataclass(frozen=True, kw_only=True)
class Attachments:
    """What is at hand.

    ``day`` is when the verdict was reached; no format looks at a clock. ``policy_file`` is the file
    that judged, ``candidate`` what people call the candidate, ``champion`` the evidence of the
    backbone that it would replace, ``admission`` the file that a verdict led to.
    """

    day: date | None = None
    policy_file: Path | None = None
    candidate: str | None = None
    sheets: ContactSheets | None = None
    champion: tuple[Evidence, ...] = ()
    admission: Path | None = None


NONE = Attachments()
