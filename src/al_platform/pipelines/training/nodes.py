"""Nodes of training."""

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.errors import TrainingDataError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.models.model import Model, ModelOptions, TrainedModel
from al_platform.models.transformer.checkpoints import Checkpoints
from al_platform.pipelines.training.options import TrainingOptions
from al_platform.pipelines.training.record import training_record
from al_platform.tracking.fits import FollowedFits

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from al_platform.models.fit import FitResult
    from al_platform.models.transformer.fit import TransformerFit

LOG = logging.getLogger("al_platform")
CPU = "cpu"


def train_model(
    dataset: pa.Table,
    champion: Model | None,
    checkpoints: Checkpoints,
    fits: FollowedFits,
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: TrainingOptions,
) -> tuple[TrainedModel, dict[str, Any]]:
    """Fit a challenger on the training pages; validation pages decide when to stop, thresholds and temperature.

    A transformer is trained beside an n-gram model on the same pages, the simpler model that it must beat.

    Args:
        dataset: See ``schemas.DATASET``.
        champion: The model in use, from which a transformer may start; None before the first.
        checkpoints: Where an interrupted training goes on from.
        fits: What follows the training of the challenger while it runs.
        taxonomy: The family's labels.
        model: Which model, and what it reads of a page.
        options: Seed and fitting.

    Returns:
        The model, and what its training looked like.

    Raises:
        TrainingDataError: No training pages, or all of one class.
        ConfigError: Uncommitted code where that is refused; an encoder that is not there; a training that diverged.
    """
    if options.require_clean_tree:
        checkpoints.require_clean_tree()
    train, validation = labelled(dataset, "train"), labelled(dataset, "validation")
    facts = {
        "n_train": len(train.texts),
        "n_validation": len(validation.texts),
        "seed": options.seed,
        "notes": statements(train, taxonomy, champion, options),
    }
    inputs = _inputs(train, validation, champion)
    started = time.monotonic()
    parameters = {"model": model.model_dump(mode="json"), "training": options.model_dump(mode="json")}
    said = {**facts, "inputs": inputs, "parameters": parameters}
    is_simpler = model.encoder != "ngram"
    with nullcontext() if is_simpler else fits.follow(said) as logger:
        ngram = _fit_ngram(train, validation, taxonomy, model, options, logger)
    wall_s = _seconds_since(started)
    spent: dict[str, Any] = {"devices": [CPU], "device_s": wall_s, "wall_s": wall_s, "inputs": inputs}
    summary = {**facts, **_learnt(ngram)}
    simpler = TrainedModel(ngram.classifier, training_record(summary, spent, taxonomy, model, options))
    if model.encoder == "ngram":
        return simpler, summary
    with fits.follow(said) as logger:
        found = _fit_transformer(train, validation, champion, checkpoints, taxonomy, model, options, logger)
    start = {"from": found.start.start_from, "why": found.start.why}
    summary = {**facts, **_learnt(found), "start": start, "simpler_model": _learnt(ngram)}
    spent = {**_spent(found, inputs), "wall_s": _seconds_since(started)}
    return TrainedModel(found.classifier, training_record(summary, spent, taxonomy, model, options), simpler), summary


def report_training(challenger: Model, summary: dict[str, Any]) -> dict[str, Any]:
    """Name the challenger and say how its training went."""
    if challenger.simpler is None:
        return {"model_digest": challenger.digest, **summary}
    simpler = {"model_digest": challenger.simpler.digest, **summary["simpler_model"]}
    return {"model_digest": challenger.digest, **summary, "simpler_model": simpler}


def labelled(dataset: pa.Table, name: str) -> LabelledTexts:
    """Return the pages of one set."""
    rows = dataset.filter(pc.field("set") == name)
    ids = rows["page_id"].to_pylist()
    return LabelledTexts(rows["text"].to_pylist(), rows["values"].to_pylist(), page_ids=ids)


def statements(train: LabelledTexts, taxonomy: Taxonomy, champion: Model | None, options: TrainingOptions) -> list[str]:
    """Return what somebody should know before they trust the model, and warn of it.

    Raises:
        TrainingDataError: A label has no training page, and that is refused.
    """
    seen = {value for values in train.values for value in values}
    unseen = [label for label in taxonomy.labels if label not in seen]
    found = []
    if unseen and train.values:
        found.append(
            f"No training page has the label {', '.join(unseen)}: the model learns nothing of it. Label pages that "
            f"have it, or take it out of the taxonomy."
        )
        if options.unseen_labels == "refuse":
            raise TrainingDataError(found[0])
    known = champion.classifier.config.taxonomy if champion else taxonomy
    if (known.task, known.labels) != (taxonomy.task, taxonomy.labels):
        found.append(
            f"The labels changed since the champion, from {list(known.labels)} to {list(taxonomy.labels)}: it can "
            f"neither be started from nor be compared with. Restore the labels, or begin a new family."
        )
    for statement in found:
        LOG.warning(statement)
    return found


def _fit_ngram(
    train: LabelledTexts,
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: TrainingOptions,
    logger: "Logger | None",
) -> "FitResult":
    # Imported here so that commands which train nothing do not load torch.
    from al_platform.models.fit import fit_classifier

    fit, seed = options.fit, options.seed
    return fit_classifier(train, validation, taxonomy, model.ngram, fit, seed, logger=logger, show_progress=True)


def _fit_transformer(
    train: LabelledTexts,
    validation: LabelledTexts,
    champion: Model | None,
    checkpoints: Checkpoints,
    taxonomy: Taxonomy,
    model: ModelOptions,
    options: TrainingOptions,
    logger: "Logger | None",
) -> "TransformerFit":
    from al_platform.models.transformer.fit import fit_transformer

    return fit_transformer(
        train,
        validation,
        taxonomy,
        model.transformer,
        options.transformer,
        options.seed,
        checkpoints=checkpoints,
        champion=champion.classifier if champion else None,
        logger=logger,
        show_progress=True,
    )


def _learnt(fitted: "FitResult | TransformerFit") -> dict[str, Any]:
    """Return what depends on data, parameters and seed alone."""
    best = fitted.history[fitted.best_epoch]
    return {
        "epochs": len(fitted.history),
        "stopped_epoch": len(fitted.history) - 1,
        "best_epoch": fitted.best_epoch,
        "validation": {name: value for name, value in best.items() if name.startswith("validation_")},
        "history": fitted.history,
        "missing_labels": list(fitted.missing_labels),
    }


def _spent(found: "TransformerFit", inputs: dict[str, str | None]) -> dict[str, Any]:
    base = {"base_encoder": found.start.pretrained.digest}
    return {**found.circumstances, "checkpoint_key": found.key, "inputs": {**inputs, **base}}


def _seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 2)


def _inputs(train: LabelledTexts, validation: LabelledTexts, champion: Model | None) -> dict[str, str | None]:
    return {
        "training_pages": train.digest(),
        "validation_pages": validation.digest(),
        "champion": champion.digest if champion else None,
    }
