"""What a path holds: a model, or data."""

from pathlib import Path

from gate import files
from gate.inspection.data import inspect_data
from gate.inspection.facts import DataFacts, ModelFacts
from gate.inspection.model import inspect_model, is_model
from gate.inspection.text import data_text, model_text
from gate.limits import Limits


def look(path: Path) -> tuple[ModelFacts | DataFacts, str]:
    """What a file or folder holds, and the same in words.

    Raises:
        GateError: It cannot be read.
    """
    if files.exists(path) and is_model(path):
        model = inspect_model(path, Limits())
        return model, model_text(model)
    data = inspect_data(path).facts
    return data, data_text(data)
