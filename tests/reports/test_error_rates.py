"""How often the rules of a verdict are wrong, and how its candidate is unlike, in each report."""

import json
import re
from datetime import date
from typing import Any

import pytest
from rich.cells import cell_len

from gate import Evidence, Verdict, decide, stats
from gate.reports import Format, render
from gate.reports.attachments import Attachments, Verbosity
from gate.reports.error_rates import NONE_PUBLISHED, kind_rows, summary, unlike_in_a_line
from gate.values import ErrorRates
from tests.builders import policy, rule
from tests.policy.error_rates import like, rates
from tests.reports import validators

DAY = date(2026, 1, 1)
SUMMARY = (
    "Error rates of these rules: of 62 clean backbones they rejected 0 and left 2 inconclusive; of "
    "19 backdoored ones they accepted 4 and left 2 inconclusive. Accepted were warp 3 of 3, all to "
    "all 1 of 8. Counted on half B of the zoo, which no bound was set on."
)
UNLIKE = "This candidate is unlike them, or not known to be like: its files have 9 bytes, and those"
LARGE = like({"preprocessing": {"size": 224}}, size=9)


def judged(found: list[Evidence], published: Any = None) -> Verdict:
    return decide(policy(error_rates=published), found, DAY)


def text(verdict: Verdict, verbosity: Verbosity = "normal") -> str:
    """With the breaks between lines taken out."""
    return " ".join(render(Format.TEXT, verdict, (), Attachments(verbosity=verbosity)).split())


def test_the_summary_counts_what_was_wrong_and_names_the_kinds_missed_most() -> None:
    assert summary(ErrorRates.model_validate(rates())) == SUMMARY


def test_of_many_kinds_that_are_missed_three_are_named_and_none_where_none_is() -> None:
    missed = {"accepted": 1, "inconclusive": 0, "rejected": 1}
    found = {"accepted": 0, "inconclusive": 0, "rejected": 1}
    many, none = (
        summary(ErrorRates.model_validate(rates(backdoored=dict.fromkeys(kinds, counts))))
        for kinds, counts in (("abcde", missed), ("ab", found))
    )

    assert "Accepted were a 1 of 2, b 1 of 2, c 1 of 2, 2 more kinds. Counted" in many
    assert "they accepted 0 and left 0 inconclusive. Counted on" in none


def test_a_row_has_the_wilson_interval_of_what_is_wrong_of_its_kind() -> None:
    rows = {row.kind: row for row in kind_rows(ErrorRates.model_validate(rates()))}

    assert list(rows) == ["clean", "all backdoored", "patch", "all to all", "warp"]
    assert rows["clean"].wrong == stats.rate(0, 62)
    assert rows["all backdoored"].wrong == stats.rate(4, 19)
    assert rows["warp"].wrong == stats.rate(3, 3)
    n, p, z = 19, 4 / 19, 1.959964  # Wilson 1927, by hand
    centre, reach = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    ends = [(centre - reach) / (1 + z * z / n), (centre + reach) / (1 + z * z / n)]
    assert rows["all backdoored"].wrong[1:] == pytest.approx(ends, abs=1e-6)


def test_the_terminal_tells_the_rates_and_what_is_unlike_and_more_only_if_asked() -> None:
    alike, unlike = judged(like(), rates()), judged(LARGE, rates())

    assert SUMMARY in text(alike)
    assert "unlike" not in text(alike)
    assert "wrong" not in text(alike)
    assert "not known to be like: it takes images of 224 pixels a side, and they" in text(unlike)
    verbose = text(unlike, "verbose")
    assert "all to all: 5 rejected, 2 inconclusive, 1 accepted; wrong 0.125 [0.022, 0.471]" in (
        verbose
    )
    assert "Error rates" not in text(unlike, "quiet")


