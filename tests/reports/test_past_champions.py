from types import SimpleNamespace

import pytest

from al_platform.catalog import past_champions as module
from al_platform.catalog.champion import ChampionEntry, append_champion
from al_platform.catalog.past_champions import PastChampions, first_of_each
from al_platform.storage.store import open_store


def entry(number, cycle, digest, reason="gate"):
    return ChampionEntry(
        number=number,
        family="topics",
        cycle=cycle,
        model_digest=digest,
        previous=None,
        reason=reason,
        verdict_digest=None,
        at="2026-01-01T00:00:00+00:00",
    )


def of(entries):
    return [(found.cycle, found.model_digest) for found in first_of_each(entries)]


def test_each_model_stands_once_newest_last():
    assert of([entry(1, "2026-04", "a"), entry(2, "2026-07", "b")]) == [("2026-04", "a"), ("2026-07", "b")]


def test_a_rollback_makes_no_model_younger():
    log = [entry(1, "2026-04", "a"), entry(2, "2026-07", "b"), entry(3, "2026-08", "a", "rollback")]
    assert of(log) == [("2026-04", "a"), ("2026-07", "b")]


def test_a_model_that_was_superseded_within_its_cycle_was_never_in_use():
    assert of([entry(1, "2026-04", "a"), entry(2, "2026-04", "b")]) == [("2026-04", "b")]


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path))
    for number, (cycle, digest) in enumerate([("2026-04", "a"), ("2026-07", "b"), ("2026-10", "c")], start=1):
        append_champion(store, entry(number, cycle, digest), None)
    return store


@pytest.fixture(autouse=True)
def models(monkeypatch):
    monkeypatch.setattr(module, "load_model", lambda store, family, digest: SimpleNamespace(digest=digest))


def dataset(store, cycle):
    return PastChampions(root=store.root, models_root=store.root, family="topics", cycle=cycle)


def test_only_champions_of_earlier_cycles_are_past(store):
    assert [(past.cycle, past.model.digest) for past in dataset(store, "2026-10").load()] == [
        ("2026-04", "a"),
        ("2026-07", "b"),
    ]


def test_the_entries_that_were_read_are_recorded_with_their_digests(store):
    past = dataset(store, "2026-10")
    past.load()
    assert [file.path for file in past.source.files] == ["topics/log/000001.json", "topics/log/000002.json"]
    assert past.source.sha256


def test_before_the_first_champion_there_is_none_and_that_is_recorded(store):
    past = dataset(store, "2026-01")
    assert past.load() == ()
    assert past.source.place == "none"
