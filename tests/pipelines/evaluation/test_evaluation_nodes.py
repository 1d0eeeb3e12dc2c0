from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from al_platform.domain.errors import ConfigError, NotReadyError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model
from al_platform.pipelines.evaluation.nodes import (
    analyse_challenger,
    check_speed,
    decide_verdict,
    evaluate_challenger,
    gather_gate_evidence,
    list_evaluated_pages,
    match_random_draws,
    recall_decisions,
    score_sets,
)
from al_platform.pipelines.evaluation.options import EvaluationOptions
from al_platform.schemas import BATCH, DATASET, EVALUATED_PAGES

TAXONOMY = Taxonomy(task="single", labels=("a", "b"))
OPTIONS = EvaluationOptions.model_validate({"gate": {"min_golden": 10, "min_audit": 5, "replicates": 200}})
CYCLE = "2026-03"


@dataclass(frozen=True)
class FakeClassifier:
    """Answers with the label that a text begins with, or wrongly where the text names this classifier."""

    name: str
    config: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(taxonomy=TAXONOMY))
    tensors: dict = field(default_factory=lambda: {"weight": np.zeros((10, 2), dtype=np.float32)})

    def score(self, texts):
        is_b = np.array([(text[0] == "b") != (self.name in text) for text in texts], dtype=bool)
        return SimpleNamespace(probabilities=np.where(np.column_stack([~is_b, is_b]), 0.8, 0.2).astype(np.float32))

    def decide(self, probabilities):
        return probabilities > 0.5


def model(name, simpler=None):
    return Model(name, FakeClassifier(name), simpler)


def pages(name, n, wrong="", source="imported", probability=None):
    return [
        {
            "page_id": f"{name}-{row}",
            "text": f"{'ab'[row % 2]} text {wrong if row % 10 < 3 else ''}",
            "values": ["ab"[row % 2]],
            "set": name,
            "source": source,
            "reason": None if source == "imported" else "audit",
            "inclusion_probability": probability,
            "cycle": None if source == "imported" else "2026-01",
            "domain": f"{row % 3}.example",
            "language": "en",
            "near_duplicate_group": row,
        }
        for row in range(n)
    ]


def dataset(*, wrong="old"):
    rows = [*pages("train", 40), *pages("golden", 60, wrong), *pages("validation", 30, wrong)]
    rows += pages("audit", 20, wrong, "simulated", 0.5)
    rows.append({**pages("audit", 1, "", "simulated")[0], "page_id": "audit-without-probability"})
    return pa.Table.from_pylist(rows, DATASET)


def batches():
    """The audit's pages and five that nobody answered."""
    rows = [
        {"page_id": f"audit-{row}", "reason": "audit", "stratum": "s", "inclusion_probability": 0.5, "cycle": "2026-01"}
        for row in range(25)
    ]
    return pa.Table.from_pylist(rows, BATCH.append(pa.field("cycle", pa.string())))


def evaluated(challenger, champion, data, previous=None, cycle=CYCLE):
    scored = score_sets(challenger, champion, data, TAXONOMY)
    draws = match_random_draws(batches(), data)
    analysis = analyse_challenger(data, scored, TAXONOMY, OPTIONS)
    history = recall_decisions(scored, previous, [])
    evidence = gather_gate_evidence(scored, challenger, champion, history, draws, analysis, True, TAXONOMY, OPTIONS)
    verdict = decide_verdict(evidence, history, OPTIONS, cycle)
    return SimpleNamespace(
        scored=scored,
        verdict=verdict,
        figures=evaluate_challenger(scored, draws, evidence, data, TAXONOMY, OPTIONS),
        pages=list_evaluated_pages(scored, data, TAXONOMY),
    )


def test_a_challenger_that_is_right_where_the_champion_is_wrong_is_promoted():
    found = evaluated(model("new"), model("old"), dataset())
    assert found.verdict["verdict"] == "promote"
    assert found.figures["golden"]["difference"]["point"] == pytest.approx(0.3, abs=0.01)
    assert found.verdict["golden_history"]["decisions"][0]["share"] == OPTIONS.gate.spend


def test_every_held_out_page_is_listed_with_what_each_model_decides():
    table = evaluated(model("new", model("simple")), model("old"), dataset()).pages
    assert table.schema.equals(EVALUATED_PAGES)
    rows = {row["page_id"]: row for row in table.to_pylist()}
    assert len(rows) == 60 + 20 + 30
    page = rows["golden-0"]
    assert (page["truth"], page["champion"], page["challenger"], page["simpler"]) == (["a"], ["b"], ["a"], ["a"])
    assert rows["audit-3"]["inclusion_probability"] == 0.5


def test_without_a_champion_its_decisions_are_null():
    found = evaluated(model("new"), None, dataset())
    assert found.pages["champion"].null_count == found.pages.num_rows
    assert found.figures["golden"]["champion"] is None
    assert found.figures["audit"]["traffic"]["champion"] is None
    assert found.verdict["verdict"] == "promote"


def test_an_audit_page_without_a_known_probability_stands_for_nothing():
    assert len(score_sets(model("new"), None, dataset(), TAXONOMY)["audit"].truth) == 20


def test_unanswered_pages_are_non_response_with_worst_case_bounds():
    traffic = evaluated(model("new"), model("old"), dataset()).figures["audit"]["traffic"]
    assert (traffic["response"]["drawn"], traffic["response"]["labelled"]) == (25, 20)
    worst = traffic["challenger"]["worst_case"]
    assert (worst["low"], worst["high"]) == pytest.approx((0.8, 1.0))
    assert traffic["champion"]["inclusion_weighted"]["value"] == pytest.approx(0.7)


def test_a_second_challenger_on_the_same_golden_pages_gets_less_of_the_error():
    data = dataset(wrong="new")
    first = evaluated(model("new"), model("old"), data)
    assert first.verdict["verdict"] != "promote"
    second = evaluated(model("newer"), model("old"), data, first.verdict)
    shares = [each["share"] for each in second.verdict["golden_history"]["decisions"]]
    assert shares == pytest.approx([0.6, 0.24])


def test_the_same_evaluation_again_gives_the_same_verdict():
    first = evaluated(model("new"), model("old"), dataset())
    again = evaluated(model("new"), model("old"), dataset(), first.verdict)
    assert again.verdict == first.verdict
    assert again.figures == first.figures


def test_a_model_that_takes_too_long_is_too_slow(monkeypatch):
    assert check_speed(model("new"), dataset(), OPTIONS)
    slow = EvaluationOptions.model_validate({"gate": {"max_ms_per_page": 1e-9}})
    assert not check_speed(model("new"), dataset(), slow)


def test_without_golden_pages_the_import_is_named():
    empty = pa.Table.from_pylist(pages("train", 3), DATASET)
    with pytest.raises(NotReadyError, match="import-labels"):
        score_sets(model("new"), None, empty, TAXONOMY)


@pytest.mark.parametrize("known", [{"labels": ("b", "a")}, {"task": "multi"}])
def test_a_champion_of_other_labels_or_another_task_is_not_compared(known):
    other = SimpleNamespace(taxonomy=TAXONOMY.model_copy(update=known))
    champion = Model("old", FakeClassifier("old", other))
    with pytest.raises(ConfigError, match="labels changed"):
        score_sets(model("new"), champion, DATASET.empty_table(), TAXONOMY)
