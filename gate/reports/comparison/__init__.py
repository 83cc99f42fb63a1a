"""A comparison for people and for machines."""

from enum import StrEnum

from gate.comparison.values import Comparison
from gate.reports.comparison import markdown, text


class ComparisonFormat(StrEnum):
    """How a comparison is shown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


_RENDERS = {
    ComparisonFormat.TEXT: text.render,
    ComparisonFormat.JSON: Comparison.to_json,
    ComparisonFormat.MARKDOWN: markdown.render,
}


def render(shown_as: ComparisonFormat, comparison: Comparison) -> str:
    """The comparison in a format: in JSON whole, else what changed, and how much did not."""
    return _RENDERS[shown_as](comparison)
