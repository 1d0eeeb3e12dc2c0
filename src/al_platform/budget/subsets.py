"""A learning curve from one training set: the n-gram model, trained anew on random subsets of it."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from al_platform.domain.errors import NotReadyError, TrainingDataError
from al_platform.domain.learning_curve import Points, has_begun, missing_points, subset_points
from al_platform.domain.metrics import BoolArray
from al_platform.domain.splits import GOLDEN, TRAIN, VALIDATION
from al_platform.models.labelled_texts import LabelledTexts
from al_platform.parameters import FamilyParameters
from al_platform.pipelines.training.nodes import labelled
from al_platform.progress import progress

if TYPE_CHECKING:
    from al_platform.models.classifier import NgramClassifier

SIZES = 6
SMALLEST_A_LABEL = 5  # pages: below it whole classes are missing, and the curve is none of learning


def train_on_subsets(
    dataset: pa.Table, parameters: FamilyParameters, seeds: int, *, show_progress: bool = False
) -> Points:
    """Return the errors on golden of n-gram models that were trained on nested random subsets of the training pages.

    Each subset is half the one before; validation pages are those of the family's training, whatever the subset.

    Args:
        dataset: See ``schemas.DATASET``.
        parameters: Of the family: its labels and how the n-gram model is trained.
        seeds: How often the pages are shuffled.
        show_progress: Whether to say now and then how far it is.

    Raises:
        NotReadyError: There are too few pages.
    """
    train, golden = labelled(dataset, TRAIN), labelled(dataset, GOLDEN)
    sizes = subset_sizes(len(train.texts), len(parameters.taxonomy.labels))
    _require(sizes)
    if not golden.texts:
        raise NotReadyError("needs golden pages to score on; found none")
    wanted = [(size, seed) for size in sizes for seed in range(1 if size == max(sizes) else seeds)]
    decisions: defaultdict[int, list[BoolArray]] = defaultdict(list)
    chunks = [[each] for each in wanted]
    shown = progress(chunks, total=len(wanted), what="training on subsets") if show_progress else chunks
    for [(size, seed)] in shown:
        # Small subsets may hold nothing to tell apart, which says nothing of larger ones.
        with suppress(TrainingDataError):
            model = _fit(_subset(train, size, seed), dataset, parameters, seed)
            decisions[size].append(model.decide(model.score(golden.texts).probabilities))
    learnt = {size: found for size, found in decisions.items() if len(found) > 1 or size == max(sizes)}
    _require(list(learnt))
    points = subset_points(parameters.taxonomy.encode(golden.values), learnt)
    if not has_begun(points):
        raise NotReadyError("needs labels from which the n-gram model learns to recognise anything on golden")
    if not points.error.any():
        raise NotReadyError("needs golden pages that a model gets wrong; found none, with any number of labels")
    return points


def subset_sizes(n_pages: int, n_labels: int) -> list[int]:
    """Return the sizes of the subsets, largest first, each half the one before."""
    halved = (n_pages // 2**times for times in range(SIZES))
    return [size for size in halved if size >= SMALLEST_A_LABEL * n_labels]


def _require(sizes: Sequence[int]) -> None:
    if (missing := missing_points(sizes)) is not None:
        raise NotReadyError(missing)


def _fit(pages: LabelledTexts, dataset: pa.Table, parameters: FamilyParameters, seed: int) -> "NgramClassifier":
    # Imported here: it loads torch.
    from al_platform.models.fit import fit_classifier

    validation = labelled(dataset, VALIDATION)
    options = parameters.model.ngram, parameters.training.fit, seed
    return fit_classifier(pages, validation, parameters.taxonomy, *options).classifier


def _subset(pages: LabelledTexts, size: int, seed: int) -> LabelledTexts:
    rows = np.random.default_rng(seed).permutation(len(pages.texts))[:size]
    return LabelledTexts([pages.texts[row] for row in rows], [pages.values[row] for row in rows])
