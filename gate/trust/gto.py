"""Admitted -> a stage of GTO, by a git tag, and back.

The only file that imports gto, dvc and scmrepo.
"""

import re
import shlex
from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gate.errors import PromotionError, failing_as
from gate.files import LONGEST, claimed, digest_of_files
from gate.trust.check import Admitted
from gate.trust.registry import require_extra, require_same

_RECORDED = re.compile(r"^gate: .*; admission (sha256:[0-9a-f]{64})\s*$", re.DOTALL)


def promote(
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
            bytes or more files, DVC has no remote or it lacks them, or GTO refuses.
        GateError: Another process promotes in this repository.
    """
    require_extra("gto")
    from gto import api

    committed = _last_commit(artefact)
    with TemporaryDirectory(prefix="gate-") as folder:
        place = Path(folder) / "artefact"
        _fetch(committed, admitted.files, place)
        require_same(place, admitted, str(committed), "commit (and dvc add) the artefact")
    _require_pushed(committed)
    message = (
        f"gate: {committed.path} {digest_of_files(admitted.files)} {admitted}; "
        f"admission {admitted.admission}"
    )
    if dry_run:
        return [f"would assign {name} {stage} to {committed.commit[:7]}: {message}"]
    # GTO looks at the tags before it adds one: two at once would add two
    with (
        claimed(Path(committed.git.dir)),
        failing_as(PromotionError, f"GTO does not assign {stage} to {name}"),
    ):
        root, commit = str(committed.root), committed.commit
        assigned = api.assign(root, name, stage, ref=commit, message=message)
    return [f"{assigned.tag}: {message}", f"git push origin {assigned.tag} makes it known"]


def admission_of(name: str, stage: str) -> bytes:
    """The admission on whose strength a version was assigned its stage, as the commit holds it.

    It is looked for among the files of that commit, of git and of DVC, whose names have "admission"
    in them and end with .json, by the digest in the tag's message.

    Args:
        name: What the registry of this folder's repository calls the artefact.
        stage: Such as prod.

    Raises:
        PromotionError: The extra is missing, this is no repository, nothing is in that stage or was
            not put there by gate, or the commit does not hold the admission.
    """
    require_extra("gto")
    from gto import api
    from scmrepo.git import Git

    with failing_as(
        PromotionError, f"GTO does not give {name}@{stage} of this folder's repository"
    ):
        root = Git(search_parent_directories=True).root_dir
        assigned = api.find_versions_in_stage(root, name, stage)
    if not assigned:
        raise PromotionError(f"no version of {name} is in stage {stage}; see gto show {name}")
    latest = assigned[0].assignments[-1]
    message = _RECORDED.match(latest.message)
    if not message:
        raise PromotionError(
            f"tag {latest.tag} names no admission: it was not set by gate promote; "
            "give the admission's own file, or promote it again"
        )
    commit, seen = latest.commit_hexsha, list[bytes | None]()
    with failing_as(PromotionError, f"commit {commit[:7]} of {latest.tag} cannot be read"):
        for content in _admissions(root, commit):
            if content and f"sha256:{sha256(content).hexdigest()}" == message[1]:
                return content
            seen.append(content)
    raise PromotionError(
        f"commit {commit[:7]} of {latest.tag} was promoted on admission {message[1]}, and it is "
        f"none of its {len(seen)} files *admission*.json, of which {seen.count(None)} are in no "
        "cache or remote; give that file itself, or commit admissions, to git or to DVC, before "
        "you promote"
    )


def _admissions(root: str, commit: str) -> Iterator[bytes | None]:
    """The content of a commit's files that may be admissions; None where DVC does not have it."""
    from dvc.api import DVCFileSystem

    holds: Any = DVCFileSystem(root, rev=commit)
    for path in sorted(holds.find("/")):
        if "admission" in Path(path).name and path.endswith(".json"):
            try:
                with holds.open(path, "rb") as file:
                    yield file.read(LONGEST + 1)
            except FileNotFoundError:
                yield None


class _Committed(NamedTuple):
    """A path in a commit of a repository."""

    git: Any
    root: Path
    commit: str
    path: str

    def __str__(self) -> str:
        return f"commit {self.commit[:7]}"


def _last_commit(artefact: Path) -> _Committed:
    from scmrepo.git import Git

    path = artefact.absolute()  # not resolved: DVC may keep the artefact itself as a link
    folder = path.parent.resolve()
    with failing_as(PromotionError, f"{artefact} lies in no git repository with a commit"):
        git = Git(str(folder))
        root, commit = Path(git.root_dir).resolve(), git.get_rev()
    return _Committed(git, root, commit, (folder / path.name).relative_to(root).as_posix())


def _fetch(committed: _Committed, names: Collection[str], place: Path) -> None:
    """Fetch what a commit holds, from git or through DVC from its cache or remote."""
    from dvc.api import DVCFileSystem

    path = committed.path
    with failing_as(PromotionError, f"{committed} does not give {path}"):
        holds: Any = DVCFileSystem(str(committed.root), rev=committed.commit)
        _require_all_shown(committed, holds, names)
        if not holds.exists(path):
            raise PromotionError(
                f"{committed} does not hold {path}; commit it, or its .dvc or dvc.lock"
            )
        holds.get(path, str(place), recursive=holds.isdir(path))


def _require_pushed(committed: _Committed) -> None:
    """Refuse what this machine's cache gives and DVC's remote lacks: nobody else could deploy it.

    What git holds itself needs no remote of DVC's.
    """
    from dvc.api import DVCFileSystem
    from dvc.repo import Repo

    with failing_as(PromotionError, "DVC does not say what its remote holds"):
        here = Repo(str(committed.root))  # remotes may stand in config.local, which no commit has
        for out in DVCFileSystem(str(committed.root), rev=committed.commit).repo.index.outs:
            path = "/".join(out.index_key[1])
            if not (out.use_cache and _meet(path, committed.path)) or out.stage.is_repo_import:
                continue  # what was imported is fetched from where it came from
            if not here.config["remote"]:
                raise PromotionError(
                    f"{committed} names {path}, and DVC has no remote, so nobody else could fetch "
                    "it; run: dvc remote add --default NAME URL, commit .dvc/config, run: "
                    f"dvc push {shlex.quote(path)}, and promote again"
                )
            remote = here.cloud.get_remote(out.remote, "push")
            if not _pushed(here, remote, out):
                raise PromotionError(
                    f"{committed} names {path}, and the DVC remote {remote.name} does not hold all "
                    "of it, so nobody else could fetch it; run: "
                    f"dvc push -r {remote.name} {shlex.quote(path)}, and promote again"
                )


def _pushed(here: Any, remote: Any, out: Any) -> bool:
    """Whether a remote holds all of an output, by its own word and not by DVC's index of it."""
    from dvc_data.hashfile.status import status

    if remote.fs.version_aware or remote.worktree:  # what is pushed there has a version
        return bool(out.meta.version_id or out.files)
    odb = here.cloud.get_remote_odb(remote.name, "push", out.hash_name)
    # first a folder's list of files, which the second reads from the remote
    return not any(
        status(odb, {out.hash_info}, shallow=shallow).missing for shallow in (True, False)
    )


def _require_all_shown(committed: _Committed, holds: Any, names: Collection[str]) -> None:
    """Refuse what a checkout puts under a path and what DVC shows of a commit lacks.

    DVC shows no file of its own, none that .dvcignore names, and no nested repository. Of a file
    that git holds as well it shows git's bytes, and ``dvc checkout --force`` puts its own there.
    """
    path = committed.path
    admitted = {path if name == "." else f"{path}/{name}" for name in names}
    outs = ["/".join(out.index_key[1]) for out in holds.repo.index.outs if out.use_cache]
    # as DVC reads it; others fail on names not in UTF-8
    tree = committed.git.pygit2.get_tree_obj(committed.commit)
    for name, entry in _along(tree, path):
        if not entry.isfile:
            what = "a link or a submodule"
        elif name not in admitted:
            what = "which was not admitted"
        elif any(_meet(name, out) for out in outs):
            what = "which DVC holds as well"
        else:
            continue
        raise PromotionError(
            f"{committed} holds {name!r} in git, {what}; git rm it, commit, and promote again"
        )


def _along(tree: Any, path: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """What git holds below a path, at it, or in the place of a folder above it."""
    for entry in tree.scandir():
        name = f"{above}{entry.name}"
        if not _meet(name, path):
            continue
        if entry.isdir:
            yield from _along(entry, path, f"{name}/")
        else:
            yield name, entry


def _meet(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")
