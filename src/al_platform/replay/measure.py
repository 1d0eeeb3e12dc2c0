"""Models against the truth of a month's traffic."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from al_platform.catalog.champion import champion_log, load_model
from al_platform.catalog.formats import format_named, read_parquet
from al_platform.catalog.outputs import read_output
from al_platform.catalog.traffic import stored_pages, truth_of
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import SchemaError
from al_platform.domain.estimators import Estimate, macro_f1_estimate, wilson
from al_platform.domain.metrics import BoolArray
from al_platform.domain.pages import page_text
from al_platform.domain.replay.points import OnTraffic
from al_platform.domain.selection.random_order import random_order
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.calibration import probabilities_of
from al_platform.models.classifier import Classifier, NgramClassifier
from al_platform.models.features import count_ngrams, tfidf
from al_platform.models.options import NgramOptions
from al_platform.storage.commit_log import StageKey, head, parts_of
from al_platform.storage.store import Store, open_store

SET = "traffic"
SEED = 0
_REPLICATES = 500  # of the bootstrap: seeds tell more than pages do
_KEPT = 3


@dataclass(frozen=True, eq=False)
class Sample:
    """Pages of a month whose truth is known.

    Attributes:
        texts: What models read, N of them.
        truth: Boolean (N, C).
    """

    texts: tuple[str, ...]
    truth: BoolArray

    def decisions(self, classifier: Classifier) -> BoolArray:
        """Return the labels that a model gives, boolean (N, C)."""
        if not isinstance(classifier, NgramClassifier):
            return np.asarray(classifier.decide(classifier.score(self.texts).probabilities))
        # Counting n-grams is nine tenths of scoring, and the same for every model that reads the same n-grams.
        tensors, config = classifier.tensors, classifier.config
        features = tfidf(_counts(self, config.ngram), tensors["feature_ids"], tensors["idf"])
        logits = classifier.logits(features)
        return np.asarray(
            classifier.decide(probabilities_of(logits, config.temperature, config.taxonomy.is_multi)), dtype=bool
        )


@lru_cache(maxsize=_KEPT)
def _counts(sample: Sample, options: NgramOptions) -> Any:
    return count_ngrams(sample.texts, options)


class Models:
    """The models of a family on a sample; each is scored once."""

    def __init__(self, loader: FamilyConfigLoader, family: str, sample: Sample):
        self._store = open_store(loader.root("models"))
        self._family = family
        self._sample = sample
        self._decisions: dict[str, BoolArray] = {}

    def decisions(self, digest: str) -> BoolArray:
        """Return what a model decides on the sample, boolean (N, C)."""
        if digest not in self._decisions:
            classifier = load_model(self._store, self._family, digest).classifier
            self._decisions[digest] = self._sample.decisions(classifier)
        return self._decisions[digest]

    def on_traffic(self, digest: str | None) -> OnTraffic | None:
        """Return a model's figures; None for none."""
        if digest is None:
            return None
        decisions = self.decisions(digest)
        return OnTraffic(digest=digest, macro_f1=self.macro_f1(digest), accuracy=_accuracy(self.truth, decisions))

    def macro_f1(self, digest: str) -> Estimate:
        """Return a model's macro-F1."""
        return macro_f1_estimate(
            self.truth, self.decisions(digest), set_name=SET, seed=SEED, replicates=_REPLICATES, method="percentile"
        )

    @property
    def truth(self) -> BoolArray:
        """The truth of the sample, boolean (N, C)."""
        return self._sample.truth


def sample_of(loader: FamilyConfigLoader, family: str, cycle: str, pages: int) -> Sample:
    """Return a random sample of a month's traffic, the same for every run on it.

    Raises:
        SchemaError: The pages have no truth of the family.
    """
    parameters = loader["parameters"][family]["taxonomy"]
    traffic = loader.validated_globals.traffic.model_dump(mode="json")
    root = loader.root("traffic")
    # Simulated sources write a month at its first use.
    files = tuple(stored_pages(open_store(root), cycle, traffic))
    return _sample(str(root), files, family, Taxonomy.model_validate(parameters), cycle, pages)


@lru_cache(maxsize=_KEPT)
def _sample(root: str, files: tuple[str, ...], family: str, taxonomy: Taxonomy, cycle: str, pages: int) -> Sample:
    store = open_store(root)
    table = pa.concat_tables([read_parquet(store.local(file)) for file in files])
    table = table.filter(pa.array(_known(table, family, taxonomy), pa.bool_()))
    chosen = table.take(pa.array(random_order(table["page_id"], f"{cycle}|measure|{SEED}")[:pages]))
    texts = zip(chosen["title"].to_pylist(), chosen["text"].to_pylist(), strict=True)
    return Sample(tuple(page_text(*pair) for pair in texts), taxonomy.encode(chosen[f"truth_{family}"].to_pylist()))


def _known(table: pa.Table, family: str, taxonomy: Taxonomy) -> list[bool]:
    column = f"truth_{family}"
    if column not in table.column_names:
        raise SchemaError(f"The pages have no column {column!r} to measure models of {family} against.")
    return [values is not None and taxonomy.problem(values) is None for values in table[column].to_pylist()]


def true_accuracy(loader: FamilyConfigLoader, family: str, cycle: str, thresholds: Sequence[float]) -> float | None:
    """Return the share of a month's scored pages that got exactly their true labels; None before a champion."""
    taxonomy = Taxonomy.model_validate(loader["parameters"][family]["taxonomy"])
    predictions = predictions_of(open_store(loader.root("datasets")), family, cycle)
    truth = _truth(loader, family, cycle, predictions["page_id"].to_pylist())
    pairs = [
        (probabilities, truth[page_id])
        for page_id, probabilities in zip(
            predictions["page_id"].to_pylist(), predictions["probabilities"].to_pylist(), strict=True
        )
        if probabilities is not None and page_id in truth and taxonomy.problem(truth[page_id]) is None
    ]
    if not pairs:
        return None
    probabilities = np.asarray([row for row, _ in pairs])
    if taxonomy.is_multi:
        decisions = probabilities >= np.asarray(thresholds)
    else:
        decisions = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return float((decisions == taxonomy.encode([values for _, values in pairs])).all(axis=1).mean())


def predictions_of(store: Store, family: str, cycle: str) -> pa.Table:
    """Return ``page_id`` and ``probabilities`` of a month's scored pages."""
    manifest = head(store, StageKey(family, cycle, "scoring"))
    assert manifest is not None
    parquet = format_named("parquet")
    parts = (read_output(store, output, parquet) for output in parts_of(manifest.outputs, "predictions"))
    return pa.concat_tables([part.select(["page_id", "probabilities"]) for part in parts])


def _truth(loader: FamilyConfigLoader, family: str, cycle: str, page_ids: Collection[str]) -> Mapping[str, list[str]]:
    traffic = loader.validated_globals.traffic.model_dump(mode="json")
    return truth_of(open_store(loader.root("traffic")), cycle, traffic, f"truth_{family}", page_ids)


def _accuracy(truth: BoolArray, decisions: BoolArray) -> Estimate:
    right = (truth == decisions).all(axis=1)
    low, high = wilson(float(right.sum()), len(right))
    return Estimate(value=float(right.mean()), low=low, high=high, n=len(right), set=SET)


def first_champion(store: Store, family: str) -> str | None:
    """Return the digest of a family's first champion."""
    log = champion_log(store, family)
    return log[0].model_digest if log else None
