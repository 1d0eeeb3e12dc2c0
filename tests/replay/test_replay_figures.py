import numpy as np
import pytest
import scipy.stats

from al_platform.domain.errors import InputError
from al_platform.domain.replay.figures import replay_figures
from al_platform.domain.replay.paired import paired, student
from al_platform.domain.replay.plan import plan_runs
from al_platform.domain.replay.points import CurvePoint
from al_platform.domain.replay.saved import labels_saved, need
from replayed_runs import decision, estimate, played


def figures(runs, **options):
    return replay_figures(runs, name="n", family="topics", about={}, **options)


def by_strategy(found):
    return {each.setting.strategy: each for each in found.settings}


def test_every_strategy_runs_with_every_seed_and_other_budgets_and_cadences_with_the_default_alone():
    runs = plan_runs(["margin", "default", "random"], 2, budgets=[60, 120], cadences=[3, 1])
    assert len(runs) == len({run.name for run in runs}) == 2 * (3 + 1 + 1)
    assert {run.strategy for run in runs if run.budget == 120 or run.cadence == 1} == {"default"}


def test_the_first_month_and_each_cadence_end_with_a_training():
    run = plan_runs(["random"], 1)[0]
    assert [month for month in range(1, 13) if run.trains_after(month, True)] == [1, 3, 6, 9, 12]
    assert [month for month in range(1, 13) if run.trains_after(month, False)] == [3, 6, 9, 12]


def test_the_paired_interval_is_that_of_the_paired_t_test():
    ours, theirs = np.array([0.71, 0.74, 0.70, 0.77]), np.array([0.70, 0.70, 0.71, 0.72])
    found = paired(dict(enumerate(ours)), dict(enumerate(theirs)))
    expected = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert student([0.5]).low is None
    assert student([None]) is None


def test_labels_to_a_level_lie_on_the_line_between_two_trainings():
    curve = [
        CurvePoint(labels=n, cost=n / 10, macro_f1=estimate(f1)) for n, f1 in [(100, 0.6), (200, 0.7), (300, 0.65)]
    ]
    assert need(curve, 0.65) == pytest.approx((150, 15))
    assert need(curve, 0.5) == (100, 10)
    assert need(curve, 0.8) is None


def test_labels_saved_are_counted_where_both_got_there_and_the_others_are_told():
    def curve(*points):
        return [CurvePoint(labels=n, cost=0, macro_f1=estimate(f1)) for n, f1 in points]

    random = {0: curve((100, 0.6), (200, 0.7)), 1: curve((100, 0.6), (200, 0.7)), 2: curve((100, 0.5))}
    ours = {0: curve((100, 0.6), (150, 0.7)), 1: curve((100, 0.6), (200, 0.65)), 2: curve((100, 0.7))}
    saved = labels_saved(ours, random, dict.fromkeys(random, 0.7))
    assert saved.labels.values == (50,)
    assert saved.share.value == pytest.approx(0.25)
    assert (saved.compared, saved.only_random, saved.only_ours) == (1, 1, 1)


def test_where_random_did_best_the_first_line_says_so():
    runs = [played("margin", seed, [0.60, 0.61]) for seed in range(3)]
    runs += [played("random", seed, [0.65, 0.66 + seed / 100]) for seed in range(3)]
    first = figures(runs).conclusions[0]
    assert first.startswith("Random selection did best.")
    assert "chance alone does not explain it" in first


def test_a_strategy_beats_random_only_where_the_whole_interval_lies_above_zero():
    surely = [played("margin", seed, [0.70 + seed / 1000]) for seed in range(3)]
    perhaps = [played("margin", seed, [0.60 + seed / 10]) for seed in range(3)]
    random = [played("random", seed, [0.65]) for seed in range(3)]
    assert figures(surely + random).conclusions[0].startswith("margin beats random by 5.1 points")
    assert figures(perhaps + random).conclusions[0].startswith("No strategy is shown to beat random")


