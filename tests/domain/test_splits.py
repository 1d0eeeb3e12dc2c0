from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from al_platform.domain.errors import InputError
from al_platform.domain.splits import SplitOptions, assign_splits, contaminated_pages, current_sets
from al_platform.schemas import LABELS, SPLIT_LEDGER

OPTIONS = SplitOptions()
NOTHING = SPLIT_LEDGER.empty_table()
ALL_TRAIN = SplitOptions(golden_share=0, validation_share=0, validation_min=0)
ALL_HELD_OUT = SplitOptions(golden_share=0, validation_share=0.5, validation_min=1_000)


def row(page_id: str, *values: str, reason: str | None = None, source: str | None = None) -> dict[str, object]:
    imported = reason is None
    return {
        "page_id": page_id,
        "values": values,
        "source": source or ("imported" if imported else "annotated"),
        "reason": reason,
    }


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), LABELS)


def imported(n: int, *values: str, start: int = 0) -> pa.Table:
    return table(*(row(f"p{number:04d}", *values) for number in range(start, start + n)))


def ledger(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(("page_id", "set", "cycle"), r, strict=True), why="test") for r in rows], SPLIT_LEDGER
    )


def alone(labelled: pa.Table) -> np.ndarray:
    return np.arange(labelled.num_rows)


def sets_of(
    labelled: pa.Table, before: pa.Table = NOTHING, groups=None, cycle="2026-01", options=OPTIONS
) -> dict[str, str]:
    groups = alone(labelled) if groups is None else np.array(groups)
    return current_sets(pa.concat_tables([before, assign_splits(labelled, before, groups, cycle, options)]))


def test_golden_takes_its_share_of_the_labelled_start_in_each_label() -> None:
    labelled = pa.concat_tables([imported(80, "common"), imported(20, "rare", start=80)])
    golden = {page for page, name in sets_of(labelled).items() if name == "golden"}
    assert Counter("rare" if page >= "p0080" else "common" for page in golden) == {"common": 16, "rare": 4}


def test_what_rounding_leaves_of_golden_goes_to_the_rarest_label() -> None:
    labelled = pa.concat_tables([imported(46, "common"), imported(4, "rare", start=46)])
    golden = [page for page, name in sets_of(labelled).items() if name == "golden"]
    assert sum(page >= "p0046" for page in golden) == 1
    assert len(golden) == 10


def test_the_only_page_of_a_label_is_left_to_learn_from() -> None:
    labelled = pa.concat_tables([imported(20, "common"), imported(1, "single", start=20)])
    assert sets_of(labelled)["p0020"] != "golden"


def test_a_multi_label_page_counts_for_its_rarest_label_and_a_page_without_labels_for_none() -> None:
    labelled = pa.concat_tables([imported(40, "a"), imported(10, "a", "b", start=40), imported(50, start=50)])
    strata = Counter(
        "a" if page < "p0040" else "b" if page < "p0050" else "none"
        for page, name in sets_of(labelled).items()
        if name == "golden"
    )
    assert strata == {"a": 8, "b": 2, "none": 10}


def test_golden_never_exceeds_its_maximum() -> None:
    assert Counter(sets_of(imported(100, "a"), options=SplitOptions(golden_max=7)).values())["golden"] == 7


def test_golden_is_drawn_once() -> None:
    before = ledger(("old", "golden", "2025-12"))
    assert [page for page, name in sets_of(imported(50, "a"), before).items() if name == "golden"] == ["old"]


def test_annotated_pages_never_enter_golden() -> None:
    labelled = table(*(row(f"p{number}", "a", reason="margin") for number in range(50)))
    assert set(sets_of(labelled).values()) == {"train", "validation"}


def test_audit_and_exploration_pages_are_audit_and_control_pages_control() -> None:
    labelled = table(
        row("a", "x", reason="audit"), row("b", "x", reason="exploration"), row("c", "x", reason="control")
    )
    assert sets_of(labelled) == {"a": "audit", "b": "audit", "c": "control"}


def test_a_page_that_has_a_set_keeps_it_when_an_audit_draws_it() -> None:
    before = ledger(("a", "train", "2025-12"))
    assert sets_of(table(row("a", "x", reason="audit")), before) == {"a": "train"}


@pytest.mark.parametrize(
    ("cycle", "name"), [("2026-04", "audit"), ("2026-05", "validation"), ("2027-01", "validation")]
)
def test_audit_pages_are_test_data_for_six_months_across_the_turn_of_the_year(cycle: str, name: str) -> None:
    before = ledger(("a", "audit", "2025-11"))
    assert sets_of(table(row("a", "x", reason="audit")), before, cycle=cycle) == {"a": name}


