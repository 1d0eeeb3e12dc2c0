import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from al_platform.domain.audit_response import DRAWN_COLUMNS, match_draws, read_drawn, traffic_accuracy
from al_platform.domain.estimators import wilson
from al_platform.domain.selection.audit import FRAME, draw_random_pages
from al_platform.domain.selection.options import SelectionOptions


def batch(*rows):
    columns = ("page_id", "reason", "stratum", "inclusion_probability", "cycle")
    return pa.table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))


DRAWN = batch(
    ("a", "audit", "s", 0.5, "2026-01"),
    ("b", "audit", "s", 0.5, "2026-01"),
    ("c", "exploration", "t", 0.25, "2026-01"),
    ("d", "margin", None, None, "2026-01"),
    ("e", "audit", "s", 0.5, "2026-02"),
)


def accuracy(right, probabilities, draws, plain=None):
    right = np.array(right, dtype=bool)
    return traffic_accuracy(right, np.array(probabilities), right if plain is None else np.array(plain), draws)


def test_only_random_draws_are_read_each_page_once():
    repeated = pa.concat_tables([DRAWN, batch(("a", "audit", "s", 0.1, "2026-03"))])
    assert read_drawn(repeated)["page_id"].to_pylist() == ["a", "b", "c", "e"]
    assert read_drawn(repeated)["inclusion_probability"][0].as_py() == 0.5


def test_batches_that_are_read_by_column_will_do():
    class Lazy:
        def select(self, columns):
            assert columns == list(DRAWN_COLUMNS)
            return DRAWN.select(columns)

    assert read_drawn(Lazy()).num_rows == 4


def test_a_drawn_page_without_a_label_is_non_response():
    draws = match_draws(read_drawn(DRAWN), ["c", "a"])
    assert draws.response.cycles == ("2026-01",)
    assert (draws.response.drawn, draws.response.labelled) == (3, 2)
    assert draws.response.share == pytest.approx((2 + 4) / (2 + 2 + 4))
    assert draws.labelled_row.tolist() == [1, -1, 0]


def test_a_month_without_any_answer_is_not_counted_yet():
    assert match_draws(read_drawn(DRAWN), ["a"]).response.cycles == ("2026-01",)
    assert match_draws(read_drawn(DRAWN), []).response.drawn == 0


def test_a_month_whose_pages_have_left_the_audit_set_is_not_counted_any_more():
    assert match_draws(read_drawn(DRAWN), ["b", "e"], {"a"}).response.cycles == ("2026-02",)


def test_the_worst_case_takes_missing_pages_for_wrong_and_the_best_for_right():
    draws = match_draws(read_drawn(DRAWN), ["a", "c"])
    found = accuracy([True, False], [0.5, 0.25], draws).worst_case
    assert (found.low, found.high) == pytest.approx((2 / 8, 4 / 8))
    assert found.interval_low <= found.low <= found.high <= found.interval_high


def test_with_every_label_the_worst_case_is_the_weighted_figure():
    draws = match_draws(read_drawn(DRAWN), ["a", "b", "c"])
    found = accuracy([True, False, True], [0.5, 0.5, 0.25], draws)
    assert found.worst_case.low == found.worst_case.high == pytest.approx(found.inclusion_weighted.value) == 6 / 8
    assert found.worst_case.interval_low == pytest.approx(found.inclusion_weighted.low)


def test_the_audit_alone_stands_for_what_all_draws_say_of_its_strata():
    drawn = batch(
        ("a", "audit", "s", 0.5, "2026-01"),
        ("b", "exploration", "s", 0.5, "2026-01"),
        ("c", "audit", "t", 0.25, "2026-01"),
    )
    draws = match_draws(read_drawn(drawn), ["a", "b", "c"])
    found = accuracy([True, False, False], [0.5, 0.5, 0.25], draws).audit_only
    # the stratum s has 4 pages, t has 4; of the audit's two pages the one in s is right
    assert found.value == pytest.approx(4 / 8)
    assert found.n == 2


def test_the_plain_figure_counts_each_labelled_page_once():
    draws = match_draws(read_drawn(DRAWN), ["a", "c"])
    found = accuracy([True, False], [0.5, 0.25], draws, plain=[True, False, True, True]).plain
    assert (found.value, found.n) == (0.75, 4)
    assert (found.low, found.high) == pytest.approx(wilson(3, 4))


def test_too_few_pages_have_no_figure():
    draws = match_draws(read_drawn(DRAWN), ["a"])
    found = accuracy([True], [0.5], draws, plain=np.zeros(0, dtype=bool))
    assert found.plain is None
    assert found.inclusion_weighted is None
    assert found.audit_only is None


def month(seed, n=2500):
    """A month of traffic: the model's probabilities, and whether it is right, more often where it is sure."""
    rng = np.random.default_rng(seed)
    top1 = rng.beta(4, 1.5, n).astype(np.float32)
    ids = [f"{seed}-{row}" for row in range(n)]
    frame = pa.table({"page_id": ids, "predicted": rng.choice(["x", "y", "z"], n), "top1": top1}, schema=FRAME)
    return frame, rng.random(n) < 0.3 + 0.65 * top1


def drawn_and_labelled(seed, skipped=0.0):
    """Draw a month's audit and exploration; pages on which the model is wrong are skipped more often."""
    frame, right = month(seed)
    options = SelectionOptions(budget=1000, audit_share=0.3, exploration_share=0.1, seed=seed)
    table = draw_random_pages(frame, "2026-01", options)
    drawn = table.append_column("cycle", pa.array(["2026-01"] * table.num_rows))
    row = {page_id: number for number, page_id in enumerate(frame["page_id"].to_pylist())}
    rows = np.array([row[page_id] for page_id in drawn["page_id"].to_pylist()])
    answered = np.random.default_rng(seed).random(len(rows)) >= np.where(right[rows], skipped / 3, skipped)
    labelled = drawn.filter(pa.array(answered))
    draws = match_draws(read_drawn(drawn), labelled["page_id"].to_pylist())
    probabilities = labelled["inclusion_probability"].to_numpy()
    return right, traffic_accuracy(right[rows][answered], probabilities, right[rows][answered], draws)


def test_the_audits_interval_covers_the_accuracy_on_traffic_at_its_nominal_rate():
    trials, weighted, audit_only = 400, 0, 0
    for seed in range(trials):
        right, found = drawn_and_labelled(seed)
        weighted += found.inclusion_weighted.low <= right.mean() <= found.inclusion_weighted.high
        audit_only += found.audit_only.low <= right.mean() <= found.audit_only.high
    # draws taken as independent: somewhat wide, as these are stratified and without replacement
    for covered in (weighted, audit_only):
        assert stats.binom.ppf(0.001, trials, 0.95) <= covered <= stats.binom.ppf(0.9999, trials, 0.975)


def test_the_worst_case_covers_the_accuracy_on_traffic_though_skipped_pages_are_the_hard_ones():
    trials, weighted, bounded = 100, 0, 0
    for seed in range(trials):
        right, found = drawn_and_labelled(seed, skipped=0.6)
        weighted += found.inclusion_weighted.low <= right.mean() <= found.inclusion_weighted.high
        bounded += found.worst_case.interval_low <= right.mean() <= found.worst_case.interval_high
    assert weighted < 0.2 * trials
    assert bounded >= 0.95 * trials
