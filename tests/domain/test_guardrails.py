import numpy as np
import pytest

from al_platform.domain.errors import ConfigError
from al_platform.domain.guardrails import Contest, class_differences, protected_recall, threshold_at_precision

LABELS = ("crime", "alcohol")


def contest(truth, champion, challenger, probabilities=None):
    sides = [np.array(side, dtype=bool) for side in (truth, champion, challenger)]
    given = sides[2].astype(np.float32) if probabilities is None else np.array(probabilities, dtype=np.float32)
    return Contest(*sides, sides[1].astype(np.float32), given)


def test_the_threshold_finds_as_much_as_the_precision_allows():
    truth, scores = np.array([1, 1, 0, 1, 0], dtype=bool), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert threshold_at_precision(truth, scores, 1.0) == pytest.approx(0.8)
    assert threshold_at_precision(truth, scores, 0.75) == pytest.approx(0.6)
    assert threshold_at_precision(truth, scores, 0.0) == pytest.approx(0.5)


def test_where_no_threshold_is_as_precise_the_most_precise_one_is_taken():
    truth, scores = np.array([0, 1, 1], dtype=bool), np.array([0.9, 0.8, 0.7])
    assert threshold_at_precision(truth, scores, 0.99) == pytest.approx(0.7)


def test_without_a_true_page_there_is_no_threshold():
    assert threshold_at_precision(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3]), 0.5) is None


def test_recall_is_compared_at_the_champions_precision_not_at_the_challengers_threshold():
    # The challenger ranks as the champion does, but its threshold is so high that it finds nothing.
    truth = np.tile([[True, False], [False, False]], (50, 1))
    probabilities = np.where(truth, 0.4, 0.1)
    found = contest(truth, truth, np.zeros_like(truth), probabilities)
    assert protected_recall(found, found, LABELS, ("crime",), 0.95).point == 0


def test_a_challenger_that_ranks_worse_loses_recall_at_the_champions_precision():
    truth = np.tile([[True, False], [True, False], [False, False]], (40, 1))
    probabilities = np.tile([[0.9, 0], [0.2, 0], [0.5, 0]], (40, 1))
    everything = np.ones_like(truth)
    found = contest(truth, truth, everything, probabilities)
    recall = protected_recall(found, found, LABELS, ("crime",), 0.95)
    assert recall.point == -0.5
    assert recall.n == 80
    assert recall.upper < -0.3


def test_without_protected_labels_nothing_is_guarded():
    found = contest([[True, False]], [[True, False]], [[True, False]])
    assert protected_recall(found, found, LABELS, (), 0.95) is None


def test_an_unknown_protected_label_is_refused_with_the_nearest():
    found = contest([[True, False]], [[True, False]], [[True, False]])
    with pytest.raises(ConfigError, match=r"'crimes'.*Did you mean 'crime'"):
        protected_recall(found, found, LABELS, ("crimes",), 0.95)


def test_only_classes_with_enough_pages_are_guarded_and_losses_are_corrected_for_their_number():
    rng = np.random.default_rng(1)
    truth = np.zeros((400, 3), dtype=bool)
    truth[:200, 0] = truth[200:390, 1] = truth[390:, 2] = True
    champion = truth & (rng.random((400, 1)) < 0.9)
    challenger = champion.copy()
    challenger[:60, 0] = False
    found = class_differences(
        contest(truth, champion, challenger), ("a", "b", "c"), min_support=50, margin=0.01, confidence=0.95
    )
    assert [each.label for each in found] == ["a", "b"]
    assert found[0].difference.point < -0.1
    assert found[0].p_of_harm < 0.001
    assert found[1].p_of_harm > 0.5
    assert found[0].recall.point < -0.2


def test_equal_classes_are_seldom_called_harmed_though_there_are_many():
    harmed = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = np.eye(10, dtype=bool)[rng.integers(0, 10, 1000)]
        sides = [np.where(rng.random((1000, 1)) < 0.8, truth, np.roll(truth, 1, axis=1)) for _ in range(2)]
        found = class_differences(
            contest(truth, *sides), list("abcdefghij"), min_support=50, margin=0.0, confidence=0.95
        )
        harmed += any(each.p_of_harm <= 0.05 for each in found)
    assert harmed <= 20  # 5 % expected at most; more than 20 of 200 has a probability below 0.2 %