def test_the_end_of_an_audit_slice_is_a_new_row_with_the_reason() -> None:
    added = assign_splits(table(), ledger(("a", "audit", "2025-11")), np.array([], int), "2026-05", OPTIONS)
    assert added.to_pylist() == [
        {"page_id": "a", "set": "validation", "cycle": "2026-05", "why": "audit slice expired"}
    ]


@pytest.mark.parametrize("held_out", ["golden", "audit", "validation"])
def test_a_near_duplicate_of_a_held_out_page_is_excluded_and_says_why(held_out: str) -> None:
    before = ledger(("a", held_out, "2025-12"))
    labelled = table(row("a", "x"), row("b", "x", reason="margin"))
    added = assign_splits(labelled, before, np.array([7, 7]), "2026-01", OPTIONS)
    assert added.select(["page_id", "set", "why"]).to_pylist() == [
        {"page_id": "b", "set": "excluded", "why": f"near_duplicate_of_{held_out}"}
    ]


def test_a_near_duplicate_of_a_train_page_is_never_held_out_by_a_draw() -> None:
    before = ledger(("a", "train", "2025-12"))
    labelled = table(row("a", "x"), *(row(f"b{number}", "x") for number in range(20)))
    assert set(sets_of(labelled, before, [0] * 21, options=ALL_HELD_OUT).values()) == {"train"}


def test_a_near_duplicate_group_enters_validation_as_a_whole() -> None:
    labelled = imported(400, "a")
    groups = np.arange(400) // 4
    sets = sets_of(labelled, groups=groups, options=SplitOptions(golden_share=0))
    assert all(len({sets[f"p{4 * group + member:04d}"] for member in range(4)}) == 1 for group in range(100))
    assert set(sets.values()) == {"train", "validation"}


def test_golden_takes_one_page_of_a_group_and_the_others_are_excluded() -> None:
    sets = sets_of(
        imported(40, "a"), groups=np.arange(40) // 2, options=SplitOptions(validation_min=0, validation_share=0)
    )
    assert Counter(sets.values()) == {"golden": 4, "excluded": 4, "train": 32}


