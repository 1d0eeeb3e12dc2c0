import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from al_platform.domain.errors import ConfigError, InputError
from al_platform.domain.estimators import Difference, Estimate
from al_platform.domain.evidence import GateEvidence, ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import SIZE_OPTIONS, GateOptions, Verdict, decide, loosened
from al_platform.domain.metrics import macro_f1

OPTIONS = GateOptions()
SUPERIOR = GateOptions(rule="superior")


def difference(point, half=0.002, n=4000, where="golden"):
    return Difference(point=point, lower=point - half, upper=point + half, confidence=0.95, n=n, set=where)


def figure(value, half=0.02, n=4000, where="golden"):
    return Estimate(value=value, low=value - half, high=value + half, n=n, set=where)


def evidence(golden=None, audit=0.01, audit_rows=500, macro=0.7, is_first=False, worse_ece=0.0):
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
        ece_difference=None if is_first else difference(worse_ece, 0.005, 800, "validation"),
        n_validation=800,
    )


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
    assert set(loosened(GateOptions(min_golden=5, min_audit=5), OPTIONS)) == SIZE_OPTIONS
    assert loosened(GateOptions(margin=0.02, confidence=0.9), OPTIONS) == ["confidence", "margin"]
    assert loosened(OPTIONS, SUPERIOR) == ["rule"]
    assert loosened(SUPERIOR, OPTIONS) == []


def test_every_option_has_a_direction_in_which_it_is_looser():
    for name in GateOptions.model_fields:
        values = ["non_inferior", "superior"] if name == "rule" else [0.6, 0.7] if name != "replicates" else [300, 400]
        values = [5, 6] if name.startswith("min_") else values
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
    known = {"is_multi": False, "challenger_digest": "new", "champion_digest": champion_digest, "seed": 1}
    return gather_evidence(golden, audit, validation, replicates=300, **{**known, **more})


def test_evidence_from_arrays_leads_to_a_promotion():
    golden, validation = scored(1, 1200), scored(3, 600)
    found = gather(golden, scored(2, 400), validation)
    gain = macro_f1(golden.truth, golden.challenger.decisions) - macro_f1(golden.truth, golden.champion.decisions)
    assert found.golden.point == pytest.approx(gain)
    assert (found.golden.n, found.audit.n, found.n_validation) == (1200, 400, 600)
    right = (validation.truth & validation.challenger.decisions).any(axis=1).mean()
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


def test_without_validation_rows_calibration_is_not_asked_for():
    found = gather(scored(1, 1200), scored(2, 400), scored(3, 0))
    assert found.challenger_ece is None
    verdict = decide(found, OPTIONS)
    assert not check(verdict, "calibration").required
    assert "calibration" not in verdict.reason


def test_two_models_of_equal_calibration_are_rarely_told_apart():
    refused = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = np.eye(2, dtype=bool)[rng.integers(0, 2, 120)]

        def noisy(truth=truth, rng=rng):
            logits = np.where(truth, 1.0, -1.0) + rng.normal(0, 1, truth.shape)
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            return ModelOutput(shares >= 0.5, shares.astype(np.float32))

        validation = ScoredSet(truth, noisy(), noisy())
        found = gather(scored(1, 50), None, validation)
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
        found = gather(golden, audit, validation, seed=trial)
        promoted += decide(found, options).verdict == "promote"
    assert 1 <= promoted <= stats.binom.ppf(0.999, trials, 0.05)
