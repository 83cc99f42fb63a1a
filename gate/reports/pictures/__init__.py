"""Pictures of what probes measured, as SVG: for the report, and for `gate plots`.

Pure: values in, bytes out, and the same values give the same bytes. A picture is a row of the table
below and a function of measurements and a task, which gives nothing where they are not enough.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from gate.errors import EvidenceError
from gate.reports.pictures import anatomy, doses, label_prior, triggers
from gate.reports.pictures.figure import Measured, svg
from gate.values import Evidence

if TYPE_CHECKING:
    from gate.reports.pictures.figure import Figure


class Drawing(NamedTuple):
    """A kind of picture: of which probe's measurements, what it shows, and what draws it."""

    probe: str
    kind: str
    shows: str
    draw: "Callable[[Measured, str], Figure | None]"


class Picture(NamedTuple):
    """A picture: its file's name, the probe whose numbers it shows, what it shows, and the SVG."""

    name: str
    probe: str
    shows: str
    svg: bytes


DRAWINGS = (
    Drawing(
        "trigger_patch", "triggers", "attack success rate of each trigger tried", triggers.heat_map
    ),
    Drawing(
        "spurious_attribute",
        "doses",
        "accuracy against the correlation of training",
        doses.dose_response,
    ),
    Drawing(
        "label_prior",
        "classes",
        "accuracy of each class before and after logit adjustment",
        label_prior.classes,
    ),
    Drawing("label_prior", "prior", "estimated label prior", label_prior.prior),
    Drawing(
        "label_prior",
        "groups",
        "accuracy of each method in groups of classes",
        label_prior.groups,
    ),
    Drawing(
        "feature_reuse",
        "blocks",
        "accuracy with shuffled images, with and without the backbone",
        anatomy.blocks,
    ),
    Drawing(
        "module_criticality",
        "modules",
        "fall of accuracy with one module rewound",
        anatomy.modules,
    ),
    Drawing("lineage", "layers", "likeness to the ancestor, layer by layer", anatomy.layers),
)


def pictures(evidence: Sequence[Evidence]) -> dict[str, bytes]:
    """All pictures that the evidence is enough for: SVG by file name, see `drawn`."""
    return {picture.name: picture.svg for picture in drawn(evidence)}


def drawn(evidence: Sequence[Evidence]) -> Iterator[Picture]:
    """All pictures that the evidence is enough for, in the order of the table above.

    Yields:
        One for each kind and task, called ``TASK-KIND.svg``, or ``KIND.svg`` where a probe measures
        no task. In a file name, each byte of the task's name that is no letter, digit or one of
        ``_.-~`` is ``=XX``.

    Raises:
        EvidenceError: Evidence of a probe stands twice.
    """
    measured: dict[str, Measured] = {}
    for item in evidence:
        if item.probe in measured:
            raise EvidenceError(
                f"pictures: evidence of probe {item.probe} stands more than once; "
                "give that of one candidate"
            )
        measured[item.probe] = item.measurements
    for probe in dict.fromkeys(drawing.probe for drawing in DRAWINGS):
        found = measured.get(probe, ())
        for task in dict.fromkeys(m.about.get("task") for m in found):
            for drawing in (each for each in DRAWINGS if each.probe == probe):
                stem = drawing.kind if task is None else f"{quote(task, safe='')}-{drawing.kind}"
                # = and not %, which a browser would decode where a page refers to the file
                name = f"{stem}.svg".replace("%", "=")
                if picture := svg(partial(drawing.draw, found, task or ""), salt=name):
                    yield Picture(name, probe, drawing.shows, picture)
