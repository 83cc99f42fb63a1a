"""Admitted -> a registry that points to it. Outside the DAG, which alone protects nothing.

What a registry will serve is fetched and hashed before anything moves: a file in the workspace that
checks says nothing about the commit or the model version that is promoted. Whoever may write to the
registry can still move it by hand, so what deploys runs ``gate check`` as well.
"""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gate.errors import PromotionError
from gate.files import digest_of_files, hashed
from gate.trust.admission import Admitted

_MARK = "gate.admission"


def with_gto(
    artefact: Path, admitted: Admitted, name: str, stage: str, dry_run: bool = False
) -> list[str]:
    """Assign a stage to the last commit of the artefact's repository, by a git tag.

    Args:
        artefact: Its path in the repository; the last commit must hold it, in git or in DVC.
        admitted: What the check let through; the tag's message names its digests.
        name: What the registry calls the artefact.
        stage: Where it goes.
        dry_run: Do all but tag.

    Returns:
        What was done, a line each.

    Raises:
        PromotionError: The extra is missing, this is no repository, its last commit holds other
            bytes or more files, or GTO refuses.
    """
    _require_extra("gto")
    from gto import api
    from gto.exceptions import GTOException
    from scmrepo.git import Git

    path = artefact.absolute()  # not resolved: DVC may keep the artefact itself as a link
    folder = path.parent.resolve()
    with _failing(f"{artefact} lies in no git repository with a commit"):
        git = Git(str(folder))
        root, commit = Path(git.root_dir).resolve(), git.get_rev()
    inside = (folder / path.name).relative_to(root).as_posix()
    with _place() as place:
        _fetch_commit(git, commit, inside, admitted.files, place)
        _require_same(place, admitted, f"commit {commit[:7]}", "commit (and dvc add) the artefact")
    message = (
        f"gate: {inside} {digest_of_files(admitted.files)} {admitted}; "
        f"admission {admitted.admission}"
    )
    if dry_run:
        return [f"would assign {name} {stage} to {commit[:7]}: {message}"]
    try:
        assigned = api.assign(str(root), name, stage, ref=commit, message=message)
    except GTOException as fault:
        raise PromotionError(f"GTO does not assign {stage} to {name}: {fault}") from fault
    return [f"{assigned.tag}: {message}", f"git push origin {assigned.tag} makes it known"]


