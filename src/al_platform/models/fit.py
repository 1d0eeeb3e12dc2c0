"""Train an n-gram classifier from labelled texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning import Callback
from numpy.typing import NDArray

from al_platform.domain.errors import ConfigError, TrainingDataError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.calibration import DEFAULT_THRESHOLD, fit_temperature, fit_thresholds, probabilities_of
from al_platform.models.classifier import NgramClassifier, NgramConfig
from al_platform.models.data import NgramDataModule, SparseRows
from al_platform.models.features import count_ngrams, feature_table, tfidf
from al_platform.models.labelled_texts import LabelledTexts, missing_labels, require_learnable
from al_platform.models.module import NgramModule
from al_platform.models.options import FitOptions, NgramOptions
from al_platform.models.trainer import BestWeights, ProgressLine, run_trainer

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

__all__ = ["FitResult", "LabelledTexts", "fit_classifier"]


@dataclass(frozen=True)
class FitResult:
    """A trained classifier and how it came about.

    Attributes:
        classifier: With the weights of ``best_epoch``.
        history: ``NgramModule.history``.
        stopped_epoch: The last epoch that ran, from 0.
        best_epoch: The epoch whose weights were kept.
        missing_labels: Labels of the taxonomy without a training row; the classifier has learnt nothing of them.
    """

    classifier: NgramClassifier
    history: list[dict[str, float]]
    stopped_epoch: int
    best_epoch: int
    missing_labels: tuple[str, ...]


def fit_classifier(
    train: LabelledTexts,
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    ngram: NgramOptions,
    fit: FitOptions,
    seed: int,
    *,
    logger: "Logger | None" = None,
    show_progress: bool = False,
) -> FitResult:
    """Train a classifier; on a CPU the same arguments give the same bytes.

    Args:
        train: What to learn from.
        validation: Rows for early stopping, temperature and thresholds. Without any, all ``fit.max_epochs`` are run,
            the temperature is 1 and thresholds are 0.5.
        taxonomy: The labels, in the order of the classifier's probabilities.
        ngram: What to read of a text.
        fit: How to train.
        seed: Of the order of rows and of a hidden layer's first weights.
        logger: Receives the metrics of each epoch.
        show_progress: Whether to write one progress line to standard error.

    Raises:
        TrainingDataError: Nothing to learn from: no rows, no n-grams, or no class to tell from another.
        TaxonomyError: A row's labels are no valid answer.
        ConfigError: The learning rate is so high that training diverged.
    """
    truth = taxonomy.encode(train.values)
    require_learnable(train, truth, taxonomy)
    counts = count_ngrams(train.texts, ngram)
    feature_ids, idf = feature_table(counts, ngram.max_features)
    if not len(feature_ids):
        raise TrainingDataError(
            f"Asked to train on {len(truth)} rows but no text has a word. Check the column the texts come from."
        )
    rows = SparseRows(tfidf(counts, feature_ids, idf), truth.astype(np.float32), train.row_weights())
    held_out = _validation_rows(validation, taxonomy, ngram, feature_ids, idf)
    module = NgramModule(rows, fit, hidden_units=ngram.hidden_units, is_multi=taxonomy.is_multi, seed=seed)
    best = BestWeights(fit)
    callbacks: list[Callback] = [best, ProgressLine(fit.max_epochs)] if show_progress else [best]
    run_trainer(module, NgramDataModule(rows, held_out, fit.batch_size, seed), fit, callbacks, logger)
    tensors: dict[str, NDArray[Any]] = {"feature_ids": feature_ids, "idf": idf, **(best.tensors or module.tensors())}
    _check_finite(tensors, fit)
    return FitResult(
        classifier=_calibrated(tensors, held_out, taxonomy, ngram),
        history=module.history,
        stopped_epoch=len(module.history) - 1,
        best_epoch=best.epoch if best.tensors else len(module.history) - 1,
        missing_labels=missing_labels(truth, taxonomy),
    )


def _check_finite(tensors: Mapping[str, NDArray[Any]], fit: FitOptions) -> None:
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ConfigError(
            f"Training diverged: weights are no longer finite at learning_rate {fit.learning_rate:g} "
            f"(hidden_learning_rate {fit.hidden_learning_rate:g}). Lower it."
        )


def _validation_rows(
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    ngram: NgramOptions,
    feature_ids: NDArray[np.int64],
    idf: NDArray[np.float32],
) -> SparseRows:
    features = tfidf(count_ngrams(validation.texts, ngram), feature_ids, idf)
    targets = taxonomy.encode(validation.values).astype(np.float32)
    return SparseRows(features, targets, np.ones(len(targets), dtype=np.float32))


def _calibrated(
    tensors: Mapping[str, NDArray[Any]], validation: SparseRows, taxonomy: Taxonomy, ngram: NgramOptions
) -> NgramClassifier:
    """Return the classifier with temperature and thresholds fitted on the validation rows."""
    thresholds = (DEFAULT_THRESHOLD,) * len(taxonomy.labels)
    raw = NgramClassifier(NgramConfig(taxonomy=taxonomy, ngram=ngram, thresholds=thresholds), tensors)
    logits, truth = raw.logits(validation.features), validation.targets > 0
    temperature = fit_temperature(logits, truth, taxonomy.is_multi)
    if taxonomy.is_multi:
        thresholds = fit_thresholds(probabilities_of(logits, temperature, is_multi=True), truth)
    config = raw.config.model_copy(update={"temperature": temperature, "thresholds": thresholds})
    return NgramClassifier(config, tensors)
