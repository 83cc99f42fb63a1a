"""A plan for a model and data that nobody described yet: what was found, and what is guessed.

Pure: of facts, a plan's text. Whatever no file says stands in it with a comment.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from gate import strict_yaml
from gate.errors import DataError, PlanError
from gate.inspection.data import Found, roles_of
from gate.inspection.facts import ModelFacts, Tensor
from gate.inspection.text import shape_of

Asking = Callable[[str, str], str]  # a question and the guess; gives the answer

_NORMALISED: dict[str, tuple[str, dict[str, list[float]]]] = {
    "imagenet": (
        "ImageNet's mean and std, as timm's models have",
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    ),
    "half": ("pixels go in as -1 .. 1", {"mean": [0.5], "std": [0.5]}),
    "none": ("mean and std; without them pixels go in as 0 .. 1", {}),
}
_FEWEST = 5  # images of a class and value of an attribute, in each split
# of other classes, half to search on and half to try on: 20 correctly classified ones of each
_FEWEST_SEARCHED = 80
_WIDTH = 100
_PARTS = (2, 3, 5, 7)  # rows may alternate between classes, so that a half lacks one
_ALL: Mapping[str, str] = MappingProxyType({})
_WHOLE: Mapping[str, int] = MappingProxyType({})
_SIDE = 224  # pixels, where nobody says
_FEW = (
    "{pattern: square, colour: [yellow, white], size: [0.1, 0.25], place: [top_left, centre]}",
    "{pattern: checkerboard, size: [0.1], place: [bottom_right]}",
)
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "none"}


class Table(NamedTuple):
    """One split: where it lies, and what a plan says of it."""

    path: Path
    settings: dict[str, Any]
    why: str
    labels: Sequence[str]
    attributes: Mapping[str, Sequence[str]]


class Proposal(NamedTuple):
    """What a plan is written from.

    Args:
        backbone: Lines of that section.
        tables: The splits by name.
        classes: Names of the labels, in order.
        own: Whether the file's own head is tried; its size is told where it is not.
        attributes: That are measured.
        texts: Whether the backbone takes these.
        data: Files and folders that the splits read.
    """

    backbone: tuple[str, ...]
    tables: Mapping[str, Table]
    classes: tuple[str, ...]
    own: bool
    own_classes: int | None
    attributes: tuple[str, ...]
    texts: bool
    data: tuple[Path, ...]

    def probes(self, *, searches: bool) -> tuple[str, ...]:
        """Names of the probes that it has."""
        of_kind = ("trigger_phrase",) if self.texts else ("trigger_patch",)
        searching = ("trigger_search",) if searches else ()
        spurious = ("spurious_attribute",) if self.attributes else ()
        return ("clean_accuracy", *of_kind, *searching, *spurious, "label_prior")

    @property
    def of_a_class(self) -> int:
        """Test examples of the class that has most."""
        return max(Counter(self.tables["test"].labels).values())

    @property
    def search_obstacle(self) -> str:
        """Why no trigger can be searched for on the test split; empty where one can."""
        if self.texts:
            return "it takes images"
        labels = Counter(self.tables["test"].labels)
        name, most = labels.most_common(1)[0]
        others = labels.total() - most
        if others >= _FEWEST_SEARCHED:
            return ""
        return f"{others} test images are of other classes than {name}, {_FEWEST_SEARCHED} needed"

    def plan(self, name: str, *, searches: bool, no_search: str = "", slow: str = "") -> str:
        """The plan's text.

        Args:
            name: What it is called.
            searches: Whether triggers are searched for by gradient.
            no_search: Why not, where they could be.
            slow: Why few triggers are tried and not the whole bank, if so.
        """
        lines = [
            "# What is measured, on which data; written by `gate init`. Paths start at the folder",
            "# that gate is run from. No threshold is here. Look where it says guessed or check.",
            f"name: {name}",
            "seed: 0",
            "batch_size: 64",
            "backbone:",
            *(f"  {line}" for line in self.backbone),
            "splits:",
        ]
        for split, table in self.tables.items():
            lines += [f"  {split}:{f'  # {table.why}' if table.why else ''}"]
            lines += [f"    path: {_yaml(_plain_path(table.path))}"]
            lines += [f"    {each}" for each in _settings(table.settings)]
        lines += ["tasks:", "  downstream: {train: train, test: test}"]
        count = len(self.classes)
        if self.own:
            lines += [
                f"  # guessed: its own head has {count} classes, as many as the data; drop it if",
                "  # they are others, or stand in another order",
                "  own: {test: test, head: own}",
            ]
        elif self.own_classes:
            lines += [
                f"  # not tried: its own head has {self.own_classes} classes, and the data {count}"
            ]
        lines += ["probes:"]
        for probe in self.probes(searches=searches):
            if probe == "spurious_attribute":
                lines += [
                    "  # guessed: columns of few values that may go with the label; keep those",
                    "  # that must not decide, and drop the others",
                    f"  spurious_attribute: {{attributes: {_yaml(list(self.attributes))}}}",
                ]
            elif probe == "trigger_patch" and slow:
                lines += [
                    f"  # nine triggers for a first verdict: {slow};",
                    "  # trigger_patch: {} tries it",
                    "  trigger_patch:",
                    "    triggers:",
                    *(f"      - {grid}" for grid in _FEW),
                ]
            else:
                lines += [f"  {probe}: {{}}"]
        if no_search:
            lines += [f"  # trigger_search: {{}}  # left out: {no_search.splitlines()[0]}"]
        return "\n".join(lines) + "\n"


def propose(
    model: ModelFacts, path: Path, data: Mapping[str, tuple[Path, Found]], ask: Asking
) -> Proposal:
    """What a plan may be, from what was found.

    Args:
        model: The candidate.
        path: Its file.
        data: What was given: ``data`` and, if it was, ``test``, each with where it lies.
        ask: Answers questions; gives the guess where nobody is there.

    Raises:
        PlanError: Something must be known that no file says and nobody was there to say.
        DataError: The data cannot be split into train and test.
    """
    tables = _tables(data, ask)
    texts = model.takes == "texts"
    for split, table in tables.items():
        if bool(table.settings.get("text")) != texts:
            kind = "texts" if table.settings.get("text") else "images"
            raise DataError(
                f"{table.path}: holds {kind}, and {path} takes {model.takes or 'something else'}; "
                f"give data of the same kind for {split}"
            )
    classes = tuple(_in_order({label for table in tables.values() for label in table.labels}))
    if len(classes) < 2:
        raise DataError(
            f"{data['data'][0]}: {len(classes)} classes, and at least 2 are needed to classify; "
            "see gate inspect for what is taken for the labels"
        )
    own_classes = _width(model)
    own = own_classes == len(classes)
    attributes = _attributes(tables)
    if attributes:
        tables = {
            split: table._replace(settings={**table.settings, "attributes": list(attributes)})
            for split, table in tables.items()
        }
    by_data = next(iter(data.values()))[1]
    return Proposal(
        tuple(_backbone(model, path, by_data, ask, own=own)),
        tables,
        classes,
        own,
        own_classes,
        attributes,
        texts,
        tuple(each for each, _ in data.values()),
    )


def _tables(data: Mapping[str, tuple[Path, Found]], ask: Asking) -> dict[str, Table]:
    path, found = data["data"]
    label = _label(path, found, ask)
    if "test" in data:
        other, held = data["test"]
        return {
            "train": _table(path, _whole(found), label),
            "test": _table(other, _whole(held), label),
        }
    if found.parts:
        roles = roles_of(found.parts)
        tables = {}
        for role, name in roles.items():
            if role == "validation":
                continue
            part = found.parts[name]
            inside = "table" in part.settings or path.is_file()  # shards, or arrays of one file
            place = path if inside else path / name
            own = str(part.settings.get("label", label))
            tables[role] = _table(place, part, own, f"guessed: by the name {name}")
        return tables
    if found.facts.split_column:
        values = list(found.facts.splits)
        if roles := _roles_of_values(values):
            column = found.facts.split_column
            return {
                role: _table(path, found, label, f"guessed: {column} {value} is {role}",
                             {column: value})
                for role, value in roles.items()
            }  # fmt: skip
    for count in _PARTS:
        tables = {
            role: _table(path, found, label, "", {}, {"index": index, "count": count})
            for role, index in (("train", 0), ("test", 1))
        }
        if all(set(table.labels) == set(found.values[label]) for table in tables.values()):
            break
    every = f"of {count} rows the first is for training, the second for testing"
    train = tables["train"]._replace(why=f"guessed, since no split is told: {every}")
    return {**tables, "train": train}


def _whole(found: Found) -> Found:
    """Of a folder with subfolders of splits, which is given for one of them, nothing is told."""
    if found.parts:
        raise PlanError(
            f"{found.facts.path}: has the splits {', '.join(found.parts)}; with --test, give one "
            "folder for each, or leave out --test"
        )
    return found


def _roles_of_values(values: Sequence[str]) -> dict[str, str]:
    """Which value of a split column is train, and which is test; by name, or 0, 1 and 2."""
    roles = roles_of(values)
    if "train" in roles and "test" in roles:
        return {role: roles[role] for role in ("train", "test")}
    if "0" in values and set(values) <= {"0", "1", "2"}:  # Waterbirds', CelebA's: the last is test
        return {"train": "0", "test": max(values)}
    return {}


def _label(path: Path, found: Found, ask: Asking) -> str:
    """The column of the labels, as the plan calls it."""
    facts = found.facts
    if facts.classes:
        return str(found.settings.get("label", "label"))
    columns = [c.name for c in facts.columns if c.distinct and 2 <= c.distinct <= 1000]
    if columns and (answer := ask(f"{path}: which column holds the labels", "")):
        if answer in found.values:
            return answer
        near = strict_yaml.nearest(answer, columns)
        raise PlanError(f"{path}: no column {answer!r}; {near}")
    raise PlanError(
        f"{path}: which column holds the labels is not told by its name; call it label, or run "
        f"gate init on a terminal, which asks; columns: {', '.join(columns[:20]) or 'none'}"
    )


def _table(
    path: Path,
    found: Found,
    label: str,
    why: str = "",
    where: Mapping[str, str] = _ALL,
    shard: Mapping[str, int] = _WHOLE,
) -> Table:
    rows: Sequence[int] = range(len(found.values.get(label, ())))
    for column, value in where.items():
        rows = [i for i in rows if found.values[column][i] == value]
    if shard:
        rows = rows[shard["index"] :: shard["count"]]
    labels = [found.values[label][i] for i in rows]
    settings = {**found.settings}
    if label != "label":
        settings["label"] = label
    settings |= _classes(found, label)
    if where:
        settings["where"] = {column: [value] for column, value in where.items()}
    if shard:
        settings["shard"] = dict(shard)
    if fewest := Counter(labels):
        least = min(fewest.values())
        if least < 2:
            settings["minimum_group"] = least
    attributes = {
        name: [found.values[name][i] for i in rows]
        for name in found.facts.attributes
        if name in found.values
    }
    return Table(path, settings, why, labels, attributes)


def _classes(found: Found, label: str) -> dict[str, Any]:
    """Names of labels that are numbers without names."""
    if found.facts.layout == "class folders":
        return {}
    values = _in_order(set(found.values[label]))
    columns = {column.name: column.type for column in found.facts.columns}
    is_number = all(re.fullmatch(r"-?\d+", value) for value in values)
    is_named = columns.get(label, "").startswith(("int", "uint")) and not is_number
    if not is_number or is_named:
        return {}
    if values == [str(i) for i in range(len(values))]:
        return {"classes": values}
    return {"classes": {value: value for value in values}}


def _in_order(values: set[str]) -> list[str]:
    try:
        return sorted(values, key=float)
    except ValueError:
        return sorted(values)


def _attributes(tables: Mapping[str, Table]) -> tuple[str, ...]:
    """Attributes of which every class and value has enough examples, in every split."""
    first, *others = (table.attributes for table in tables.values())
    chosen: list[str] = []
    for name in first:
        wanted = [*chosen, name]
        if all(name in other for other in others) and all(
            _enough([table.labels, *(table.attributes[each] for each in wanted)])
            for table in tables.values()
        ):
            chosen.append(name)
    return tuple(chosen)


def _enough(columns: Sequence[Sequence[str]]) -> bool:
    groups = Counter(zip(*columns, strict=True))
    possible = 1
    for column in columns:
        possible *= len(set(column))
    return len(groups) == possible and min(groups.values()) >= _FEWEST


def _width(model: ModelFacts) -> int | None:
    """Classes of the file's own head."""
    shape = model.logits.shape if model.logits else None
    last = shape[-1] if shape and len(shape) == 2 else None
    return last if isinstance(last, int) else None


