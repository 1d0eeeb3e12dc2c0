"""What people look at of a stage: tables made of the small outputs that it committed. No pages, unless asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.storage.commit_log import Manifest
from al_platform.storage.store import Store
from al_platform.tracking.tracked_run import Cell, TrackedTable

Tables: TypeAlias = dict[str, TrackedTable]
_SNIPPET_CHARS = 300
_SETS = ("golden", "audit", "validation")
_MAIN = ("macro_f1", "micro_f1", "accuracy", "log_loss", "calibration_error")


class Committed:
    """The outputs of one commit, each read when it is asked for."""

    def __init__(self, store: Store, manifest: Manifest):
        self.manifest = manifest
        self._store = store

    def json(self, name: str) -> dict[str, Any]:
        """Return a JSON output; empty where the stage did not write it."""
        output = self.manifest.outputs.get(name)
        found: dict[str, Any] = read_output(self._store, output, format_named("json")) if output else {}
        return found

    def table(self, name: str) -> pa.Table:
        """Return a Parquet output, which an erasure may have rewritten since."""
        return read_output(self._store, self.manifest.outputs[name], format_named("parquet"))


def tables_of(committed: Committed, *, with_pages: bool) -> Tables:
    """Return the tables of a stage run; empty ones are left out.

    Args:
        committed: Its outputs.
        with_pages: Whether to add tables that show pages.
    """
    found = _OF_STAGE.get(committed.manifest.stage, _nothing)(committed)
    if with_pages:
        found |= _PAGES_OF_STAGE.get(committed.manifest.stage, _nothing)(committed)
    return {name: table for name, table in found.items() if table.rows}


def table_of(records: Iterable[Mapping[str, Any]]) -> TrackedTable:
    """Return records as a table, nested values by their dotted names; a list becomes one text."""
    flat = [dict(_flat(record)) for record in records]
    columns = tuple(dict.fromkeys(name for record in flat for name in record))
    return TrackedTable(columns=columns, rows=tuple(tuple(record.get(name) for name in columns) for record in flat))


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Cell]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value


def _nothing(committed: Committed) -> Tables:
    return {}


def _counts(counts: Mapping[str, int], what: str) -> TrackedTable:
    return table_of({what: name, "pages": count} for name, count in counts.items())


def _selection(committed: Committed) -> Tables:
    batch = committed.table("batch")
    grouped = batch.group_by("reason").aggregate([("score", how) for how in ("count", "min", "mean", "max")])
    report = committed.json("selection_report")
    return {
        "reasons": _counts(report["by_reason"], "reason"),
        "scores": table_of(sorted(grouped.to_pylist(), key=lambda row: str(row["reason"]))),
        "non_response": table_of({"reason": name, "rows": count} for name, count in report["non_response"].items()),
    }


def _ingest(committed: Committed) -> Tables:
    labels = committed.table("labels")
    by_value: dict[str, list[dict[str, Any]]] = {}
    for row in labels.select(["values", "agreement", "source"]).to_pylist():
        for value in row["values"]:
            by_value.setdefault(value, []).append(row)
    return {
        "labels": table_of(
            {"label": value, "pages": len(rows), "agreement": _mean(row["agreement"] for row in rows)}
            for value, rows in sorted(by_value.items())
        ),
        "label_sources": _counts(Counter(labels["source"].to_pylist()), "source"),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _preparation(committed: Committed) -> Tables:
    card = committed.json("dataset_card")
    balance = [
        {"set": name, "label": label, "pages": count}
        for name, counts in card["class_balance"].items()
        for label, count in counts.items()
    ]
    counted = {name: _counts(card[name], name.rstrip("s")) for name in ("sets", "reasons", "sources", "dropped")}
    return {"class_balance": table_of(balance), **counted}


def _evaluation(committed: Committed) -> Tables:
    evaluation, verdict = committed.json("evaluation"), committed.json("verdict")
    errors = committed.json("error_analysis")
    figures = [
        {"set": name, "model": model, "pages": evaluation[name]["n"], **_main(evaluation[name][model])}
        for name in _measured(evaluation)
        for model in ("challenger", "champion", "simpler")
        if evaluation[name].get(model)
    ]
    return {
        "figures": table_of(figures),
        "checks": table_of(verdict["checks"]),
        "classes": table_of(_of_challenger(evaluation, "per_class")),
        "reliability": table_of(_of_challenger(evaluation, "reliability")),
        "confusions": table_of(errors.get("confusions", ())),
        "slices": table_of(errors.get("slices", ())),
        "staleness": table_of(committed.json("staleness").get("champions", ())),
    }


def _measured(evaluation: Mapping[str, Any]) -> list[str]:
    return [name for name in _SETS if name in evaluation]


def _main(figures: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: figures.get(name) for name in _MAIN}
    return {name: value["value"] if isinstance(value, Mapping) else value for name, value in found.items()}


def _of_challenger(evaluation: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    return [{"set": name, **row} for name in _measured(evaluation) for row in evaluation[name]["challenger"][what]]


def _batch_pages(committed: Committed) -> Tables:
    batch = committed.table("batch").select(["rank", "page_id", "reason", "score", "url", "title", "text"])
    texts = pc.utf8_slice_codeunits(batch["text"], 0, _SNIPPET_CHARS)
    return {"pages": table_of(batch.set_column(batch.num_columns - 1, "text", texts).to_pylist())}


def _mistakes(committed: Committed) -> Tables:
    return {"mistakes": table_of(committed.json("error_analysis").get("mistakes", ()))}


_OF_STAGE: Mapping[str, Callable[[Committed], Tables]] = {
    "selection": _selection,
    "annotation_ingest": _ingest,
    "preparation": _preparation,
    "evaluation": _evaluation,
}
_PAGES_OF_STAGE: Mapping[str, Callable[[Committed], Tables]] = {"selection": _batch_pages, "evaluation": _mistakes}
