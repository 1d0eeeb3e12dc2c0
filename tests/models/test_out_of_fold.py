import numpy as np
import pytest

from al_platform.domain.label_errors import find_suspects
from al_platform.models.out_of_fold import out_of_fold_probabilities

WORDS = {"sport": "goal team match", "tech": "chip code cloud"}


def pages(n=30):
    names = list(WORDS)
    labels = np.arange(n) % 2
    texts = [f"{WORDS[names[label]]} number {number}" for number, label in enumerate(labels)]
    return texts, np.eye(2, dtype=bool)[labels]


def test_a_wrong_label_is_found_by_a_model_that_has_not_seen_it():
    texts, given = pages()
    given[4] = given[4][::-1]
    probabilities = out_of_fold_probabilities(texts, given, np.arange(len(texts)), is_multi=False)
    assert find_suspects(probabilities, given, is_multi=False).rows[0] == 4


def test_copies_do_not_vouch_for_one_anothers_label():
    texts, given = pages()
    given[4] = given[4][::-1]
    texts, given = [*texts, *[texts[4]] * 3], np.concatenate([given, given[[4, 4, 4]]])
    groups = np.concatenate([np.arange(30), [4, 4, 4]])
    probabilities = out_of_fold_probabilities(texts, given, groups, is_multi=False)
    assert probabilities[4].argmax() != given[4].argmax()
    assert probabilities[30].argmax() != given[30].argmax()


def test_the_same_pages_give_the_same_probabilities():
    texts, given = pages()
    first, second = (out_of_fold_probabilities(texts, given, np.arange(30), is_multi=True) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_class_of_few_pages_has_no_model():
    texts, given = pages()
    rare = np.zeros((30, 1), dtype=bool)
    rare[0] = True
    found = out_of_fold_probabilities(texts, np.hstack([given, rare]), np.arange(30), is_multi=True)
    assert np.isnan(found[:, 2]).all()
    assert not np.isnan(found[:, :2]).any()


@pytest.mark.parametrize("is_multi", [True, False])
def test_no_pages_are_no_error(is_multi):
    found = out_of_fold_probabilities([], np.zeros((0, 2), dtype=bool), np.zeros(0, dtype=np.int64), is_multi=is_multi)
    assert found.shape == (0, 2)
