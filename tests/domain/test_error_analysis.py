import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix, multilabel_confusion_matrix

from al_platform.domain.error_analysis import ErrorAnalysisOptions, analyse_errors
from al_platform.domain.errors import InputError
from al_platform.domain.estimators import wilson
from al_platform.domain.taxonomy import Taxonomy

COLOURS = Taxonomy(task="single", labels=("red", "green", "blue"))
RISKS = Taxonomy(task="multi", labels=("adult", "violence", "drugs"))
EVERYTHING = ErrorAnalysisOptions(min_support=1)


def hot(*classes):
    return np.eye(3, dtype=bool)[list(classes)]


def analyse(truth, decisions, probabilities=None, taxonomy=COLOURS, slices=None, options=EVERYTHING, texts=None):
    n = len(truth)
    probabilities = decisions.astype(np.float32) if probabilities is None else np.asarray(probabilities)
    pages = [f"p{row}" for row in range(n)]
    texts = texts or [f"text of {page}" for page in pages]
    return analyse_errors(pages, texts, truth, decisions, probabilities, taxonomy, slices or {}, options)


def test_each_wrong_page_is_one_confusion():
    found = analyse(hot(0, 0, 0, 1, 2), hot(0, 1, 1, 1, 0))
    assert (found.n, found.n_errors) == (5, 3)
    assert [(c.truth, c.predicted, c.n) for c in found.confusions] == [("red", "green", 2), ("blue", "red", 1)]
    assert found.class_errors == ()


def test_a_multi_label_page_is_wrong_if_any_class_is():
    truth = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    decisions = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]], dtype=bool)
    found = analyse(truth, decisions, taxonomy=RISKS)
    assert found.n_errors == 2
    assert [(c.false_positives, c.false_negatives) for c in found.class_errors] == [(1, 0), (0, 1), (0, 0)]
    assert found.confusions == ()


def test_slices_come_lowest_accuracy_first_with_their_interval():
    found = analyse(hot(0, 0, 0, 1), hot(0, 1, 0, 1), slices={"language": ["en", "de", "de", None]})
    assert [(s.value, s.n, s.errors) for s in found.slices] == [("de", 2, 1), (None, 1, 0), ("en", 1, 0)]
    assert (found.slices[0].low, found.slices[0].high) == wilson(1, 2)


def test_slices_without_support_are_counted_but_not_listed():
    options = ErrorAnalysisOptions(min_support=2)
    found = analyse(hot(0, 0, 0), hot(0, 1, 0), slices={"tier": ["a", "a", "b"]}, options=options)
    assert [s.value for s in found.slices] == ["a"]
    assert found.n_small_slices == 1


def test_the_most_confident_mistake_comes_first_and_ties_go_by_page():
    probabilities = [[0.6, 0.4, 0], [0.9, 0.1, 0], [0.6, 0.4, 0], [0.99, 0.01, 0]]
    found = analyse(hot(1, 1, 1, 0), hot(0, 0, 0, 0), probabilities)
    assert [(m.page_id, m.confidence) for m in found.mistakes] == [("p1", 0.9), ("p0", 0.6), ("p2", 0.6)]
    assert (found.mistakes[0].truth, found.mistakes[0].predicted) == (("green",), ("red",))


def test_confidence_of_a_multi_label_mistake_is_that_of_its_surest_wrong_class():
    truth = np.array([[1, 0, 0]], dtype=bool)
    decisions = np.array([[0, 1, 0]], dtype=bool)
    found = analyse(
        truth, decisions, [[0.2, 0.7, 0.01]], taxonomy=RISKS
    )  # missed with .8, given with .7, right with .99
    assert found.mistakes[0].confidence == pytest.approx(0.8)


def test_only_as_many_mistakes_as_asked_for_are_listed():
    found = analyse(hot(0, 0, 0), hot(1, 1, 1), options=ErrorAnalysisOptions(max_mistakes=2))
    assert len(found.mistakes) == 2
    assert found.n_errors == 3


def test_a_snippet_is_one_line_of_at_most_200_characters():
    found = analyse(hot(0, 0), hot(1, 1), texts=["a\n b\t c", "word " * 100])
    snippets = {mistake.page_id: mistake.snippet for mistake in found.mistakes}
    assert snippets["p0"] == "a b c"
    assert len(snippets["p1"]) == 200
    assert snippets["p1"].endswith("…")


def test_the_analysis_is_json():
    found = analyse(hot(0, 1), hot(1, 1), slices={"language": ["en", None]})
    assert json.loads(found.model_dump_json())["n_errors"] == 1


def test_a_single_label_page_without_a_decision_is_refused():
    with pytest.raises(InputError, match="1 of 2 single-label pages"):
        analyse(hot(0, 1), np.array([[True, False, False], [False, False, False]]))


def test_a_slice_of_another_length_is_refused():
    with pytest.raises(InputError, match="language has 1"):
        analyse(hot(0, 1), hot(0, 1), slices={"language": ["en"]})


def test_a_taxonomy_of_another_size_is_refused():
    with pytest.raises(InputError, match="3 classes but the taxonomy 2"):
        analyse(hot(0, 1), hot(0, 1), taxonomy=Taxonomy(task="single", labels=("red", "green")))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.int64, (15, 2), elements=st.integers(0, 2)), st.permutations(range(15)))
def test_confusions_agree_with_sklearn_and_ignore_the_order_of_pages(classes, order):
    truth, predicted = hot(*classes[:, 0]), hot(*classes[:, 1])
    probabilities = np.where(predicted, 0.5 + classes[:, :1] / 10, 0.1)
    language = [None if c == 0 else f"l{c}" for c in classes[:, 0]]
    pages, texts = [f"p{row:02}" for row in range(15)], ["text"] * 15
    found = analyse_errors(pages, texts, truth, predicted, probabilities, COLOURS, {"language": language}, EVERYTHING)
    matrix = confusion_matrix(classes[:, 0], classes[:, 1], labels=range(3))
    np.fill_diagonal(matrix, 0)
    listed = np.zeros((3, 3), dtype=int)
    for c in found.confusions:
        listed[COLOURS.labels.index(c.truth), COLOURS.labels.index(c.predicted)] = c.n
    np.testing.assert_array_equal(listed, matrix)
    assert found.n_errors == matrix.sum() == sum(s.errors for s in found.slices) == len(found.mistakes)
    shuffled = analyse_errors(
        [pages[row] for row in order],
        texts,
        *(array[list(order)] for array in (truth, predicted, probabilities)),
        COLOURS,
        {"language": [language[row] for row in order]},
        EVERYTHING,
    )
    assert shuffled == found


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(bool, (10, 3)), hnp.arrays(bool, (10, 3)))
def test_class_errors_agree_with_sklearn(truth, decisions):
    found = analyse(truth, decisions, taxonomy=RISKS)
    for errors, matrix in zip(found.class_errors, multilabel_confusion_matrix(truth, decisions), strict=True):
        assert (errors.false_positives, errors.false_negatives) == (matrix[0, 1], matrix[1, 0])
    assert found.n_errors == (truth != decisions).any(axis=1).sum()
