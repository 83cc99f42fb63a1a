"""A comparison for people and for machines."""

from enum import StrEnum
from importlib import import_module

from gate.comparison.values import Comparison


class ComparisonFormat(StrEnum):
    """How a comparison is shown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def render(shown_as: ComparisonFormat, comparison: Comparison) -> str:
    """The comparison in a format: in JSON whole, else what changed, and how much did not."""
    if shown_as is ComparisonFormat.JSON:
        return comparison.to_json()
    # only now: laying out text loads a library
    text: str = import_module(f"gate.reports.comparison.{shown_as}").render(comparison)
    return text
