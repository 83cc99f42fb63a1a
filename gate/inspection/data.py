"""What data is laid out like: its columns, classes, splits, and what its images are like."""

import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gate.data.images import FORMATS, is_tagged
from gate.data.lists import METADATA
from gate.data.source import IMAGE_ENDINGS
from gate.errors import DataError
from gate.inspection.facts import Column, DataFacts, Pictures
from gate.inspection.tables import (
    MOST_ROWS,
    SAMPLE,
    Columns,
    npz_splits,
    read_list,
    read_npz,
    read_parquet,
    read_saved,
    read_tar,
)
from gate.plan.split import LISTS
from gate.printable import escaped

TRAIN = ("train", "training", "trn", "train_set")
TEST = ("test", "testing", "tst", "test_set", "eval", "evaluation")
VALIDATION = ("val", "valid", "validation", "dev")
_LABELS = ("label", "labels", "class", "target", "y", "category", "classes", "fine_label",
           "class_name", "label_name", "cls", "species", "diagnosis", "sentiment", "coarse_label",
           "class_id", "label_id", "target_name", "ClassId")  # fmt: skip
_IMAGES = ("image", "file_name", "img", "img_filename", "image_path", "filename", "path",
           "file", "filepath", "file_path", "img_path", "image_id", "image_name", "image_file",
           "jpg", "png", "jpeg", "images", "x")  # fmt: skip
_TEXTS = ("text", "sentence", "content", "review", "document", "tweet", "comment", "body", "txt",
          "question", "title", "description", "message")  # fmt: skip
_SPLITS = ("split", "set", "subset", "partition", "split_name", "fold", "is_train", "train_test")
_MOST_VALUES = 20  # of an attribute
_LISTS_READ = 5  # tables beside images that are looked into
_MOST_CLASSES = 2000
_FEWEST_OF_EACH = 10  # rows of each value of an attribute, in the mean
_LISTED = 2_000_000  # files of a folder that are gone through
_LONG = 20  # letters, in the mean, of what is taken for texts


class Found(NamedTuple):
    """A table with what it is taken for: the facts, and what a plan says of it."""

    facts: DataFacts
    settings: dict[str, Any]  # keys of a split, less path
    values: Mapping[str, Sequence[str]]  # of the columns that a plan may name
    parts: dict[str, "Found"]  # by name of the subfolder, where it has splits


def inspect_data(path: Path) -> Found:
    """What a file or folder of data holds, within bounds.

    Args:
        path: A folder or a table of images or texts.

    Returns:
        Facts; what gate does not take is said under ``refused``, and is no error.

    Raises:
        DataError: There is nothing, or it cannot be read.
    """
    try:
        path.stat()
    except (OSError, ValueError) as fault:
        raise DataError(f"{path}: no such file or folder; check the path") from fault
    try:
        return _of_folder(path) if path.is_dir() else _of_file(path)
    except OSError as fault:
        raise DataError(f"{fault.filename or path}: cannot be read: {fault.strerror}") from fault


def _of_file(path: Path) -> Found:
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _of_table(path, read_parquet(path), "parquet", "a .parquet file")
    if ending == ".npz":
        return _of_npz(path)
    if ending in LISTS:
        return _of_list(path)
    if ending == ".tar":
        return _of_table(path, read_tar(path), "webdataset", "a .tar of examples by key")
    return _refused(
        path,
        f"{ending or 'a file without ending'}: gate reads folders of images, .csv, .tsv and .txt "
        "tables, .parquet, .npz, WebDataset's .tar, and what save_to_disk wrote; convert it",
    )


def _refused(path: Path, why: str) -> Found:
    facts = DataFacts(path=escaped(str(path)), layout="unknown", why="", kind=None, rows=None,
                      refused=(why,))  # fmt: skip
    return Found(facts, {}, {}, {})


def _of_folder(path: Path) -> Found:
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    folders = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    names = [e.name for e in entries if e.is_file() and not e.name.startswith(".")]
    if "state.json" in names and "dataset_info.json" in names:
        return _of_table(path, read_saved(path), "save_to_disk", "it has state.json")
    if METADATA in names:
        return _of_list(path / METADATA, path)
    roles = roles_of(folders)
    if "train" in roles and len(roles) > 1:
        return _of_parts(path, roles)
    for ending, layout in ((".parquet", "parquet"), (".tar", "webdataset")):
        if any(name.endswith(ending) for name in names) or (
            "data" in folders and any(each.suffix == ending for each in (path / "data").iterdir())
        ):
            return _of_shards(path, ending, layout)
    lists = [name for name in names if Path(name).suffix in LISTS and not _is_note(name)]
    listed = [_of_list(path / name, path) for name in lists[:_LISTS_READ]]
    of_images = [found for found in listed if found.facts.kind == "image"]
    if named := [found for found in of_images if found.facts.label]:
        return named[0]
    by_folder = _of_class_folders(path, folders)
    return of_images[0] if of_images and by_folder.facts.refused else by_folder


