"""One page over many candidates: their order, their worst numbers, their links."""

import os
import re

from gate import Verdict, decide
from gate.reports.index import Run, index_page
from tests.builders import evidence, measurement, policy, rule
from tests.reports.full import DAY, HOSTILE


def judged(low: float, **bound: object) -> Verdict:
    return decide(policy(rule(**bound)), [evidence(measurement(low, low + 0.05, low + 0.1))], DAY)


def test_those_that_block_come_first_and_then_by_name() -> None:
    runs = [
        Run("b", judged(0.85)),
        Run("open", judged(0.75)),
        Run("a", judged(0.85)),
        Run("bad", judged(0.1)),
    ]

    page = index_page(runs, DAY)

    names = re.findall(r'<th scope="row">(\w+)</th>', page)
    assert names == ["bad", "open", "a", "b"] * 2
    assert "1 reject, 1 inconclusive, 2 accept, on 2026-11-28." in page


def test_the_worst_number_of_a_rule_is_what_its_bound_is_held_against() -> None:
    metric, labels = "embedding_collapse", {"trigger": "dot"}
    found = evidence(measurement(0.1, 0.2, 0.3, metric=metric, **labels), probe="trigger_patch")  # type: ignore[arg-type]  # a label
    asked = rule(probe="trigger_patch", metric=metric, where=labels, at_most=0.05)

    page = index_page(
        [
            Run("a, a lower end", judged(0.1)),
            Run("b, an upper end", decide(policy(asked), [found], DAY)),
            Run("c, a point", judged(0.1, at_least=0.8, decide_on="point")),
        ]
    )

    found_numbers = re.findall(r'<td>([\d.]+) <span class="word fail">', page)
    assert found_numbers == ["0.100", "0.300", "0.150"]


def test_names_are_text_and_links_lead_to_files_whatever_their_names() -> None:
    beyond_utf8 = os.fsdecode(b"\xff")

    page = index_page(
        [
            Run(HOSTILE, judged(0.1), "javascript:a/b c.html"),
            Run(beyond_utf8, judged(0.1), beyond_utf8),
        ]
    )

    assert "<script>alert" not in page
    assert re.findall('<th scope="row"><a href="([^"]*)"', page) == [
        "javascript%3Aa/b%20c.html",
        "%FF",
    ]
    assert page.encode()