def test_direct_similarity_between_groups_excludes_too() -> None:
    before = ledger(("a", "validation", "2025-12"))
    labelled = table(row("a", "x"), row("b", "x", reason="margin"), row("c", "x", reason="margin"))
    neighbours = {(1, 0)}

    def similar(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return np.array(
            [any((r, other) in neighbours for other in reference.tolist()) for r in rows.tolist()], dtype=bool
        )

    added = assign_splits(labelled, before, alone(labelled), "2026-01", ALL_TRAIN, similar)
    assert dict(zip(added["page_id"].to_pylist(), added["set"].to_pylist(), strict=True)) == {
        "b": "excluded",
        "c": "train",
    }


def test_direct_similarity_to_a_page_drawn_in_the_same_run_excludes() -> None:
    labelled = imported(100, "a")
    pairs = np.arange(100) // 2

    def similar(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
        return np.isin(pairs[rows], pairs[reference])

    ledger_rows = assign_splits(labelled, NOTHING, alone(labelled), "2026-01", OPTIONS, similar)
    assert contaminated_pages(labelled, ledger_rows, alone(labelled), similar) == {
        "golden": [],
        "audit": [],
        "validation": [],
    }
    assert {"near_duplicate_of_golden", "near_duplicate_of_validation"} <= set(ledger_rows["why"].to_pylist())


def test_half_of_a_tiny_start_stays_to_learn_from() -> None:
    counts = Counter(sets_of(imported(3, "a"), options=SplitOptions(golden_share=0.5, validation_share=0)).values())
    assert counts == {"golden": 1, "train": 2}


def test_an_audit_page_that_repeats_a_train_page_counts_and_is_reported() -> None:
    before = ledger(("old", "train", "2025-12"))
    labelled = table(row("old", "x"), row("new", "x", reason="audit"))
    after = pa.concat_tables([before, assign_splits(labelled, before, np.array([0, 0]), "2026-01", OPTIONS)])
    assert current_sets(after) == {"old": "train", "new": "audit"}
    assert contaminated_pages(labelled, after, np.array([0, 0])) == {"golden": [], "audit": ["new"], "validation": []}


def test_thirty_labelled_pages_give_a_set_of_each_kind() -> None:
    for seed in range(20):
        counts = Counter(sets_of(imported(30, "a"), options=SplitOptions(seed=seed)).values())
        assert counts["golden"] == 6
        assert 8 <= counts["validation"] <= 10
        assert counts["train"] >= 14


def test_a_large_start_gives_validation_its_share() -> None:
    counts = Counter(sets_of(imported(2_000, "a")).values())
    assert counts["golden"] == 400
    assert 120 <= counts["validation"] <= 200


def test_the_assignment_of_a_page_does_not_depend_on_what_arrives_with_it() -> None:
    many = table(*(row(f"p{number}", "a", reason="margin") for number in range(200)))
    options = SplitOptions(validation_min=0)
    together = sets_of(many, options=options)
    for index in range(200):
        page = many["page_id"][index].as_py()
        assert sets_of(many.slice(index, 1), options=options)[page] == together[page]


def test_the_last_row_of_the_latest_cycle_decides() -> None:
    rows = ledger(
        ("a", "validation", "2026-05"), ("a", "audit", "2025-11"), ("b", "audit", "2026-01"), ("b", "train", "2026-01")
    )
    assert current_sets(rows) == {"a": "validation", "b": "train"}


def test_two_rows_of_a_page_are_refused() -> None:
    with pytest.raises(InputError, match="'a'"):
        assign_splits(table(row("a", "x"), row("a", "y")), NOTHING, np.array([0, 1]), "2026-01", OPTIONS)


def test_a_ledger_from_the_future_is_refused() -> None:
    with pytest.raises(InputError, match="2026-02"):
        assign_splits(table(), ledger(("a", "train", "2026-02")), np.array([], int), "2026-01", OPTIONS)


REASONS = st.sampled_from([None, None, "audit", "exploration", "margin", "relabel", "duel", "cold_start", "control"])
PAGES = st.lists(
    st.tuples(REASONS, st.sets(st.sampled_from("xyz"), max_size=2), st.integers(0, 12), st.integers(0, 8)), max_size=40
)
SIZES = st.builds(
    SplitOptions,
    golden_share=st.sampled_from([0, 0.2, 0.5]),
    validation_share=st.sampled_from([0, 0.1, 0.5]),
    validation_min=st.sampled_from([0, 5]),
    audit_cycles_as_test=st.integers(1, 6),
    seed=st.integers(0, 5),
)


def history(pages: list, options: SplitOptions, reverse: bool = False) -> list[tuple[pa.Table, np.ndarray, pa.Table]]:
    """Return labelled pages, groups and ledger after each of nine months; pages arrive in the month given last."""
    before, states = NOTHING, []
    numbered = [(f"p{number:02d}", *page) for number, page in enumerate(pages)]
    for month in range(9):
        known = [page for page in numbered if page[4] <= month][:: -1 if reverse else 1]
        labelled = table(*(row(page[0], *sorted(page[2]), reason=page[1]) for page in known))
        groups = np.array([page[3] for page in known], dtype=np.int64)
        before = pa.concat_tables([before, assign_splits(labelled, before, groups, f"2026-{month + 1:02d}", options)])
        states.append((labelled, groups, before))
    return states


@settings(max_examples=40, deadline=None)
@given(PAGES, SIZES)
def test_every_labelled_page_has_one_set_and_a_second_run_adds_nothing(pages: list, options: SplitOptions) -> None:
    for month, (labelled, groups, after) in enumerate(history(pages, options)):
        assert set(current_sets(after)) == set(labelled["page_id"].to_pylist())
        assert assign_splits(labelled, after, groups, f"2026-{month + 1:02d}", options).num_rows == 0


@settings(max_examples=40, deadline=None)
@given(PAGES, SIZES)
def test_assignments_never_change_but_from_audit_to_validation(pages: list, options: SplitOptions) -> None:
    earlier: dict[str, str] = {}
    for _, _, after in history(pages, options):
        later = current_sets(after)
        changes = {(name, later[page]) for page, name in earlier.items() if later[page] != name}
        assert changes <= {("audit", "validation")}
        earlier = later


@settings(max_examples=40, deadline=None)
@given(PAGES, SIZES)
def test_only_audit_pages_ever_have_a_near_duplicate_in_train(pages: list, options: SplitOptions) -> None:
    labelled, groups, after = history(pages, options)[-1]
    reasons = dict(zip(labelled["page_id"].to_pylist(), labelled["reason"].to_pylist(), strict=True))
    contaminated = contaminated_pages(labelled, after, groups)
    assert contaminated["golden"] == []
    assert {reasons[page] for page in contaminated["audit"] + contaminated["validation"]} <= {"audit", "exploration"}


@settings(max_examples=40, deadline=None)
@given(PAGES, SIZES)
def test_the_order_of_rows_is_irrelevant(pages: list, options: SplitOptions) -> None:
    assert history(pages, options)[-1][2].equals(history(pages, options, reverse=True)[-1][2])
