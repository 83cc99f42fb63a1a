"""What `gate init` puts into a DVC repository: stages, a plan and a policy, as files to edit."""

import os
from importlib.resources import files as resources
from pathlib import Path

from gate import files
from gate.errors import PlanError

_NAMES = ("dvc.yaml", "plan.yaml", "policy.yaml")


def write(folder: Path) -> list[Path]:
    """Write the files into a new folder beside what the repository has.

    A folder of its own, because a repository has a dvc.yaml already, and DVC reads many of them.

    Args:
        folder: Directly in the working directory, so that paths in the plan start from there.

    Returns:
        What was written.

    Raises:
        PlanError: No DVC repository, the folder is not directly in it, or something of that name
            is there.
    """
    here = Path.cwd()
    if not (here / ".dvc").is_dir():
        raise PlanError(f"{here} is no root of a DVC repository (no .dvc); cd there, or: dvc init")
    if folder.absolute().parent != here or not folder.name.isidentifier():
        raise PlanError(f"{folder}: give a plain name of a new folder, such as gating")
    if os.path.lexists(folder):
        raise PlanError(f"{folder} is there already, and nothing is overwritten; give another name")
    written = []
    for name in _NAMES:
        text = (resources("gate.starter") / name).read_text(encoding="utf-8")
        files.write(folder / name, text.replace("FOLDER", folder.name))
        written.append(folder / name)
    # DVC would add this line itself, and take it back when a later stage fails (dvc#11091)
    files.write(folder / ".gitignore", "/out/\n")
    return [*written, folder / ".gitignore"]
