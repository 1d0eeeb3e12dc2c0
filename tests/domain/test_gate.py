from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from al_platform.domain.errors import ConfigError, InputError
from al_platform.domain.estimators import Difference, Estimate
from al_platform.domain.evidence import GateEvidence, ModelFacts, ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import SIZE_OPTIONS, GateOptions, Verdict, decide, loosened, remember
from al_platform.domain.guardrails import ClassDifference
from al_platform.domain.metrics import macro_f1
from al_platform.domain.shared_error import GoldenHistory, continue_history
from al_platform.domain.slices import SliceDifference
from al_platform.domain.taxonomy import Taxonomy

OPTIONS = GateOptions()
SUPERIOR = GateOptions(rule="superior")
PROTECTIVE = GateOptions(protected=("crime",))
FACTS = ModelFacts(errors_analysed=40, model_bytes=4_000_000, is_fast_enough=True)


def difference(point, half=0.002, n=4000, where="golden"):
    return Difference(point=point, lower=point - half, upper=point + half, confidence=0.95, n=n, set=where)


def figure(value, half=0.02, n=4000, where="golden"):
    return Estimate(value=value, low=value - half, high=value + half, n=n, set=where)


def evidence(golden=None, audit=0.01, audit_rows=500, macro=0.7, is_first=False, worse_ece=0.0, **more):
    return GateEvidence(
        challenger_digest="new",
        champion_digest=None if is_first else "old",
        n_challengers=1,
        confidence=0.95,
        golden=golden or difference(0.01),
        golden_macro_f1=figure(macro, n=golden.n if golden else 4000),
        audit=None if audit is None else difference(audit, 0.01, audit_rows, "audit"),
        audit_macro_f1=None if audit is None else figure(macro, n=audit_rows, where="audit"),
        challenger_ece=0.05,
        ece_difference=None if is_first else difference(worse_ece, 0.005),
        golden_errors=40,
        **{"facts": FACTS, **more},
    )


def class_difference(label, point, p):
    return ClassDifference(label=label, difference=difference(point, n=60), recall=None, p_of_harm=p)


def slice_difference(point, p, n=300):
    return SliceDifference(slice="language", value="de", difference=difference(point, n=n), p_of_harm=p)


def check(verdict: Verdict, name):
    return next(check for check in verdict.checks if check.name == name)


# against a champion


def test_a_better_challenger_is_promoted_under_both_rules():
    for options in (OPTIONS, SUPERIOR):
        verdict = decide(evidence(), options)
        assert verdict.verdict == "promote"
        assert verdict.missing_rows is None
        assert (verdict.rule, verdict.challenger_digest, verdict.champion_digest) == (options.rule, "new", "old")


def test_an_equal_challenger_is_promoted_only_where_it_need_not_be_better():
    equal = evidence(difference(0.0), audit=0.0)
    assert decide(equal, OPTIONS).verdict == "promote"
    assert decide(equal, SUPERIOR).verdict == "iterate"


def test_the_lower_bound_must_be_above_the_margin_not_at_it():
    at_margin = Difference(point=0.0, lower=-0.005, upper=0.005, confidence=0.95, n=4000, set="golden")
    assert decide(evidence(at_margin), OPTIONS).verdict == "iterate"


def test_significant_harm_is_rejected():
    verdict = decide(evidence(difference(-0.01)), OPTIONS)
    assert verdict.verdict == "reject"
    assert "-0.0100" in verdict.reason


def test_harm_within_the_margin_is_rejected_only_where_the_challenger_must_be_better():
    slightly_worse = evidence(difference(-0.003, half=0.001))
    assert decide(slightly_worse, OPTIONS).verdict == "promote"
    assert decide(slightly_worse, SUPERIOR).verdict == "reject"


def test_an_undecided_difference_says_how_many_rows_are_missing():
    # the lower bound lies .02 below the point, the threshold .01 below: (.02 / .01)^2 * 4,000 rows
    verdict = decide(evidence(difference(0.005, half=0.02)), OPTIONS)
    assert verdict.verdict == "iterate"
    assert verdict.missing_rows == pytest.approx(16_000 - 4000, abs=1)
    assert f"{verdict.missing_rows} more rows" in verdict.reason


