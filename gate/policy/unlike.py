"""How a candidate is unlike the backbones that error rates were counted on, in plain sentences."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gate.frozen import frozen
from gate.probes import PROBES
from gate.values import Evidence, Like, Range

_USUAL = "and on them with its defaults"
_SEARCHES = ("trigger_patch", "trigger_search")  # whose settings say which triggers can be found


def unlike(like: Like, evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """In what a candidate is unlike, or not known to be like, the backbones of error rates.

    Args:
        like: What those backbones are.
        evidence: All that the candidate is judged by; of settings nothing is taken for granted,
            since a file may say anything.

    Returns:
        A sentence each of its images, the classes of its tasks, the bytes of its files, and the
        settings of the probes that look for triggers, which were at their defaults there.
    """
    return (
        *_of_images(like.pixels, evidence),
        *_of_classes(like.classes, evidence),
        *_of_files(like.bytes, evidence),
        *_of_settings(evidence),
    )


def _of_images(pixels: Range, evidence: Sequence[Evidence]) -> Iterator[str]:
    theirs = f"they take images of {_range(pixels)} pixels a side"
    backbones = [_section(item.settings, "backbone") for item in evidence]
    sides = [_section(each, "preprocessing").get("size") for each in backbones]
    known = [side for side in sides if type(side) is int]
    if any(_section(each, "text") for each in backbones):
        yield f"it takes texts, and {theirs}"
    elif len(known) < len(sides):
        yield f"what images it takes is not known, and {theirs}"
    elif outside := sorted({side for side in known if not _lies_in(side, pixels)}):
        yield f"it takes images of {_joined(outside)} pixels a side, and {theirs}"


def _of_classes(classes: Range, evidence: Sequence[Evidence]) -> Iterator[str]:
    theirs = f"their tasks have {_range(classes)} classes"
    tasks = {m.about["task"] for item in evidence for m in item.measurements if "task" in m.about}
    counts = Counter(
        m.about["task"]
        for item in evidence
        for m in item.measurements
        if (item.probe, m.metric) == ("clean_accuracy", "class_accuracy")
    )
    if not tasks:
        yield f"how many classes its tasks have is not known, and {theirs}"
    for task in sorted(tasks):
        if not counts[task]:
            yield f"how many classes its task {task} has is not known, and {theirs}"
        elif not _lies_in(counts[task], classes):
            yield f"its task {task} has {counts[task]:,} classes, and {theirs}"


def _of_files(most: Range, evidence: Sequence[Evidence]) -> Iterator[str]:
    theirs = f"those of the others {_range(most)}"
    sizes = {item.bytes for item in evidence}
    known = sorted(size for size in sizes if size is not None)
    if None in sizes:
        yield f"how many bytes its files have is not known, and {theirs}"
    elif outside := [size for size in known if not _lies_in(size, most)]:
        yield f"its files have {_joined(outside)} bytes, and {theirs}"


def _of_settings(evidence: Sequence[Evidence]) -> Iterator[str]:
    for item in evidence:
        if item.probe not in _SEARCHES:
            continue
        found = item.settings.get("probe")
        if not isinstance(found, dict):
            yield f"with which settings {item.probe} ran on it is not known, {_USUAL}"
            continue
        usual = frozen(PROBES[item.probe].settings().model_dump(mode="json"))
        names = sorted({*found, *usual} - {"tasks"})
        if changed := [name for name in names if found.get(name) != usual.get(name)]:
            other = f"other settings than its defaults ({', '.join(changed)})"
            yield f"{item.probe} ran on it with {other}, {_USUAL}"


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What stands under a name of settings; nothing where that is no mapping."""
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}


def _lies_in(number: int, ends: Range) -> bool:
    return ends[0] <= number <= ends[1]


def _range(ends: Range) -> str:
    """Two ends in words, or the one number that both are."""
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"


def _joined(numbers: Sequence[int]) -> str:
    return " and ".join(f"{number:,}" for number in numbers)
