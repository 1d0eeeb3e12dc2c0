import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from al_platform.domain.text import CleaningOptions, clean_text, cut_text, reason_to_drop, text_hash, words

FIVE_MILLION = 5_000_000
PIECES = [
    *[
        "<",
        ">",
        "</",
        "/>",
        "<b",
        "<b>",
        "<p x=1>",
        "<script>",
        "</script",
        "<style",
        "<!--",
        "-->",
        "<!doctype",
        "<x-y",
    ],
    *["&", "&lt", "&lt;", "&amp;", "&#60;", "&#38;", "#38;", "&#0;", "&alpha", "lt;", "amp;", ";", "\u037e", "&#x37e;"],
    *[
        '"',
        "'",
        "=",
        " ",
        "\n",
        "\x00",
        "\u00ad",
        "\u200b",
        "\ud800",
        "\u0338",
        "\u0301",
        "e",
        "b",
        "and",
        "\U0001f600",
    ],
]
markup_soup = st.lists(st.sampled_from(PIECES)).map("".join)


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("<h1>Bread</h1><p>Flour &amp; water</p>", "Bread Flour & water"),
        ("one<br/>two<br />three", "one two three"),
        ("kept<script type='a'>if (a < b) { drop() }</script><STYLE>p{}</STYLE> too", "kept too"),
        ("before <!-- <b>hidden</b> --> after", "before after"),
        ('<a title="5 > 3">link</a>', "link"),
        ("<!DOCTYPE html><html><head><title>T</title></head><x-card>C</x-card><o:p>D</o:p></html>", "T C D"),
        ("caf&eacute; &#8364;5 &copy=2", "café €5 &copy=2"),
        ("a\x00b\x07 c\u00add \ufeffe", "ab cd e"),
        (" two \t\n lines\u00a0\u2003here ", "two lines here"),
        ("cafe\u0301", "café"),
        ("\ud800half a pair", "half a pair"),
    ],
)
def test_markup_entities_and_control_characters_go(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "if x <3 and y> 2",
        "List<String> names",
        "<john@example.com> wrote",
        "AT&T; R&D",
        "I <3 you",
        "x <y and z",
    ],
)
def test_a_text_that_is_no_markup_survives(text: str) -> None:
    assert clean_text(text) == text


def test_a_comparison_with_the_name_of_an_element_keeps_its_words() -> None:
    assert words(clean_text("when a <b and c> d holds")) == ["when", "a", "b", "and", "c", "d", "holds"]


def test_entities_are_decoded_once_and_what_they_spell_is_kept_as_text() -> None:
    assert clean_text("<p>write &lt;b&gt; as &amp;lt;b&amp;gt;</p>") == "write < b> as & lt;b& gt;"


def test_an_unclosed_script_ends_a_page_but_not_a_text_that_names_it() -> None:
    assert clean_text("<p>news</p><script>var cut = 'off") == "news"
    assert clean_text("how to use the <script> tag well") == "how to use the tag well"


@pytest.mark.parametrize(
    "raw", ["<", "</", "<!--", "<b", "<b x=", "<a href='", "<script", "&", "&#;", "&#xZZ;", "<![CDATA[", ""]
)
def test_malformed_markup_never_raises(raw: str) -> None:
    assert clean_text(clean_text(raw)) == clean_text(raw)


@given(st.text() | markup_soup)
@example("&amp;lt;")
@example("&l&#1;t;")
@example("<b<i> x>")
@example("<b and <i> c=1>")
@example("&alpha&#x37e;")
@example("&lt\u037e")
def test_cleaning_twice_equals_cleaning_once(raw: str) -> None:
    assert clean_text(clean_text(raw)) == clean_text(raw)


@given(markup_soup)
def test_what_is_clean_can_be_stored_as_utf8_and_holds_no_control_characters(raw: str) -> None:
    cleaned = clean_text(raw)
    assert cleaned.encode().decode() == cleaned
    assert not any(character < " " for character in cleaned)


@pytest.mark.parametrize("unit", ["<", "<!--", "<b x ", "<script>x", "</script", "&lt", "x<"])
def test_a_megabyte_of_broken_markup_is_read_to_its_end(unit: str) -> None:
    # In time that grows with the square of the length this would take hours.
    hostile = unit * (FIVE_MILLION // len(unit) // 5)
    assert clean_text(f"before {hostile}").startswith("before")


def test_five_megabytes_of_opening_brackets_are_read_once() -> None:
    assert len(clean_text("<" * FIVE_MILLION)) == FIVE_MILLION


def test_words_are_casefolded_and_scripts_without_spaces_count_by_character() -> None:
    assert words("Don't STOP, Straße 7") == ["don", "t", "stop", "strasse", "7"]
    assert words("世界 news") == ["世", "界", "news"]


def test_the_hash_ignores_markup_spacing_and_case() -> None:
    assert text_hash("<p>Hello   World</p>") == text_hash("hello world")
    assert text_hash("hello world") != text_hash("hello worlds")


def test_the_hash_is_the_same_in_every_process() -> None:
    assert text_hash("Hello world") == "b94d27b9934d3e08a52e52d7da7dabfa"


def test_short_and_empty_texts_are_dropped_with_the_reason() -> None:
    options = CleaningOptions(min_words=3)
    assert reason_to_drop("", options) == "empty"
    assert reason_to_drop("two words", options) == "too_short"
    assert reason_to_drop("three whole words", options) is None
    assert reason_to_drop("新闻网", options) is None


def test_a_long_text_is_cut_after_a_whole_word() -> None:
    options = CleaningOptions(max_chars=10)
    assert cut_text("short", options) == "short"
    assert cut_text("three whole words", options) == "three"
    assert cut_text("three four five", options) == "three four"
    assert cut_text("unbreakable", options) == "unbreakabl"


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="min_wrods"):
        CleaningOptions.model_validate({"min_wrods": 3})