def test_a_difference_below_the_threshold_says_how_many_rows_harm_would_need():
    verdict = decide(evidence(difference(-0.015, half=0.02)), OPTIONS)
    assert verdict.verdict == "iterate"
    assert verdict.missing_rows == pytest.approx(16_000 - 4000, abs=1)


def test_no_number_of_rows_settles_a_difference_at_the_threshold():
    verdict = decide(evidence(difference(0.0)), SUPERIOR)
    assert (verdict.verdict, verdict.missing_rows) == ("iterate", None)


def test_too_few_golden_rows_decide_nothing_even_where_harm_is_plain():
    for point in (0.2, -0.2):
        verdict = decide(evidence(difference(point, n=400)), OPTIONS)
        assert (verdict.verdict, verdict.missing_rows) == ("iterate", 600)
        assert "400 rows" in verdict.reason


def test_too_few_audit_rows_leave_the_verdict_open():
    verdict = decide(evidence(audit_rows=120), OPTIONS)
    assert (verdict.verdict, verdict.missing_rows) == ("iterate", 180)
    assert check(verdict, "audit_difference").passed is None


def test_no_audit_leaves_the_verdict_open():
    verdict = decide(evidence(audit=None), OPTIONS)
    assert (verdict.verdict, verdict.missing_rows) == ("iterate", 300)


def test_missing_rows_of_golden_and_audit_add_up():
    verdict = decide(evidence(difference(0.2, n=400), audit_rows=120), OPTIONS)
    assert verdict.missing_rows == 600 + 180


def test_a_loss_on_audit_is_not_promoted_but_not_rejected_either():
    verdict = decide(evidence(audit=-0.002), OPTIONS)
    assert verdict.verdict == "iterate"
    # the upper bound lies .01 above the point, the threshold .002: 500 * 5^2 rows
    assert verdict.missing_rows == pytest.approx(12_500 - 500, abs=1)


def test_audit_must_reach_the_required_gain():
    asked = GateOptions(required_gain=0.02)
    assert decide(evidence(audit=0.02), asked).verdict == "promote"
    assert decide(evidence(audit=0.019), asked).verdict == "iterate"


def test_calibration_significantly_worse_than_the_slack_allows_is_not_promoted():
    assert decide(evidence(worse_ece=0.014), OPTIONS).verdict == "promote"
    verdict = decide(evidence(worse_ece=0.016), OPTIONS)
    assert verdict.verdict == "iterate"
    assert check(verdict, "calibration").passed is False
    assert "calibration" in verdict.reason


# guardrails


def test_a_class_that_lost_significantly_is_rejected_though_the_average_gained():
    harmed = (class_difference("sport", -0.2, 0.004), class_difference("tech", 0.1, 1.0))
    verdict = decide(evidence(classes=harmed), OPTIONS)
    assert verdict.verdict == "reject"
    assert "sport -0.2000" in verdict.reason
    assert "tech" not in verdict.reason
    assert check(verdict, "class_guardrail").value == 0.004


def test_a_class_whose_loss_may_be_chance_does_not_block():
    assert decide(evidence(classes=(class_difference("sport", -0.2, 0.06),)), OPTIONS).verdict == "promote"


def test_protected_recall_must_be_shown_to_be_not_much_lower():
    kept, lost, open_ = (difference(point, 0.03, n=100) for point in (-0.01, -0.09, -0.04))
    assert decide(evidence(protected=kept), PROTECTIVE).verdict == "promote"
    assert decide(evidence(protected=lost), PROTECTIVE).verdict == "reject"
    verdict = decide(evidence(protected=open_), PROTECTIVE)
    assert verdict.verdict == "iterate"
    # .03 of width to .01 of gap on 100 pairs: 800 more pairs, each of 40 golden pages
    assert verdict.missing_rows == pytest.approx(800 * 40, abs=40)


def test_protected_recall_on_too_few_pages_is_not_decided():
    verdict = decide(evidence(protected=difference(0.2, n=20)), PROTECTIVE)
    assert verdict.verdict == "iterate"
    assert verdict.missing_rows == 30 * 4000 / 20
    assert "no golden page" in decide(evidence(), PROTECTIVE).reason


