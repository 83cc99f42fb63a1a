"""Writes what follows from tables, models and results: docs/reference, the schema, error rates.

``python -m tests.tables``, after a probe, a key of a plan or a policy, or a command was added or
changed; tests hold that all are up to date.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel

from gate.cli import app
from gate.plan.backbone import FORMATS, BackbonePlan
from gate.plan.plan import Plan
from gate.policy.cases import Case
from gate.policy.rules import Policy
from gate.policy.waivers import Waivers
from gate.probes import PROBES
from pipelines.zoo.page import with_tables as with_rates

README, RATES = Path("README.md"), Path("docs/error-rates.md")
HEADER = "| probe | question |\n|---|---|\n"
_NOTE = "<!-- written by `python -m tests.tables`; change what it is made from instead -->\n\n"
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path"}


def written() -> dict[Path, str]:
    """What each file is to hold."""
    reference = Path("docs/reference")
    return {
        README: with_rates(with_probes(README.read_text())),
        RATES: with_rates(RATES.read_text()),
        Path("policies/schema.json"): json.dumps(Policy.model_json_schema(), indent=2) + "\n",
        reference / "plan.md": "# Keys of a plan\n\n" + _NOTE + "".join(_models([Plan])),
        reference / "policy.md": (
            "# Keys of policies, waivers and cases\n\n"
            + _NOTE
            + "".join(_models([Policy, Waivers, Case]))
        ),
        reference / "probes.md": "# Settings and metrics of probes\n\n" + _NOTE + probe_pages(),
        reference / "commands.md": "# Commands\n\n" + _NOTE + commands(),
    }


def with_probes(text: str) -> str:
    """A text with the table of probes in it brought up to date."""
    rows = "".join(f"| `{name}` | {probe.question} |\n" for name, probe in PROBES.items())
    table = re.compile(re.escape(HEADER) + r"(\|.*\n)+")
    return table.sub(lambda _: HEADER + rows, text)


def probe_pages() -> str:
    """For each probe: its header, its settings, its metrics."""
    pages: list[str] = []
    shared: set[type[BaseModel]] = set()
    for name, probe in PROBES.items():
        told = "".join(f"**{topic}.** {_begun(text)}\n\n" for topic, text in probe.topics.items())
        takes = f"It takes {probe.takes} alone.\n\n" if probe.takes else ""
        rows = "".join(
            f"| `{metric}` | {_safe(of.meaning)} | {_listed(of.labels)} | {of.unit} "
            f"| {of.better} |\n"
            for metric, of in probe.metrics.items()
        )
        pages.append(
            f"## {name}\n\n{probe.question}\n\n{told}{takes}"
            + "".join(_models([probe.settings], level=3, known=shared))
            + f"### Metrics of {name}\n\n"
            + f"| metric | what it is | labels | unit | better |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "".join(pages)


def commands() -> str:
    """A table of arguments and options for each command, in the order of ``gate --help``."""
    return "".join(_command(typer.main.get_command(app), "gate"))


def _command(command: Any, name: str) -> Iterator[str]:
    if inner := getattr(command, "commands", None):
        for key, each in inner.items():
            yield from _command(each, f"{name} {key}")
        return
    yield f"## {name}\n\n{_safe(command.help)}\n\n| | what it is |\n|---|---|\n"
    for each in command.params:
        call = each.metavar or each.name.upper()
        if each.param_type_name == "option":
            value = "" if each.is_flag else f" {each.metavar or 'VALUE'}"
            call = " ".join(each.opts) + value
        help_ = each.help or ""
        yield f"| `{call}` | {_safe(help_)}{' Required.' if each.required else ''} |\n"
    yield "\n"


def _models(
    models: list[type[BaseModel]], level: int = 2, known: set[type[BaseModel]] | None = None
) -> Iterator[str]:
    """A table for each model, and for those that its fields hold, each once, in that order."""
    told, waiting = known if known is not None else set(), list(models)
    while waiting:
        model = waiting.pop(0)
        if model in told:
            continue
        told.add(model)
        fields = {name: field for name, field in model.model_fields.items() if name != "probes"}
        if model is BackbonePlan:
            waiting = [*FORMATS.values(), *waiting]
        elif issubclass(model, BackbonePlan):  # what all formats have stands under their base
            shared = BackbonePlan.model_fields.keys()
            fields = {name: field for name, field in fields.items() if name not in shared}
        lines = (line.strip() for line in (model.__doc__ or "").partition(">>>")[0].splitlines())
        about = "\n".join(lines).strip()
        yield f"{'#' * level} {model.__name__}\n\n{_safe(about)}\n\n"
        yield "| key | what it takes | default | what it is |\n|---|---|---|---|\n"
        for name, field in fields.items():
            default = "required" if field.is_required() else _shown(field.default)
            inside = list(_inside(field.annotation))
            says = field.description or next((_first_line(each) for each in inside), "")
            yield f"| `{name}` | {_takes(field.annotation)} | {default} | {_safe(says)} |\n"
            waiting += [each for each in inside if each not in told]
        yield "\n"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _takes(annotation: Any) -> str:
    """What a key takes, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes(inner[0])
    if origin is Literal:
        return _joined(f"`{each}`" for each in inner)
    if origin in (Union, UnionType):
        return _joined(_takes(each) for each in inner if each is not type(None))
    if origin in (tuple, list):
        several = [each for each in inner if each is not Ellipsis]
        return "list of " + _joined(dict.fromkeys(_takes(each) for each in several))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"mapping to {_takes(inner[-1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)).lower())


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a key may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _inside(each)


def _shown(default: Any) -> str:
    """A default as a plan would write it; a model's is its own defaults."""
    if default in (None, "", (), {}):
        return ""
    if isinstance(default, BaseModel) or (isinstance(default, tuple) and len(str(default)) > 40):
        return "see below" if isinstance(default, BaseModel) else "the default bank"
    value = list(default) if isinstance(default, tuple) else default
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`"


def _joined(words: Any) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _begun(text: str) -> str:
    """What follows a topic, as a paragraph of its own."""
    return _safe(text[:1].upper() + text[1:].strip())


def _listed(labels: tuple[str, ...]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _safe(text: str) -> str:
    """Prose for a cell or a paragraph: reST's double backquotes, pipes and tags do no harm."""
    text = text.replace("``", "`").replace("|", "\\|")
    return re.sub(r"<(\w[\w-]*)>", r"`<\1>`", text)


def main() -> None:
    """Write all."""
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
