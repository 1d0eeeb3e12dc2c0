"""The report on a challenger in a real browser, as people see it: on a phone, on a desk, by day and by night."""

import copy
import os
import shutil

import pytest

from al_platform.reports.challenger_report import ChallengerReport, render_report
from report_inputs import ERRORS, first_champion, make_report, regressions

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = {"phone": (390, 844), "desk": (1280, 900)}
HOSTILE = (
    "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">\u202egpj.exe " + "W" * 300
)
# The smallest ratio of text to what is behind it that WCAG 2.2 AA asks for (success criterion 1.4.3).
CONTRAST = 4.5
LOWEST_CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const solid = (colour, behind) => {
    canvas.fillStyle = behind; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = getComputedStyle(document.body).backgroundColor;
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return paper;
  };
  let worst = [99, ''];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    if (!text || element.closest('style, .skip')) continue;
    const style = getComputedStyle(element), back = behind(element);
    const ink = element.closest('svg') ? style.fill : style.color;
    const [a, b] = [light(solid(ink, back)), light(solid(back, paper))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, text.slice(0, 40)];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; install Debian's chromium")
        pytest.skip("runs where Chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    errors = copy.deepcopy(ERRORS)
    errors["mistakes"][0] |= {"snippet": HOSTILE, "page_id": HOSTILE}
    errors["slices"][0] |= {"value": HOSTILE}
    made = {
        "whole": make_report(),
        "first": ChallengerReport.of_outputs("topics", "2026-10", **first_champion()),
        "hostile": make_report(error_analysis=errors, regressions=regressions(text=HOSTILE, page_id=HOSTILE)),
    }
    for name, report in made.items():
        (folder / f"{name}.html").write_text(render_report(report), encoding="utf-8")
    return folder


class Shown:
    """A report in the browser, with what the browser said and asked for meanwhile."""

    def __init__(self, browser, file, width="desk", scheme="light"):
        size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
        self.page = browser.new_page(viewport=size, color_scheme=scheme)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(file.as_uri())


@pytest.fixture
def show(browser, reports):
    shown = []

    def show(name, *how):
        shown.append(Shown(browser, reports / f"{name}.html", *how))
        return shown[-1]

    yield show
    for each in shown:
        each.page.close()


@pytest.mark.parametrize("name", ["whole", "first", "hostile"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen_and_nothing_is_said_or_asked_for(show, tmp_path, name, width):
    shown = show(name, width)
    shown.page.screenshot(path=str(tmp_path / f"{name}-{width}.png"), full_page=True)
    sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    scrolled, visible = shown.page.evaluate(sizes)
    assert scrolled == visible
    assert shown.said == []
    assert len(shown.asked) == 1


@pytest.mark.parametrize("name", ["whole", "first"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_table_is_cut_off(show, name, width):
    cut = "[...document.querySelectorAll('.section > div')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert show(name, width).page.evaluate(cut) == 0


def test_a_hostile_page_stays_text(show):
    page = show("hostile").page
    assert page.title() == "topics 2026-10: promote"
    assert page.locator("script, img").count() == 0
    assert page.get_by_text("<script>document.title='hacked'</script>").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(show, scheme):
    ratio, text = show("whole", "desk", scheme).page.evaluate(LOWEST_CONTRAST)
    assert ratio >= CONTRAST, text


def test_night_is_dark_and_day_is_light(show):
    paper = "getComputedStyle(document.body).backgroundColor"
    assert show("whole", "desk", "dark").page.evaluate(paper) != show("whole", "desk", "light").page.evaluate(paper)


def test_the_keyboard_reaches_the_sections_and_opens_a_table(show):
    page = show("whole").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the checks"
    page.keyboard.press("Enter")
    assert page.url.endswith("#checks")
    summary = page.locator("#training summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("#training details").first.evaluate("e => e.open")
    assert page.locator("#training table").first.is_visible()


def test_text_on_a_phone_is_large_enough_to_read(show):
    sizes = """[...document.querySelectorAll('svg.chart text')].map(text => {
      const svg = text.ownerSVGElement;
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return parseFloat(getComputedStyle(text).fontSize) * scale;
    })"""
    assert min(show("whole", "phone").page.evaluate(sizes)) >= 10