def test_a_large_slice_that_lost_much_blocks_and_a_small_or_doubtful_one_is_warned_of():
    assert decide(evidence(slices=(slice_difference(-0.06, 0.01),)), OPTIONS).verdict == "reject"
    for doubtful in (slice_difference(-0.06, 0.01, n=50), slice_difference(-0.06, 0.2)):
        verdict = decide(evidence(slices=(doubtful,)), OPTIONS)
        assert verdict.verdict == "promote"
        assert "language de (-0.0600" in verdict.warnings[0]
    assert decide(evidence(slices=(slice_difference(-0.04, 0.001),)), OPTIONS).warnings == ()


def test_a_challenger_must_beat_the_simpler_model():
    assert decide(evidence(simpler=difference(0.01)), OPTIONS).verdict == "promote"
    verdict = decide(evidence(simpler=difference(0.001)), OPTIONS)
    assert verdict.verdict == "iterate"
    assert "worth its cost" in verdict.reason


@pytest.mark.parametrize(
    ("fact", "name"),
    [
        ({"errors_analysed": None}, "error_analysis"),
        ({"errors_analysed": 39}, "error_analysis"),
        ({"model_bytes": 2_000_000_001}, "model_size"),
        ({"model_bytes": None}, "model_size"),
        ({"is_fast_enough": False}, "latency"),
        ({"is_fast_enough": None}, "latency"),
    ],
)
def test_error_analysis_and_budgets_must_be_there_and_hold(fact, name):
    verdict = decide(evidence(facts=FACTS.model_copy(update=fact)), OPTIONS)
    assert verdict.verdict == "iterate"
    assert not check(verdict, name).passed


def test_the_clocks_figure_is_in_no_check():
    assert check(decide(evidence(), OPTIONS), "latency").value is None


# the first champion


def test_the_first_champion_needs_no_audit():
    verdict = decide(evidence(difference(0.4), audit=None, is_first=True), OPTIONS)
    assert (verdict.verdict, verdict.rule) == ("promote", "first_champion")
    assert not check(verdict, "audit_difference").required
    assert not check(verdict, "calibration").required


def test_the_first_champion_must_beat_the_baseline():
    assert decide(evidence(difference(0.001), is_first=True), OPTIONS).verdict == "iterate"
    assert decide(evidence(difference(-0.004), is_first=True), OPTIONS).verdict == "reject"


def test_the_first_champion_must_reach_the_floor():
    better = difference(0.4)
    assert decide(evidence(better, macro=0.30, is_first=True), OPTIONS).verdict == "promote"
    assert decide(evidence(better, macro=0.29, is_first=True), OPTIONS).verdict == "iterate"
    assert decide(evidence(better, macro=0.27, is_first=True), OPTIONS).verdict == "reject"


def test_the_first_champion_needs_enough_golden_rows_too():
    verdict = decide(evidence(difference(0.4, n=999), is_first=True), OPTIONS)
    assert (verdict.verdict, verdict.missing_rows) == ("iterate", 1)


# options


def test_the_verdict_says_what_is_looser_than_production():
    small = GateOptions(min_golden=200, min_audit=50)
    assert decide(evidence(), small).loosened == (
        "min_audit is 50 instead of 300",
        "min_golden is 200 instead of 1000",
    )
    assert decide(evidence(), small, production=small).loosened == ()


def test_only_sizes_may_be_looser():
    assert set(loosened(GateOptions(min_golden=5, min_audit=5, min_protected=5), OPTIONS)) == SIZE_OPTIONS
    assert loosened(GateOptions(margin=0.02, confidence=0.9), OPTIONS) == ["confidence", "margin"]
    assert loosened(OPTIONS, SUPERIOR) == ["rule"]
    assert loosened(SUPERIOR, OPTIONS) == []


def test_every_option_has_a_direction_in_which_it_is_looser():
    for name in GateOptions.model_fields:
        special = {"rule": ["non_inferior", "superior"], "replicates": [300, 400], "protected": [(), ("crime",)]}
        values = special.get(name, [5, 6] if name.startswith("min_") else [0.6, 0.7])
        first, second = (GateOptions(**{name: value}) for value in values)
        assert (loosened(first, second) + loosened(second, first)) == [name]


def test_an_unknown_option_is_an_error():
    with pytest.raises(ValidationError, match="margins"):
        GateOptions(margins=0.1)


