"""Label Studio as annotation platform, on a real server: each page once, each answer once, whatever fails."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from al_platform.annotation import AnnotationOptions
from al_platform.annotation.label_studio.client import LabelStudioError
from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.platform import Counts, LabelStudio
from al_platform.domain.annotations import fold, new_versions
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS
from al_platform.storage.store import LocalStore
from annotation.annotation_tasks import make_batch
from faulty_wire import Wire
from label_studio_office import PEOPLE, Office, office
from temporary_project import CYCLE, Project

__all__ = ["office"]

pytestmark = pytest.mark.real

BATCH = "topics-2026-10"
TOPICS = Taxonomy(task="single", labels=("politics", "sport", "tech"), guideline_version="2")
QUICK = LabelStudioOptions(chunk_pages=5, timeout_s=8)
HERE = Path(__file__).parents[1]


class Ledger:
    """What a platform's answers come to if each is taken once, as ingest does."""

    def __init__(self, platform: LabelStudio):
        self.platform = platform
        self.versions = ANNOTATIONS.empty_table()

    def take(self) -> list[dict[str, Any]]:
        """Return what is new since the last time."""
        fresh = new_versions(self.platform.pull().annotations, self.versions)
        self.versions = pa.concat_tables([self.versions, fresh])
        rows: list[dict[str, Any]] = fresh.to_pylist()
        return rows

    def standing(self) -> dict[str, list[str] | None]:
        """Return the answer of each page that holds now, None where it was skipped."""
        return {row["page_id"]: None if row["skipped"] else row["values"] for row in fold(self.versions).to_pylist()}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def wire(office: Office) -> Iterator[Wire]:
    with Wire(office.server.url) as wire:
        yield wire


def connect(
    office: Office,
    store: LocalStore,
    taxonomy: Taxonomy = TOPICS,
    options: LabelStudioOptions = QUICK,
    url: str | None = None,
) -> LabelStudio:
    access = Access(url or office.server.url, office.server.token)
    return LabelStudio(store, "topics/platform/label_studio", "topics", taxonomy, options, access)


def pages(count: int) -> list[str]:
    return [f"page-{number:03}" for number in range(count)]


def on_server(office: Office, store: LocalStore) -> Counter[str]:
    return Counter(task["data"]["page_id"] for task in office.tasks(store))


def ever_made(office: Office, store: LocalStore) -> int:
    """Return how many tasks were made since the first of a store, removed ones included: the server counts them all."""
    first, project = min(task["id"] for task in office.tasks(store)), office.projects(store)[0]
    with office.api() as api:
        probe = [{"data": {"link": "", "title": "", "text": ""}}]
        made = api.post(f"/api/projects/{project}/import?return_task_ids=1", json=probe).raise_for_status().json()
        api.delete(f"/api/tasks/{made['task_ids'][0]}/").raise_for_status()
    return int(made["task_ids"][0]) - int(first)


def each_once(count: int) -> Counter[str]:
    return Counter(pages(count))


def is_import(request: bytes) -> bool:
    return request.startswith(b"POST") and b"/import " in request.split(b"\r\n")[0]


_PUSH = """
import sys
from pathlib import Path
from annotation.annotation_tasks import make_batch
from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.platform import LabelStudio
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import LocalStore

root, url, token, count, start = sys.argv[1:]
taxonomy = Taxonomy(task="single", labels=("politics", "sport", "tech"), guideline_version="2")
options = LabelStudioOptions(chunk_pages=5, timeout_s=8)
prefix = "topics/platform/label_studio"
platform = LabelStudio(LocalStore(root), prefix, "topics", taxonomy, options, Access(url, token))
batch = make_batch([f"page-{number:03}" for number in range(int(count))])
print("ready", flush=True)
while start != "now" and not Path(start).exists():
    pass
print(platform.submit(batch).tasks)
"""


