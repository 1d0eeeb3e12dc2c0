import pytest

from al_platform.sources.lexicons import brand_safety, sentiment, words


def test_words_are_lower_case_and_keep_apostrophes() -> None:
    assert words("Don't PANIC: 42 towels!") == ["don't", "panic", "towels"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A great win and a happy day", "positive"),
        ("A terrible loss and a sad day", "negative"),
        ("It was not a great day and it was never good", "negative"),
        ("A great day for " + "the people of this town and " * 16, "neutral"),
    ],
)
def test_sentiment_follows_the_words_per_length_and_their_negation(text: str, answer: str) -> None:
    assert sentiment(words(text)) == answer


def test_one_unsafe_word_is_chance_and_two_are_a_label() -> None:
    assert brand_safety(words("an arrest")) == []
    assert brand_safety(words("an arrest for fraud")) == ["crime"]


def test_sports_talk_is_not_violence() -> None:
    assert brand_safety(words("Arsenal attack, shot after shot: they fight and beat them in the cup battle")) == []


def test_labels_come_in_the_order_of_the_family() -> None:
    assert brand_safety(words("drunk on beer: fraud, arrest, a bomb and a gun, death, the dead")) == [
        "crime",
        "violence",
        "death_injury",
        "alcohol",
    ]