def test_evidence_gathered_for_another_confidence_is_refused():
    with pytest.raises(ConfigError, match=r"0\.99.*0\.95"):
        decide(evidence(), GateOptions(confidence=0.99))


def test_a_verdict_survives_json():
    verdict = decide(evidence(), OPTIONS)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


# evidence


def output(classes, confidence=0.7):
    decisions = np.eye(3, dtype=bool)[classes]
    return ModelOutput(decisions, np.where(decisions, confidence, (1 - confidence) / 2))


def scored(seed, n, champion_skill=0.6, challenger_skill=0.8, has_champion=True, **more):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    champion = output(np.where(rng.random(n) < champion_skill, truth, (truth + 1) % 3))
    challenger = output(np.where(rng.random(n) < challenger_skill, truth, (truth + 1) % 3), 0.8)
    return ScoredSet(np.eye(3, dtype=bool)[truth], challenger, champion if has_champion else None, **more)


def gather(golden, audit, validation, champion_digest="old", **more):
    labels = tuple("abcd"[: golden.truth.shape[1]])
    known = {"taxonomy": Taxonomy(task="single", labels=labels), "challenger_digest": "new", "seed": 1}
    wrong = int((golden.truth != golden.challenger.decisions).any(axis=1).sum())
    known |= {"options": GateOptions(replicates=300), "facts": FACTS.model_copy(update={"errors_analysed": wrong})}
    return gather_evidence(golden, audit, validation, champion_digest=champion_digest, **{**known, **more})


def test_evidence_from_arrays_leads_to_a_promotion():
    golden = scored(1, 1200)
    found = gather(golden, scored(2, 400), scored(3, 600))
    gain = macro_f1(golden.truth, golden.challenger.decisions) - macro_f1(golden.truth, golden.champion.decisions)
    assert found.golden.point == pytest.approx(gain)
    assert (found.golden.n, found.audit.n) == (1200, 400)
    right = (golden.truth & golden.challenger.decisions).any(axis=1).mean()
    assert found.challenger_ece == pytest.approx(abs(0.8 - right))
    assert decide(found, OPTIONS).verdict == "promote"


def test_audit_is_weighted_by_its_inclusion_probabilities():
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 1]]
    all_zero, right = output([0, 0, 0, 0]), output([0, 0, 1, 1])
    audit = ScoredSet(truth, right, all_zero, inclusion_probabilities=np.array([1.0, 1.0, 0.1, 0.1]))
    found = gather(scored(1, 50), audit, scored(3, 50))
    # the champion's class 0 has tp 2, predicted 22, support 2, and class 1 none of its 20
    assert found.audit.point == pytest.approx(1 - (4 / 24 + 0) / 2)


def test_the_first_champion_is_compared_with_the_baseline():
    golden = scored(1, 1200, has_champion=False, baseline=np.tile([True, False, False], (1200, 1)))
    found = gather(golden, None, scored(3, 600, has_champion=False), champion_digest=None)
    assert found.audit is None
    assert found.ece_difference is None
    verdict = decide(found, OPTIONS)
    assert (verdict.verdict, verdict.rule) == ("promote", "first_champion")


def test_calibration_is_not_judged_on_the_pages_that_the_temperature_was_fitted_on():
    golden = scored(1, 1200)
    # Right on 8 of 10 golden pages and 99 % sure of each; on validation it is as sure as it is right.
    overconfident = output(golden.challenger.decisions.argmax(axis=1), 0.99)
    golden = replace(golden, challenger=overconfident)
    verdict = decide(gather(golden, scored(2, 400), scored(3, 600)), OPTIONS)
    assert check(verdict, "calibration").passed is False
    assert (check(verdict, "calibration").set, verdict.verdict) == ("golden", "iterate")


def test_two_models_of_equal_calibration_are_rarely_told_apart():
    refused = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = np.eye(2, dtype=bool)[rng.integers(0, 2, 120)]

        def noisy(truth=truth, rng=rng):
            logits = np.where(truth, 1.0, -1.0) + rng.normal(0, 1, truth.shape)
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            return ModelOutput(shares >= 0.5, shares.astype(np.float32))

        found = gather(ScoredSet(truth, noisy(), noisy()), None, scored(3, 50))
        refused += found.ece_difference.lower > OPTIONS.ece_slack
    assert refused <= 6  # 5 % expected; more than 6 of 40 has a probability below 1 %