def test_strategies_worse_than_random_are_named_beside_the_winner():
    runs = [
        played(name, seed, [f1 + seed / 1000]) for seed in range(3) for name, f1 in [("margin", 0.6), ("default", 0.7)]
    ]
    runs += [played("random", seed, [0.65]) for seed in range(3)]
    assert "Random did better than margin." in figures(runs).conclusions[0]


def test_the_target_is_what_random_reached_unless_one_is_given():
    runs = [
        played("margin", 0, [0.7], curve=[(50, 0.6), (100, 0.8)]),
        played("random", 0, [0.7], curve=[(50, 0.6), (100, 0.7)]),
    ]
    assert by_strategy(figures(runs))["margin"].target.labels.value == pytest.approx(75)
    assert by_strategy(figures(runs, target=0.8))["margin"].target.labels.value == pytest.approx(100)
    assert by_strategy(figures(runs, target=0.8))["random"].target.reached == 0


def test_the_gate_is_judged_by_the_truth_of_the_month_after():
    run = played("margin", 0, [0.7, 0.7, 0.7])
    found = [decision("promote", -0.05, promoted="m"), decision("iterate", 0.05), decision("reject", -0.05)]
    points = [point.model_copy(update={"decision": each}) for point, each in zip(run.points[1:], found, strict=True)]
    gate = figures([run.model_copy(update={"points": (run.points[0], *points)})]).settings[0].gate
    assert (gate.trainings, gate.promoted, gate.iterate, gate.reject) == (3, 1, 1, 1)
    assert (gate.wrong_promotions, gate.missed, gate.judged) == (1, 1, 3)


def test_a_promotion_by_duel_is_none_of_the_gates():
    run = played("margin", 0, [0.7])
    point = run.points[1].model_copy(update={"decision": decision("iterate", 0.05, promoted="m", by_duel=True)})
    gate = figures([run.model_copy(update={"points": (run.points[0], point)})]).settings[0].gate
    assert (gate.promoted, gate.by_duel) == (0, 1)


def test_a_stale_model_is_what_the_first_champion_would_have_scored_in_the_last_month():
    runs = [played("margin", seed, [0.7, 0.8], frozen=0.6) for seed in range(2)]
    assert figures(runs).settings[0].against_frozen.value == pytest.approx(0.2)


def test_the_effect_of_a_budget_is_told_with_its_price():
    runs = [played("default", seed, [0.7], budget=50) for seed in range(2)]
    runs += [played("default", seed, [0.75], budget=100) for seed in range(2)]
    found = figures(runs, unit="EUR")
    assert found.base == 1
    assert any("a budget of 100 pages a month" in line and "+5.0 points" in line for line in found.conclusions)


def test_an_audit_that_covers_too_seldom_is_said():
    run = played("margin", 0, [0.7] * 11)
    points = [point.model_copy(update={"audit": estimate(0.5, 0.4, 0.6), "audit_truth": 0.9}) for point in run.points]
    found = figures([run.model_copy(update={"points": tuple(points)})])
    assert found.coverage.held == 0
    assert "0 of 12 months only" in found.conclusions[-1]


def test_overhead_is_the_rest_as_a_share_of_the_stages():
    run = played("margin", 0, [0.7])
    points = [point.model_copy(update={"stages_cpu_s": 2.0, "cpu_s": 2.5}) for point in run.points]
    assert figures([run.model_copy(update={"points": tuple(points)})]).time.overhead == pytest.approx(0.25)


def test_without_a_run_there_are_no_figures():
    with pytest.raises(InputError, match="No run was played"):
        figures([])


def test_random_alone_is_compared_with_nothing():
    (said, *_) = replay_figures([played("random", 0, [0.6])], name="n", family="topics", about={}).conclusions
    assert said.startswith("Only random was played")


def test_a_first_champion_that_is_still_in_use_is_no_loss_of_retraining():
    runs = [played("random", seed, [0.6, 0.7], in_use=[0.5, 0.5], frozen=0.5) for seed in (0, 1)]
    said = replay_figures(runs, name="n", family="topics", about={}).conclusions
    assert any("is the first one still" in line for line in said)
