"""The badge: what it says, and that it can be read."""

from datetime import date

import pytest

from gate import Verdict, decide
from gate.reports import badge
from gate.reports.attachments import Attachments
from tests.builders import evidence, measurement, policy, waiver
from tests.reports import validators


def test_it_says_decision_policy_and_candidate(everything: Verdict, beside: Attachments) -> None:
    picture = validators.badge(badge.render(everything, (), beside))

    assert picture.attrib["aria-label"] == "gate: resnet 50: reject under policy test v1"
    assert [text.text for text in picture.iter(f"{validators.SVG}text")] == ["test v1", "reject"]


def test_an_acceptance_that_leans_on_a_waiver_says_until_when() -> None:
    found = evidence(measurement(0.1, 0.2, 0.3))

    picture = validators.badge(
        badge.render(decide(policy(), [found], date(2026, 1, 1), [waiver()]))
    )

    assert "accept until 2026-12-31" in picture.attrib["aria-label"]


@pytest.mark.parametrize("colour", [*badge._COLOUR.values(), "#444444"])
def test_white_on_each_colour_has_the_contrast_that_small_text_needs(colour: str) -> None:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)

    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # WCAG 2.2, relative luminance

    assert 1.05 / (luminance + 0.05) >= 4.5
