"""Real git, DVC and GTO: what assigns a stage, and what does not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.errors import AdmissionError, PromotionError
from gate.files import hashed
from gate.policy.load import load_policy
from gate.trust import gto, mlflow, registry
from gate.trust.check import check
from tests.gated import BAD, GOOD, PUBLIC, Gated, admitted, today_in_utc


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Gated:
    gated = Gated.create(tmp_path_factory.mktemp("accepted") / "repository")
    gated.must("dvc", "repro", "admit")
    gated.must("dvc", "push", "--quiet")
    gated.commit()
    return gated


@pytest.fixture
def gated(accepted: Gated, tmp_path: Path) -> Gated:
    return Gated(Path(shutil.copytree(accepted.folder, tmp_path / "repository", symlinks=True)))


def test_an_admitted_artefact_is_promoted_by_a_tag_that_names_its_admission(gated: Gated) -> None:
    done = gated.promote()

    assert done.returncode == 0, done.stderr
    assert gated.tags() == ["resnet#prod#1", "resnet@v0.0.1"]
    message = gated.must("git", "tag", "-l", "-n9", "resnet#prod#1")
    for name in ("model.bin", "out/admission.json"):
        (digest,) = hashed(gated.folder / name, AdmissionError).values()
        assert digest in message
    shown = gated.must("gto", "show", "resnet@latest")
    assert "prod" in shown


def test_a_dry_run_checks_all_and_tags_nothing(gated: Gated) -> None:
    done = gated.promote("--dry-run")

    assert done.returncode == 0, done.stderr
    assert "would assign resnet prod to " in done.stdout
    assert gated.tags() == []
    gated.model(BAD)
    assert gated.promote("--dry-run").returncode == 3


def test_the_commit_is_what_counts_and_not_the_workspace(gated: Gated) -> None:
    gated.model(BAD)
    gated.must("dvc", "add", "--quiet", "model.bin")
    gated.commit()
    gated.model(GOOD)
    assert gated.check().returncode == 0

    done = gated.promote()

    assert done.returncode == 3
    assert " holds sha256:" in done.stderr
    assert "its bytes are others; commit (and dvc add) the artefact" in done.stderr
    assert gated.tags() == []


def test_a_commit_made_while_promoting_is_not_the_one_that_is_tagged(
    gated: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = gated.must("git", "rev-parse", "HEAD").strip()
    content = (gated.folder / "out" / "admission.json").read_bytes()
    artefact, policy_file = gated.folder / "model.bin", gated.folder / "policy.yaml"
    through = check(
        content,
        hashed(artefact, AdmissionError),
        today_in_utc(),
        load_policy(policy_file),
        [PUBLIC],
    )
    compare = registry.require_same

    def compare_and_lose_the_race(*arguments: Any) -> None:
        compare(*arguments)
        gated.model(BAD)
        gated.must("dvc", "add", "--quiet", "model.bin")
        gated.commit()

    monkeypatch.setattr(gto, "require_same", compare_and_lose_the_race)

    gto.promote(artefact, through, "resnet", "prod")

    assert gated.must("git", "rev-list", "-n1", "resnet#prod#1").strip() == checked
    assert gated.must("git", "rev-parse", "HEAD").strip() != checked
    monkeypatch.undo()
    # the check is of older bytes
    with pytest.raises(PromotionError, match=r"was admitted, .*; commit"):
        gto.promote(artefact, through, "resnet", "staging")


def test_a_file_that_git_holds_itself_is_promoted_too(gated: Gated) -> None:
    gated.must("dvc", "remove", "--quiet", "model.bin.dvc")
    gated.commit()

    done = gated.promote("--dry-run")

    assert done.returncode == 0, done.stderr


def test_an_artefact_that_the_commit_lacks_is_refused(gated: Gated) -> None:
    (gated.folder / ".gitignore").write_text("/out\n/model.bin\n")
    (gated.folder / "model.bin.dvc").unlink()
    gated.commit()

    done = gated.promote()

    assert done.returncode == 3
    assert "does not hold model.bin; commit it" in done.stderr


def test_a_folder_is_promoted_whole(gated: Gated) -> None:
    folder = gated.folder / "shards"
    (folder / "b").mkdir(parents=True)
    (folder / "a.bin").write_text("1")
    (folder / "b" / "x").write_text("2")
    gated.must("dvc", "add", "--quiet", "shards")
    gated.must("dvc", "push", "--quiet", "shards")
    gated.commit()
    through = admitted(folder)

    assert gto.promote(folder, through, "shards", "prod")[0].startswith("shards#prod#1: gate:")
    (folder / "c").write_text("3")
    gated.must("dvc", "add", "--quiet", "shards")
    gated.commit()
    with pytest.raises(PromotionError, match=r"was admitted, .*; commit"):
        gto.promote(folder, through, "shards", "prod")


Hide = Callable[[Gated, Path], None]


def ignored_by_dvc(gated: Gated, folder: Path) -> None:
    (folder / "loader.py").write_text("print('code that nobody judged')")
    (gated.folder / ".dvcignore").write_text("loader.py\n")


def a_nested_dvc_repository(gated: Gated, folder: Path) -> None:
    (folder / "sub" / ".dvc").mkdir(parents=True)
    (folder / "sub" / ".dvc" / "config").write_text("")
    (folder / "sub" / "loader.py").write_text("print('code that nobody judged')")


def a_submodule(gated: Gated, folder: Path) -> None:
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add"]
    gated.must(*add, str(gated.folder), "shards/sub")


def a_link(gated: Gated, folder: Path) -> None:
    (folder / "a.bin").rename(gated.folder / "a.bin")
    (folder / "a.bin").symlink_to("../a.bin")


def no_text(gated: Gated, folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.py")).write_text("print('not judged')")


def held_by_dvc_as_well(gated: Gated, folder: Path) -> None:
    (folder / "a.bin").write_text("bytes that dvc checkout --force puts there")
    gated.must("git", "rm", "-r", "--quiet", "--cached", "shards")  # else dvc add refuses
    gated.must("dvc", "add", "--quiet", "shards")
    (folder / "a.bin").write_text("1")
    gated.must("git", "add", "--force", "shards/a.bin")


HIDDEN: dict[str, tuple[Hide, str]] = {
    "what .dvcignore names": (ignored_by_dvc, "'shards/loader.py' in git, which was not admitted"),
    "a nested DVC repository": (
        a_nested_dvc_repository,
        "'shards/sub/.dvc/config' in git, which was not admitted",
    ),
    "a submodule": (a_submodule, "'shards/sub' in git, a link or a submodule"),
    "a link": (a_link, "'shards/a.bin' in git, a link or a submodule"),
    "a name that is no text": (no_text, r"'shards/\\udcff.py' in git, which was not admitted"),
    "bytes of DVC's own": (held_by_dvc_as_well, "'shards/a.bin' in git, which DVC holds as well"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_the_commit_holds_and_dvc_does_not_show_is_refused(gated: Gated, name: str) -> None:
    folder = gated.folder / "shards"
    folder.mkdir()
    (folder / "a.bin").write_text("1")
    through = admitted(folder)
    gated.commit()
    assert gto.promote(folder, through, "shards", "prod", dry_run=True)
    hide, says = HIDDEN[name]
    hide(gated, folder)
    gated.commit()

    with pytest.raises(PromotionError, match=says):
        gto.promote(folder, through, "shards", "prod")

    assert gated.tags() == []


def test_a_link_above_the_artefact_in_the_commit_is_refused(gated: Gated) -> None:
    (gated.folder / "elsewhere").mkdir()
    (gated.folder / "models").symlink_to("elsewhere")
    gated.commit()
    (gated.folder / "models").unlink()
    artefact = gated.folder / "models" / "vit.bin"
    artefact.parent.mkdir()
    artefact.write_text("1")

    with pytest.raises(PromotionError, match="'models' in git, a link or a submodule"):
        gto.promote(artefact, admitted(artefact), "vit", "prod")


def test_a_submodule_and_a_name_that_is_no_text_may_lie_beside_the_artefact(gated: Gated) -> None:
    add = ["git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add"]
    gated.must(*add, str(gated.folder), "other")
    no_text(gated, gated.folder)
    gated.commit()

    done = gated.promote()

    assert done.returncode == 0, done.stderr


def test_gto_says_why_it_does_not_assign(gated: Gated) -> None:
    assert gated.promote().returncode == 0

    done = gated.promote()

    assert done.returncode == 3
    assert "GTO does not assign prod to resnet: Version 'v0.0.1' is already in stage" in done.stderr


def test_outside_of_git_nothing_is_promoted(tmp_path: Path) -> None:
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")

    with pytest.raises(PromotionError, match="lies in no git repository with a commit"):
        gto.promote(artefact, admitted(artefact), "resnet", "prod")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda _: None)
    artefact = tmp_path / "model.bin"
    artefact.write_text("weights")
    through = admitted(artefact)

    with pytest.raises(PromotionError, match=r"pip install '\.\[gto\]'"):
        gto.promote(artefact, through, "resnet", "prod")
    with pytest.raises(PromotionError, match=r"pip install '\.\[mlflow\]'"):
        mlflow.promote(through, "resnet", 1, "champion")
