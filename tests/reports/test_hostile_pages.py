"""What pages, labels and names of slices say is not to be trusted: none of it may act, hide or turn text around."""

import copy

import pytest
from read_html import Document

from al_platform.reports import erasable
from al_platform.reports.challenger_report import render_report
from al_platform.reports.plain import plain
from report_inputs import CARD, ERRORS, EVALUATION, make_report, regressions

MARK = "MARK"
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "<!--/page--><!-- -->",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt; &amp; &#60;",
    "]]><a href='https://evil.example/'>x</a>",
]


def everywhere(text):
    """A report with a text wherever one from outside can stand."""
    errors = copy.deepcopy(ERRORS)
    errors["mistakes"][0] |= {"snippet": text, "page_id": text, "truth": [text], "predicted": [text]}
    errors["confusions"] = [{"truth": text, "predicted": "sport", "n": 1}]
    errors["slices"][0] |= {"value": text}
    evaluation = copy.deepcopy(EVALUATION)
    evaluation["golden"]["slices"][0]["value"] = text
    evaluation["golden"]["challenger"]["per_class"][0]["label"] = text
    card = {**CARD, "reasons": {text: 3}, "class_balance": {"train": {text: 3}}}
    pages = regressions(page_id=text, text=text, truth=(text,), champion=(text,), challenger=(text,))
    return render_report(
        make_report(error_analysis=errors, evaluation=evaluation, dataset_card=card, regressions=pages)
    )


def shape(document):
    return [(element.tag, sorted(element.attributes)) for element in document.elements]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text_and_adds_no_element_and_no_attribute(text):
    found = Document(everywhere(text))
    assert shape(found) == shape(Document(everywhere("harmless")))
    assert text in "".join(found.text)
    assert "alert(1)</script>" not in everywhere(text)


def test_no_address_becomes_a_link():
    found = Document(everywhere("https://evil.example/ javascript:alert(1)"))
    assert all(element.attributes["href"].startswith("#") for element in found.of("a"))


def test_a_page_cannot_end_or_forge_the_marks_that_an_erasure_looks_for():
    text = f"before {erasable.end_page()} {erasable.begin_page('page-0001')} after"
    whole = render_report(make_report(regressions=regressions(text=text)))
    without, removed = erasable.without_page(whole, "page-0002")
    assert removed == 1
    assert "after" not in "".join(Document(without).sections["regressions"])


@pytest.mark.parametrize(
    "treacherous", ["\u202e", "\u202a", "\u2066", "\u2069", "\x00", "\x1b[2J", "\ud800", "\x7f", "\u200f"]
)
def test_what_turns_text_around_or_hides_is_replaced(treacherous):
    whole = everywhere(f"exe.{treacherous}gpj")
    whole.encode()
    assert treacherous[0] not in whole
    assert "exe.�" in whole


def test_a_text_without_end_is_cut():
    megabytes = "<b>" * (5 * 1024 * 1024 // 3)
    whole = everywhere(megabytes)
    assert len(whole) < 400_000
    assert "…" in whole


def test_a_short_text_is_left_alone():
    assert plain("Größe 漢字 עברית 👩‍👩‍👧\tx\n") == "Größe 漢字 עברית 👩‍👩‍👧\tx\n"


def test_a_cut_text_is_no_longer_than_asked_for():
    assert plain("abcdef", 4) == "abc…"
