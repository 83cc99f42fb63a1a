"""The page: what stands on it, in which order, and that names stay text."""

import base64
import hashlib
import re
from datetime import date
from html.parser import HTMLParser
from typing import Any

import pytest

from gate import Evidence, Verdict, decide
from gate.contact_sheets import ContactSheets
from gate.errors import EvidenceError
from gate.reports import html
from gate.reports.attachments import Attachments
from gate.reports.findings import LIMITS
from gate.reports.interval_row import interval_row
from gate.values import Bound, Measurement
from tests.builders import OTHER_BACKBONE, evidence, measurement, policy, rule
from tests.reports.full import DAY, HOSTILE, champion, full_attachments, full_evidence, full_verdict

_VOID = {"meta", "img", "br", "input", "link", "wbr"}


class Page(HTMLParser):
    """Headings, links, images, words; every element that is opened is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    found = full_evidence()
    return html.render(full_verdict(found), found, full_attachments())


def test_the_first_thing_said_is_the_decision_why_and_of_what(page: str) -> None:
    shown = Page(page).text

    first = shown[shown.index("REJECT") : shown.index("What blocks")]
    assert first.index("failed") < first.index("candidate") < first.index("policy")
    for said in ("0.200 [0.100, 0.300], n = 100, wanted at least 0.8", "2026-11-28", "test, ver"):
        assert said in first
    assert "Who may change what" in first


def test_failures_come_before_what_is_missing_before_what_is_open_before_what_passed(
    page: str,
) -> None:
    outcomes = re.findall(r'<article class="rule (\w+)"', page)

    blocking = [outcome for outcome in outcomes if outcome not in ("waived", "pass")]
    order = ["fail", "missing", "inconclusive"]
    assert [*dict.fromkeys(blocking)] == order
    assert page.index('<h2 id="blocks"') < page.index('<h2 id="warns"')
    assert page.index('<h2 id="warns"') < page.index('<h2 id="passed"')


def test_every_finding_is_on_the_page_with_its_interval_and_why(page: str) -> None:
    found = full_evidence()
    verdict, shown = full_verdict(found), Page(page)

    drawn = [a["aria-label"] for a in shown.of("svg") if a.get("class") == "interval"]
    assert len(drawn) == sum(f.measurement is not None for f in verdict.findings)
    for finding in verdict.findings:
        assert " ".join(finding.says.split()) in shown.text
        assert " ".join(finding.why.split()) in shown.text
        if m := finding.measurement:
            said = f"{m.value:.3f}, 95 % interval {m.low:.3f} to {m.high:.3f}, wanted"
            assert f"{said} {finding.bound}: {finding.outcome}" in drawn


def test_names_are_text_wherever_they_stand(page: str) -> None:
    shown = Page(page)

    assert len(shown.of("script")) == 1
    assert "<script>alert" not in page
    assert HOSTILE in shown.text
    assert not [a for _, a in shown.tags if any(name.startswith("on") for name in a)]


def test_the_page_loads_nothing_and_runs_only_its_own_script(page: str) -> None:
    shown = Page(page)

    (policy_of,) = (a["content"] for a in shown.of("meta") if a.get("http-equiv"))
    assert policy_of and policy_of.startswith("default-src 'none'; img-src data:;")
    script = page[page.index("<script>") + 8 : page.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy_of
    assert not shown.of("link")
    assert all((a["src"] or "").startswith("data:image/") for a in shown.of("img"))
    links = [a.get("href") or a.get("xlink:href") or "" for _, a in shown.tags]
    assert all(link.startswith("#") for link in links if link)
    assert "@import" not in page
    assert "url(http" not in page


def test_ids_are_each_once_and_links_lead_somewhere(page: str) -> None:
    shown = Page(page)

    ids = [a["id"] for _, a in shown.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [(a["href"] or "")[1:] for a in shown.of("a")]
    assert set(targets) <= set(ids)


def test_an_open_finding_says_where_it_leans(page: str) -> None:
    assert "task open · unsettled, leans to pass" in Page(page).text


def test_a_failure_names_its_remedies_and_the_waiver_that_it_would_need() -> None:
    metric, after = "excess_targeted_attack_success_rate", "_after_remedy"
    about: dict[str, Any] = {"task": "a: b", "trigger": "dot", "target": "owl"}
    found = evidence(
        measurement(0.7, 0.8, 0.9, metric=metric, **about),
        measurement(0.0, 0.05, 0.1, metric=metric + after, **about, remedy="full_network"),
        measurement(
            0.8,
            0.85,
            0.9,
            metric="accuracy" + after,
            task="a: b",
            trigger="dot",
            remedy="full_network",
        ),
        probe="trigger_patch",
    )
    where = dict.fromkeys(about, "*")
    asked = policy(rule(probe="trigger_patch", metric=metric, where=where, at_most=0.2))

    shown = Page(html.render(decide(asked, [found], DAY), [found])).text

    assert "the remedy full network passes: excess" in shown
    assert 'rule: "trigger_patch.excess_targeted_attack_success_rate"' in shown
    assert 'where: {target: "owl", task: "a: b", trigger: "dot"}' in shown


def test_no_waiver_and_no_labels_are_shown_for_what_is_missing() -> None:
    verdict = decide(policy(rule(where={"task": "no"})), [evidence()], DAY)

    page = html.render(verdict)
    assert "waivers:" not in page
    assert "no number accuracy was not measured for task no" in Page(page).text


def test_remedies_are_said_to_be_wanting_only_where_evidence_says_so_and_a_metric_has_some() -> (
    None
):
    about: dict[str, Any] = {"task": "a", "trigger": "dot"}
    found = evidence(
        measurement(0.7, 0.8, 0.9, metric="attack_success_rate", **about),
        measurement(0.7, 0.8, 0.9, metric="embedding_collapse", trigger="dot"),
        probe="trigger_patch",
    )

    def shown(metric: str, labels: tuple[str, ...], beside: list[Evidence]) -> str:
        where = dict.fromkeys(labels, "*")
        asked = policy(rule(probe="trigger_patch", metric=metric, where=where, at_most=0.2))
        return html.render(decide(asked, [found], DAY), beside)

    named = "name some under probes.trigger_patch.remedies in the plan"
    assert named in shown("attack_success_rate", ("task", "trigger"), [found])
    assert "remedy" not in shown("embedding_collapse", ("trigger",), [found])
    assert "no remedy" not in shown("attack_success_rate", ("task", "trigger"), [])


def test_a_page_that_was_made_without_evidence_says_so() -> None:
    verdict = decide(policy(), [evidence()], DAY)

    assert "made without the evidence" in html.render(verdict)
    assert "made without the evidence" not in html.render(verdict, [evidence()])


def test_an_acceptance_says_that_all_is_held_and_folds_it() -> None:
    page = html.render(decide(policy(), [evidence()], DAY), [evidence()])

    assert "The one rule that blocks is held." in Page(page).text
    assert '<h2 id="blocks"' not in page
    assert "<details><summary>1 of 1 findings</summary>" in page
    assert LIMITS in Page(page).text


def test_images_of_another_backbone_are_refused(verdict: Verdict) -> None:
    attached = Attachments(sheets=ContactSheets(backbone=OTHER_BACKBONE))

    with pytest.raises(EvidenceError, match=r"of backbone sha256:cdcd.* draw those of this"):
        html.render(verdict, (), attached)


def test_a_page_without_images_has_none(verdict: Verdict) -> None:
    assert "<img" not in html.render(verdict)


def test_what_a_trigger_hits_is_underlined_and_images_say_what_they_are(page: str) -> None:
    shown = Page(page)

    assert page.count('class="hit"') == 9
    alts = [a["alt"] for a in shown.of("img")][:9]  # a row a column of the sheet
    assert alts == ["as it is"] * 3 + ["with the trigger"] * 3 + ["with the control"] * 3


def test_a_verdict_with_five_hundred_findings_stays_under_a_megabyte() -> None:
    found = evidence(*(measurement(0.1, 0.2, 0.3, task=f"task {i}") for i in range(500)))

    page = html.render(decide(policy(), [found], date(2026, 1, 1)), [found])

    assert page.count('class="interval"') == 500
    assert len(page.encode()) < 1_000_000


def test_more_measurements_than_fit_are_counted() -> None:
    found = evidence(*(measurement(task=f"task {i}") for i in range(2_100)))

    page = html.render(decide(policy(rule(where={"task": "task 7"})), [found], DAY), [found])

    assert "2000 rows, 100 more in the evidence files" in page
    assert len(page.encode()) < 1_000_000


def test_findings_that_do_not_fit_are_counted_and_what_passed_makes_way_for_what_blocks() -> None:
    found = evidence(
        *(measurement(task=f"good {i}") for i in range(400)),
        *(measurement(0.1, 0.2, 0.3, task=f"bad {i}") for i in range(400)),
    )
    asked = policy(rule(where={"task": "good *"}, name="good"), rule(where={"task": "bad *"}))

    page = html.render(decide(asked, [found], DAY), [found])

    assert page.count('class="interval"') == 500
    assert all(f"<strong>task bad {i}</strong>" in page for i in range(400))
    assert "300 more stand in the verdict's file alone" in Page(page).text
    assert len(page.encode()) < 1_000_000


def test_a_probe_of_many_measurements_does_not_crowd_the_others_out_of_the_table() -> None:
    shares = {f"class {i}": 0.1 for i in range(2_100)}
    many = evidence(
        *(
            measurement(0.0, share, 0.2, metric="label_prior", **{"class": name, "task": "a"})  # type: ignore[arg-type]  # labels
            for name, share in shares.items()
        ),
        probe="label_prior",
    )

    page = html.render(decide(policy(), [evidence(), many], DAY), [many, evidence()])

    assert page.count("<td>clean_accuracy</td>") == 1
    assert "2000 rows, 101 more in the evidence files" in page


@pytest.mark.parametrize(
    ("bound", "zone"),
    [({"at_most": 0.25}, (8.0, 66.0)), ({"at_least": 0.25}, (74.0, 198.0))],
)
def test_the_zone_is_where_the_bound_is_held(
    bound: dict[str, float], zone: tuple[float, float]
) -> None:
    m = Measurement(metric="accuracy", value=0.5, low=0.25, high=0.75, n=9, unit="fraction")

    row = interval_row(m, Bound.model_validate(bound), "inconclusive")

    assert row.zone == zone
    assert (row.low, row.value, row.high) == (74.0, 140.0, 206.0)


@pytest.mark.parametrize("at_least", [0.48, 0.52])
def test_the_words_beside_a_bound_fit_also_where_the_point_decides(at_least: float) -> None:
    m = Measurement(metric="accuracy", value=0.5, low=0.25, high=0.75, n=9, unit="fraction")

    row = interval_row(m, Bound(at_least=at_least, decide_on="point"), "fail")

    assert row.bound_words == f"at least {at_least}"
    assert f"wanted at least {at_least} by the point estimate" in row.words


def test_what_is_no_fraction_has_an_axis_that_holds_all_of_it() -> None:
    m = Measurement(metric="gain", value=-0.3, low=-0.4, high=0.1, n=9, unit="nats")

    row = interval_row(m, Bound(at_least=-0.2), "inconclusive")

    assert (row.least, row.most) == ("-0.5", "0.1")
    assert row.left < row.low < row.value < row.bound < row.high == row.right


def test_the_champion_stands_beside_what_changed_worst_first(page: str) -> None:
    shown = Page(page).text

    part = shown[shown.index("Against the champion Champion") :]
    assert OTHER_BACKBONE in part
    assert part.index("1 worse, 1 better, 1 unsettled") < part.index("WORSE") < part.index("BETTER")
    worse = part[part.index("WORSE") : part.index("BETTER")]
    assert HOSTILE in worse
    assert "0.200 [0.100, 0.300] 0.900 [0.850, 0.950] -0.700 [" in worse


def test_a_page_without_a_champion_or_without_evidence_compares_nothing(verdict: Verdict) -> None:
    beside = Attachments(champion=(champion(),))

    assert "Against the champion" not in html.render(verdict, (), beside)
    assert "Against the champion" not in html.render(verdict)