def _is_note(name: str) -> bool:
    return bool(re.match(r"(readme|licen[cs]e|requirements)\b", name.lower()))


def roles_of(names: Iterable[str]) -> dict[str, str]:
    """Of names of splits those that tell their use, as role to name; a test before a validation.

    >>> roles_of(["train", "val", "cats"]), roles_of(["Test", "train", "valid"])
    ({'train': 'train', 'test': 'val'}, {'train': 'train', 'test': 'Test', 'validation': 'valid'})
    """
    by_role = {
        role: next((name for name in names if name.strip().lower() in known), None)
        for role, known in (("train", TRAIN), ("test", TEST), ("validation", VALIDATION))
    }
    if by_role["test"] is None:
        by_role["test"], by_role["validation"] = by_role["validation"], None
    return {role: name for role, name in by_role.items() if name is not None}


def _of_parts(path: Path, roles: Mapping[str, str]) -> Found:
    parts = {name: inspect_data(path / name) for name in roles.values()}
    found = _in_parts(path, "subfolders", parts, roles["train"])
    has = Counter(name for part in parts.values() for name in part.facts.classes)
    if differing := sorted(name for name, count in has.items() if count < len(parts)):
        note = f"not in every subfolder: classes {', '.join(differing[:5])}"
        facts = _with(found.facts, notes=(*found.facts.notes, note))
        return found._replace(facts=facts)
    return found


def _in_parts(path: Path, what: str, parts: dict[str, Found], train: str) -> Found:
    """The part to train on, with the rows of all."""
    of_train = parts[train]
    facts = _with(
        of_train.facts,
        path=escaped(str(path)),
        why=f"{what} {', '.join(parts)}; what follows is of {train}: {of_train.facts.why}",
        splits={escaped(name): part.facts.rows for name, part in parts.items()},
    )
    return Found(facts, of_train.settings, of_train.values, parts)


def _with(facts: DataFacts, **changes: Any) -> DataFacts:
    return DataFacts.model_validate({**facts.model_dump(by_alias=True), **changes})


def _of_class_folders(path: Path, folders: Sequence[str]) -> Found:
    counts: dict[str, int] = {}
    pictures: list[Path] = []
    left = _LISTED
    for name in folders:
        inside = []
        for place, _, files in os.walk(path / name):
            left -= len(files)
            inside += [
                Path(place, file)
                for file in files
                if Path(file).suffix.lower() in IMAGE_ENDINGS and not file.startswith(".")
            ]
            if left < 0:
                return _refused(path, f"more than {_LISTED} files; give a table of them")
        if inside:
            counts[name] = len(inside)
            pictures += _spread(sorted(inside), max(1, SAMPLE // len(folders)))
    if not counts:
        loose = [e.name for e in os.scandir(path) if Path(e.name).suffix.lower() in IMAGE_ENDINGS]
        has = f"{len(loose)} images without labels" if loose else "neither images nor a table"
        return _refused(
            path,
            f"has {has}: put images into a folder a class, or beside them a metadata.csv with "
            "file_name and label",
        )
    facts = DataFacts(
        path=escaped(str(path)),
        layout="class folders",
        why=f"{len(counts)} subfolders hold images (torchvision's ImageFolder)",
        kind="image",
        rows=sum(counts.values()),
        classes={escaped(name): count for name, count in counts.items()},
        pictures=_looked_at(each.read_bytes for each in _spread(pictures, SAMPLE)),
    )
    if empty := sorted(set(folders) - counts.keys()):
        more = f", nor have {len(empty) - 1} others" if len(empty) > 1 else ""
        why = f"class folder {empty[0]!r} has no image{more}; add some, or remove it"
        facts = _with(facts, refused=(escaped(why),))
    values = {"label": [name for name, count in counts.items() for _ in range(count)]}
    return Found(facts, {}, values, {})


def _of_shards(path: Path, ending: str, layout: str) -> Found:
    """A folder of shards, by the first of each split that their names tell."""
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob(f"*{ending}"))
    splits: dict[str, list[str]] = {}
    for name in names:
        word = re.split(r"[-_.]", Path(name).name)[0]
        splits.setdefault(word, []).append(name)
    roles = roles_of(splits)
    read = read_parquet if ending == ".parquet" else read_tar

    def found(several: Sequence[str]) -> Found:
        shards = [read(path / name) for name in several[:200]]
        rows = [each.rows for each in shards]
        whole = None if None in rows else sum(x or 0 for x in rows)
        merged = {
            name: [x for each in shards for x in each.values.get(name, ())]
            for name in shards[0].values
        }
        columns = shards[0]._replace(values=merged, rows=whole)
        return _of_table(path, columns, layout, f"{len(several)} {ending} files")

    if "train" not in roles or len(roles) == 1:
        return found(names)
    parts = {}
    for name in roles.values():
        several = splits[name]
        pattern = several[0] if len(several) == 1 else _pattern(several)
        part = found(several)
        parts[name] = part._replace(settings={"table": pattern, **part.settings})
    return _in_parts(path, "shards of", parts, roles["train"])


def _pattern(names: Sequence[str]) -> str:
    first, last = names[0], names[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), 0)
    common = first[:same].rstrip("0123456789")
    return f"{common}*{Path(names[0]).suffix}"


