"""Plan -> the files that it names, so that whoever keeps results knows what they depend on."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.plan.backbone import WeightsBackbone
from gate.plan.plan import Plan
from gate.triggers.grid import TriggerGrid
from gate.values import Value


def inputs(plan: Plan) -> dict[str, Path]:
    """Every file and folder that a plan names, by its place in the plan.

    Of an ``arch`` that is the file of its module, if that lies in the current folder, and not what
    the module imports; pictures that come with gate are left out.
    """
    return dict(_named_in(plan, ""))


def _named_in(content: object, place: str) -> Iterator[tuple[str, Path]]:
    if isinstance(content, Path):
        yield place, content
    elif isinstance(content, Value):
        yield from _named_by_text(content, place)
        for name, field in content:
            key = type(content).model_fields[name].alias or name
            yield from _named_in(field, f"{place}.{key}".lstrip("."))
    elif isinstance(content, Mapping):
        for name, item in content.items():
            yield from _named_in(item, f"{place}.{name}")
    elif isinstance(content, tuple):
        for index, item in enumerate(content):
            yield from _named_in(item, f"{place}.{index}")


def _named_by_text(content: Value, place: str) -> Iterator[tuple[str, Path]]:
    """What is no path by its type, because it may also be a name."""
    if isinstance(content, WeightsBackbone):
        module = Path(*content.arch.split(":")[0].split("."))
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.is_file():
                yield f"{place}.arch", path
    elif isinstance(content, TriggerGrid):
        for index, name in enumerate(content.picture):
            if Path(name).suffix:  # the others come with gate
                yield f"{place}.picture.{index}", Path(name)
