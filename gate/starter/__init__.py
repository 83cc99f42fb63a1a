"""What `gate init` writes: a plan, a policy with its tests and, for DVC, stages."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from importlib.resources import files as resources
from importlib.resources.abc import Traversable
from pathlib import Path

from gate import files
from gate.errors import GateError, PlanError

_BLANK = ("dvc.yaml", "plan.yaml", "policy.yaml", "policy.tests")
# DVC would add this line itself, and take it back when a later stage fails (dvc#11091)
IGNORED = {".gitignore": "/out/\n"}


def write(folder: Path) -> list[Path]:
    """Write stages, a plan and a policy that are to be edited into a DVC repository.

    Into a folder of its own, because a repository has a dvc.yaml already, and DVC reads many.

    Args:
        folder: Directly in the working directory, so that paths in the plan start from there.

    Returns:
        What was written.

    Raises:
        PlanError: No DVC repository, the folder is not directly in it, or something of that name
            is there.
    """
    if not in_repository():
        raise PlanError(
            f"{Path.cwd()} is no root of a DVC repository (no .dvc); cd there, or: dvc init; or "
            "give --model and --data, which need none"
        )
    return put(folder, blank(folder.name) | IGNORED)


def in_repository() -> bool:
    """Whether the working directory is the root of a DVC repository."""
    return (Path.cwd() / ".dvc").is_dir()


def blank(name: str) -> dict[str, str]:
    """The files as they come with gate, under the name of their folder."""
    home = resources("gate.starter")
    found: dict[str, str] = {}
    for top in _BLANK:
        for path, place in _inside(home / top, top):
            found[path] = place.read_text(encoding="utf-8").replace("FOLDER", name)
    return found


def stages(name: str, backbone: Path, data: Mapping[str, Path]) -> str:
    """The stages for one candidate and its data.

    Args:
        name: Of the folder.
        backbone: The candidate.
        data: What the splits read, by the name of a variable; the first is called ``data``.
    """
    text = blank(name)["dvc.yaml"]
    for more in list(data)[1:]:
        text = re.sub(r"( *)- \$\{data\}\n", rf"\g<0>\1- ${{{more}}}\n", text)
        watched = '--watched "${data}"'
        text = text.replace(watched, f'{watched} --watched "${{{more}}}"')
    text = re.sub(r"  - backbone: .*\n", lambda _: f"  - backbone: {_word(backbone)}\n", text)
    places = "".join(f"  - {name}: {_word(path)}\n" for name, path in data.items())
    return re.sub(r"  - data: .*\n", lambda _: places, text)


def _word(path: Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def require_free(folder: Path) -> None:
    """Refuse a place where nothing can be put.

    Raises:
        PlanError: Not directly in the working directory, or something of that name is there.
    """
    if folder.absolute().parent != Path.cwd() or not folder.name.isidentifier():
        raise PlanError(f"{folder}: give a plain name of a new folder, such as gating")
    if os.path.lexists(folder):
        raise PlanError(f"{folder} is there already, and nothing is overwritten; give another name")


def put(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write files into a new folder: all of them, or none.

    Args:
        folder: As `require_free` wants it.
        texts: By the file's name in the folder.

    Returns:
        What was written.

    Raises:
        PlanError: As for `require_free`.
        GateError: They cannot be written.
    """
    require_free(folder)
    partial = Path(f".gate-{os.urandom(8).hex()}")
    try:
        for name, text in texts.items():
            files.write(partial / name, text)
        partial.rename(folder)
    except OSError as fault:
        raise GateError(
            f"{folder}: cannot be written: {fault.strerror}; nothing was changed"
        ) from fault
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in texts]


def _inside(place: Traversable, path: str) -> list[tuple[str, Traversable]]:
    """A file, or those of a folder, with their paths."""
    if place.is_file():
        return [(path, place)]
    within = sorted(place.iterdir(), key=lambda each: each.name)
    return [found for each in within for found in _inside(each, f"{path}/{each.name}")]
