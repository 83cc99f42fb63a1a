"""The page in a real browser: on a desk, a phone, paper and in the dark; read by axe-core."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from gate.reports import html
from gate.reports.index import Run, index_page
from tests.reports.full import DAY, full_attachments, full_evidence, full_verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
DESK, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra dev")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("pages"), full_evidence()
    verdict = full_verdict(found)
    written = {
        "report": html.render(verdict, found, full_attachments()),
        "index": index_page([Run(f"c{i}", verdict, f"c{i}/report.html") for i in range(3)], DAY),
    }
    for name, page in written.items():
        (folder / f"{name}.html").write_text(page)
    return {name: folder / f"{name}.html" for name in written}


def opened(
    browser: "Browser",
    path: Path,
    size: tuple[int, int] = DESK,
    scheme: Literal["light", "dark"] = "light",
    *,
    scripts: bool = True,
) -> tuple["Page", list[str]]:
    """The page, and what it said or asked for beside itself."""
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(
        viewport=viewport,  # type: ignore[arg-type]  # a dictionary of these two
        color_scheme=scheme,
        java_script_enabled=scripts,
    )
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda fault: said.append(str(fault)))
    page.on("request", lambda request: said.append(request.url[:60]))
    page.goto(path.as_uri())
    return page, [each for each in said if each != path.as_uri()[:60] and each[:5] != "data:"]


@pytest.mark.parametrize("name", ["report", "index"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE])
def test_axe_finds_nothing(
    browser: "Browser",
    pages: dict[str, Path],
    name: str,
    scheme: Literal["light", "dark"],
    size: tuple[int, int],
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    page, _ = opened(browser, pages[name], size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    # axe-core is put into the page, which its own policy forbids to any but the test
    results = axe.Axe().run(page)

    violations = results.response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200]) for each in violations] == []
    assert len(results.response["passes"]) > 20


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_page_asks_for_nothing_and_says_nothing(
    browser: "Browser", pages: dict[str, Path], name: str
) -> None:
    assert opened(browser, pages[name])[1] == []


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_phone_scrolls_down_and_not_to_the_side(
    browser: "Browser", pages: dict[str, Path], name: str
) -> None:
    page, _ = opened(browser, pages[name], PHONE)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_the_first_screen_has_decision_reason_candidate_policy_and_day(
    browser: "Browser", pages: dict[str, Path], size: tuple[int, int]
) -> None:
    page, _ = opened(browser, pages["report"], size)

    for wanted in ("h1", ".lead", "dl code >> nth=0", "dl code >> nth=1", "time"):
        box = page.locator(wanted).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= size[1]


def test_a_table_sorts_by_a_column_and_filters_by_words(
    browser: "Browser", pages: dict[str, Path]
) -> None:
    page, _ = opened(browser, pages["report"])
    page.locator("details.long > summary").last.click()

    page.locator("#all th button", has_text="value").click()
    values = [float(text) for text in page.locator("#all tbody td:nth-child(4)").all_inner_texts()]
    page.get_by_label("Rows that hold").fill("lineage alignment")

    assert values == sorted(values)
    assert len(values) > 20
    assert page.locator("#all tbody tr:visible").count() == 2
    assert page.locator("#all th").nth(3).get_attribute("aria-sort") == "ascending"


def test_without_scripts_all_is_there_and_no_control_that_would_do_nothing(
    browser: "Browser", pages: dict[str, Path]
) -> None:
    page, _ = opened(browser, pages["report"], scripts=False)

    page.locator("details.long > summary").last.click()

    assert page.locator("#all tbody tr:visible").count() > 20
    assert page.locator("input:visible").count() == 0
    assert page.locator("th button").count() == 0


def test_the_keyboard_reaches_what_opens(browser: "Browser", pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["report"])

    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.tagName"))

    assert {"A", "SUMMARY"} <= {*reached}
    assert reached[0] == "A"  # past what comes before the findings


def test_paper_shows_what_is_folded_but_not_every_measurement(
    browser: "Browser", pages: dict[str, Path]
) -> None:
    page, _ = opened(browser, pages["report"])

    page.emulate_media(media="print")

    assert page.locator("#passed ~ details .finding").first.is_visible()
    assert not page.locator("#all").is_visible()
    assert not page.locator("nav").is_visible()
    assert len(page.pdf()) > 10_000


def test_an_index_links_to_each_report(browser: "Browser", pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["index"])

    links = page.locator("#runs a").all()
    assert [link.get_attribute("href") for link in links] == [f"c{i}/report.html" for i in range(3)]
