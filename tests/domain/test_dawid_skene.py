import numpy as np
import pytest

from al_platform.domain.dawid_skene import DawidSkeneOptions, Responses, estimate


def simulated(seed, n_items=600, n_classes=3, accuracies=(0.95, 0.9, 0.6, 0.4), answers=3):
    """Each item is answered by some of the annotators, who err towards any other class."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(n_classes, n_items, p=np.arange(1, n_classes + 1) / np.arange(1, n_classes + 1).sum())
    item = np.repeat(np.arange(n_items), answers)
    annotator = np.concatenate([rng.choice(len(accuracies), answers, replace=False) for _ in range(n_items)])
    is_right = rng.random(len(item)) < np.array(accuracies)[annotator]
    wrong = (truth[item] + rng.integers(1, n_classes, len(item))) % n_classes
    return truth, Responses(
        item, annotator, np.where(is_right, truth[item], wrong), n_items, len(accuracies), n_classes
    )


def nothing_known(responses):
    return np.full(responses.n_items, -1)


def majority(responses):
    votes = np.zeros((responses.n_items, responses.n_classes))
    np.add.at(votes, (responses.item, responses.choice), 1)
    return votes.argmax(axis=1)


def slow_dawid_skene(responses, rounds, *, leaves_out):
    """The paper's equations 2.3 to 2.5, one answer at a time, with neither shrinkage nor known classes."""
    n, w, c = responses.n_items, responses.n_annotators, responses.n_classes
    answers = list(zip(responses.item.tolist(), responses.annotator.tolist(), responses.choice.tolist(), strict=True))
    posterior = [[0.0] * c for _ in range(n)]
    for item, _, choice in answers:
        posterior[item][choice] += 1
    posterior = [[vote / sum(votes) for vote in votes] for votes in posterior]
    for _ in range(rounds):
        prior = [(sum(row[k] for row in posterior) + 1) / (n + c) for k in range(c)]
        matrix = [[[0.0] * c for _ in range(c)] for _ in range(w)]
        for item, annotator, choice in answers:
            for true in range(c):
                matrix[annotator][true][choice] += posterior[item][true]
        after = [list(prior) for _ in range(n)]
        for item, annotator, choice in answers:
            for true in range(c):
                own = posterior[item][true] if leaves_out else 0
                row = matrix[annotator][true]
                after[item][true] *= max((row[choice] - own) / (sum(row) - own), 1e-9)
        posterior = [[each / sum(row) for each in row] for row in after]
    return np.array(posterior)


def test_it_is_the_model_of_the_paper_with_each_answer_weighed_by_the_others():
    _, responses = simulated(0, n_items=150)
    found = estimate(responses, nothing_known(responses), DawidSkeneOptions(shrinkage=0, iterations=60))
    assert found.posterior == pytest.approx(slow_dawid_skene(responses, 60, leaves_out=True), abs=5e-3)


def test_with_many_answers_that_makes_no_difference_to_the_paper():
    _, responses = simulated(0, n_items=1500)
    found = estimate(responses, nothing_known(responses), DawidSkeneOptions(shrinkage=0))
    classic = slow_dawid_skene(responses, 40, leaves_out=False)
    assert (found.posterior.argmax(axis=1) == classic.argmax(axis=1)).mean() > 0.99
    assert np.abs(found.posterior - classic).mean() < 0.02


def test_two_who_are_as_good_and_contradict_each_other_stay_a_tie():
    item, truth = np.repeat(np.arange(60), 2), np.repeat(np.arange(60) % 3, 2)
    choice = truth.copy()
    choice[:2] = [0, 1]
    responses = Responses(item, np.tile([0, 1], 60), choice, 60, 2, 3)
    assert estimate(responses, nothing_known(responses), DawidSkeneOptions()).posterior[0].max() < 0.6


@pytest.mark.parametrize("seed", range(3))
def test_it_is_right_more_often_than_a_majority_where_annotators_differ(seed):
    truth, responses = simulated(seed)
    found = estimate(responses, nothing_known(responses), DawidSkeneOptions())
    by_majority = (majority(responses) == truth).mean()
    assert (found.posterior.argmax(axis=1) == truth).mean() > by_majority + 0.03


def test_it_finds_how_often_each_annotator_is_right():
    _, responses = simulated(1, n_items=2000)
    found = estimate(responses, nothing_known(responses), DawidSkeneOptions())
    assert found.accuracy == pytest.approx([0.95, 0.9, 0.6, 0.4], abs=0.05)


def test_probabilities_mean_what_they_say():
    truth, responses = simulated(2, n_items=4000)
    posterior = estimate(responses, nothing_known(responses), DawidSkeneOptions()).posterior
    unsure = posterior.max(axis=1) < 0.8
    assert unsure.sum() > 200
    right = posterior.argmax(axis=1)[unsure] == truth[unsure]
    assert right.mean() == pytest.approx(posterior.max(axis=1)[unsure].mean(), abs=0.08)


def test_items_of_known_class_stay_what_they_are_and_unmask_who_is_wrong_together():
    # Two of three always say the same wrong thing: nothing but known items can tell.
    items = np.repeat(np.arange(60), 3)
    truth = np.arange(60) % 2
    choice = np.stack([1 - truth, 1 - truth, truth], axis=1).ravel()
    responses = Responses(items, np.tile([0, 1, 2], 60), choice, 60, 3, 2)
    known = np.where(np.arange(60) < 30, truth, -1)
    found = estimate(responses, known, DawidSkeneOptions(shrinkage=1))
    assert (found.posterior.argmax(axis=1) == truth).all()
    assert found.accuracy[2] > 0.9 > 0.2 > found.accuracy[0]


def test_an_annotator_of_one_answer_counts_as_the_others_do():
    _, responses = simulated(3)
    item, annotator = np.append(responses.item, 0), np.append(responses.annotator, 4)
    more = Responses(item, annotator, np.append(responses.choice, 0), 600, 5, 3)
    accuracy = estimate(more, nothing_known(more), DawidSkeneOptions()).accuracy
    assert min(accuracy[:4]) < accuracy[4] < max(accuracy[:4])


def test_no_answers_are_no_error():
    nothing = np.zeros(0, dtype=np.int64)
    found = estimate(Responses(nothing, nothing, nothing, 0, 0, 3), nothing, DawidSkeneOptions())
    assert found.posterior.shape == (0, 3)
    assert found.prior == pytest.approx([1 / 3] * 3)