class Pushes:
    """Submits batches in processes of their own."""

    def __init__(self, office: Office, store: LocalStore):
        self._office = office
        self._store = store
        self._started: list[subprocess.Popen[str]] = []

    def start(self, count: int, url: str = "", start: str = "now") -> "subprocess.Popen[str]":
        arguments = [self._store.root, url or self._office.server.url, self._office.server.token, str(count), start]
        process = subprocess.Popen(
            [sys.executable, "-c", _PUSH, *arguments],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@pytest.fixture
def pushes(office: Office, store: LocalStore) -> Iterator[Pushes]:
    pushes = Pushes(office, store)
    yield pushes
    pushes.end()


def end_of(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.split()[-1]


# --- projects


MULTI = Taxonomy(task="multi", labels=('say "cheese" & <smile>', "Größe", "犯罪", "it's > that"))
TREE = Taxonomy(task="single", labels=("Sports/Football", 'Sports/"Ice" hockey', "News"))


@pytest.mark.parametrize(
    ("taxonomy", "separator", "values"),
    [(TOPICS, None, ["tech"]), (MULTI, None, list(MULTI.labels)), (MULTI, None, []), (TREE, "/", [TREE.labels[1]])],
)
def test_the_answer_that_a_person_gives_comes_back_in_the_taxonomys_words(
    office: Office, store: LocalStore, taxonomy: Taxonomy, separator: str | None, values: list[str]
) -> None:
    platform = connect(office, store, taxonomy, LabelStudioOptions(tree_separator=separator))
    platform.submit(make_batch(["a"]))
    if separator:
        path = {"taxonomy": [value.split(separator) for value in values]}
        result = [{"from_name": "label", "to_name": "text", "type": "taxonomy", "value": path}]
        with office.api("ann") as api:
            task = office.task(store, "a")["id"]
            api.post(f"/api/tasks/{task}/annotations/", json={"result": result}).raise_for_status()
    else:
        office.answer("ann", office.task(store, "a"), values)
    [row] = platform.pull().annotations.to_pylist()
    assert (row["values"], row["annotator"], row["guideline_version"]) == (
        values,
        office.person("ann"),
        taxonomy.guideline_version,
    )


def test_other_labels_or_guidelines_make_another_project_and_answers_in_the_old_one_are_taken(
    office: Office, store: LocalStore
) -> None:
    connect(office, store).submit(make_batch(["a", "b"]))
    wider = TOPICS.model_copy(update={"labels": (*TOPICS.labels, "travel"), "guideline_version": "3"})
    platform = connect(office, store, wider)
    assert platform.submit(make_batch(["a", "b", "c"])).tasks == 3
    assert len(office.projects(store)) == 2
    assert on_server(office, store) == Counter("abc")
    office.answer("ann", office.task(store, "a"), ["tech"])
    office.answer("ann", office.task(store, "c"), ["travel"])
    rows = platform.pull().annotations.to_pylist()
    assert [(row["page_id"], row["guideline_version"]) for row in rows] == [("a", "2"), ("c", "3")]


def test_labels_that_are_changed_on_the_server_are_refused_and_answers_with_them_counted(
    office: Office, store: LocalStore
) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(["a", "b", "c"]))
    [project] = office.projects(store)
    with office.api() as api:
        config = api.get(f"/api/projects/{project}/").json()["label_config"].replace('"tech"', '"gadgets"')
        api.patch(f"/api/projects/{project}/", json={"label_config": config}).raise_for_status()
    office.answer("ann", office.task(store, "a"), ["gadgets"])
    office.answer("ann", office.task(store, "b"), ["sport"])
    pulled = platform.pull()
    assert pulled.annotations["page_id"].to_pylist() == ["b"]
    assert [(row["page_id"], row["reason"]) for row in pulled.quarantine.to_pylist()] == [("a", "invalid answer")]
    with pytest.raises(ConfigError, match="'gadgets' is only there"):
        platform.submit(make_batch(["a", "b", "c", "d"]))
    assert on_server(office, store) == Counter("abc")


def test_a_lost_project_is_an_error_and_nothing_is_sent_anew(office: Office, store: LocalStore) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(["a"]))
    [project] = office.projects(store)
    office.delete(f"projects/{project}")
    with pytest.raises(ConfigError, match=f"Project {project} of Label Studio.* is not there"):
        platform.submit(make_batch(["a"]))
    with pytest.raises(ConfigError, match="Restore the server's data"):
        platform.pull()


# --- pushing under failure


