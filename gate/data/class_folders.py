"""Class folders, as torchvision's ImageFolder reads them: the folder of an image is its class."""

from collections.abc import Generator, Mapping
from functools import partial

from gate import files
from gate.data.source import (
    IMAGE_ENDINGS,
    Row,
    Table,
    columns_wanted,
    image_inside,
    require_columns,
)
from gate.errors import DataError
from gate.plan.split import SplitPlan

_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


def open_class_folders(plan: SplitPlan) -> Table:
    """Open a folder of folders, each of which has the images of one class, at any depth.

    Classes and images come in the order of torchvision's ImageFolder. What is hidden is left out,
    and what is no image by its name; the digest holds all.

    Raises:
        DataError: No class folder, one without an image, folders that are splits, or a column that
            only a table has.

    Source:
        torchvision, datasets/folder.py: find_classes and make_dataset.
    """
    path = plan.path
    hashes = files.hashed(path, DataError)
    folders = sorted(
        entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")
    )
    images: dict[str, list[str]] = {folder: [] for folder in folders}
    others = []
    for name in sorted(hashes, key=_place):
        parts = name.split("/")
        if any(part.startswith(".") for part in parts):
            continue
        if len(parts) > 1 and name.lower().endswith(IMAGE_ENDINGS):
            images[parts[0]].append(name)
        else:
            others.append(name)
    if folders and {folder.lower() for folder in folders} <= _SPLITS:
        raise DataError(
            f"{path}: its folders {', '.join(folders)} are splits and no classes; name one of them "
            f"in the plan, such as path: {path / folders[0]}"
        )
    if empty := [folder for folder in folders if not images[folder]]:
        raise DataError(
            f"{path}: class folder {empty[0]!r} has no image"
            + (f", nor have {len(empty) - 1} others" if len(empty) > 1 else "")
            + f" ({', '.join(IMAGE_ENDINGS)}); add some or remove it"
        )
    if not folders:
        raise DataError(
            f"{path}: has {len(others)} files and no class folders, so nothing says what images "
            "show; put those of each class into a folder called as the class, or name the list of "
            "images and labels under table"
        )
    require_columns(path, columns_wanted(plan)[1:], ["the label, which is its folder"])
    names = [name for folder in folders for name in images[folder]]
    labels = [folder for folder in folders for _ in images[folder]]
    remarks = []
    if others:
        remarks.append(
            f"{len(others)} files are no images of a class by their names and places, such as "
            f"{others[0]}, and were left out, as torchvision's ImageFolder does"
        )

    def rows() -> Generator[partial[Row], None, None]:
        for name in names:
            yield partial(_row, plan, hashes, name)

    digest = files.digest_of_files(hashes)
    return Table({plan.label: labels}, None, rows, digest, remarks=tuple(remarks))


def _place(name: str) -> tuple[str, str]:
    """Sorts as os.walk's folders and then their files are sorted."""
    folder, _, file = name.rpartition("/")
    return folder, file


def _row(plan: SplitPlan, hashes: Mapping[str, str], name: str) -> Row:
    return Row(str(plan.path / name), image_inside(plan.path, hashes, name))