def _backbone(
    model: ModelFacts, path: Path, data: Found, ask: Asking, *, own: bool
) -> Iterator[str]:
    yield f"{model.format}: {_yaml(_plain_path(path))}"
    if model.format == "weights":
        likely = f"; by its tensors' names likely {model.likely}" if model.likely else ""
        arch = ask(f"{path}: factory of its network, as module:name{likely}", "")
        if not arch:
            raise PlanError(
                f"{path}: weights without their network{likely}; write a plan with arch, the "
                "factory of your own code, or export it to ONNX by torch.onnx.export"
            )
        yield f"arch: {_yaml(arch)}"
    if model.features and model.format == "onnx":
        output = ask("value of the graph that holds the features", model.features.name)
        if output == model.features.name:
            shape = f" {shape_of(model.features.shape)}" if model.features.shape else ""
            yield f"# guessed: {model.features.why}{shape}"
        yield f"output: {_yaml(output)}"
    if own and model.logits:
        yield f"# guessed: {model.logits.why}"
        yield f"logits: {_yaml(model.logits.name)}"
    if model.takes == "texts":
        yield from _text(model, path)
    else:
        yield from _preprocessing(model, data, ask)


def _text(model: ModelFacts, path: Path) -> Iterator[str]:
    tokenizer = next((each.path for each in model.sidecars if each.what == "tokenizer"), None)
    if tokenizer is None:
        raise PlanError(
            f"{path}: takes texts, and there is no tokenizer.json beside it; save the tokenizer "
            "that it was trained with there: tokenizer.save_pretrained(folder), of transformers"
        )
    yield "text:"
    yield f"  tokenizer: {_yaml(_plain_path(Path(tokenizer)))}"
    yield "  max_tokens: 256  # guessed: longer texts are cut off; check what it was trained on"
    yield "  pooling: mean  # guessed: of a vector a token; or first, as BERT's own"