def test_a_push_that_is_killed_goes_on_where_it_was(office: Office, store: LocalStore, pushes: Pushes) -> None:
    process = pushes.start(60)
    while len([path for path in store.list("") if path.endswith("sent.jsonl")]) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    arrived = on_server(office, store)
    assert 0 < len(arrived) < 60
    assert connect(office, store).submit(make_batch(pages(60))).tasks == 60
    assert on_server(office, store) == each_once(60)


@pytest.mark.parametrize("delay_s", [0, 3])
def test_a_push_that_is_killed_before_it_hears_that_pages_arrived_sends_them_once(
    office: Office, store: LocalStore, pushes: Pushes, wire: Wire, delay_s: float
) -> None:
    connect(office, store).make_project()
    wire.delay_s, wire.loses = delay_s, is_import
    process = pushes.start(12, url=wire.url)
    while not wire.n_lost or (not delay_s and not wire.lost.is_set()):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(on_server(office, store)) == (0 if delay_s else 5)
    assert connect(office, store).submit(make_batch(pages(12))).tasks == 12
    assert wire.lost.wait(20)
    assert on_server(office, store) == each_once(12)
    assert ever_made(office, store) == 12


@pytest.mark.parametrize("delay_s", [0, 4])
def test_a_request_that_times_out_and_is_carried_out_before_or_after_is_not_repeated(
    office: Office, store: LocalStore, wire: Wire, delay_s: float
) -> None:
    wire.delay_s, wire.loses = delay_s, lambda request: is_import(request) and not wire.n_lost
    platform = connect(office, store, options=QUICK.model_copy(update={"timeout_s": 3}), url=wire.url)
    assert platform.submit(make_batch(pages(12))).tasks == 12
    assert wire.n_lost == 1
    assert wire.lost.wait(20)
    assert on_server(office, store) == each_once(12)
    assert ever_made(office, store) == 12


def test_two_processes_that_push_at_once_make_one_project_and_send_each_page_once(
    office: Office, store: LocalStore, pushes: Pushes
) -> None:
    start = Path(store.root).parent / "start"
    both = [pushes.start(60, start=str(start)) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        process.stdout.readline()
    start.touch()
    assert [end_of(process) for process in both] == ["60", "60"]
    assert on_server(office, store) == each_once(60)
    assert ever_made(office, store) == 60
    [project] = office.projects(store)
    with office.api() as api:
        listed = api.get("/api/projects/", params={"page_size": 1000}).json()["results"]
    mark = next(each["description"] for each in listed if each["id"] == project)
    assert sum(each["description"] == mark for each in listed) == 1


def test_a_project_that_a_failed_request_made_all_the_same_does_not_stay(office: Office, store: LocalStore) -> None:
    connect(office, store).submit(make_batch(pages(2)))
    [project] = office.projects(store)
    known = [path for path in store.list("") if "/label_studio/projects/" in path]
    Path(store.root, next(path for path in known if not path.endswith("/installation.json"))).unlink()
    with office.api() as api:
        mark = api.get(f"/api/projects/{project}/").json()["description"]
        api.post("/api/projects/", json={"title": "made by a request that failed", "description": mark})
        connect(office, store).submit(make_batch(pages(3)))
        listed = api.get("/api/projects/", params={"page_size": 1000}).json()["results"]
    assert [each["id"] for each in listed if each["description"] == mark] == [project]
    assert on_server(office, store) == each_once(3)


def test_a_request_that_comes_through_after_it_was_given_up_leaves_no_copies(office: Office, store: LocalStore) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(pages(2)))
    [project] = office.projects(store)
    late = [{"data": task["data"], "meta": task["meta"]} for task in office.tasks(store)]
    with office.api() as api:
        api.post(f"/api/projects/{project}/import", json=late).raise_for_status()
    answered = max(task["id"] for task in office.tasks(store) if task["data"]["page_id"] == "page-001")
    office.answer("ann", {"id": answered}, ["tech"])
    platform.submit(make_batch(pages(2)))
    assert on_server(office, store) == each_once(2)
    assert office.task(store, "page-001")["id"] == answered


def test_a_server_that_dies_and_comes_back_gets_the_rest(office: Office, store: LocalStore) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(pages(5)))
    office.server.kill()
    try:
        with pytest.raises(LabelStudioError, match="cannot be reached"):
            platform.submit(make_batch(pages(12)))
    finally:
        office.server.start()
    assert platform.submit(make_batch(pages(12))).tasks == 12
    assert on_server(office, store) == each_once(12)


