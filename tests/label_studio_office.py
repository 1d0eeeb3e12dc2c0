"""A real Label Studio with people who answer on it, as tests see them: through its API, not through our client."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.label_studio import LabelStudioServer

from al_platform.annotation import PlatformConnection
from al_platform.storage.store import Store

PEOPLE = ("ann", "bob", "cem")


class Office:
    """The server and three annotators, each with an account of their own."""

    def __init__(self, server: LabelStudioServer):
        self.server = server
        self._tokens = {name: server.add_annotator(f"{name}@example.com", f"{name}-secret-1") for name in PEOPLE}

    @property
    def credentials(self) -> dict[str, str]:
        return {"url": self.server.url, "token": self.server.token}

    def connection(self, store: Store, prefix: str = "topics/platform", family: str = "topics") -> PlatformConnection:
        return PlatformConnection(store, prefix, family, lambda _, __: {}, self.credentials)

    def api(self, who: str | None = None) -> httpx.Client:
        return self.server.client(self._tokens[who] if who else None)

    def person(self, name: str) -> str:
        """Return the name by which answers of a person come back."""
        with self.api(name) as api:
            return str(api.get("/api/current-user/whoami").json()["id"])

    def projects(self, store: Store) -> list[int]:
        """Return the projects that a store has made."""
        files = [path for path in store.list("") if "/label_studio/projects/" in path]
        records = [json.loads(store.read(path)) for path in files]
        return sorted(record["project"] for record in records if "project" in record)

    def tasks(self, store: Store) -> list[dict[str, Any]]:
        """Return every task of a store's projects, whole."""
        with self.api() as api:
            how = {"exportType": "JSON", "download_all_tasks": "true"}
            answers = [api.get(f"/api/projects/{each}/export", params=how) for each in self.projects(store)]
        return [task for answer in answers for task in answer.raise_for_status().json()]

    def task(self, store: Store, page_id: str) -> dict[str, Any]:
        [found] = [task for task in self.tasks(store) if task["data"]["page_id"] == page_id]
        return found

    def answer(self, who: str, task: Mapping[str, Any], values: Sequence[str], *, skip: bool = False) -> int:
        """Let somebody answer a task, and return the answer's number."""
        body = {"result": choices(values), "was_cancelled": skip}
        with self.api(who) as api:
            return int(api.post(f"/api/tasks/{task['id']}/annotations/", json=body).raise_for_status().json()["id"])

    def change(self, annotation: int, **content: Any) -> None:
        with self.api() as api:
            api.patch(f"/api/annotations/{annotation}/", json=content).raise_for_status()

    def delete(self, what: str) -> None:
        with self.api() as api:
            api.delete(f"/api/{what}/").raise_for_status()


def choices(values: Sequence[str]) -> list[dict[str, Any]]:
    where = {"from_name": "label", "to_name": "text", "type": "choices"}
    return [{**where, "value": {"choices": list(values)}}] if values else []


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One server for all tests of a process; the first on a machine takes minutes."""
    folder: Path = tmp_path_factory.mktemp("label-studio")
    with LabelStudioServer(folder) as server:
        yield Office(server)
