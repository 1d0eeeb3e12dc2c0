import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from annotation_tasks import make_batch

from al_platform.annotation.label_studio.client import Client
from al_platform.annotation.label_studio.options import LabelStudioOptions
from al_platform.annotation.label_studio.push import Push
from al_platform.annotation.label_studio.pushes import Pushes
from al_platform.storage.store import LocalStore

PAGES, CHARS, CHUNK = 400, 20_000, 20
PROJECT, BATCH_ID = 1, "topics-2026-10"


class KeysOnly:
    """Stands for a client: it keeps what a task is found by, as the server's listing shows it.

    ``meanwhile`` is called once, after the first look at the server or at the record of what was sent.
    """

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.listed: list[dict[str, Any]] = []
        self._meanwhile = meanwhile

    def list_tasks(self, _: int, __: str) -> Iterator[dict[str, Any]]:
        yield from [*self.listed]
        self.looked()

    def import_tasks(self, _: int, tasks: Sequence[dict[str, Any]]) -> bool:
        start = len(self.listed)
        self.listed += [{"id": start + row, "meta": each["meta"]} for row, each in enumerate(tasks)]
        return True

    def looked(self) -> None:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()


class WatchedPushes(Pushes):
    """A batch's record that tells a client when it was looked at."""

    def __init__(self, store: LocalStore, client: KeysOnly) -> None:
        super().__init__(store, "pushes", BATCH_ID)
        self._client = client

    def sent(self) -> dict[str, str]:
        found = super().sent()
        self._client.looked()
        return found


def begin(client: KeysOnly, store: LocalStore) -> Push:
    pushes, options = WatchedPushes(store, client), LabelStudioOptions(chunk_pages=CHUNK)
    return Push(cast("Client", client), [PROJECT], pushes, BATCH_ID, options)


def test_a_push_holds_the_texts_of_one_request_at_a_time(store: LocalStore) -> None:
    batch = make_batch({f"page-{row}": f"{row}".ljust(CHARS, "x") for row in range(PAGES)})
    client = KeysOnly()
    tracemalloc.start()
    try:
        sent = begin(client, store).send(batch, [PROJECT] * PAGES, "1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == len(client.listed) == PAGES
    assert peak < PAGES * CHARS / 4


def test_pages_that_somebody_else_sent_meanwhile_are_counted_and_not_sent_again(store: LocalStore) -> None:
    batch = make_batch([f"page-{row}" for row in range(50)])

    def send() -> int:
        return begin(client, store).send(batch, [PROJECT] * 50, "1")

    client = KeysOnly(meanwhile=send)
    assert send() == 50
    assert len(client.listed) == 50
