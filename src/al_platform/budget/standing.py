"""What is committed of a family: its evaluations with their training sets, and the labels it has now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # its submodules are loaded when they are used

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.domain import estimators
from al_platform.domain.errors import NotReadyError
from al_platform.domain.learning_curve import Points
from al_platform.domain.splits import AUDIT, GOLDEN, TRAIN
from al_platform.parameters import FamilyParameters
from al_platform.storage.commit_log import Manifest, history
from al_platform.storage.store import Store
from al_platform.stores import Stores


@dataclass(frozen=True)
class Evaluated:
    """One challenger as it was evaluated.

    Attributes:
        cycle: The month.
        training_labels: Pages it was trained on.
        error: 1 - macro-F1.
        standard_error: Of the error, from its 95 % interval.
        set: What it is from: ``audit`` is traffic.
        pages: Of that set.
        encoder: What kind of model it is.
    """

    cycle: str
    training_labels: int
    error: float
    standard_error: float
    set: str
    pages: int
    encoder: str


@dataclass(frozen=True)
class Standing:
    """Where a family stands.

    Attributes:
        cycle: Of the newest labels.
        dataset: Of that cycle; see ``schemas.DATASET``.
        evaluations: Comparable ones, oldest first: of the newest one's kind of model, on the newest one's set.
        left_out: How many others there are.
        answers_per_label: Of annotators so far; 1 where none has answered.
    """

    cycle: str
    dataset: pa.Table
    evaluations: tuple[Evaluated, ...]
    left_out: int
    answers_per_label: float

    @property
    def training_labels(self) -> int:
        """Pages that a model would be trained on now."""
        return int(pc.sum(pc.equal(self.dataset["set"], TRAIN)).as_py() or 0)

    @property
    def quarters(self) -> Points:
        """The evaluations as points of a curve; the noise of each is its own."""
        sizes, errors, noise = (
            np.array([getattr(each, name) for each in self.evaluations], dtype=np.float64)
            for name in ("training_labels", "error", "standard_error")
        )
        return Points(sizes, errors, np.diag(noise**2))


def read_standing(stores: Stores, parameters: FamilyParameters) -> Standing:
    """Return where a family stands.

    Raises:
        NotReadyError: It has no labels or no evaluation.
    """
    family = parameters.family
    prepared = history(stores.of_stage("preparation"), family, "preparation")
    if not prepared:
        raise NotReadyError(f"{family} has no labelled pages yet. Run: kedro run --pipelines=monthly")
    cycle, newest = max(prepared.items())
    dataset = read_output(stores.of_stage("preparation"), newest.outputs["dataset"], format_named("parquet"))
    evaluations = _evaluations(stores.of_stage("evaluation"), family, parameters.evaluation.gate.min_audit)
    if not evaluations:
        raise NotReadyError(
            f"{family} has no evaluation yet, and its curve needs the level of one. "
            f"Run: kedro run --pipelines=quarterly"
        )
    kept = comparable(evaluations)
    left_out = len({each.cycle for each in evaluations} - {each.cycle for each in kept})
    return Standing(cycle, dataset, kept, left_out, _answers_per_label(stores, family))


def _evaluations(store: Store, family: str, min_audit: int) -> list[Evaluated]:
    """Return every evaluation of a challenger whose training stands, once a set that says something."""
    trained = {}
    for manifest in history(store, family, "training").values():
        report = _report(store, manifest, "training_report")
        trained[report["model_digest"]] = report["n_train"], manifest.parameters["model"]["encoder"]
    found = []
    for cycle, manifest in history(store, family, "evaluation").items():
        digest = _report(store, manifest, "verdict")["challenger_digest"]
        if digest in trained:
            sets = _report(store, manifest, "evaluation")
            names = [name for name in (AUDIT, GOLDEN) if name == GOLDEN or _says_something(sets, min_audit)]
            found += [_evaluated(cycle, sets[name]["challenger"]["macro_f1"], *trained[digest]) for name in names]
    return found


def _says_something(sets: dict[str, Any], min_audit: int) -> bool:
    return AUDIT in sets and sets[AUDIT]["n"] >= min_audit


def _evaluated(cycle: str, macro_f1: dict[str, Any], training_labels: int, encoder: str) -> Evaluated:
    z = float(scipy.special.ndtri((1 + estimators.CONFIDENCE) / 2))
    # An interval without width is no certainty: a page more could be wrong.
    standard_error = max((macro_f1["high"] - macro_f1["low"]) / (2 * z), 1 / macro_f1["n"])
    error = 1 - macro_f1["value"]
    return Evaluated(cycle, training_labels, error, standard_error, macro_f1["set"], macro_f1["n"], encoder)


def comparable(evaluations: Sequence[Evaluated]) -> tuple[Evaluated, ...]:
    """Return those on traffic where the newest has it, else on golden; another kind of model has another level."""
    newest = max(each.cycle for each in evaluations)
    last = min((each for each in evaluations if each.cycle == newest), key=lambda each: each.set != AUDIT)
    return tuple(each for each in evaluations if (each.set, each.encoder) == (last.set, last.encoder))


def _answers_per_label(stores: Stores, family: str) -> float:
    store = stores.of_stage("annotation_ingest")
    ingested = history(store, family, "annotation_ingest")
    if not ingested:
        return 1.0
    report = _report(store, max(ingested.items())[1], "annotation_ingest_report")
    answered = report["labels"] + report["unresolved"]
    return report["answers_in_ledger"] / answered if answered else 1.0


def _report(store: Store, manifest: Manifest, name: str) -> dict[str, Any]:
    report: dict[str, Any] = read_output(store, manifest.outputs[name], format_named("json"))
    return report