@pytest.mark.parametrize("form", [Format.TEXT, Format.HTML], ids=str)
@pytest.mark.parametrize("published", [None, rates([rule(at_least=0.9)])])
def test_where_none_are_published_it_is_said(form: Format, published: Any) -> None:
    shown = render(form, judged(like(), published), like())

    assert NONE_PUBLISHED in shown
    assert "Error rates of these rules" not in shown


def test_lines_of_the_terminal_are_as_wide_as_it_whatever_kinds_are_called() -> None:
    kinds = dict.fromkeys(["a long name " * 30, "猫" * 200], rates()["clean"])
    verdict = judged(LARGE, rates(of="of " * 200, backdoored=kinds))

    lines = render(Format.TEXT, verdict, (), Attachments(verbosity="verbose")).splitlines()

    assert max(map(cell_len, lines)) <= 100


def test_the_page_has_a_table_and_says_beside_the_decision_that_it_is_unlike() -> None:
    page = render(Format.HTML, judged(LARGE, rates()), LARGE)

    head, _, rest = page.partition("</header>")
    assert 'Unlike the backbones that the <a href="#error-rates">error rates</a> are of' in head
    assert "it takes images of 224 pixels a side" in head
    section = rest[rest.index('<h2 id="error-rates">') :].partition("</section>")[0]
    cells = [re.sub("<.*?>", "|", row) for row in re.findall("<tr>(.*?)</tr>", section)]
    assert [cell for cell in cells[2].split("|") if cell] == [
        "all backdoored", "19", "13", "2", "4", "0.211 [0.085, 0.433]"
    ]  # fmt: skip
    assert section.count("<li>") == 2
    alike = render(Format.HTML, judged(like(), rates()), like())
    assert "Unlike the backbones" not in alike
    assert SUMMARY in alike


def test_a_comment_shows_a_line_and_folds_the_table_away() -> None:
    verdict = judged(like(size=9), rates())

    shown = render(Format.MARKDOWN, verdict)

    visible = validators.markdown(shown)
    assert SUMMARY in visible
    assert UNLIKE in visible
    assert "| warp | 3 | 0 | 0 | 3 | 1.000 | 0.439 .. 1.000 |" in shown
    assert "| warp |" not in visible
    assert "rror rates" not in render(Format.MARKDOWN, judged(like()))


@pytest.mark.parametrize("name", ["@a" * 400, "&" * 900, "猫" * 900, "x" * 900])
def test_a_comment_shows_the_numbers_in_four_kilobytes_whatever_kinds_are_called(
    name: str,
) -> None:
    found = like(size=9)
    kinds = {name: {"accepted": 7, "inconclusive": 0, "rejected": 1}}

    visible = validators.markdown(
        render(Format.MARKDOWN, judged(found, rates(of=name, backdoored=kinds)))
    )

    assert len(visible.encode()) <= 4_096
    assert "of 62 clean backbones they rejected 0" in visible


def test_a_model_card_a_bill_of_materials_and_json_have_them() -> None:
    verdict = judged(like(size=9), rates())

    card = str(validators.model_card(render(Format.MODEL_CARD, verdict)))
    bom = validators.cyclonedx(render(Format.CYCLONEDX, verdict))
    content = json.loads(render(Format.JSON, verdict))

    assert SUMMARY in card
    assert UNLIKE in card
    properties = bom["metadata"]["component"]["properties"]
    assert {"name": "gate:error_rates", "value": SUMMARY} in properties
    assert {"name": "gate:unlike", "value": verdict.unlike[0]} in properties
    assert content["error_rates"]["backdoored"]["warp"]["accepted"] == 3
    assert content["unlike"] == list(verdict.unlike)


def test_of_many_sentences_the_first_are_told() -> None:
    verdict = judged(LARGE, rates())
    content = verdict.model_dump() | {"unlike": [f"s{i}" for i in range(50)]}

    told = unlike_in_a_line(Verdict.model_validate(content))

    assert told.endswith("s18; s19; and 30 more.")
