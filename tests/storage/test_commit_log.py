from hashlib import sha256

import pytest

from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.storage import commit_log
from al_platform.storage.commit_log import Manifest, Output, StageKey, head, history
from al_platform.storage.commit_log import commit as committed
from al_platform.storage.run import Run
from al_platform.storage.store import LocalStore

KEY = StageKey("topics", "2026-10", "scoring")


def commit(store, manifest):
    """Write the outputs and commit, as a run does that began just now."""
    key = StageKey(manifest.family, manifest.cycle, manifest.stage)
    for output in manifest.outputs.values():
        store.write(output.path, CONTENTS[output.sha256])
    return committed(store, manifest, commit_log.log_length(store, key))


CONTENTS: dict[str, bytes] = {}


def output(path: str, content: str) -> Output:
    digest = sha256(content.encode()).hexdigest()
    CONTENTS[digest] = content.encode()
    return Output(path=path, sha256=digest, size=len(content))


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def manifest(run_id: str, content: str, key: StageKey = KEY, ended_at: str = "2026-11-01T00:00:00+00:00") -> Manifest:
    return Manifest(
        family=key.family,
        cycle=key.cycle,
        stage=key.stage,
        run_id=run_id,
        outputs={"predictions": output(f"{key.attempt(run_id)}/predictions.parquet", content)},
        started_at=ended_at,
        ended_at=ended_at,
    )


def test_before_the_first_commit_there_is_no_head(store):
    assert head(store, KEY) is None


def test_the_newest_commit_is_the_head(store):
    commit(store, manifest("run-1", "a"))
    commit(store, manifest("run-2", "b"))
    assert head(store, KEY).run_id == "run-2"


def test_equal_outputs_add_no_entry_and_leave_no_attempt(store):
    commit(store, manifest("run-1", "a"))
    store.write(f"{KEY.attempt('run-2')}/predictions.parquet", b"x")
    assert commit(store, manifest("run-2", "a", ended_at="2027-01-01T00:00:00+00:00")) is None
    assert [path for path in store.list(KEY.prefix) if "run-2" in path] == []
    assert head(store, KEY).run_id == "run-1"


def test_a_run_killed_before_its_entry_leaves_the_head_as_it_was(store):
    commit(store, manifest("run-1", "a"))
    store.write(f"{KEY.attempt('run-2')}/manifest.json", commit_log.to_json(manifest("run-2", "b")))
    assert head(store, KEY).run_id == "run-1"


def test_of_two_runs_at_the_same_stage_the_second_to_commit_is_told_who_won(store):
    commit(store, manifest("run-1", "a"))
    first, second = Run("run-2"), Run("run-3")
    for run, content in ((first, "b"), (second, "c")):
        run.attempt(KEY, store).outputs["predictions"] = output("x", content)
    first.commit(KEY, {})
    with pytest.raises(CommitConflictError, match="run-2"):
        second.commit(KEY, {})
    assert head(store, KEY).run_id == "run-2"


def test_of_two_runs_with_the_same_result_the_second_adds_nothing(store):
    first, second = Run("run-1"), Run("run-2")
    for run in (first, second):
        run.attempt(KEY, store).outputs["predictions"] = output("x", "same")
    store.write("x", b"same")
    assert first.commit(KEY, {}).number == 1
    assert second.commit(KEY, {}) is None
    assert commit_log.log_length(store, KEY) == 1


def test_two_runs_that_create_the_same_entry_at_once_are_told_apart(store, monkeypatch):
    monkeypatch.setattr(commit_log, "entries", lambda *_: [])
    committed(store, manifest("run-1", "a"), base=0)
    with pytest.raises(CommitConflictError, match="run-1"):
        committed(store, manifest("run-2", "b"), base=0)


def test_a_lost_reply_is_read_back_as_success(store, monkeypatch):
    real_create = store.create

    def create_then_lose_the_reply(path: str, data: bytes) -> None:
        real_create(path, data)
        raise FileExistsError(path)

    monkeypatch.setattr(store, "create", create_then_lose_the_reply)
    assert commit(store, manifest("run-1", "a")).run_id == "run-1"


def test_a_manifest_changed_after_its_commit_is_refused(store):
    entry = commit(store, manifest("run-1", "a"))
    store.write(entry.manifest, b"{}")
    with pytest.raises(StoreError, match="changed after it was committed"):
        head(store, KEY)


def test_history_holds_the_head_of_each_cycle_oldest_first(store):
    for cycle, content in (("2026-11", "b"), ("2026-10", "a"), ("2026-10", "c")):
        commit(store, manifest(f"run-{content}", content, StageKey("topics", cycle, "scoring")))
    commit(store, manifest("other", "x", StageKey("topics", "2026-12", "selection")))
    assert {cycle: found.run_id for cycle, found in history(store, "topics", "scoring").items()} == {
        "2026-10": "run-c",
        "2026-11": "run-b",
    }
    assert list(history(store, "topics", "scoring")) == ["2026-10", "2026-11"]


def test_a_committed_output_that_is_gone_is_written_again_by_a_run_with_the_same_result(store):
    commit(store, manifest("run-1", "a"))
    store.remove(KEY.attempt("run-1"))
    entry = commit(store, manifest("run-2", "a"))
    assert entry.number == 2
    assert store.read(head(store, KEY).outputs["predictions"].path) == b"a"


def test_a_committed_output_that_was_changed_is_written_again_by_a_run_with_the_same_result(store):
    commit(store, manifest("run-1", "a"))
    store.write(head(store, KEY).outputs["predictions"].path, b"changed")
    commit(store, manifest("run-2", "a"))
    assert store.read(head(store, KEY).outputs["predictions"].path) == b"a"


class Unanswering(LocalStore):
    """A store that takes a log entry and breaks off before it answers; and is away for as many requests after it."""

    def __init__(self, root, away_for):
        super().__init__(root)
        self.away_for = away_for
        self.is_away = False

    def create(self, path, data):
        super().create(path, data)
        if "/log/" in path:
            self.is_away = self.away_for > 0
            raise StoreError("the server does not answer")

    def exists(self, path):
        if self.is_away:
            self.away_for -= 1
            self.is_away = self.away_for > 0
            raise StoreError("the server does not answer")
        return super().exists(path)


def test_an_entry_whose_answer_never_came_is_found_when_it_is_read_back(tmp_path):
    store = Unanswering(tmp_path, away_for=0)
    assert commit(store, manifest("run-1", "a")).number == 1
    assert head(store, KEY).run_id == "run-1"


def test_an_attempt_whose_fate_is_unknown_is_not_removed(tmp_path):
    store = Unanswering(tmp_path, away_for=1)
    run = Run("run-1")
    run.attempt(KEY, store).outputs["predictions"] = output(f"{KEY.attempt('run-1')}/p.parquet", "a")
    store.write(f"{KEY.attempt('run-1')}/p.parquet", b"a")
    with pytest.raises(StoreError, match="does not answer"):
        run.commit(KEY, {})
    assert run.uncommitted() == []
    run.discard(KEY)
    assert store.read(head(store, KEY).outputs["predictions"].path) == b"a"
