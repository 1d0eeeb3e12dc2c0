"""The audit log keeps every line in its place, and shows where one was touched."""

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from al_platform.domain.errors import ConfigError, StoreError
from al_platform.storage import audit_log
from al_platform.storage.audit_check import committed_entry, unknown_to, verify
from al_platform.storage.audit_log import (
    AuditLine,
    AuditLog,
    anchor_quietly,
    commit_subject,
    entry_subject,
    last_lines,
)
from al_platform.storage.commit_log import Entry, StageKey, to_json
from al_platform.storage.run_record import record_end
from al_platform.storage.store import LocalStore

KEY = StageKey("topics", "2026-10", "scoring")


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "logs")


@pytest.fixture
def outside(tmp_path):
    return LocalStore(tmp_path / "outside")


@pytest.fixture
def log(store, outside):
    return AuditLog(store, "ada", outside)


def write(log, count):
    return [log.record("commit", {"run_id": f"run-{number}"}) for number in range(1, count + 1)]


def path(number):
    return f"audit/{number:06d}.json"


def kinds(verification):
    return [(finding.kind, finding.path) for finding in verification.findings]


def change(store, which, **values):
    store.write(path(which), to_json({**json.loads(store.read(path(which))), **values}))


def rewrite(store, first, **values):
    """Change a line and make the chain after it fit."""
    change(store, first, **values)
    for number in range(first + 1, len(store.list("audit")) + 1):
        change(store, number, previous_sha256=sha256(store.read(path(number - 1))).hexdigest())


def test_every_line_holds_the_digest_of_the_line_before(log, store):
    lines = write(log, 3)
    assert [line.number for line in lines] == [1, 2, 3]
    assert lines[0].previous_sha256 is None
    assert lines[2].previous_sha256 == sha256(store.read(path(2))).hexdigest()
    assert AuditLine.model_validate_json(store.read(path(3))) == lines[2]
    assert verify(store, None, []).findings == ()


def test_a_line_says_who_did_what_to_what(log):
    line = log.record("erase", {"page_id": "p1", "rows": 3, "reason": None})
    assert (line.actor, line.action, line.subject) == ("ada", "erase", {"page_id": "p1", "rows": 3, "reason": None})


def test_another_process_goes_on_where_the_log_ends(log, store):
    write(log, 2)
    assert AuditLog(store, "grace").record("import", {}).number == 3


def test_only_the_first_record_lists_the_folder(log, store, monkeypatch):
    listed = []
    real = LocalStore.list
    monkeypatch.setattr(LocalStore, "list", lambda self, prefix: listed.append(prefix) or real(self, prefix))
    write(log, 5)
    assert listed == ["audit"]


def test_the_last_lines_are_shown_oldest_first(log, store):
    write(log, 5)
    assert [line.number for line in last_lines(store, 2)] == [4, 5]


def test_after_a_million_lines_numbers_are_still_in_order(log, store):
    store.create("audit/999999.json", to_json({"any": "line"}))
    assert [line.number for line in write(log, 2)] == [1_000_000, 1_000_001]
    assert [line.number for line in last_lines(store, 2)] == [1_000_000, 1_000_001]