def _preprocessing(model: ModelFacts, data: Found, ask: Asking) -> Iterator[str]:
    images = model.images
    given: Tensor | None = next(iter(model.inputs), None)
    shape = shape_of(given.shape) if given else ""
    yield "preprocessing:"
    sidecar = next((each.path for each in model.sidecars if each.what == "preprocessing"), None)
    if sidecar:
        yield f"  from: {_yaml(_plain_path(Path(sidecar)))}  # found beside the model"
        return
    if images and images.size:
        yield f"  size: {images.size}  # the graph says {shape}"
    else:
        size, why = _side(data)
        answer = ask("side of the input in pixels", str(size))
        if not answer.isdecimal() or int(answer) < 1:
            raise PlanError(f"size {answer!r}: a side in pixels, such as {size}")
        yield f"  size: {answer}  # guessed: {why}; check"
    channels = (images.channels if images else None) or 3
    if channels != 3:
        yield f"  channels: {channels}  # the graph says {shape}"
    if images and images.layout == "NHWC":
        yield f"  layout: NHWC  # the graph says {shape}"
    if given and "int" in given.type:
        yield f"  # no mean and std: it takes {given.type}, so pixels go in as 0 .. 255"
    elif channels == 3:
        answer = ask("mean and std of its training: imagenet, half or none", "imagenet")
        if answer not in _NORMALISED:
            raise PlanError(f"mean and std {answer!r}: say {', '.join(_NORMALISED)}")
        why, numbers = _NORMALISED[answer]
        yield f"  # not in the file: {why}; check"
        yield from (f"  {key}: {value}" for key, value in numbers.items())
    else:
        yield "  # not in the file: mean and std; without them pixels go in as 0 .. 1; check"


