"""What an annotator sees and does on Label Studio, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_report_in_browser import browser

from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.platform import LabelStudio
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import LocalStore
from annotation.annotation_tasks import make_batch
from label_studio_office import Office, office

__all__ = ["browser", "office"]
pytestmark = pytest.mark.real

TOPICS = Taxonomy(task="single", labels=("business", "entertainment", "politics", "sport", "tech"))
ATTACK = '<img src=x onerror="window.hacked=1"><script>window.hacked=1; alert(1)</script>{{constructor}}'
PARAGRAPH = (
    "The chancellor said the new rules would come into force in April. Shares in the bank rose by three per cent."
)
PAGES = (
    {
        "url": "https://news.example/markets/chancellor?a=1&b=2",
        "title": "Chancellor sets out new banking rules",
        "text": "\n\n".join([PARAGRAPH] * 30),
    },
    {
        "url": f"https://news.example/{ATTACK}",
        "title": f"{ATTACK} A title",
        "text": f"{ATTACK} A text. " + "W" * 2000,
    },
    {"url": f"javascript:window.hacked=1//{ATTACK}", "title": "", "text": "x"},
)


class Annotator:
    """Ann, signed in, with what her browser said and asked others for."""

    def __init__(self, browser: Any, office: Office, project: int):
        self.page = browser.new_page(viewport={"width": 1280, "height": 800})
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self._request(request.url, office.server.url))
        self.page.goto(f"{office.server.url}/user/login/")
        self.page.fill("input[name=email]", "ann@example.com")
        self.page.fill("input[name=password]", "ann-secret-1")
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda url: "/user/login" not in url)
        self.page.goto(f"{office.server.url}/projects/{project}/data?labeling=1")

    def _dialog(self, dialog: Any) -> None:
        self.said.append(dialog.message)
        dialog.dismiss()

    def _request(self, url: str, server: str) -> None:
        if not url.startswith((server, "data:", "blob:")):
            self.asked.append(url)

    def sees(self, text: str) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=30_000)

    def address(self) -> Any:
        """Return what shows the page's address, which Label Studio keeps in a frame of its own."""
        return self.page.frame_locator("iframe").first

    def links(self) -> Any:
        return self.address().get_by_role("link")

    def press(self, key: str, label: str) -> None:
        self.page.keyboard.press(key)
        self.page.get_by_role("checkbox", name=label, checked=True).wait_for(timeout=10_000)

    def submit(self) -> None:
        self.page.keyboard.press("Control+Enter")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def platform(office: Office, store: LocalStore) -> LabelStudio:
    access = Access(office.server.url, office.server.token)
    platform = LabelStudio(store, "topics/platform/label_studio", "topics", TOPICS, LabelStudioOptions(), access)
    batch = make_batch(["read", "hostile", "script"])
    rows = [row | page for row, page in zip(batch.to_pylist(), PAGES, strict=True)]
    platform.submit(pa.Table.from_pylist(rows, batch.schema))
    return platform


@pytest.fixture(scope="module")
def ann(browser: Any, office: Office, store: LocalStore, platform: LabelStudio) -> Iterator[Annotator]:
    [project] = office.projects(store)
    annotator = Annotator(browser, office, project)
    yield annotator
    annotator.page.close()


def test_an_annotator_reads_answers_by_keyboard_and_hostile_pages_do_nothing(
    ann: Annotator, platform: LabelStudio, tmp_path: Path
) -> None:
    ann.sees("Chancellor sets out new banking rules")
    link = ann.links().first
    assert link.get_attribute("href") == "https://news.example/markets/chancellor?a=1&b=2"
    ann.page.mouse.wheel(0, 2000)
    ann.press("3", "politics")
    ann.page.screenshot(path=str(tmp_path / "label-studio.png"))
    ann.submit()
    ann.sees("A text.")
    ann.sees(f"{ATTACK} A title")
    ann.press("5", "tech")
    ann.submit()
    ann.address().get_by_text("javascript:window.hacked=1").wait_for()
    assert ann.links().count() == 0
    assert [frame.evaluate("window.hacked === undefined") for frame in ann.page.frames].count(False) == 0
    assert (ann.said, ann.asked) == ([], [])
    given = {row["page_id"]: row["values"] for row in platform.pull().annotations.to_pylist()}
    assert given == {"read": ["politics"], "hostile": ["tech"]}
