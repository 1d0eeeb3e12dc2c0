"""What a selection chose from: the classes that were predicted, against those trained on, and drift.

Read when the run is published, from what scoring, preparation and monitoring left; the selection itself needs none.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.domain.taxonomy import Taxonomy
from al_platform.publishing.tables import Tables, table_of
from al_platform.records.shares import ClassCounts, Drift, predicted_counts, shares_folder, thresholds_of
from al_platform.storage.commit_log import Manifest, StageKey, head, parts_of
from al_platform.stores import Stores

_MAX_BYTES = 256 << 20  # of predictions that are fetched to be counted
_SCORING = "scoring"


def traffic_tables(stores: Stores, manifest: Manifest) -> Tables:
    """Return the tables of the traffic that a selection read; those of which nothing is known are left out.

    Args:
        stores: Of the environment.
        manifest: Of a selection.
    """
    found = {
        "predicted_classes": table_of(_predicted_classes(stores, manifest)),
        "drift": table_of(_kept_drift(stores, manifest)),
    }
    return {name: table for name, table in found.items() if table.rows}


def _predicted_classes(stores: Stores, manifest: Manifest) -> Iterator[Mapping[str, Any]]:
    scored = head(stores.of_stage(_SCORING), StageKey(manifest.family, manifest.cycle, _SCORING))
    read = manifest.inputs.get(f"{manifest.family}.predictions")
    if scored is None or read is None:
        return
    outputs = parts_of(scored.outputs, "predictions")
    # Scored again since: what was chosen from is no longer what the newest commit holds.
    is_same = {output.sha256 for output in outputs} == {file.sha256 for file in read.files}
    model = _scored_by(stores, scored)
    if model is None or not is_same or sum(output.size for output in outputs) > _MAX_BYTES:
        return
    taxonomy = Taxonomy.model_validate(scored.parameters["taxonomy"])
    thresholds = thresholds_of(stores.by_class["models"], manifest.family, model, taxonomy)
    counts = predicted_counts(stores.of_stage(_SCORING), outputs, taxonomy, thresholds, shares_folder())
    trained = _trained(stores, manifest.family, model)
    moves = Drift(counts.shares, trained.shares, "", counts.pages).moves if trained else {}
    for label, share in counts.shares.items():
        known = trained.shares.get(label, 0.0) if trained else None
        row = {"label": label, "pages": counts.counts[label], "share": share}
        yield {**row, "share_trained_on": known, "difference": moves.get(label)}


def _scored_by(stores: Stores, scored: Manifest) -> str | None:
    report = read_output(stores.of_stage(_SCORING), scored.outputs["scoring_report"], format_named("json"))
    return next(iter(report["model_digests"]), None)


def _trained(stores: Stores, family: str, model: str) -> ClassCounts | None:
    """Return the classes of the pages that a model was trained on; None of a model that was not trained here."""
    try:
        record = json.loads(stores.by_class["models"].read(f"{family}/by_digest/{model}/training.json"))
        (dataset,) = record["inputs"]["stored"][f"{family}.dataset"]["files"]
        folder = str(dataset["path"]).rpartition("/")[0]
        card = json.loads(stores.of_stage("preparation").read(f"{folder}/dataset_card.json"))
    except (FileNotFoundError, KeyError):
        return None
    return ClassCounts(pages=card["sets"].get("train", 0), counts=card["class_balance"].get("train", {}))


def _kept_drift(stores: Stores, manifest: Manifest) -> list[dict[str, Any]]:
    """Return what ``kedro al monitor`` found of the month, where it has looked by now."""
    try:
        kept = json.loads(stores.by_class["logs"].read(f"monitoring/{manifest.family}/{manifest.cycle}.json"))
    except FileNotFoundError:
        return []
    found: list[dict[str, Any]] = kept["drift"]
    return found
