import json
from collections.abc import Callable
from pathlib import Path

import pytest
from annotation_tasks import PREFIX

from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import LocalStore
from label_studio_office import office

__all__ = ["office"]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


@pytest.fixture
def topics() -> Taxonomy:
    return Taxonomy(task="single", labels=("politics", "sport", "tech"), guideline_version="2")


@pytest.fixture
def safety() -> Taxonomy:
    return Taxonomy(task="multi", labels=("crime", "violence", "alcohol"))


@pytest.fixture
def deliver(store: LocalStore) -> Callable[..., None]:
    """Put tasks into the inbox, one a line, or raw bytes as they are."""

    def _deliver(*tasks: object, name: str = "export.jsonl") -> None:
        lines = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in tasks]
        store.write(f"{PREFIX}/inbox/{name}", b"\n".join(lines))

    return _deliver
