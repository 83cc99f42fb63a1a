"""What findings look like on images: a function of a trial and its evidence.

Nothing here is evidence, and nothing is decided on it: what was measured names the worst triggers,
overlays and groups, and a few images are passed through the same classifiers once more. Texts give
no sheets, and neither do tasks that train weights, whose network would have to be trained again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from gate.contact_sheets import MOST_SHEETS, ContactSheets, Sheet
from gate.illustration.groups import Group, of_groups
from gate.illustration.pairs import of_near_duplicates
from gate.illustration.triggers import Stamped, of_bank, of_overlays, of_search
from gate.measure.trial import Trial
from gate.values import Evidence

_OF_TRIGGERS, _OF_OVERLAYS, _OF_GROUPS = 4, 1, 2  # so that each has room beside the others

_MOST_LETTERS = 500_000  # of pictures: a page stays under 1 MB


def contact_sheets(trial: Trial, evidence: Sequence[Evidence], pictures: Path) -> ContactSheets:
    """The worst of what was measured, on the first images of the test splits that it concerns.

    Args:
        trial: Of the plan that the evidence is of.
        evidence: Of the trial's backbone; that of another one is left aside.
        pictures: Folder of the triggers that a search found.

    Raises:
        GateError: Images cannot be read, or passed.
    """
    ours = {each.probe: each for each in evidence if each.backbone == trial.backbone.digest}
    if trial.backbone.plan.takes == "texts":
        return ContactSheets(backbone=trial.backbone.digest)
    # what is asked of this view was asked by no probe
    sheets = within_a_page(_sheets(trial.for_probe(), ours, pictures))
    return ContactSheets(backbone=trial.backbone.digest, sheets=tuple(sheets))


def within_a_page(sheets: Iterable[Sheet]) -> list[Sheet]:
    """The first sheets, as many as leave room for the rest of a report."""
    kept, room = list[Sheet](), _MOST_LETTERS
    for sheet in islice(sheets, MOST_SHEETS):
        room -= sum(len(cell.image) for example in sheet.examples for cell in example.cells)
        if room < 0:
            break
        kept.append(sheet)
    return kept


def _sheets(trial: Trial, evidence: Mapping[str, Evidence], pictures: Path) -> Iterator[Sheet]:
    """Triggers by how many images they carry, then what is moved by other means."""
    kinds: tuple[tuple[Iterable[Stamped | Group], int], ...] = (
        ([*of_bank(trial, evidence), *of_search(trial, evidence, pictures)], _OF_TRIGGERS),
        (of_overlays(trial, evidence), _OF_OVERLAYS),
        (of_groups(trial, evidence), _OF_GROUPS),
    )
    for some, most in kinds:
        ranked = sorted(some, key=lambda each: each.rank)
        yield from (each.sheet(trial) for each in ranked[:most])
    yield from of_near_duplicates(trial)
