"""What the loop promises, on the synthetic web with models that are really trained.

Nothing here needs a server; it takes a minute. ``make bench-replay`` has the same over months, with more pages.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from al_platform.domain.estimators import hajek
from al_platform.domain.evidence import ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import GateOptions
from al_platform.domain.metrics import macro_f1
from al_platform.domain.pages import page_text
from al_platform.domain.selection.audit import FRAME, draw_audit
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.classifier import Scores
from al_platform.models.fit import LabelledTexts, fit_classifier
from al_platform.models.kept_counts import kept_counts
from al_platform.models.options import FitOptions, NgramOptions
from al_platform.sources.source import TOPICS
from al_platform.sources.synthetic import SyntheticSource

pytestmark = pytest.mark.real

SEEDS = 15
LEARNT_BY_CHAMPION, LEARNT_BY_CHALLENGER, JUDGED, PAGES = 400, 360, 600, 3_760
TAXONOMY = Taxonomy(task="single", labels=TOPICS)
NGRAM = NgramOptions(n_features=2**16, max_features=2**14, embedding_dim=16)
GATE = GateOptions(replicates=200)
AUDITS, AUDIT_PAGES = 40, 120


class World(NamedTuple):
    """A month's pages that neither model learnt from, as both models see them.

    The challenger learnt from other pages, and from fewer.
    """

    page_ids: pa.ChunkedArray
    truth: np.ndarray
    champion: Scores
    challenger: Scores

    def decisions(self, model):
        return model.probabilities.argmax(axis=1)[:, None] == np.arange(len(TAXONOMY.labels))

    @property
    def gain(self):
        """True gain in macro-F1 by a promotion, on all these pages."""
        return macro_f1(self.truth, self.decisions(self.challenger)) - macro_f1(
            self.truth, self.decisions(self.champion)
        )

    def bound(self, rows):
        """The gain that the gate takes for sure where these pages are golden."""
        outputs = (
            ModelOutput(self.decisions(m)[rows], m.probabilities[rows]) for m in (self.challenger, self.champion)
        )
        scored = ScoredSet(self.truth[rows], *outputs)
        models = {"challenger_digest": "new", "champion_digest": "old"}
        evidence = gather_evidence(scored, None, scored, taxonomy=TAXONOMY, **models, options=GATE, seed=0)
        return evidence.golden.lower


def made(seed):
    pages = SyntheticSource(seed, pages_per_month=PAGES).pages("2026-03")
    pages = pages.take(pa.array(np.random.default_rng(seed).permutation(pages.num_rows)))
    texts = [page_text(*shown) for shown in zip(pages["title"].to_pylist(), pages["text"].to_pylist(), strict=True)]
    values = pages["truth_topics"].to_pylist()
    ends = (0, LEARNT_BY_CHAMPION, LEARNT_BY_CHAMPION + LEARNT_BY_CHALLENGER)
    with kept_counts(2**28):
        champion, challenger = (
            fit_classifier(
                LabelledTexts(texts[start:stop], values[start:stop]),
                LabelledTexts([], []),
                TAXONOMY,
                NGRAM,
                FitOptions(max_epochs=8, min_epochs=8),
                seed,
            ).classifier.score(texts[ends[-1] :])
            for start, stop in ((ends[0], ends[1]), (ends[1], ends[2]))
        )
    return World(pages["page_id"].slice(ends[-1]), TAXONOMY.encode(values[ends[-1] :]), champion, challenger)


@pytest.fixture(scope="module")
def worlds():
    return [made(seed) for seed in range(SEEDS)]


def least_certain(world):
    """The pages that a strategy would have had labelled: where the champion's two best labels are closest."""
    top = np.sort(world.champion.probabilities, axis=1)
    return np.argsort(top[:, -1] - top[:, -2], kind="stable")[:JUDGED]


def drawn_at_random(world):
    return np.random.default_rng(JUDGED).permutation(len(world.truth))[:JUDGED]


def is_more_than_one_in_twenty(k, n):
    """Whether k of n contradicts a rate of at most the 5 % that the gate allows itself."""
    return binomtest(k, n, 1 - GATE.confidence, alternative="greater").pvalue < 0.01


def test_selected_pages_promise_a_gain_that_traffic_does_not_bring_and_random_pages_do_not(worlds):
    """Same rule, other pages. The bound may lie above the true gain in 5 % of all cases."""
    fooled = sum(world.bound(least_certain(world)) > world.gain for world in worlds)
    ours = sum(world.bound(drawn_at_random(world)) > world.gain for world in worlds)
    assert is_more_than_one_in_twenty(fooled, SEEDS), fooled
    assert not is_more_than_one_in_twenty(ours, SEEDS), ours


def test_a_gate_on_selected_pages_lets_worse_challengers_pass_and_one_on_random_pages_does_not(worlds):
    worse = [world for world in worlds if world.gain < -GATE.margin]
    passed = sum(world.bound(least_certain(world)) > -GATE.margin for world in worse)
    ours = sum(world.bound(drawn_at_random(world)) > -GATE.margin for world in worse)
    assert is_more_than_one_in_twenty(passed, len(worse)), (passed, len(worse))
    assert not is_more_than_one_in_twenty(ours, len(worse)), (ours, len(worse))


def test_the_audits_interval_holds_the_accuracy_on_all_traffic_as_often_as_it_says(worlds):
    """Stratified audits, many of each world. Draws of one world are independent given its pages and model."""
    held = 0
    for world in worlds:
        decisions = world.decisions(world.champion)
        is_right = (decisions == world.truth).all(axis=1)
        frame = pa.table(
            {
                "page_id": world.page_ids,
                "predicted": [TAXONOMY.labels[place] for place in decisions.argmax(axis=1)],
                "top1": world.champion.probabilities.max(axis=1).astype(np.float32),
            }
        ).cast(FRAME)
        places = {page_id: place for place, page_id in enumerate(world.page_ids.to_pylist())}
        for draw in range(AUDITS):
            audit = draw_audit(frame, AUDIT_PAGES, "2026-03", draw)
            rows = [places[page_id] for page_id in audit["page_id"].to_pylist()]
            found = hajek(is_right[rows], np.asarray(audit["inclusion_probability"]), set_name="audit")
            held += found.low <= is_right.mean() <= found.high
    n = len(worlds) * AUDITS
    assert binomtest(held, n, 0.95, alternative="less").pvalue > 0.05, (held, n)
    assert held / n < 0.99, "intervals that always hold the truth are too wide to be of use"
