"""Nodes of training."""

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.model import Model, ModelOptions, TrainedModel
from al_platform.pipelines.training.options import TrainingOptions


def train_model(
    dataset: pa.Table, taxonomy: Taxonomy, model: ModelOptions, options: TrainingOptions
) -> tuple[TrainedModel, dict[str, Any]]:
    """Fit a challenger on the training pages; validation pages decide when to stop, thresholds and temperature.

    Args:
        dataset: See ``schemas.DATASET``.
        taxonomy: The family's labels.
        model: Features and head.
        options: Seed and fitting.

    Returns:
        The model, and what its training looked like.

    Raises:
        TrainingDataError: No training pages, or all of one class.
    """
    # Imported here so that commands which train nothing do not load torch.
    from al_platform.models.fit import LabelledTexts, fit_classifier

    def labelled(name: str) -> LabelledTexts:
        rows = dataset.filter(pc.field("set") == name)
        return LabelledTexts(rows["text"].to_pylist(), rows["values"].to_pylist())

    train, validation = labelled("train"), labelled("validation")
    started = time.monotonic()
    fitted = fit_classifier(train, validation, taxonomy, model.ngram, options.fit, options.seed, show_progress=True)
    summary = {
        "n_train": len(train.texts),
        "n_validation": len(validation.texts),
        "epochs": len(fitted.history),
        "stopped_epoch": fitted.stopped_epoch,
        "history": fitted.history,
        "missing_labels": list(fitted.missing_labels),
        "seed": options.seed,
    }
    return TrainedModel(fitted.classifier, {**summary, "wall_s": round(time.monotonic() - started, 2)}), summary


def report_training(challenger: Model, summary: dict[str, Any]) -> dict[str, Any]:
    """Name the challenger and say how its training went."""
    return {"model_digest": challenger.digest, **summary}
