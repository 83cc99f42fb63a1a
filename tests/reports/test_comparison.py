"""A comparison as text and as Markdown."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gate.comparison.compare import compare
from gate.comparison.values import Comparison
from gate.reports.comparison import ComparisonFormat, render
from gate.values import Evidence
from tests.comparison.sides import patched, rates, side

HOSTILE = "<img src=x onerror=alert(1)> | `x` [a](http://b) ![p](q) @all ::error:: ##[error] $x$"


def compared(after: dict[str, int], before: dict[str, int]) -> Comparison:
    return compare([patched(after)], [patched(before, champion=True)])


MIXED = compared(
    {"a": 900, "b": 800, "c": 700, "d": 600, "e": 3, "f": 90, "g": 30},
    {"a": 1, "b": 1, "c": 1, "d": 1, "e": 900, "f": 60, "g": 30},
)


def test_text_tells_what_got_worse_first_a_line_a_row() -> None:
    text = render(ComparisonFormat.TEXT, MIXED)

    assert "4 worse, 1 better, 2 unsettled, of 7 rows" in text
    lines = text.splitlines()
    at = lines.index("WORSE: champion → candidate, difference [95 %]")
    assert lines[at + 1] == "trigger_patch.attack_success_rate, lower is better"
    assert re.fullmatch(
        r"  trigger a +0\.001 → 0\.900, \+0\.899 \[0\.\d{3}, 0\.\d{3}\]", lines[at + 2]
    )
    assert lines[at + 5] == "  and 1 more"
    assert text.index("\nWORSE:") < text.index("\nBETTER:") < text.index("\nWORSE BY ITS OWN")


def test_text_says_how_many_rows_chance_alone_would_put_beyond_their_intervals() -> None:
    text = " ".join(render(ComparisonFormat.TEXT, MIXED).split())

    assert "so for all 7 compared rows at once, with 95 % confidence (Bonferroni)" in text
    assert "beyond their own 95 % interval lie: 1 worse; of 7 rows, chance alone" in text


def test_markdown_has_what_got_worse_open_and_the_rest_folded() -> None:
    opened, *folded = render(ComparisonFormat.MARKDOWN, MIXED).split("<details>")

    assert "| trigger_patch.attack_success_rate, lower is better | task t, trigger a |" in opened
    assert "trigger e" not in opened
    assert [part[: part.index("</summary>")] for part in folded] == [
        "<summary>1 better",
        "<summary>1 worse by its own interval alone",
    ]


def test_json_is_the_whole_comparison() -> None:
    assert Comparison.model_validate_json(render(ComparisonFormat.JSON, MIXED)) == MIXED


def test_equal_sides_say_so_in_few_lines() -> None:
    text = render(ComparisonFormat.TEXT, compared({"a": 5}, {"a": 5}))

    assert "0 worse, 0 better, 1 unsettled, of 1 rows" in text
    assert "WORSE" not in text


def test_what_is_not_comparable_is_said_and_has_no_difference() -> None:
    found = compare(
        [patched({"a": 900}, settings={"probe": 1})],
        [patched({"a": 1}, champion=True, settings={"probe": 2})],
    )

    assert "so nothing is called worse or better" in render(ComparisonFormat.TEXT, found)
    shown = render(ComparisonFormat.MARKDOWN, found)
    assert "| 0.001 → 0.900 | not comparable |" in shown


def hostile(name: str) -> Comparison:
    """A name in labels, settings and versions."""
    sides = [
        side(
            *rates({name: hits}),
            champion=hits == 1,
            versions={name: f"{hits}"},
            settings={"backbone": {name: hits}},
        )
        for hits in (900, 1)
    ]
    return compare(sides[:1], sides[1:])


@pytest.mark.parametrize("name", [HOSTILE, "x" * 5000, "猫" * 300, "##[group]", "::set-output::"])
def test_lines_of_text_fit_100_columns_and_begin_no_command(name: str) -> None:
    text = render(ComparisonFormat.TEXT, hostile(name))

    for line in text.splitlines():
        assert cell_len(line) <= 100
        assert not re.match(r"\s*::", line)
    assert "##[" not in text


@pytest.mark.parametrize("name", [HOSTILE, "a\\|b", "x" * 5000])
def test_names_are_no_markup_in_markdown(name: str) -> None:
    shown = render(ComparisonFormat.MARKDOWN, hostile(name))

    assert "<img" not in shown
    assert "@all" not in shown
    assert "](http" not in shown.replace(r"]\(", "")
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", line.replace(r"\\", ""))) == 5 for line in rows)


def test_a_comment_of_many_long_rows_is_one_that_github_takes() -> None:
    names = [f"{i} {'n' * 300}" for i in range(400)]
    before = dict.fromkeys(names, 1)
    after = {name: 900 if i % 2 else 20 for i, name in enumerate(names)}

    shown = render(ComparisonFormat.MARKDOWN, compared(after, before))

    assert len(shown) < 65_536


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1))
def test_no_name_breaks_a_format(name: str) -> None:
    try:
        found = hostile(name)
    except ValueError:  # names that do not show are refused where they are read
        return
    text = render(ComparisonFormat.TEXT, found)
    assert all(cell_len(line) <= 100 for line in text.splitlines())
    assert render(ComparisonFormat.MARKDOWN, found).count("\n## ") == 0


def test_a_paired_row_says_so() -> None:
    from gate import stats
    from gate.values import Measurement
    from tests.builders import OTHER_BACKBONE

    own = Measurement.difference(
        "attack_success_rate_over_reference",
        stats.paired_difference(30, 2, 1000),
        1000,
        task="t",
        trigger="a",
    )
    candidate: Evidence = side(*rates({"a": 38}), own, reference=OTHER_BACKBONE)

    text = render(ComparisonFormat.TEXT, compare([candidate], [patched({"a": 10}, champion=True)]))

    assert "trigger_patch.attack_success_rate, lower is better, paired" in text
    assert "not paired" not in text
