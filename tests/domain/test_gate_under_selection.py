"""A challenger that is better on the pages a strategy picked, and worse on traffic."""

import numpy as np
import pytest
from scipy import stats

from al_platform.domain.estimators import inverse_probabilities
from al_platform.domain.evidence import ModelFacts, ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import GateOptions, decide
from al_platform.domain.metrics import macro_f1
from al_platform.domain.taxonomy import Taxonomy

TAXONOMY = Taxonomy(task="single", labels=("a", "b", "c"))
OPTIONS = GateOptions(min_golden=1000, min_audit=300, replicates=200, ece_slack=1)
N = 30_000


class Traffic:
    """Pages of which a tenth are hard: the champion is sure of the others, and the challenger is worse on those."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.truth = np.eye(3, dtype=bool)[rng.integers(0, 3, N)]
        self.is_hard = rng.random(N) < 0.1
        champion, challenger = (np.where(self.is_hard, hard, easy) for hard, easy in ((0.45, 0.95), (0.75, 0.88)))
        self.champion, self.challenger = (self._answers(rng, share) for share in (champion, challenger))

    def _answers(self, rng, share_right):
        return np.where((rng.random(N) < share_right)[:, None], self.truth, np.roll(self.truth, 1, axis=1))

    def scored(self, rows, probabilities=None):
        sides = (self.challenger[rows], self.champion[rows])
        outputs = [ModelOutput(side, np.where(side, 0.9, 0.05).astype(np.float32)) for side in sides]
        return ScoredSet(self.truth[rows], *outputs, inclusion_probabilities=probabilities)

    def true_difference(self):
        return macro_f1(self.truth, self.challenger) - macro_f1(self.truth, self.champion)


def verdict(golden, audit):
    wrong = int((golden.truth != golden.challenger.decisions).any(axis=1).sum())
    found = gather_evidence(
        golden,
        audit,
        golden,
        taxonomy=TAXONOMY,
        challenger_digest="new",
        champion_digest="old",
        options=OPTIONS,
        seed=1,
        facts=ModelFacts(errors_analysed=wrong, model_bytes=1, is_fast_enough=True),
    )
    return decide(found, OPTIONS).verdict


def picked(traffic, rng):
    """What a strategy labels: nearly all of it hard."""
    chance = np.where(traffic.is_hard, 0.9, 0.1 / 9)
    return rng.choice(N, 1500, replace=False, p=chance / chance.sum())


def drawn(traffic, rng, size):
    """An audit that sees hard pages three times as often, with known probabilities."""
    share = np.where(traffic.is_hard, 3.0, 1.0)
    probabilities = size * share / share.sum()
    rows = np.flatnonzero(rng.random(N) < probabilities)
    return rows, probabilities[rows]


@pytest.mark.parametrize("seed", range(3))
def test_gating_on_selected_labels_promotes_a_worse_model_and_ours_refuses(seed):
    traffic, rng = Traffic(seed), np.random.default_rng(seed)
    assert traffic.true_difference() < -0.02
    selected = traffic.scored(picked(traffic, rng))
    assert verdict(selected, selected) == "promote"
    golden = traffic.scored(rng.choice(N, 1500, replace=False))
    rows, probabilities = drawn(traffic, rng, 400)
    assert verdict(golden, traffic.scored(rows, probabilities)) == "reject"


def test_an_audit_counted_without_its_probabilities_is_biased_towards_the_challenger():
    traffic, rng = Traffic(7), np.random.default_rng(7)
    plain, weighted = [], []
    for _ in range(30):
        rows, probabilities = drawn(traffic, rng, 2000)
        arrays = traffic.truth[rows], traffic.challenger[rows], traffic.champion[rows]
        for found, weights in ((plain, None), (weighted, inverse_probabilities(probabilities))):
            found.append(macro_f1(arrays[0], arrays[1], weights) - macro_f1(arrays[0], arrays[2], weights))
    true = traffic.true_difference()
    assert stats.ttest_1samp(weighted, true).pvalue > 0.001
    assert np.mean(plain) - true > 0.02