def with_mlflow(
    admitted: Admitted, name: str, version: int, alias: str, dry_run: bool = False
) -> list[str]:
    """Point an alias to a version of a registered model, if that holds the artefact.

    Args:
        admitted: What the check let through; the version is tagged with its digests.
        name: The registered model.
        version: Its source must be the artefact, or a folder with the artefact alone.
        alias: What is to point there.
        dry_run: Do all but tag and point.

    Returns:
        What was done, a line each.

    Raises:
        PromotionError: The extra is missing, nothing says where the registry is, the version holds
            other bytes, or MLflow refuses.
    """
    _require_extra("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise PromotionError(  # MLflow would make one in the working folder
            "MLFLOW_TRACKING_URI is not set, so nothing says which registry holds "
            f"{name} v{version}; set it to the registry's address"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import; gate sends nothing
    from mlflow import MlflowClient, artifacts
    from mlflow.exceptions import MlflowException

    with _place() as place:
        place.mkdir()
        try:
            client = MlflowClient()
            # the source itself: a download of models:/ adds a file of its own
            source = client.get_model_version_download_uri(name, str(version))
            fetched = Path(artifacts.download_artifacts(source, dst_path=str(place)))
        except MlflowException as fault:
            raise PromotionError(f"MLflow does not give {name} v{version}: {fault}") from fault
        inside = sorted(fetched.iterdir()) if fetched.is_dir() else []
        alone = "." in admitted.files and len(inside) == 1 and inside[0].is_file()
        _require_same(
            inside[0] if alone else fetched, admitted, f"{name} v{version}",
            "register the artefact alone",
        )  # fmt: skip
    says = f"{alias} -> {name} v{version}: {admitted}; admission {admitted.admission}"
    if dry_run:
        return [f"would point {says}"]
    try:
        # the alias last: from there on it is deployed, and then it is marked already
        with _marked(client, name, str(version), admitted.admission):
            client.set_registered_model_alias(name, alias, str(version))
    except MlflowException as fault:
        raise PromotionError(
            f"MLflow does not point {alias} to {name} v{version}: {fault}"
        ) from fault
    return [says]


@contextmanager
def _marked(client: Any, name: str, version: str, admission: str) -> Iterator[None]:
    """Name the admission on a version; as it was before, if the block fails."""
    before = client.get_model_version(name, version).tags.get(_MARK)
    client.set_model_version_tag(name, version, _MARK, admission)
    try:
        yield
    except BaseException:
        if before is None:
            client.delete_model_version_tag(name, version, _MARK)
        else:
            client.set_model_version_tag(name, version, _MARK, before)
        raise


def _fetch_commit(git: Any, commit: str, inside: str, names: Collection[str], place: Path) -> None:
    """What a commit holds under a path, from git or through DVC from its cache or remote."""
    from dvc.api import DVCFileSystem

    with _failing(f"commit {commit[:7]} does not give {inside}"):
        holds: Any = DVCFileSystem(str(Path(git.root_dir).resolve()), rev=commit)
        _require_all_shown(git, holds, commit, inside, names)
        if not holds.exists(inside):
            raise PromotionError(
                f"commit {commit[:7]} does not hold {inside}; commit it, or its .dvc or dvc.lock"
            )
        holds.get(inside, str(place), recursive=holds.isdir(inside))


def _require_all_shown(
    git: Any, holds: Any, commit: str, inside: str, names: Collection[str]
) -> None:
    """Refuse what a checkout puts under a path and what DVC shows of a commit lacks.

    DVC shows no file of its own, none that .dvcignore names, and no nested repository. Of a file
    that git holds as well it shows git's bytes, and ``dvc checkout --force`` puts its own there.
    """
    admitted = {inside if name == "." else f"{inside}/{name}" for name in names}
    outs = ["/".join(out.index_key[1]) for out in holds.repo.index.outs if out.use_cache]
    tree = git.pygit2.get_tree_obj(commit)  # as DVC reads it; others fail on names not in UTF-8
    for name, entry in _along(tree, inside):
        if not entry.isfile:
            what = "a link or a submodule"
        elif name not in admitted:
            what = "which was not admitted"
        elif any(_meet(name, out) for out in outs):
            what = "which DVC holds as well"
        else:
            continue
        raise PromotionError(
            f"commit {commit[:7]} holds {name!r} in git, {what}; "
            "git rm it, commit, and promote again"
        )


def _along(tree: Any, inside: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """What git holds below a path, at it, or in the place of a folder above it."""
    for entry in tree.scandir():
        name = f"{above}{entry.name}"
        if not _meet(name, inside):
            continue
        if entry.isdir:
            yield from _along(entry, inside, f"{name}/")
        else:
            yield name, entry


def _meet(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _require_same(place: Path, admitted: Admitted, where: str, do: str) -> None:
    found = hashed(place, PromotionError)
    if found != admitted.files:
        raise PromotionError(
            f"{where} holds {digest_of_files(found)}, and {digest_of_files(admitted.files)} was "
            f"admitted; {do}, and promote again"
        )


def _require_extra(name: str) -> None:
    if find_spec(name) is None:
        raise PromotionError(f"{name} is not installed; pip install 'gate[{name}]'")


@contextmanager
def _place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        yield Path(folder) / "artefact"


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """DVC and git fail by many types of error; each of them is a refusal."""
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    try:
        yield
    except (DvcException, SCMError, OSError) as fault:
        raise PromotionError(f"{what}: {fault}") from fault
