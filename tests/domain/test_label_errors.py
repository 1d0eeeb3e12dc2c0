import numpy as np
import pytest

from al_platform.domain.label_errors import find_suspects

LABELS = 3


def one_hot(labels, classes=LABELS):
    return np.eye(classes, dtype=bool)[np.array(labels)]


def noisy(seed, n=400, classes=LABELS, wrong=0.08):
    """Labels of which some are wrong, and what a fair model that has not seen them says."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes))
    logits[np.arange(n), truth] += 3
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    is_wrong = rng.random(n) < wrong
    given = np.where(is_wrong, (truth + rng.integers(1, classes, n)) % classes, truth)
    return probabilities, given, is_wrong


def test_a_page_that_the_model_is_sure_is_something_else_is_suspect():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05]])
    found = find_suspects(probabilities, one_hot([0, 0, 1, 1], 2), is_multi=False)
    assert found.rows.tolist() == [3]
    assert found.classes.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.9])


def test_confidence_is_measured_by_each_labels_own_pages():
    # 0.6 is much for class 1, whose own pages have 0.55 on average, and little for class 0 with 0.9.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.45, 0.55], [0.45, 0.55], [0.4, 0.6]])
    found = find_suspects(probabilities, one_hot([0, 0, 1, 1, 0], 2), is_multi=False)
    assert found.rows.tolist() == [4]
    turned = find_suspects(probabilities[:, ::-1], one_hot([1, 1, 0, 0, 1], 2), is_multi=False)
    assert turned.rows.tolist() == [4]


@pytest.mark.parametrize("seed", range(3))
def test_suspects_are_those_of_the_authors_library(seed):
    cleanlab = pytest.importorskip("cleanlab.filter", reason="compares with the authors' library where it is there")
    probabilities, given, _ = noisy(seed)
    ranked = cleanlab.find_label_issues(
        given, probabilities, filter_by="confident_learning", return_indices_ranked_by="normalized_margin", n_jobs=1
    )
    found = find_suspects(probabilities, one_hot(given), is_multi=False)
    assert set(found.rows.tolist()) == set(ranked.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_most_of_the_first_suspects_are_wrong(seed):
    probabilities, given, is_wrong = noisy(seed)
    found = find_suspects(probabilities, one_hot(given), is_multi=False)
    assert is_wrong[found.rows[:15]].mean() > 0.85


def test_each_class_of_a_multi_label_page_may_be_wrong_by_itself():
    yes = np.array([[0.9, 0.1], [0.85, 0.2], [0.1, 0.9], [0.1, 0.1], [0.9, 0.1]])
    given = np.array([[1, 0], [1, 0], [0, 1], [1, 0], [1, 1]], dtype=bool)
    found = find_suspects(yes, given, is_multi=True)
    assert dict(zip(found.rows.tolist(), found.classes.tolist(), strict=True)) == {3: 0, 4: 1}


def test_a_class_without_a_model_doubts_nothing():
    probabilities = np.full((4, 2), np.nan)
    assert not len(find_suspects(probabilities, np.ones((4, 2), dtype=bool), is_multi=True).rows)
    assert not len(find_suspects(probabilities, one_hot([0, 0, 1, 1], 2), is_multi=False).rows)


def test_no_pages_are_no_error():
    for is_multi in (True, False):
        assert not len(find_suspects(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool), is_multi=is_multi).rows)
