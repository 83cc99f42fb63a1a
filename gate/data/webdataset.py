"""WebDataset's .tar shards: files of one key are one sample. Streamed; nothing is extracted."""

import json
import re
import tarfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from gate import files
from gate.data.source import Row, Table, columns_wanted, opened, shards
from gate.errors import DataError
from gate.plan.split import SplitPlan
from gate.strict_yaml import nearest

_FAULT = "cannot be read as WebDataset's .tar"
_MEMBER = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")  # key and ending, as webdataset has them
IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm")


def open_webdataset(plan: SplitPlan) -> Table:
    """Open a .tar, or those of a folder in the order of their names.

    The image is the file of a sample whose ending is that of an image, or the one that ``image``
    names; the label is in ``.cls``, or where ``label`` says: the ending of a file, or a key in the
    sample's ``.json``. Attributes are found likewise.

    Raises:
        DataError: Damaged, changed meanwhile, of several splits, or a sample lacks its image, a
            label or an attribute.

    Source:
        webdataset, tariterators.py: base_plus_ext and group_by_keys.
    """
    hashes = files.hashed(plan.path, DataError)
    names = shards(plan.path, hashes, ".tar", plan.table)
    paths = {plan.path if name == "." else plan.path / name: hashes[name] for name in names}
    columns: dict[str, list[Any]] = {name: [] for name in columns_wanted(plan)}
    for path, digest in paths.items():
        with opened(path, digest, _FAULT) as file:
            for key, sample in _samples(path, file, images=False):
                _ending_of_image(plan, path, key, sample)
                for name, values in columns.items():
                    values.append(_value(path, key, sample, name, is_label=name == plan.label))
    if not columns[plan.label]:
        raise DataError(f"{plan.path}: holds no sample, which is KEY.jpg beside KEY.cls or .json")

    def rows() -> Generator[Row, None, None]:
        for path, digest in paths.items():
            with opened(path, digest, _FAULT) as file:
                for key, sample in _samples(path, file, images=True):
                    ending = _ending_of_image(plan, path, key, sample)
                    yield Row(f"{path}: {key}.{ending}", sample[ending])

    return Table(columns, None, rows, files.digest_of_files(hashes), "stored", "webdataset")


def _samples(path: Path, file: Any, *, images: bool) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each sample's key, and its files by ending; without images, these are empty."""
    current, sample = "", dict[str, bytes]()
    with tarfile.open(fileobj=file, mode="r:") as archive:
        while member := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps all, as webdataset knows
            found = _MEMBER.fullmatch(member.name)
            if member.isdir() or not found:
                continue
            if not member.isreg() or member.issparse():
                raise DataError(f"{path}: {member.name} is no plain file; write the shard anew")
            key, ending = found[1], found[2].lower()
            if key != current:
                if sample:
                    yield current, sample
                current, sample = key, {}
            if ending in sample:
                raise DataError(f"{path}: {member.name} stands twice in a sample; remove one")
            reads = images or ending.rpartition(".")[2] not in IMAGES
            content = archive.extractfile(member) if reads else None
            sample[ending] = content.read() if content else b""
    if sample:
        yield current, sample


def _ending_of_image(plan: SplitPlan, path: Path, key: str, sample: Mapping[str, bytes]) -> str:
    if plan.image != "image" or "image" in sample:
        present = [ending for ending in sample if ending == plan.image.lower()]
    else:
        present = [ending for ending in sample if ending in IMAGES]
    if len(present) != 1:
        raise DataError(
            f"{path}: sample {key!r} has {len(present)} images among {', '.join(sample)}; say "
            "under image which ending is the image's, or mend the shard"
        )
    return present[0]


def _value(
    path: Path, key: str, sample: Mapping[str, bytes], name: str, *, is_label: bool
) -> str | float | None:
    """A label or an attribute of a sample: what a file of that ending says, or the .json."""
    described = json.loads(sample["json"]) if "json" in sample else {}
    if not isinstance(described, dict):
        raise DataError(f"{path}: {key}.json is no mapping; write the shard anew")
    endings = [name, *(["cls"] if is_label and name == "label" and name not in described else [])]
    for ending in endings:
        if ending in sample:
            written = sample[ending].decode().strip()
            return int(written) if re.fullmatch(r"-?[0-9]+", written) else written
    if name not in described:
        present = [*sample, *described]
        raise DataError(
            f"{path}: sample {key!r} has neither a file .{name} nor a key {name!r} in its .json; "
            f"{nearest(name, present)}"
        )
    value = described[name]
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(f"{path}: {key}.json: {name} is {value!r}, expected a word or a number")
    return value
