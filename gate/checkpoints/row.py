"""A row of checkpoints: files of a folder in the plan's format, in the natural order of names."""

import re
from pathlib import Path

from gate.errors import EvidenceError, PlanError
from gate.plan.backbone import BackbonePlan
from gate.plan.plan import load_plan
from gate.printable import require_printable


def in_natural_order(names: list[str]) -> list[str]:
    """Names in order, numbers in them by their size.

    >>> in_natural_order(["epoch_10", "epoch_9", "last"])
    ['epoch_9', 'epoch_10', 'last']
    """

    def parts(name: str) -> tuple[list[int | str], str]:
        # text and numbers take turns, so that like is held against like
        return [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)], name

    return sorted(names, key=parts)


def row_of(folder: Path, plan: Path) -> dict[str, BackbonePlan]:
    """Descriptions of all checkpoints by their names, in order.

    Each is read as the plan's backbone is or, where ``NAME.yaml`` lies beside it, as that says.

    Args:
        folder: Holds them, files of the format of the plan's backbone.
        plan: The plan's file.

    Raises:
        PlanError: The plan cannot be read, or a checkpoint does not suit its data.
        EvidenceError: The folder cannot be read, or holds fewer than two.
    """
    ending = load_plan(plan).backbone.ending
    try:
        files = {path.stem: path for path in folder.iterdir() if path.suffix == ending}
        for name in files:
            require_printable(name, lines=False)
    except OSError as fault:
        raise EvidenceError(
            f"{folder}: cannot be read: {fault.strerror}; check the path"
        ) from fault
    except ValueError as fault:
        raise EvidenceError(f"{folder}: a checkpoint's name {fault}") from fault
    if len(files) < 2:
        raise EvidenceError(
            f"{folder}: {ending} files in it: {len(files)}, and a plateau takes two checkpoints or "
            "more of the plan's format; name the folder that holds them, or keep more of them"
        )
    return {name: _described(files[name], plan) for name in in_natural_order(list(files))}


def _described(file: Path, plan: Path) -> BackbonePlan:
    """A checkpoint's description.

    Raises:
        PlanError: It does not suit the plan's data, or what lies beside it is of another file.
    """
    beside = file.with_suffix(".yaml")
    if not beside.exists():
        return load_plan(plan, file).backbone
    described = load_plan(plan, beside).backbone
    if described.path.name != file.name:
        raise PlanError(
            f"{beside}: describes {described.path}, and lies beside {file.name}; let it describe "
            "that, or take it away to have the checkpoint read as the plan's backbone"
        )
    return described.with_path(file)  # wherever the folder was moved to