# --- what people do


def test_answers_are_taken_once_and_corrections_skips_and_deletions_after_that(
    office: Office, store: LocalStore
) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(pages(4)))
    edited, skipped, deleted, kept = [office.answer("ann", office.task(store, each), ["sport"]) for each in pages(4)]
    ledger = Ledger(platform)
    assert len(ledger.take()) == 4
    assert ledger.take() == []
    time.sleep(0.01)
    where = {"from_name": "label", "to_name": "text", "type": "choices"}
    office.change(edited, result=[{**where, "value": {"choices": ["tech"]}}])
    office.change(skipped, was_cancelled=True)
    office.delete(f"annotations/{deleted}")
    changes = {row["page_id"]: row for row in ledger.take()}
    assert changes.keys() == {"page-000", "page-001", "page-002"}
    assert changes["page-002"]["deleted"]
    assert ledger.take() == []
    assert ledger.standing() == {"page-000": ["tech"], "page-001": None, "page-003": ["sport"]}
    assert platform.reconcile() == {BATCH: Counts(pushed=4, labelled=2, skipped=1, pending=1, removed=0)}
    assert kept in {each["id"] for each in office.task(store, "page-003")["annotations"]}


def test_a_page_whose_task_is_deleted_is_not_sent_again_and_its_answer_stays(office: Office, store: LocalStore) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(pages(4)))
    ledger = Ledger(platform)
    office.answer("ann", office.task(store, "page-000"), ["sport"])
    office.answer("bob", office.task(store, "page-003"), [], skip=True)
    ledger.take()
    for page in ("page-000", "page-001"):
        office.delete(f"tasks/{office.task(store, page)['id']}")
    assert ledger.take() == []
    assert ledger.standing() == {"page-000": ["sport"], "page-003": None}
    assert platform.submit(make_batch(pages(4))).tasks == 2
    assert on_server(office, store) == Counter(["page-002", "page-003"])
    assert platform.reconcile() == {BATCH: Counts(pushed=4, labelled=1, skipped=1, pending=1, removed=1)}


def test_answers_to_tasks_that_somebody_added_by_hand_are_counted_and_not_taken(
    office: Office, store: LocalStore
) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(["a"]))
    [project] = office.projects(store)
    by_hand = {"page_id": "z", "batch_id": BATCH, "link": "", "title": "", "text": "mine"}
    with office.api() as api:
        api.post(f"/api/projects/{project}/import", json=[{"data": by_hand}]).raise_for_status()
    office.answer("ann", office.task(store, "z"), ["tech"])
    pulled = platform.pull()
    assert pulled.annotations.num_rows == 0
    assert [(row["page_id"], row["reason"]) for row in pulled.quarantine.to_pylist()] == [("z", "unknown page")]
    assert platform.submit(make_batch(["a"])).tasks == 1


def test_the_models_opinion_is_shown_where_asked_for_and_never_on_pages_that_measure(
    office: Office, store: LocalStore
) -> None:
    reasons = ["margin", "audit", "exploration", "duel", "control", "relabel"]
    batch = pa.concat_tables([make_batch([reason], reason=reason) for reason in reasons])
    batch = batch.append_column("suggested", pa.array([["tech"]] * len(reasons)))
    connect(office, store, options=LabelStudioOptions(show_predictions=True)).submit(batch)
    shown = {task["data"]["page_id"]: len(task["predictions"]) for task in office.tasks(store)}
    assert shown == {**dict.fromkeys(reasons, 0), "margin": 1}


def test_an_empty_answer_to_a_question_that_needs_one_is_counted_and_not_taken(
    office: Office, store: LocalStore
) -> None:
    platform = connect(office, store)
    platform.submit(make_batch(["a", "b"]))
    office.answer("ann", office.task(store, "a"), [])
    office.answer("ann", office.task(store, "b"), ["tech"])
    pulled = platform.pull()
    assert pulled.annotations["page_id"].to_pylist() == ["b"]
    assert [(row["page_id"], row["reason"]) for row in pulled.quarantine.to_pylist()] == [("a", "invalid answer")]


