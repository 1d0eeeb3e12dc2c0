import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from al_platform.domain.errors import InputError
from al_platform.domain.figures import class_calibrations, model_figures, scored_rows, without_noise
from al_platform.domain.metrics import calibration_error, log_loss, macro_f1, micro_f1


def rows(is_multi=False, n=400, seed=1, weights=None):
    rng = np.random.default_rng(seed)
    if is_multi:
        probabilities = rng.beta(1, 4, (n, 3))
        truth = rng.random((n, 3)) < probabilities
        return scored_rows(truth, probabilities > 0.4, probabilities, weights, "abc", is_multi=True)
    probabilities = rng.dirichlet(np.ones(3) * 0.5, n)
    classes = np.array([rng.choice(3, p=row) for row in probabilities])
    decisions = np.eye(3, dtype=bool)[probabilities.argmax(axis=1)]
    return scored_rows(np.eye(3, dtype=bool)[classes], decisions, probabilities, weights, "abc", is_multi=False)


def figures(scored):
    return model_figures(scored, set_name="golden", seed=3, replicates=300)


@pytest.mark.parametrize("is_multi", [False, True])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_every_figure_lies_in_its_interval(is_multi, is_weighted):
    weights = np.random.default_rng(2).uniform(1, 5, 400) if is_weighted else None
    scored = rows(is_multi, weights=weights)
    found = figures(scored)
    assert found["macro_f1"]["value"] == pytest.approx(macro_f1(scored.truth, scored.decisions, weights))
    assert found["micro_f1"] == pytest.approx(micro_f1(scored.truth, scored.decisions, weights))
    for name in ("micro_f1", "accuracy", "log_loss"):
        assert found["intervals"][name]["low"] < found[name] < found["intervals"][name]["high"]
    assert 0 <= found["intervals"]["calibration_error"]["low"] <= found["intervals"]["calibration_error"]["high"]
    for each in found["per_class"]:
        for name in ("precision", "recall", "f1"):
            assert each["intervals"][name]["low"] <= each[name] <= each["intervals"][name]["high"]
        area = each["average_precision_interval"]
        assert area["low"] < each["average_precision"] < area["high"]


def test_the_area_of_each_class_agrees_with_sklearn():
    scored = rows(is_multi=True)
    for column, each in enumerate(figures(scored)["per_class"]):
        expected = average_precision_score(scored.truth[:, column], scored.probabilities[:, column])
        assert each["average_precision"] == pytest.approx(expected)


def test_the_interval_of_the_log_loss_is_that_of_a_mean():
    scored = rows(n=1000)
    found = figures(scored)["intervals"]["log_loss"]
    losses = [log_loss(scored.truth[i : i + 1], scored.probabilities[i : i + 1], is_multi=False) for i in range(1000)]
    half = 1.96 * np.std(losses) / np.sqrt(1000)
    assert found["high"] - found["low"] == pytest.approx(2 * half, rel=0.1)


def test_a_class_without_a_page_has_no_area():
    truth = np.eye(2, dtype=bool)[[0, 0, 0]]
    scored = scored_rows(truth, truth, truth.astype(float), None, "ab", is_multi=False)
    nobody = figures(scored)["per_class"][1]
    assert (nobody["pages"], nobody["average_precision"]) == (0, None)
    assert nobody["intervals"]["recall"] is None


def test_a_class_that_is_announced_too_often_has_a_bias_above_zero():
    truth = np.zeros((100, 1), dtype=bool)
    truth[:10] = True
    scored = scored_rows(truth, truth, np.full((100, 1), 0.4), None, ["rare"], is_multi=True)
    (found,) = class_calibrations(scored)
    assert found.bias == pytest.approx(0.3)
    assert found.error == pytest.approx(calibration_error(truth, np.full((100, 1), 0.4), is_multi=True))
    assert len(found.curve) == 1


def test_the_same_rows_and_seed_give_the_same_figures():
    assert figures(rows()) == figures(rows())


def test_digits_that_depend_on_the_order_of_sums_are_cut():
    assert without_noise({"a": [0.1 + 0.2, 1], "b": None}) == {"a": [0.3, 1], "b": None}


def test_no_rows_are_refused():
    empty = np.zeros((0, 2), dtype=bool)
    with pytest.raises(InputError, match="at least one row"):
        scored_rows(empty, empty, empty.astype(float), None, "ab", is_multi=False)
