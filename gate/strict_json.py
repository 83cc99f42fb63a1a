"""JSON files into frozen models: a key that stands twice, NaN and unknown keys are refused."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from gate import files, strict_yaml
from gate.errors import EvidenceError, GateError
from gate.values import Evidence

Model = TypeVar("Model", bound=BaseModel)


def read_json(path: Path, model: type[Model], error: type[GateError]) -> Model:
    """Read one JSON file into one model.

    Raises:
        GateError: Of type ``error``: missing, not JSON, or not what the model says.
    """
    content = files.read(path, error)
    try:
        json.loads(content, object_pairs_hook=_each_once, parse_constant=_no_number)
        return model.model_validate_json(content)
    except ValidationError as fault:
        raise error("\n".join(strict_yaml.explain(fault, path, model))) from fault
    except (ValueError, RecursionError) as fault:
        raise error(f"{path}: not valid JSON: {fault}") from fault


def _each_once(pairs: list[tuple[str, object]]) -> None:
    """Readers differ on which of two counts, so neither does."""
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"key {key!r} stands twice")
        seen.add(key)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_evidence(folder: Path) -> list[Evidence]:
    """Read the evidence of one candidate: every JSON file of a folder, or one file.

    Raises:
        EvidenceError: There is no file, or one is not evidence.
    """
    try:
        files = [folder] if folder.is_file() else sorted(folder.glob("*.json"))
    except OSError as fault:  # a name of 5,000 characters
        says = f"cannot be read: {fault.strerror or fault}; check the path"
        raise EvidenceError(f"{folder}: {says}") from fault
    if not files:
        raise EvidenceError(f"{folder}: no evidence (*.json); run the probes first")
    return [read_json(path, Evidence, EvidenceError) for path in files]