def test_pages_that_one_person_is_asked_about_lie_in_a_project_of_their_own(office: Office, store: LocalStore) -> None:
    batch = make_batch(pages(4))
    place = batch.column_names.index("answers_wanted")
    batch = batch.set_column(place, batch.schema.field(place), pa.array([1, 3, 1, None], pa.int64()))
    platform = connect(office, store)
    assert platform.submit(batch).tasks == platform.submit(batch).tasks == 4
    assert on_server(office, store) == each_once(4)
    for page in pages(2):
        office.answer("ann", office.task(store, page), ["tech"])
    with office.api() as api:
        projects = [api.get(f"/api/projects/{each}/").json() for each in office.projects(store)]
    counts = {each["maximum_annotations"]: (each["task_number"], each["finished_task_number"]) for each in projects}
    assert counts == {1: (2, 1), 3: (2, 0)}
    assert platform.pull().annotations.num_rows == 2
    assert platform.reconcile() == {BATCH: Counts(pushed=4, labelled=2, skipped=0, pending=2, removed=0)}


# --- who asks


def test_a_personal_access_token_opens_the_door_too(office: Office, store: LocalStore) -> None:
    with office.api() as api:
        token = api.post("/api/token/", json={}).raise_for_status().json()["token"]
    access = Access(office.server.url, token)
    platform = LabelStudio(store, "topics/platform/label_studio", "topics", TOPICS, QUICK, access)
    assert platform.submit(make_batch(pages(2))).tasks == 2


def test_a_wrong_token_is_refused_without_being_told(office: Office, store: LocalStore) -> None:
    access = Access(office.server.url, "0" * 39 + "7")
    platform = LabelStudio(store, "topics/platform/label_studio", "topics", TOPICS, QUICK, access)
    with pytest.raises(ConfigError, match="does not accept the token") as refused:
        platform.submit(make_batch(["a"]))
    assert access.token not in str(refused.value) + repr(platform.__dict__) + repr(access)


# --- the whole loop


@pytest.fixture
def people(project: Project, office: Office, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("AL_LABEL_STUDIO_URL", office.server.url)
    monkeypatch.setenv("AL_LABEL_STUDIO_TOKEN", office.server.token)
    project.only("topics")
    project.configure("parameters/topics.yml", {"topics": {"annotation": {"backend": "label_studio"}}})
    return project


def test_what_three_people_answer_after_a_month_is_what_the_next_month_learns(people: Project, office: Office) -> None:
    people.run("monthly")
    assert people.status()["pending"] == 40
    store = LocalStore(people.path / "data/test/labels")
    tasks = sorted(office.tasks(store), key=lambda task: int(task["data"]["rank"]))
    assert len(tasks) == 40
    expected = {}
    for number, task in enumerate(tasks[:6]):
        votes = [["sport", "sport", "tech"], ["tech", "tech", "tech"], ["sport", "tech", "politics"]][number % 3]
        for who, vote in zip(PEOPLE, votes, strict=True):
            office.answer(who, task, [vote])
        if number % 3 != 2:
            expected[task["data"]["page_id"]] = [max(votes, key=votes.count)]
    office.answer("ann", tasks[6], [], skip=True)
    people.run("monthly", cycle=shift_cycle(CYCLE, 1))
    labels = people.load("topics.labels", shift_cycle(CYCLE, 1)).to_pylist()
    assert {row["page_id"]: row["values"] for row in labels} == expected
    report = people.load("topics.annotation_ingest_report", shift_cycle(CYCLE, 1))
    assert (report["answers_taken"], report["unresolved"], report["quarantined"]) == (19, 2, 0)
    assert len(office.tasks(store)) == 80
    written = b"".join(file.read_bytes() for file in people.path.rglob("data/**/*") if file.is_file())
    assert office.server.token.encode() not in written
    platform = people.load("topics.platform").open(
        Taxonomy(task="single", labels=LABELS), AnnotationOptions(backend="label_studio")
    )
    counts = platform.reconcile()[tasks[0]["data"]["batch_id"]]
    assert counts == Counts(pushed=40, labelled=6, skipped=1, pending=33, removed=0)


LABELS = ("business", "entertainment", "politics", "sport", "tech")