def _of_list(path: Path, folder: Path | None = None) -> Found:
    """A table in plain text, of texts or of paths of images."""
    columns = read_list(path)
    found = _of_table(folder or path, columns, "list", f"{path.name}, in plain text")
    facts, settings = found.facts, {**found.settings}
    if path.name == METADATA:
        why = f"{METADATA} (Hugging Face's imagefolder)"
        facts = _with(facts, layout=METADATA, why=why)
        if settings.get("image") == "file_name":  # what is looked for there
            del settings["image"]
    elif folder:
        settings = {"table": path.name, **settings}
    if facts.kind != "image":
        return found._replace(facts=facts, settings=settings)
    named = columns.values[found.settings.get("image", "image")]
    there = [path.parent / name.replace("\\", "/") for name in _spread(named, SAMPLE)]
    absent = [place for place in there if not place.is_file()]
    facts = _with(facts, pictures=_looked_at(p.read_bytes for p in there if p.is_file()))
    if absent:
        says = (
            f"{len(absent)} of {len(there)} images looked for are not there, such as {absent[0]}; "
            "say images in the plan: the folder that names start from"
        )
        facts = _with(facts, notes=(*facts.notes, escaped(says)))
    return found._replace(facts=facts, settings=settings)


def _of_npz(path: Path) -> Found:
    """Arrays of one split or, as in Keras' own files, x_train, y_train, x_test and y_test."""
    roles = roles_of(npz_splits(path))
    if "train" not in roles or len(roles) == 1:
        return _of_table(path, read_npz(path), "npz", "arrays of numpy")
    parts = {
        name: _of_table(path, read_npz(path, name), "npz", f"arrays called _{name}")
        for name in roles.values()
    }
    return _in_parts(path, "arrays of", parts, roles["train"])


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """So many of them, from all over."""
    step = max(1, math.ceil(len(items) / count))
    return list(items[::step])[:count]


def _of_table(path: Path, columns: Columns, layout: str, why: str) -> Found:
    distinct = {name: len(set(values)) for name, values in columns.values.items()}
    image = _image_column(columns)
    text = "" if image else _text_column(columns)
    label = _named(columns, _LABELS, {image, text})
    split = _named(columns, _SPLITS, {image, text, label})
    if split and not 2 <= distinct.get(split, 0) <= 6:
        split = ""
    values = columns.values
    if label and label in columns.class_names:
        names = columns.class_names[label]
        values = {**values, label: [_of(names, x) for x in values[label]]}
    counts = Counter(values.get(label, ()))
    notes = []
    if not label:
        plain = ", ".join(list(columns.types)[:12])
        notes.append(f"no column is called like a label; the columns are {plain}")
    if columns.rows == MOST_ROWS + 1:
        notes.append(f"only the first {MOST_ROWS} rows were read")
    attributes = _attributes(columns, {image, text, label, split}, distinct)
    kind = "image" if image else "text" if text else None
    layout = "texts" if layout == "list" and kind == "text" else layout
    refused = () if kind else ("no column of images or of texts was found; see columns",)
    if counts and len(counts) > _MOST_CLASSES:
        notes.append(f"{label} has {len(counts)} values, so it may be no label")
    facts = DataFacts(
        path=escaped(str(path)),
        layout=layout,
        why=why,
        kind=kind,
        rows=columns.rows,
        columns=tuple(_column(name, columns, distinct) for name in list(columns.types)[:200]),
        examples=escaped(image or text),
        label=escaped(label),
        classes={escaped(name)[:200]: counts[name] for name in _in_order(counts)[:_MOST_CLASSES]},
        split_column=escaped(split),
        splits={escaped(k): v for k, v in sorted(Counter(values[split]).items())} if split else {},
        attributes=tuple(map(escaped, attributes)),
        pictures=_of_pixels(columns),
        refused=refused,
        notes=tuple(map(escaped, notes)),
    )
    settings: dict[str, Any] = {}
    if layout == "webdataset":  # what is looked for there
        image, label = "image", "label" if label == "cls" else label
        values = {**values, "label": values.get("cls") or values.get("label", [])}
    if image and image != "image":
        settings["image"] = image
    if text:
        settings["text"] = text
    if label and label != "label":
        settings["label"] = label
    return Found(facts, settings, values, {})


