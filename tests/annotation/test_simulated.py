from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from annotation_tasks import PREFIX, make_batch
from pydantic import ValidationError

from al_platform.annotation import AnnotationOptions
from al_platform.annotation.simulated import SimulatedAnnotators, SimulatedPlatform
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import LocalStore

PAGES = [f"page-{number}" for number in range(300)]
PERFECT = SimulatedAnnotators(error_rates=(0, 0), skip_rate=0)


def answers(
    store: LocalStore,
    taxonomy: Taxonomy,
    truth: Mapping[str, Sequence[str]],
    options: SimulatedAnnotators,
    pages: Sequence[str] = PAGES,
    batch_id: str = "topics-2026-10",
    answers_per_page: int = 3,
) -> list[dict[str, Any]]:
    def known(page_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return {page_id: truth[page_id] for page_id in page_ids if page_id in truth}

    platform = SimulatedPlatform(store, PREFIX, taxonomy, "topics", known, options, answers_per_page)
    platform.submit(make_batch(pages, batch_id=batch_id))
    rows: list[dict[str, Any]] = platform.pull().annotations.to_pylist()
    return rows


def all_about(*values: str) -> dict[str, list[str]]:
    return {page: list(values) for page in PAGES}


def test_annotators_without_faults_give_the_true_answer(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, all_about("tech"), PERFECT)
    assert len(rows) == 3 * len(PAGES)
    assert {tuple(row["values"]) for row in rows} == {("tech",)}
    assert {row["annotator"] for row in rows} == {f"simulated-{number}" for number in range(1, 6)}


def test_as_many_different_people_answer_a_page_as_asked(store: LocalStore, topics: Taxonomy) -> None:
    options = SimulatedAnnotators(annotators=4, skip_rate=0)
    rows = answers(store, topics, all_about("tech"), options, PAGES[:20], answers_per_page=2)
    people = {page: {row["annotator"] for row in rows if row["page_id"] == page} for page in PAGES[:20]}
    assert {len(each) for each in people.values()} == {2}


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(
    store: LocalStore, topics: Taxonomy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = SimulatedAnnotators(error_rates=(0.4, 0.4))
    whole = answers(store, topics, all_about("tech"), options)
    alone = answers(LocalStore(tmp_path_factory.mktemp("alone")), topics, all_about("tech"), options, PAGES[7:8])
    assert alone == [row for row in whole if row["page_id"] == PAGES[7]]


def test_the_worst_annotator_errs_as_often_as_asked(store: LocalStore, topics: Taxonomy) -> None:
    options = SimulatedAnnotators(annotators=2, error_rates=(0.0, 0.3), skip_rate=0)
    rows = answers(store, topics, all_about("tech"), options, answers_per_page=2)
    wrong = [row["annotator"] for row in rows if row["values"] != ["tech"]]
    assert set(wrong) == {"simulated-2"}
    assert 60 <= len(wrong) <= 120


def test_some_labels_are_mistaken_for_one_another_more_often(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, all_about("tech"), SimulatedAnnotators(error_rates=(1, 1), skip_rate=0))
    politics = sum(row["values"] == ["politics"] for row in rows) / len(rows)
    assert politics < 0.4 or politics > 0.6


def test_overlooked_labels_are_commoner_than_false_alarms(store: LocalStore, safety: Taxonomy) -> None:
    options = SimulatedAnnotators(error_rates=(0.3, 0.3), skip_rate=0)
    truth = {page: ["crime"] if number % 2 else [] for number, page in enumerate(PAGES)}
    rows = answers(store, safety, truth, options)
    missed = sum("crime" not in row["values"] for row in rows if truth[row["page_id"]]) / 450
    alarmed = sum(bool(row["values"]) for row in rows if not truth[row["page_id"]]) / 450
    assert 0.2 < missed < 0.4
    assert 0 < alarmed < 0.08


def test_skips_are_as_frequent_as_asked(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, all_about("tech"), SimulatedAnnotators(skip_rate=0.2, error_rates=(0, 0)))
    skipped = [row for row in rows if row["skipped"]]
    assert 120 <= len(skipped) <= 240
    assert all(row["values"] == [] for row in skipped)


def test_another_seed_is_other_people(
    store: LocalStore, topics: Taxonomy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = LocalStore(tmp_path_factory.mktemp("other"))
    faulty = SimulatedAnnotators(error_rates=(0.5, 0.5))
    first = answers(store, topics, all_about("tech"), faulty)
    assert first != answers(other, topics, all_about("tech"), faulty.model_copy(update={"seed": 1}))


def test_a_page_of_unknown_truth_stays_unanswered(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, {"page-0": ["tech"]}, PERFECT, PAGES[:2])
    assert {row["page_id"] for row in rows} == {"page-0"}


def test_answers_are_dated_in_the_weeks_after_the_month(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, all_about("tech"), PERFECT, batch_id="topics-2026-12-duel")
    times = [row["updated_at"] for row in rows]
    assert datetime(2027, 1, 1, tzinfo=UTC) <= min(times)
    assert max(times) < datetime(2027, 1, 15, tzinfo=UTC)


def test_a_batch_id_without_a_month_has_a_fixed_date(store: LocalStore, topics: Taxonomy) -> None:
    rows = answers(store, topics, all_about("tech"), PERFECT, PAGES[:1], batch_id="extra")
    assert {row["updated_at"].year for row in rows} == {2000}


def test_a_page_whose_truth_is_outside_the_taxonomy_stays_unanswered(store: LocalStore, topics: Taxonomy) -> None:
    assert not answers(store, topics, all_about("weather"), PERFECT)


def test_more_answers_than_annotators_are_refused() -> None:
    with pytest.raises(ValidationError, match="there are 2 simulated annotators"):
        AnnotationOptions(simulated=SimulatedAnnotators(annotators=2), answers_per_page=3)


@pytest.mark.parametrize("rates", [(0.2, 0.1), (-0.1, 0.1), (0.5, 1.1)])
def test_error_rates_that_do_not_rise_within_0_to_1_are_refused(rates: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="error_rates"):
        SimulatedAnnotators(error_rates=rates)


def test_a_page_that_is_asked_about_again_is_answered_by_others(store: LocalStore, topics: Taxonomy) -> None:
    options = SimulatedAnnotators(annotators=6, skip_rate=0)
    first = answers(store, topics, all_about("tech"), options, PAGES[:20])
    both = answers(store, topics, all_about("tech"), options, PAGES[:20], batch_id="topics-2026-11")
    people = {page: [row["annotator"] for row in both if row["page_id"] == page] for page in PAGES[:20]}
    assert all(len(set(each)) == len(each) == 6 for each in people.values())
    assert [row for row in both if row["batch_id"] == "topics-2026-10"] == first


def test_as_many_answer_as_the_batch_wants_of_a_page(store: LocalStore, topics: Taxonomy) -> None:
    batch = make_batch(["a", "b"])
    place = batch.column_names.index("answers_wanted")
    batch = batch.set_column(place, batch.schema.field(place), pa.array([1, None], pa.int64()))
    platform = SimulatedPlatform(store, PREFIX, topics, "topics", lambda _: {"a": ["tech"], "b": ["tech"]}, PERFECT, 3)
    platform.submit(batch)
    assert sorted(platform.pull().annotations["page_id"].to_pylist()) == ["a", "b", "b", "b"]