def test_an_audit_without_rows_is_no_audit():
    assert gather(scored(1, 50), scored(2, 0), scored(3, 50)).audit is None


def test_several_challengers_share_the_error():
    alone, shared = (gather(scored(1, 300), None, scored(3, 50), n_challengers=k) for k in (1, 5))
    assert shared.golden.confidence == pytest.approx(0.99)
    assert shared.golden.lower < alone.golden.lower
    assert decide(shared, OPTIONS).verdict == "iterate"


def test_golden_without_anything_to_compare_with_is_refused():
    with pytest.raises(InputError, match="most frequent answer"):
        gather(scored(1, 50, has_champion=False), None, scored(3, 50, has_champion=False), champion_digest=None)


def test_sets_scored_with_different_models_are_refused():
    with pytest.raises(InputError, match="validation was scored without one"):
        gather(scored(1, 50), None, scored(3, 50, has_champion=False))


def test_several_sets_of_evidence_make_the_same_figures():
    golden, validation = scored(1, 300), scored(3, 50)
    assert gather(golden, scored(2, 100), validation) == gather(golden, scored(2, 100), validation)


def test_slices_and_classes_are_compared_on_golden_and_audit():
    pages = {"slices": {"language": ["en"] * 150 + ["de"] * 150}}
    found = gather(scored(1, 300, **pages), scored(2, 300, **pages), scored(3, 50))
    assert [(each.difference.set, each.value) for each in found.slices] == [
        ("golden", "de"),
        ("golden", "en"),
        ("audit", "de"),
        ("audit", "en"),
    ]
    assert [each.label for each in found.classes] == ["a", "b", "c"]
    assert sum(each.difference.n for each in found.classes) == 300


def test_the_simpler_model_is_compared_on_golden():
    simpler = scored(1, 300).champion
    found = gather(scored(1, 300, simpler=simpler), None, scored(3, 50))
    assert found.simpler.point == found.golden.point
    assert gather(scored(1, 300), None, scored(3, 50)).simpler is None


def test_decisions_on_the_same_golden_pages_are_remembered_and_share_the_error():
    history = continue_history(None, [f"page {number}" for number in range(100)])
    first = remember(decide(evidence(difference(0.0), audit=0.0), SUPERIOR), history, "2026-03", 0.6)
    assert [each.verdict for each in first.golden_history.decisions] == ["iterate"]
    stored = GoldenHistory.model_validate(first.model_dump(mode="json")["golden_history"])
    share = stored.share_of("newer", "old", OPTIONS.spend)
    assert share == pytest.approx(0.4 * 0.6)
    found = gather(scored(1, 300), None, scored(3, 50), share=share)
    assert found.golden.confidence == pytest.approx(1 - 0.05 * share)


def test_at_most_one_in_twenty_is_promoted_at_a_true_loss_of_the_margin():
    # 4 classes of equal size with errors spread evenly: each class's true F1 is its share right. So the true loss is
    # the share of pages on which only the champion is right minus that on which only the challenger is.
    margin, n, trials = 0.02, 600, 250
    rng = np.random.default_rng(20)
    validation, audit = scored(3, 50), scored(2, 400)
    options = GateOptions(margin=margin, min_golden=n, replicates=300, ece_slack=1)
    promoted = 0
    for trial in range(trials):
        truth = rng.integers(0, 4, n)
        case = rng.choice(4, n, p=[0.7, 0.09, 0.09 - margin, 0.12 + margin])  # both, champion, challenger, none right
        wrong = (truth + rng.integers(1, 4, n)) % 4
        sides = (truth, np.where(case % 2 == 0, truth, wrong), np.where(case < 2, truth, wrong))
        truth_hot, challenger, champion = (np.eye(4, dtype=bool)[side] for side in sides)
        golden = ScoredSet(truth_hot, ModelOutput(challenger, challenger * 1.0), ModelOutput(champion, champion * 1.0))
        found = gather(golden, audit, validation, seed=trial, options=options)
        promoted += decide(found, options).verdict == "promote"
    assert 1 <= promoted <= stats.binom.ppf(0.999, trials, 0.05)