def _of(names: Sequence[str], number: str) -> str:
    return names[int(number)] if number.isdecimal() and int(number) < len(names) else number


def _in_order(values: Iterable[str]) -> list[str]:
    """Numbers by their size, words by their letters."""
    words = list(values)
    try:
        return sorted(words, key=float)
    except ValueError:
        return sorted(words)


def _column(name: str, columns: Columns, distinct: Mapping[str, int]) -> Column:
    examples = list(dict.fromkeys(columns.values.get(name, ())))[:3]
    return Column(
        name=escaped(name)[:200],
        type=columns.types[name],
        distinct=distinct.get(name),
        examples=tuple(escaped(x.replace("\n", " "))[:40] for x in examples),
    )


def _named(columns: Columns, known: Sequence[str], other_use: set[str]) -> str:
    """The column that is called like this; case does not matter."""
    lower = {name.lower(): name for name in columns.values if name not in other_use}
    for name in list(lower):  # y_train, in an .npz of several splits
        lower.setdefault(re.sub(r"_(train|training|test|val|valid|dev)$", "", name), lower[name])
    return next((lower[name.lower()] for name in known if name.lower() in lower), "")


def _image_column(columns: Columns) -> str:
    if pixels := [name for name, kind in columns.types.items() if kind == "image"]:
        return "image" if "image" in pixels else pixels[0]
    called = {name.lower(): name for name in columns.values}
    candidates = [called[name] for name in _IMAGES if name in called]
    for name in dict.fromkeys([*candidates, *columns.values]):
        sample = _spread(columns.values[name], SAMPLE)
        if (
            sample
            and sum(Path(x).suffix.lower() in IMAGE_ENDINGS for x in sample) > len(sample) / 2
        ):
            return name
    return ""


def _text_column(columns: Columns) -> str:
    if name := _named(columns, _TEXTS, set()):
        return name
    means = {}
    for name, values in columns.values.items():
        sample = _spread(values, SAMPLE)
        means[name] = sum(map(len, sample)) / max(len(sample), 1)
    longest = max(means, key=lambda name: means[name], default="")
    return longest if longest and means[longest] > _LONG else ""


def _attributes(columns: Columns, other_use: set[str], distinct: Mapping[str, int]) -> list[str]:
    """Columns of few values that each have some rows: what may go with the label."""
    return [
        name
        for name, values in columns.values.items()
        if name not in other_use
        and 2 <= distinct[name] <= _MOST_VALUES
        and len(values) >= _FEWEST_OF_EACH * distinct[name]
        and "" not in values
        and not re.fullmatch(r"(.*[_ ])?(id|index|idx)", name.lower())
    ]


def _of_pixels(columns: Columns) -> Pictures | None:
    if not columns.pixels:
        return None
    if isinstance(columns.pixels[0], int):
        count, height, width, *rest = (int(x) for x in columns.pixels)
        mode = "RGB" if rest == [3] else "L"
        size, modes = {f"{width} x {height}": count}, {mode: count}
        return Pictures(looked_at=count, sizes=size, modes=modes, formats={}, turned=0,
                        unreadable=0)  # fmt: skip
    return _looked_at(partial(bytes, content) for content in columns.pixels)


def _looked_at(reads: Iterable[Callable[[], bytes]]) -> Pictures:
    """Headers of images; their pixels stay encoded."""
    from PIL import Image

    sizes, modes, formats = Counter[str](), Counter[str](), Counter[str]()
    turned = unreadable = count = 0
    for read in reads:
        count += 1
        try:
            with Image.open(io.BytesIO(read()), formats=FORMATS) as image:
                sizes[f"{image.width} x {image.height}"] += 1
                modes[image.mode] += 1
                formats[image.format or ""] += 1
                turned += is_tagged(image)
        except Exception:  # Pillow's readers raise whatever damaged bytes make them raise
            unreadable += 1
    return Pictures(
        looked_at=count,
        sizes=dict(sizes.most_common(20)),
        modes=dict(modes.most_common()),
        formats=dict(formats.most_common()),
        turned=turned,
        unreadable=unreadable,
    )
