import pytest

from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.storage import commit_log
from al_platform.storage.commit_log import Manifest, Output, StageKey, commit, head, history
from al_platform.storage.store import LocalStore

KEY = StageKey("topics", "2026-10", "scoring")


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def manifest(run_id: str, content: str, key: StageKey = KEY, ended_at: str = "2026-11-01T00:00:00+00:00") -> Manifest:
    return Manifest(
        family=key.family,
        cycle=key.cycle,
        stage=key.stage,
        run_id=run_id,
        outputs={"predictions": Output(path=f"{key.attempt(run_id)}/predictions.parquet", sha256=content, size=1)},
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


def test_of_two_writers_of_one_entry_the_second_is_told_who_won(store, monkeypatch):
    commit(store, manifest("run-1", "a"))
    only_the_first = commit_log.entries(store, f"{KEY.prefix}/log")
    commit(store, manifest("run-2", "b"))
    monkeypatch.setattr(commit_log, "entries", lambda *_: only_the_first)
    with pytest.raises(CommitConflictError, match="run-2"):
        commit(store, manifest("run-3", "c"))


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
