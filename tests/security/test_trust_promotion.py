"""What is promoted can be fetched by others."""

import shutil
from pathlib import Path

import pytest

from gate.errors import PromotionError
from gate.trust import gto
from tests.gated import Gated, admitted


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    """A repository whose last commit holds an admitted model that was never pushed."""
    gated = Gated.create(tmp_path / "repository")
    gated.must("dvc", "repro", "admit")
    gated.commit()
    return gated


@pytest.fixture
def without_remote(gated: Gated) -> Gated:
    """The same, without a remote of DVC."""
    gated.must("dvc", "remote", "remove", "store")
    gated.commit()
    return gated


def test_a_model_of_dvc_without_any_remote_is_not_promoted(
    without_remote: Gated, tmp_path: Path
) -> None:
    done = without_remote.promote()

    assert done.returncode == 3
    assert "names model.bin, and DVC has no remote, so nobody else could fetch it" in done.stderr
    assert without_remote.tags() == []
    add, push = (words.split(",")[0] for words in done.stderr.split("run: ")[1:])
    url = str(tmp_path / "store")
    without_remote.must(*add.replace("NAME", "store").replace("URL", url).split())
    without_remote.commit()
    without_remote.must(*push.split())
    assert without_remote.promote().returncode == 0


def test_a_model_that_git_holds_itself_needs_no_remote(without_remote: Gated) -> None:
    without_remote.must("dvc", "remove", "--quiet", "model.bin.dvc")
    without_remote.commit()

    done = without_remote.promote()

    assert done.returncode == 0, done.stderr


def test_a_model_that_was_never_pushed_is_not_promoted(gated: Gated) -> None:
    done = gated.promote()

    assert done.returncode == 3
    assert "the DVC remote store does not hold all of it" in done.stderr
    (command,) = done.stderr.split("run: ")[1:]
    assert command.startswith("dvc push -r store model.bin, and promote again")
    assert gated.tags() == []
    gated.must(*command.split(",")[0].split())
    assert gated.promote().returncode == 0


def test_a_folder_of_which_a_file_was_never_pushed_is_not_promoted(
    gated: Gated, tmp_path: Path
) -> None:
    folder = gated.folder / "shards"
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        (folder / name).write_text(name)
    gated.must("dvc", "add", "--quiet", "shards")
    gated.commit()
    through = admitted(folder)
    with pytest.raises(PromotionError, match="does not hold all of it"):
        gto.promote(folder, through, "shards", "prod")
    gated.must("dvc", "push", "--quiet")
    assert gto.promote(folder, through, "shards", "prod", dry_run=True)

    for pushed in (tmp_path / "store").rglob("*"):
        if pushed.is_file() and pushed.read_text() == "a.bin":
            pushed.unlink()
            break

    with pytest.raises(PromotionError, match="does not hold all of it"):
        gto.promote(folder, through, "shards", "prod")
    assert gated.tags() == []


def test_a_clone_promotes_what_the_remote_alone_holds(gated: Gated) -> None:
    gated.must("dvc", "push", "--quiet", "--run-cache")
    shutil.rmtree(gated.folder / ".dvc" / "cache")

    done = gated.promote()

    assert done.returncode == 0, done.stderr
