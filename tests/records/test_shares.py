import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.classifier import NgramConfig
from al_platform.models.options import NgramOptions
from al_platform.records.shares import Drift, predicted_counts
from al_platform.storage.commit_log import Output
from al_platform.storage.store import LocalStore

LABELS = ("a", "b", "c")


@pytest.fixture
def stored(tmp_path):
    """Predictions of 50 pages in two parts, and of one page that was not scored."""
    matrix = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    matrix[0] = 0.5  # a tie, and exactly at a threshold
    store = LocalStore(tmp_path)
    outputs = []
    for name, rows in (("predictions", matrix.tolist()[:20]), ("predictions.00001", [*matrix.tolist()[20:], None])):
        table = pa.table({"probabilities": pa.array(rows, pa.list_(pa.float32()))})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        outputs.append(Output(path=f"{name}.parquet", sha256=name, size=1))
    return store, outputs, matrix


@pytest.mark.parametrize("task", ["single", "multi"])
def test_labels_are_counted_as_the_classifier_gives_them(stored, tmp_path, task):
    store, outputs, matrix = stored
    taxonomy = Taxonomy(task=task, labels=LABELS)
    thresholds = (0.5, 0.9, 0.1)
    config = NgramConfig(taxonomy=taxonomy, thresholds=thresholds, temperature=1.0, ngram=NgramOptions())
    counted = predicted_counts(store, outputs, taxonomy, thresholds, tmp_path / "cache")
    assert counted.pages == 50
    assert list(counted.counts.values()) == config.decide(matrix).sum(axis=0).tolist()


def test_what_was_counted_once_is_not_read_again_unless_the_rules_changed(stored, tmp_path):
    store, outputs, _ = stored
    taxonomy, cache = Taxonomy(task="multi", labels=LABELS), tmp_path / "cache"
    first = predicted_counts(store, outputs, taxonomy, (0.5, 0.5, 0.5), cache)
    (tmp_path / "predictions.parquet").unlink()
    assert predicted_counts(store, outputs, taxonomy, (0.5, 0.5, 0.5), cache) == first
    with pytest.raises(FileNotFoundError):
        predicted_counts(store, outputs, taxonomy, (0.5, 0.5, 0.6), cache)


def test_a_count_that_was_cut_off_is_made_anew(stored, tmp_path):
    store, outputs, _ = stored
    taxonomy, cache = Taxonomy(task="single", labels=LABELS), tmp_path / "cache"
    first = predicted_counts(store, outputs, taxonomy, (0.5,) * 3, cache)
    next(cache.iterdir()).write_text('{"pages": 5')
    assert predicted_counts(store, outputs, taxonomy, (0.5,) * 3, cache) == first


def test_the_largest_move_may_be_a_loss():
    drift = Drift({"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.25, "b": 0.6, "c": 0.1}, "2026-01", 10)
    assert drift.largest == ("b", pytest.approx(-0.3))
    assert list(drift.moves) == ["b", "a", "c"]
