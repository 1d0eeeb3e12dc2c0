"""What runs really ask of the store, against what their role is granted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from aws_account import Account

from al_platform.stages import STAGES
from al_platform.storage.store import LocalStore

FIRST, SECOND = "2026-08", "2026-09"
CONDITIONAL = {"s3:if-none-match": "*"}


class Recorder:
    """Writes down every operation on a store of the project as the S3 request that it would be."""

    def __init__(self, root: Path, anchor: Path):
        self._root, self._anchor = root, anchor
        self.requests: set[tuple[str, str, bool]] = set()

    def wrap(self, name: str, action: str) -> Callable[..., object]:
        original = getattr(LocalStore, name)

        def call(store: LocalStore, *arguments: object) -> object:
            path = str(arguments[-1] if name == "upload" else arguments[0])
            if name != "remove" or (Path(store.root) / path).is_dir():  # S3 is asked nothing about no objects
                self._record(action, name == "create", Path(store.root), path)
            return original(store, *arguments)

        return call

    def _record(self, action: str, is_conditional: bool, root: Path, path: str) -> None:
        area = "anchor" if root == self._anchor else root.relative_to(self._root).as_posix()
        folder = root / path
        below = [found.relative_to(root).as_posix() for found in folder.rglob("*") if found.is_file()]
        for one in below if folder.is_dir() else [path]:
            self.requests.add((action, f"{area}/{one}", is_conditional))


@pytest.fixture
def recorder(project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    project.only("topics")
    settings = yaml.safe_load((project.path / "conf" / "test" / "globals.yml").read_text())
    project.configure("globals.yml", {**settings, "audit_anchor": "anchor"})
    for cycle in (FIRST, SECOND):  # what an importer brings in
        project.load("pages", cycle)
        project.load("topics.imported_labels", cycle)
    found = Recorder(project.path / settings["root"], project.path / "anchor")
    actions = {"read": "GetObject", "exists": "GetObject", "local": "GetObject", "remove": "DeleteObject"}
    actions |= dict.fromkeys(("write", "create", "upload"), "PutObject")
    for name, action in actions.items():
        monkeypatch.setattr(LocalStore, name, found.wrap(name, action))
    return found


def test_every_stage_is_granted_all_that_its_runs_ask_for(account: Account, project, recorder: Recorder) -> None:
    denied = {}
    # The second cycle has a champion and a history; its repetition changes nothing and removes its attempts.
    for cycle in (FIRST, SECOND, SECOND):
        for stage in STAGES:
            recorder.requests.clear()
            project.run(stage.name, cycle=cycle)
            refused = [asked for asked in sorted(recorder.requests) if not _is_granted(account, stage.name, *asked)]
            denied |= {(stage.name, *asked): cycle for asked in refused}
            assert recorder.requests
    assert denied == {}


def _is_granted(account: Account, role: str, action: str, path: str, is_conditional: bool) -> bool:
    return account.allows(role, action, path, CONDITIONAL if is_conditional else {})