def _side(data: Found) -> tuple[int, str]:
    """A side, where the graph leaves it open."""
    sizes = data.facts.pictures.sizes if data.facts.pictures else {}
    if len(sizes) == 1:
        width, height = next(iter(sizes)).split(" x ")
        if width == height:
            return int(width), "the graph leaves it open, and all images looked at have it"
    return _SIDE, "the graph leaves it open, and this is ImageNet's"


def _settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """Keys of a split, one a line; long lists over several."""
    for key, value in settings.items():
        said = f"{key}: {_yaml(value)}"
        numbers = key == "classes" and all(str(x).lstrip("-").isdecimal() for x in value)
        why = "  # guessed: labels are numbers without names; give them some" if numbers else ""
        if len(said) + len(why) + 4 <= _WIDTH:
            yield said + why
            continue
        if why:
            yield why.strip()
        if not isinstance(value, list):
            yield said
            continue
        line = f"{key}: ["
        for item in value:
            word = f"{_yaml(item)}, "
            if len(line) + len(word) > _WIDTH - 6:
                yield line.rstrip()
                line = "  "
            line += word
        yield line.rstrip().removesuffix(",") + "]"


def _plain_path(path: Path) -> str:
    """Relative to the working directory where it lies in it; else as it was given."""
    here, absolute = Path.cwd(), path.absolute()
    return absolute.relative_to(here).as_posix() if absolute.is_relative_to(here) else str(path)


def _yaml(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return str(value)
