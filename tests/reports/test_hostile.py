"""Names and sentences of an attacker, through every format and what reads it."""

from collections.abc import Callable
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate import Evidence, Verdict, decide
from gate.policy.rules import Rule
from gate.printable import require_printable
from gate.reports import Format, render
from gate.reports.attachments import Attachments
from gate.strict_yaml import Place
from tests.builders import evidence, measurement, policy, rule, waiver
from tests.policy.error_rates import rates
from tests.reports import validators

_TRAPS = (
    "]]>", "<script>alert(1)</script>", "</details>", "<!--", "&amp;", "\"'", "a|b", "`x`", "**b**",
    "[x](javascript:alert(1))", "![x](http://e/x.png)", "](", "{0}", "{{0}}", "}", "%0A::error::x",
    "::set-output name=a::b", "##[error]x", "##vso[task.complete]", "=cmd|' /C calc'!A0", "@all",
    "+1", "-1", "---", "...", "- a: b", "# h", "!!python/object", "*anchor", "https://e.org", "\\",
    "www.e.org", "<https://e.org>", "&#64;all", "$x^2$", "~~s~~", "größer", "x" * 3_000, "\uff1d1",
    "\N{GRINNING FACE}", "\N{ZERO WIDTH JOINER}", "\N{NO-BREAK SPACE}", "\N{ARABIC LETTER ALEF}",
)  # fmt: skip


def _shows(lines: bool) -> Callable[[str], bool]:
    def shows(text: str) -> bool:
        try:
            return bool(require_printable(text, lines=lines).strip())
        except ValueError:
            return False

    return shows


_parts = st.lists(st.sampled_from(_TRAPS) | st.text(max_size=5), min_size=1, max_size=3)
NAMES = _parts.map("".join).filter(_shows(False))
PROSE = st.lists(NAMES, min_size=1, max_size=3).map("\n".join)
READERS: dict[Format, Callable[[str], Any]] = {
    Format.MARKDOWN: validators.markdown,
    Format.JUNIT: validators.junit,
    Format.SARIF: validators.sarif,
    Format.GITHUB: validators.github,
    Format.GITLAB: validators.gitlab,
    Format.CYCLONEDX: validators.cyclonedx,
    Format.MODEL_CARD: validators.model_card,
    Format.CSV: validators.spreadsheet,
    Format.BADGE: validators.badge,
    Format.JSON: Verdict.model_validate_json,
}


@st.composite
def shown(draw: st.DrawFn) -> tuple[Verdict, list[Evidence], Attachments]:
    """A verdict with a finding of each kind, in which an attacker has chosen every name."""
    tasks = draw(st.lists(NAMES, min_size=3, max_size=3, unique=True))
    bad, waived, unsettled = tasks
    found = evidence(
        measurement(0.1, 0.2, 0.3, task=bad),
        measurement(0.1, 0.2, 0.3, task=waived),
        measurement(0.7, 0.8, 0.9, task=unsettled),
    )
    found = Evidence.model_validate(
        {**found.model_dump(by_alias=True), "data": {draw(NAMES): "sha256:" + "01" * 32},
         "remarks": [draw(PROSE)]}
    )  # fmt: skip
    names = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
    rules: list[Rule] = [
        rule(name=names[0], why=draw(PROSE)),
        rule(name=names[1], why=draw(PROSE), severity="warn"),
    ]
    let_through = waiver(
        id=draw(NAMES), rule=names[0], where={"task": waived}, reason=draw(PROSE), owner=draw(NAMES)
    )
    counts = {"accepted": 2, "inconclusive": 1, "rejected": 0}
    kinds = dict.fromkeys(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)), counts)
    published = rates(rules, of=draw(NAMES), backdoored=kinds)
    judged = policy(*rules, name=draw(NAMES), error_rates=published)
    file = Path(draw(NAMES).replace("/", "").replace("\\", "") or "p") / "policy.yaml"
    beside = Attachments(
        candidate=draw(NAMES),
        day=date(2026, 1, 1),
        policy_file=file,
        places={names[0]: Place(file, 3)},
        admission=file,
        admission_digest="sha256:" + "12" * 32,
    )
    return decide(judged, [found], date(2026, 1, 1), [let_through]), [found], beside


@pytest.mark.parametrize("form", READERS, ids=str)
def test_whatever_names_say_a_format_stays_what_it_is(form: Format) -> None:
    @settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
    @given(given=shown())
    def reads(given: tuple[Verdict, list[Evidence], Attachments]) -> None:
        verdict, found, beside = given

        text = render(form, verdict, found, beside)

        assert READERS[form](text) is not None
        assert text == render(form, verdict, found, beside)
        if form is Format.MARKDOWN:
            assert len(text) <= 65_536
            assert len(validators.markdown(text).encode()) <= 4_096

    reads()


def test_every_format_but_those_for_the_eye_has_a_reader() -> None:
    # text is escaped as a terminal wants it, metrics are JSON, and the page has tests of its own
    assert {*Format} - READERS.keys() == {Format.TEXT, Format.METRICS, Format.HTML}


@pytest.mark.parametrize("form", [Format.JUNIT, Format.BADGE], ids=str)
def test_a_name_is_read_back_as_it_was_written(form: Format, everything: Verdict) -> None:
    name = "]]> <script> & \" ' größer \N{GRINNING FACE} ::set-output"

    read = READERS[form](render(form, everything, (), Attachments(candidate=name)))

    assert name in {"junit": read.attrib.get("name"), "badge": read.attrib.get("aria-label")}[form]
    assert escape(name, quote=False) != name
