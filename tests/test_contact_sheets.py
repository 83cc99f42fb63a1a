"""The value that a report shows images from."""

import pytest
from pydantic import ValidationError

from gate.contact_sheets import Cell, Example, Sheet
from tests.reports.full import picture


@pytest.mark.parametrize("columns", [("test",), ("test", "train", "control")])
def test_an_example_has_a_cell_for_each_column(columns: tuple[str, ...]) -> None:
    cell = Cell(image=picture())

    with pytest.raises(
        ValidationError, match=f"examples.1 has 2 cells, and the sheet has {len(columns)}"
    ):
        Sheet(
            kind="near duplicates",
            title="pairs",
            columns=columns,
            examples=(
                Example(label="cat", cells=(cell,) * len(columns)),
                Example(label="cat", cells=(cell,) * 2),
            ),
        )
