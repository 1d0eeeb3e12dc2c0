import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from al_platform.schemas import BATCH, conform
from al_platform.storage.store import LocalStore

PREFIX = "topics/platform"


def make_batch(
    pages: Mapping[str, str] | Sequence[str], batch_id: str = "topics-2026-10", reason: str = "margin"
) -> pa.Table:
    """Return a batch of pages, given as texts by id or as ids."""
    texts = pages if isinstance(pages, Mapping) else dict.fromkeys(pages, "some text")
    rows = [
        {"batch_id": batch_id, "page_id": page_id, "rank": rank, "reason": reason, "title": text[:50], "text": text}
        for rank, (page_id, text) in enumerate(texts.items())
    ]
    return conform(pa.Table.from_pylist(rows, schema=BATCH), BATCH, "batch")


def annotation(**changes: Any) -> dict[str, Any]:
    """Return an annotation as Label Studio exports it, with the labels in ``choices``."""
    choices = changes.pop("choices", ["sport"])
    result = [{"type": "choices", "from_name": "label", "to_name": "text", "value": {"choices": choices}}]
    whole = {
        "id": 7,
        "completed_by": 3,
        "result": result,
        "was_cancelled": False,
        "created_at": "2026-11-02T10:00:00.000001Z",
        "updated_at": "2026-11-02T10:00:00.000001Z",
        "lead_time": 4.2,
    }
    return {name: value for name, value in (whole | changes).items() if value is not ...}


def task(page_id: str = "a", *annotations: object, batch_id: str = "topics-2026-10") -> dict[str, Any]:
    """Return an exported task."""
    return {"id": 1, "data": {"page_id": page_id, "batch_id": batch_id}, "annotations": list(annotations)}


def outbox_tasks(store: LocalStore) -> list[dict[str, Any]]:
    """Return the data of all tasks that lie in the outbox."""
    files = [path for path in store.list(PREFIX) if "/outbox/" in path]
    return [json.loads(line)["data"] for file in files for line in store.read(file).split(b"\n") if line]
