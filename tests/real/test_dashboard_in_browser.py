"""The dashboard in a real browser, as people see it: on a phone, on a desk, by day and by night."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from benchmarks.dashboard_store import write_store
from test_report_in_browser import CONTRAST, HOSTILE, LOWEST_CONTRAST, Shown, browser

from al_platform.dashboard import publish
from al_platform.dashboard.links import Links
from temporary_project import make_project

__all__ = ["browser"]
pytestmark = pytest.mark.real

SIZES = {"phone": (360, 800), "desk": (1280, 900)}
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LAST = "2026-10"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page on three families and nine months, one with hostile names, and one on nothing."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        project = make_project(tmp_path_factory.mktemp("project"))
        found = {"empty": publish.gather(project.loader, NOW)}
        write_store(project.loader, LAST, months=9, pages=200)
        found["whole"] = whole = publish.gather(project.loader, NOW)
    runs = [replace(run, error=HOSTILE) for run in whole.runs]
    families = [replace(family, name=f"{family.name} {HOSTILE}") for family in whole.families]
    found["hostile"] = whole._replace(families=families, runs=runs)
    for name, gathered in found.items():
        (folder / f"{name}.html").write_text(gathered.page(Links(None)), encoding="utf-8")
    return folder


@pytest.fixture
def show(browser, pages):
    shown = []

    def show(name, size="desk", scheme="light"):
        shown.append(Shown(browser, pages / f"{name}.html", "desk", scheme))
        width, height = SIZES[size]
        shown[-1].page.set_viewport_size({"width": width, "height": height})
        return shown[-1]

    yield show
    for each in shown:
        each.page.close()


@pytest.mark.parametrize("name", ["whole", "empty", "hostile"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_screen_and_nothing_is_said_or_asked_for(show, tmp_path, name, size):
    shown = show(name, size)
    for details in shown.page.locator("details").all():
        details.evaluate("e => e.open = true")
    shown.page.screenshot(path=str(tmp_path / f"{name}-{size}.png"), full_page=True)
    scrolled, visible = shown.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert scrolled == visible == SIZES[size][0]
    assert shown.said == []
    assert len(shown.asked) == 1


@pytest.mark.parametrize("size", SIZES)
def test_no_table_is_cut_off(show, size):
    page = show("whole", size).page
    for details in page.locator("details").all():
        details.evaluate("e => e.open = true")
    cut = "[...document.querySelectorAll('table')].filter(e => e.scrollWidth > e.parentElement.clientWidth).length"
    assert page.evaluate(cut) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(show, scheme):
    ratio, text = show("whole", "desk", scheme).page.evaluate(LOWEST_CONTRAST)
    assert ratio >= CONTRAST, text


def test_the_keyboard_comes_from_the_top_to_a_table_and_opens_it(show):
    page = show("whole").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the families"
    page.keyboard.press("Enter")
    assert page.url.endswith("#families")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    page.keyboard.press("Enter")
    assert page.locator("#accuracy table").first.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Accuracy on traffic"


def test_each_part_has_a_name_for_those_who_hear_the_page(show):
    page = show("whole").page
    assert page.locator("main").count() == page.locator("header.eyebrow").count() == 1
    for section in page.locator("main > section").all():
        named = section.get_attribute("aria-labelledby")
        assert page.locator(f"#{named}").inner_text()
    nameless = "[...document.querySelectorAll('svg[role=img]')].filter(e => !e.getAttribute('aria-label')).length"
    assert page.evaluate(nameless) == 0


def test_links_of_the_same_words_are_told_apart_by_their_names(show):
    page = show("whole").page
    names = [link.get_attribute("aria-label") for link in page.locator("#champions a, #runs a").all()]
    assert len(names) == len(set(names)) > 0


def test_late_stages_are_red_and_say_so(show):
    page = show("whole").page
    late = page.locator("#freshness td.bad")
    assert late.count() > 0
    assert all("late" in cell.inner_text() for cell in late.all())


def test_text_on_a_phone_is_large_enough_to_read(show):
    sizes = """[...document.querySelectorAll('svg.chart text')].map(text => {
      const svg = text.ownerSVGElement;
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return parseFloat(getComputedStyle(text).fontSize) * scale;
    })"""
    assert min(show("whole", "phone").page.evaluate(sizes)) >= 10
