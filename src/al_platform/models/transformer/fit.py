"""Fine-tune a transformer from labelled texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from al_platform.domain.errors import ConfigError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.calibration import DEFAULT_THRESHOLD, fit_temperature, fit_thresholds, probabilities_of
from al_platform.models.classifier import Classifier
from al_platform.models.imbalance import balanced_weights
from al_platform.models.labelled_texts import LabelledTexts, missing_labels, require_learnable
from al_platform.models.transformer.base import Pretrained, base_folder, digest_of, read_base, require_length
from al_platform.models.transformer.checkpoints import Checkpoints
from al_platform.models.transformer.classifier import ENCODER, TransformerClassifier, TransformerConfig
from al_platform.models.transformer.failures import NotFiniteError
from al_platform.models.transformer.job import Job, Rows, Trained
from al_platform.models.transformer.options import TransformerFitOptions, TransformerOptions
from al_platform.models.transformer.texts import PageTokenizer
from al_platform.models.transformer.train import device_count, precision_of, train_here, uses_gpu
from al_platform.models.transformer.workers import train_in_workers

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

NOT_FINITE_FILE = "not_finite.json"


@dataclass(frozen=True)
class Start:
    """The weights to start from, and why these.

    Attributes:
        start_from: What they are.
        why: The reason, as a sentence.
        pretrained: Encoder and tokenizer.
        head: ``head.weight`` and ``head.bias`` of the champion; empty for a new head.
    """

    start_from: Literal["base", "champion"]
    why: str
    pretrained: Pretrained
    head: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TransformerFit:
    """A fine-tuned classifier and how it came about.

    Attributes:
        classifier: With the weights of ``best_epoch``.
        history: A row per epoch: ``epoch``, ``train_loss``, ``validation_loss``, ``validation_macro_f1``.
        best_epoch: The epoch whose weights were kept.
        missing_labels: Labels without a training row.
        start: Where it started.
        key: Of its checkpoints.
        circumstances: What the result does not depend on: devices, seconds, events, where it was resumed.
    """

    classifier: TransformerClassifier
    history: list[dict[str, float]]
    best_epoch: int
    missing_labels: tuple[str, ...]
    start: Start
    key: str
    circumstances: dict[str, Any]


def fit_transformer(
    train: LabelledTexts,
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    options: TransformerOptions,
    fit: TransformerFitOptions,
    seed: int,
    *,
    checkpoints: Checkpoints,
    champion: Classifier | None = None,
    logger: "Logger | None" = None,
    show_progress: bool = False,
) -> TransformerFit:
    """Fine-tune an encoder; interrupted, the same call goes on from its last checkpoint.

    On a CPU the same arguments, threads and libraries give the same bytes, interrupted or not.

    Args:
        train: What to learn from.
        validation: Rows for early stopping, temperature and thresholds. Without any, all epochs are run, the
            temperature is 1 and thresholds are 0.5.
        taxonomy: The labels, in the order of the classifier's probabilities.
        options: The encoder, and how texts become its input.
        fit: How to train.
        seed: Of the head, the order of rows and dropout.
        checkpoints: Where checkpoints and stored encoders are.
        champion: The model in use; its weights are started from where ``fit.start_from`` asks for it.
        logger: Receives the losses, on the first device alone.
        show_progress: Whether to write one progress line to standard error.

    Raises:
        TrainingDataError: Nothing to learn from.
        ConfigError: The encoder is not there or does not suit the options, or training diverged.
        OutOfMemoryError: Not even one page at a time fits.
    """
    truth = taxonomy.encode(train.values)
    require_learnable(train, truth, taxonomy)
    start = choose_start(options, fit, taxonomy, champion, checkpoints)
    require_length(options, start.pretrained.encoder_config)
    key = training_key(train, validation, taxonomy, options, fit, seed, start, checkpoints.code_revision)
    checkpoints.load(key)
    job = _job(train, validation, taxonomy, options, fit, seed, start, checkpoints.scratch(key))
    trained = _train(job, train, key, checkpoints, logger, show_progress)
    progress = trained.progress
    return TransformerFit(
        classifier=_calibrated(trained, start.pretrained, validation, taxonomy, options),
        history=[dict(row) for row in progress.history],
        best_epoch=progress.epoch - 1 if progress.best_epoch is None else progress.best_epoch,
        missing_labels=missing_labels(truth, taxonomy),
        start=start,
        key=key,
        circumstances=_circumstances(trained, fit),
    )


def choose_start(
    options: TransformerOptions,
    fit: TransformerFitOptions,
    taxonomy: Taxonomy,
    champion: Classifier | None,
    checkpoints: Checkpoints,
) -> Start:
    """Return the weights to start from: the champion's where that is asked for and it fits, else the base's."""
    folder = base_folder(options, checkpoints.encoder)
    if fit.start_from == "base":
        return Start("base", "start_from is base.", read_base(folder), {})
    problem = _unfit(champion, taxonomy, digest_of(folder))
    if problem:
        return Start("base", problem, read_base(folder), {})
    assert isinstance(champion, TransformerClassifier)
    encoder = {n.removeprefix(ENCODER): a for n, a in champion.tensors.items() if n.startswith(ENCODER)}
    head = {name: array for name, array in champion.tensors.items() if not name.startswith(ENCODER)}
    pretrained = Pretrained(champion.config.base, champion.encoder_config, encoder, champion.tokenizer)
    return Start("champion", "The champion has the same labels and encoder.", pretrained, head)


def training_key(
    train: LabelledTexts,
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    options: TransformerOptions,
    fit: TransformerFitOptions,
    seed: int,
    start: Start,
    code_revision: str | None,
) -> str:
    """Return the digest of everything that determines the training."""
    weights = {name: sha256(array.tobytes()).hexdigest() for name, array in start.head.items()}
    if start.start_from == "champion":
        weights |= {name: sha256(array.tobytes()).hexdigest() for name, array in start.pretrained.tensors.items()}
    parts = {
        "data": [train.digest(), validation.digest()],
        "taxonomy": taxonomy.model_dump(mode="json"),
        "options": options.model_dump(mode="json"),
        # How often a checkpoint is left, and where, changes no weight.
        "fit": fit.model_dump(mode="json", exclude={"checkpoint_steps", "store_checkpoints"}),
        "seed": seed,
        "base": start.pretrained.digest,
        "weights": weights,
        "code_revision": code_revision,
        "torch": torch.__version__,
        "transformers": version("transformers"),
        # Sums on a CPU depend on them; a GPU's do not, and the next machine may have other cores.
        "threads": None if uses_gpu(fit) else fit.threads or torch.get_num_threads(),
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _unfit(champion: Classifier | None, taxonomy: Taxonomy, base: str) -> str | None:
    """Return why a champion cannot be started from, or None."""
    if champion is None:
        return "There is no champion yet."
    if not isinstance(champion, TransformerClassifier):
        return f"The champion is no transformer but of kind {champion.config.kind}."
    known = champion.config.taxonomy
    if (known.labels, known.task) != (taxonomy.labels, taxonomy.task):
        return f"The labels changed since the champion, from {list(known.labels)} to {list(taxonomy.labels)}."
    if champion.config.base != base:
        return f"The champion goes back to another encoder ({champion.config.base[:12]}, not {base[:12]})."
    return None


def _job(
    train: LabelledTexts,
    validation: LabelledTexts,
    taxonomy: Taxonomy,
    options: TransformerOptions,
    fit: TransformerFitOptions,
    seed: int,
    start: Start,
    folder: Path,
) -> Job:
    tokenizer, weights = start.pretrained.tokenizer, train.row_weights()
    truth = taxonomy.encode(train.values)
    encoder = {f"{ENCODER}{name}": array for name, array in start.pretrained.tensors.items()}
    return Job(
        encoder_config=start.pretrained.encoder_config,
        initial={**encoder, **start.head},
        train=Rows(tokenizer.encode(train.texts, options), truth.astype(np.float32), weights),
        validation=_validation_rows(validation, taxonomy, tokenizer, options),
        class_weights=_class_weights(truth, weights, fit, is_multi=taxonomy.is_multi),
        padding=tokenizer.layout.padding,
        options=options,
        fit=fit,
        is_multi=taxonomy.is_multi,
        seed=seed,
        checkpoint_folder=folder,
    )


def _train(
    job: Job,
    train: LabelledTexts,
    key: str,
    checkpoints: Checkpoints,
    logger: "Logger | None",
    show_progress: bool,
) -> Trained:
    def keep(checkpoint: Path) -> None:
        if job.fit.store_checkpoints:
            checkpoints.save(key, checkpoint)

    n_devices = device_count(job.fit)
    try:
        if n_devices > 1:
            return train_in_workers(job, keep, n_devices, logger)
        return train_here(job, keep, logger=logger, show_progress=show_progress)
    except NotFiniteError as error:
        saved = _save_batch(error, train, checkpoints.scratch(key))
        checkpoints.save(key, saved)
        raise ConfigError(
            f"Training diverged: {error} Its {len(error.rows)} pages are named in {saved}. Look at them, or lower "
            f"training.transformer.learning_rate ({job.fit.learning_rate:g})."
        ) from error


def _save_batch(error: NotFiniteError, train: LabelledTexts, folder: Path) -> Path:
    # By their ids alone: a privacy erasure does not come to this folder.
    ids = train.page_ids or [str(row) for row in range(len(train.texts))]
    pages = [
        {"page_id": ids[row], "values": list(train.values[row]), "characters": len(train.texts[row])}
        for row in error.rows
    ]
    folder.mkdir(parents=True, exist_ok=True)
    found = {"step": error.step, "epoch": error.epoch, "pages": pages}
    (folder / NOT_FINITE_FILE).write_text(json.dumps(found, indent=2), encoding="utf-8")
    return folder / NOT_FINITE_FILE


def _validation_rows(
    validation: LabelledTexts, taxonomy: Taxonomy, tokenizer: PageTokenizer, options: TransformerOptions
) -> Rows:
    targets = taxonomy.encode(validation.values).astype(np.float32)
    return Rows(tokenizer.encode(validation.texts, options), targets, np.ones(len(targets), dtype=np.float32))


def _class_weights(
    truth: NDArray[np.bool_], weights: NDArray[np.float32], fit: TransformerFitOptions, *, is_multi: bool
) -> NDArray[np.float32]:
    if fit.class_weight == "none":
        return np.ones(truth.shape[1], dtype=np.float32)
    return balanced_weights(truth.astype(np.float32), weights, is_multi=is_multi, limit=fit.max_class_weight)


def _calibrated(
    trained: Trained, base: Pretrained, validation: LabelledTexts, taxonomy: Taxonomy, options: TransformerOptions
) -> TransformerClassifier:
    """Return the classifier with temperature and thresholds fitted on the validation rows."""
    thresholds = (DEFAULT_THRESHOLD,) * len(taxonomy.labels)
    config = TransformerConfig(
        taxonomy=taxonomy,
        thresholds=thresholds,
        transformer=options,
        layout=base.tokenizer.layout,
        base=base.digest,
    )
    tensors = dict(trained.tensors)
    raw = TransformerClassifier(config, base.encoder_config, base.tokenizer.definition, tensors)
    logits, truth = raw.logits(validation.texts), taxonomy.encode(validation.values)
    temperature = fit_temperature(logits, truth, taxonomy.is_multi)
    if taxonomy.is_multi:
        thresholds = fit_thresholds(probabilities_of(logits, temperature, is_multi=True), truth)
    calibrated = config.model_copy(update={"temperature": temperature, "thresholds": thresholds})
    return TransformerClassifier(calibrated, base.encoder_config, base.tokenizer.definition, tensors)


def _circumstances(trained: Trained, fit: TransformerFitOptions) -> dict[str, Any]:
    return {
        "devices": list(trained.devices),
        "precision": precision_of(fit),
        "steps": trained.progress.step,
        "resumed_from_step": trained.resumed_from_step,
        "events": list(trained.progress.events),
        "device_s": round(trained.wall_s * len(trained.devices), 2),
    }