@pytest.mark.parametrize("is_shared", [True, False], ids=["one log", "a log each"])
def test_of_writers_at_once_each_gets_a_line_of_its_own(store, is_shared):
    shared = AuditLog(store, "ada")

    def ten(writer):
        log = shared if is_shared else AuditLog(store, f"writer-{writer}")
        return [log.record("commit", {"same": "subject"}) for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        lines = [line for lines in pool.map(ten, range(8)) for line in lines]
    assert sorted(line.number for line in lines) == list(range(1, 81))
    assert len({line.id for line in lines}) == 80
    found = verify(store, None, [])
    assert (found.findings, found.lines) == ((), 80)


def test_a_log_that_others_wrote_much_to_is_caught_up_with(log, store):
    write(log, 1)
    write(AuditLog(store, "grace"), 40)
    assert log.record("commit", {}).number == 42
    assert verify(store, None, []).findings == ()


class LosesReplies(LocalStore):
    """Writes, and then reports what a client reports whose first answer was lost."""

    def __init__(self, root, error):
        super().__init__(root)
        self.error = error

    def create(self, path, data):
        super().create(path, data)
        raise self.error


@pytest.mark.parametrize("error", [FileExistsError("retried"), TimeoutError("no answer"), StoreError("no answer")])
def test_a_line_whose_answer_was_lost_counts_as_written(tmp_path, error):
    store = LosesReplies(tmp_path, error)
    assert [line.number for line in write(AuditLog(store, "ada"), 3)] == [1, 2, 3]
    found = verify(store, None, [])
    assert (found.findings, found.lines) == ((), 3)


def test_a_write_that_is_refused_stays_refused(log, store, monkeypatch):
    def refuse(path, data):
        raise StoreError("denied")

    monkeypatch.setattr(store, "create", refuse)
    with pytest.raises(StoreError, match="denied"):
        write(log, 1)


def test_a_writer_that_is_never_first_gives_up(log, store, monkeypatch):
    monkeypatch.setattr(audit_log, "_TRIES", 3)
    real = store.create

    def second(path, data):
        real(path, b"another writer's line")
        raise FileExistsError(path)

    monkeypatch.setattr(store, "create", second)
    with pytest.raises(StoreError, match="3 times another writer was first"):
        write(log, 1)


def test_a_changed_line_is_found(log, store):
    write(log, 4)
    change(store, 2, actor="mallory")
    assert kinds(verify(store, None, [])) == [("tampered", path(2))]


def test_a_line_that_is_no_line_any_more_is_found(log, store):
    write(log, 4)
    store.write(path(4), b"{")
    assert kinds(verify(store, None, [])) == [("tampered", path(4))]
    with pytest.raises(StoreError, match="000004"):
        last_lines(store, 2)


def test_lines_that_changed_places_are_found(log, store):
    write(log, 3)
    second, third = store.read(path(2)), store.read(path(3))
    store.write(path(2), third)
    store.write(path(3), second)
    assert kinds(verify(store, None, [])) == [("tampered", path(2)), ("tampered", path(3))]


def test_lines_that_were_taken_out_are_found_together(log, store, tmp_path):
    write(log, 6)
    for number in (2, 3, 5):
        (tmp_path / "logs" / path(number)).unlink()
    found = verify(store, None, [])
    assert kinds(found) == [("missing", path(2)), ("missing", path(5))]
    assert "lines 2 to 3 are gone" in found.findings[0].detail


def test_lines_that_were_taken_out_at_the_start_are_found_even_when_renumbered(log, store, tmp_path):
    write(log, 3)
    (tmp_path / "logs" / path(1)).unlink()
    for number in (2, 3):
        change(store, number, number=number - 1)
        (tmp_path / "logs" / path(number)).rename(tmp_path / "logs" / path(number - 1))
    assert ("tampered", path(1)) in kinds(verify(store, None, []))


def test_an_end_that_was_cut_off_is_found_only_with_an_anchor(log, store, outside, tmp_path):
    write(log, 4)
    log.anchor_head()
    for number in (3, 4):
        (tmp_path / "logs" / path(number)).unlink()
    assert verify(store, None, []).findings == ()
    found = verify(store, outside, [])
    assert kinds(found) == [("missing", path(3))]
    assert "an anchor holds their digest" in found.findings[0].detail


def test_a_log_written_anew_is_found_only_with_an_anchor(log, store, outside):
    write(log, 4)
    log.anchor_head()
    rewrite(store, 2, actor="mallory")
    assert verify(store, None, []).findings == ()
    assert kinds(verify(store, outside, [])) == [("rewritten", path(4))]


def test_an_anchor_set_after_the_log_was_written_anew_does_not_hide_it(log, store, outside):
    write(log, 4)
    log.anchor_head()
    rewrite(store, 2, actor="mallory")
    AuditLog(store, "mallory", outside).anchor_head()
    found = verify(store, outside, [])
    assert kinds(found) == [("rewritten", path(4))]
    assert found.anchors == 2


def test_a_head_is_anchored_once(log, store, outside):
    write(log, 2)
    anchor = log.anchor_head()
    assert (anchor.number, anchor.sha256) == (2, sha256(store.read(path(2))).hexdigest())
    assert outside.list("anchors") == [f"anchors/000002-{anchor.sha256}.json"]
    assert log.anchor_head() is None
    write(log, 1)
    assert log.anchor_head().number == 3
    assert verify(store, outside, []).anchors == 2


def test_an_empty_log_has_no_head_to_anchor(log, store, outside):
    assert log.anchor_head() is None
    assert verify(store, outside, []).findings == ()


def test_without_a_place_for_it_nothing_can_be_anchored(store):
    with pytest.raises(ConfigError, match="audit_anchor"):
        AuditLog(store, "ada").anchor_head()
    assert verify(store, None, []).anchors is None


def entry(number=1, run_id="run-1", outputs="c"):
    return Entry(
        number=number,
        run_id=run_id,
        manifest=f"{KEY.attempt(run_id)}/manifest.json",
        manifest_sha256="b" * 64,
        outputs_digest=outputs * 64,
        committed_at="2026-11-01T00:00:00+00:00",
    )


COMMITTED = committed_entry("datasets", f"{KEY.prefix}/log/000001.json", to_json(entry()))


def test_a_commit_with_its_line_is_sound(log, store):
    log.record("commit", commit_subject("datasets", KEY, entry()))
    found = verify(store, None, [COMMITTED])
    assert (found.findings, found.commits, found.announced_only) == ((), 1, ())


def test_a_commit_without_a_line_is_found(log, store):
    write(log, 2)
    assert kinds(verify(store, None, [COMMITTED])) == [("unannounced", COMMITTED.entry)]


def test_a_log_entry_that_points_elsewhere_than_announced_is_found(log, store):
    log.record("commit", commit_subject("datasets", KEY, entry()))
    moved = to_json(entry().model_copy(update={"manifest_sha256": "d" * 64}))
    assert kinds(verify(store, None, [committed_entry("datasets", COMMITTED.entry, moved)])) == [
        ("unannounced", COMMITTED.entry)
    ]


def test_entries_before_the_first_line_about_their_log_are_unknown_to_the_audit_log(log, store):
    def at(number):
        return committed_entry("datasets", f"{KEY.prefix}/log/{number:06d}.json", to_json(entry(number)))

    log.record("commit", commit_subject("datasets", KEY, entry(2)))
    other = committed_entry("datasets", "topics/2026-09/scoring/log/000001.json", to_json(entry()))
    tombstone = committed_entry("datasets", "erasures/000001.json", b"{}")
    assert unknown_to(store, [at(1), at(2), at(3), other, tombstone]) == [at(1), other]


def test_an_old_commit_that_was_made_the_head_again_by_hand_is_found(log, store):
    log.record("commit", commit_subject("datasets", KEY, entry()))
    again = committed_entry("datasets", f"{KEY.prefix}/log/000002.json", to_json(entry(2)))
    assert kinds(verify(store, None, [COMMITTED, again])) == [("unannounced", again.entry)]


def announce(log, **known):
    """Announce a commit of scoring; return where its entry would lie and what it would be."""
    made = entry(**known)
    log.record("commit", commit_subject("datasets", KEY, made))
    return committed_entry("datasets", f"{KEY.prefix}/log/{made.number:06d}.json", to_json(made))


def end(store, run_id, error=None):
    record_end(store, run_id, error)


def below(entry):
    return f"{entry.data_class}/{entry.entry}"


def test_the_newest_entry_that_was_taken_away_after_its_run_had_ended_is_found(log, store):
    announce(log)
    lost = announce(log, number=2, run_id="run-2")
    end(store, "run-2")
    found = verify(store, None, [COMMITTED])
    assert kinds(found) == [("vanished", lost.entry)]
    assert "run-2" in found.findings[0].detail
    assert found.announced_only == ()


@pytest.mark.parametrize("error", [None, "injected"], ids=["killed", "failed"])
def test_an_entry_that_a_killed_or_failed_run_announced_is_named_and_is_no_finding(log, store, error):
    never_made = announce(log)
    if error:
        end(store, "run-1", error)
    found = verify(store, None, [])
    assert (found.findings, found.announced_only) == ((), (below(never_made),))


def test_an_entry_that_its_failed_run_had_got_past_is_found_missing(log, store):
    lost = announce(log)
    later = {"run_id": "run-1", **entry_subject("labels", "topics/2026-10/selection/log/000001.json", b"{}")}
    log.record("commit", later)
    end(store, "run-1", "injected")
    made = committed_entry("labels", later["entry"], b"{}")
    assert kinds(verify(store, None, [made])) == [("vanished", lost.entry)]


def test_what_another_family_of_a_failed_run_committed_later_explains_nothing_away(log, store):
    never_made = announce(log)
    later = {"run_id": "run-1", **entry_subject("labels", "sentiment/2026-10/selection/log/000001.json", b"{}")}
    log.record("commit", later)
    end(store, "run-1", "injected")
    found = verify(store, None, [committed_entry("labels", later["entry"], b"{}")])
    assert (found.findings, found.announced_only) == ((), (below(never_made),))


def test_of_two_runs_that_came_to_the_same_the_later_one_lost_nothing(log, store):
    first, second = announce(log, run_id="first"), announce(log, run_id="second")
    end(store, "second")
    found = verify(store, None, [first])
    assert (found.findings, found.announced_only) == ((), (below(second),))


def test_an_entry_in_whose_place_another_one_was_committed_later_is_found_missing(log, store):
    lost = announce(log, run_id="first")
    end(store, "first")
    present = announce(log, run_id="second", outputs="d")
    found = verify(store, None, [present])
    assert [finding.kind for finding in found.findings] == ["vanished"]
    assert lost.entry_sha256[:12] in found.findings[0].detail


def test_an_end_that_cannot_be_read_excuses_nothing(log, store):
    lost = announce(log)
    store.write("runs/run-1/ended.json", b"{")
    assert kinds(verify(store, None, [])) == [("vanished", lost.entry)]


def test_a_champion_by_hand_that_is_not_there_is_found(log, store):
    log.record("promote", entry_subject("champion", "topics/log/000001.json", b"{}"))
    log.record("import", {"file": "pages.parquet"})
    assert kinds(verify(store, None, [])) == [("vanished", "topics/log/000001.json")]


@pytest.mark.parametrize(("error", "expected"), [("injected", []), (None, ["vanished"])], ids=["failed", "done"])
def test_of_a_champion_that_the_gate_made_the_run_s_end_tells(log, store, error, expected):
    log.record("promote", {"run_id": "run-1", **entry_subject("champion", "topics/log/000001.json", b"{}")})
    end(store, "run-1", error)
    assert [finding.kind for finding in verify(store, None, []).findings] == expected


def test_a_champion_by_hand_that_another_one_came_before_is_no_finding(log, store):
    for content in (b"ours", b"theirs"):
        log.record("promote", entry_subject("champion", "topics/log/000001.json", content))
    found = verify(store, None, [committed_entry("champion", "topics/log/000001.json", b"theirs")])
    assert (found.findings, found.announced_only) == ((), ("champion/topics/log/000001.json",))


def test_an_entry_made_since_the_stores_were_listed_is_no_finding(log, store):
    made = announce(log)
    end(store, "run-1")
    there = {("datasets", made.entry): to_json(entry())}
    assert verify(store, None, [], lambda *where: there.get(where)).findings == ()


def test_a_tombstone_without_a_line_is_found(log, store):
    write(log, 1)
    forged = committed_entry("labels", "erasures/000009.json", b"{}")
    found = verify(store, None, [forged])
    assert kinds(found) == [("unannounced", "erasures/000009.json")]
    assert "compare the files that it names with a backup" in found.findings[0].remedy


def test_a_line_for_one_root_announces_the_tombstone_in_all(log, store):
    log.record("erase", entry_subject("labels", "erasures/000001.json", b"{}"))
    roots = [committed_entry(data_class, "erasures/000001.json", b"{}") for data_class in ("traffic", "labels")]
    assert verify(store, None, roots).findings == ()
    changed = committed_entry("labels", "erasures/000001.json", b"{ }")
    assert kinds(verify(store, None, [*roots, changed])) == [("unannounced", "erasures/000001.json")]


def test_a_tombstone_that_was_taken_away_everywhere_is_found(log, store):
    log.record("erase", entry_subject("labels", "erasures/000001.json", b"{}"))
    assert kinds(verify(store, None, [])) == [("vanished", "erasures/000001.json")]


def test_what_was_done_by_hand_is_anchored_at_once(log, store, outside):
    write(log, 2)
    anchor_quietly(log)
    assert verify(store, outside, []).anchors == 1


def test_a_place_for_the_anchor_that_fails_or_is_missing_does_not_fail_what_was_done(log, store, outside, monkeypatch):
    def refuse(path, data):
        raise StoreError("denied")

    write(log, 1)
    anchor_quietly(AuditLog(store, "ada"))
    monkeypatch.setattr(outside, "create", refuse)
    anchor_quietly(log)
    assert outside.list("") == []


def test_a_commit_made_while_the_log_is_checked_is_no_finding(log, store):
    def committed():
        yield COMMITTED
        log.record("commit", commit_subject("datasets", KEY, entry(2)))

    log.record("commit", commit_subject("datasets", KEY, entry()))
    found = verify(store, None, committed())
    assert (found.findings, found.lines) == ((), 2)
