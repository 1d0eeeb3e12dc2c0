"""What every annotation platform promises; a platform is tested from the moment it is listed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pytest
from annotation_tasks import PREFIX, annotation, make_batch, outbox_tasks, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from al_platform.annotation import PLATFORMS, AnnotationOptions, AnnotationPlatform, PlatformConnection, Receipt
from al_platform.domain.errors import InputError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import ANNOTATIONS, QUARANTINE
from al_platform.storage.store import LocalStore, Store
from label_studio_office import Office

TOPICS = Taxonomy(task="single", labels=("politics", "sport", "tech"), guideline_version="2")
COLUMNS = {"page_id", "batch_id", "rank", "url", "title", "text", "guideline_version"}
HOSTILE = {
    "nul": "before\x00after",
    "line ends": "one\u2028two\u2029three\x85four\x0bfive\r\nsix\n",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 \U0010ffff",
    "json": '"}]}\\\n{"data": {"page_id": "forged"}}\n',
    "empty": "",
    "page/with/../slashes": "<script>alert(1)</script>",
    "\u2028": "a page id of one line separator",
    "long": "x\n" * 2_500_000,
}


class Truth(dict[str, list[str]]):
    """Every page is about sport."""

    def __contains__(self, page_id: object) -> bool:
        return True

    def __missing__(self, page_id: str) -> list[str]:
        return ["sport"]


class Files:
    """A platform whose tasks and answers are files of the store."""

    columns = COLUMNS | {"answers_wanted"}

    def __init__(self, name: str):
        self.name = name

    def shown(self, text: str) -> str:
        return text

    def connect(self, store: Store) -> AnnotationPlatform:
        connection = PlatformConnection(store=store, prefix=PREFIX, family="topics", truth=lambda *_: Truth())
        return connection.open(TOPICS, AnnotationOptions(backend=self.name))

    def sent(self, store: LocalStore) -> list[dict[str, Any]]:
        return outbox_tasks(store)

    def answer(self, store: LocalStore) -> None:
        """Stand in for the people where the platform does not answer by itself."""
        if not any("/inbox/" in path for path in store.list(PREFIX)):
            answered = [task(each["page_id"], annotation(), batch_id=each["batch_id"]) for each in outbox_tasks(store)]
            store.write(f"{PREFIX}/exchange/inbox/export.json", json.dumps(answered).encode())


class Server:
    """Label Studio; each store has a project of its own there."""

    name = "label_studio"
    columns = COLUMNS | {"link"}

    def __init__(self, office: Office):
        self._office = office

    def shown(self, text: str) -> str:
        # Where the server keeps its data in PostgreSQL, no text can hold a NUL.
        return text.replace("\0", "\ufffd")

    def connect(self, store: Store) -> AnnotationPlatform:
        return self._office.connection(store, PREFIX).open(TOPICS, AnnotationOptions(backend=self.name))

    def sent(self, store: LocalStore) -> list[dict[str, Any]]:
        return [each["data"] for each in self._office.tasks(store)]

    def answer(self, store: LocalStore) -> None:
        for each in self._office.tasks(store):
            self._office.answer("ann", each, ["sport"])


Backend: TypeAlias = Files | Server
FILES = ("exchange", "simulated")


def everything(store: LocalStore) -> dict[str, bytes]:
    return {path: store.read(path) for path in store.list("")}


@pytest.fixture(
    params=[pytest.param(name, marks=() if name in FILES else pytest.mark.real) for name in sorted(PLATFORMS)]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    return Files(request.param) if request.param in FILES else Server(request.getfixturevalue("office"))


@pytest.fixture(params=FILES)
def files(request: pytest.FixtureRequest) -> Files:
    return Files(request.param)


@pytest.fixture
def platform(backend: Backend, store: LocalStore) -> AnnotationPlatform:
    return backend.connect(store)


def test_a_receipt_says_how_many_pages_are_on_the_platform(platform: AnnotationPlatform, backend: Backend) -> None:
    receipt = platform.submit(make_batch(["a", "b"]))
    assert receipt == Receipt(batch_id="topics-2026-10", platform=backend.name, tasks=2)


def test_submitting_a_batch_again_adds_nothing(
    platform: AnnotationPlatform, backend: Backend, store: LocalStore
) -> None:
    first = platform.submit(make_batch(["a", "b"]))
    before = everything(store)
    assert platform.submit(make_batch(["a", "b"])) == first
    assert everything(store) == before
    assert sorted(each["page_id"] for each in backend.sent(store)) == ["a", "b"]


def test_a_batch_that_has_grown_adds_only_the_new_pages(
    platform: AnnotationPlatform, backend: Backend, store: LocalStore
) -> None:
    platform.submit(make_batch(["a", "b"]))
    before = everything(store)
    assert platform.submit(make_batch(["c", "b", "a"])).tasks == 3
    assert sorted(each["page_id"] for each in backend.sent(store)) == ["a", "b", "c"]
    assert before.items() <= everything(store).items()


def test_the_same_page_may_be_in_two_batches(platform: AnnotationPlatform, backend: Backend, store: LocalStore) -> None:
    platform.submit(make_batch(["a"], batch_id="topics-2026-10"))
    platform.submit(make_batch(["a"], batch_id="topics-2026-11"))
    backend.answer(store)
    annotations = platform.pull().annotations.to_pylist()
    assert {row["batch_id"] for row in annotations} == {"topics-2026-10", "topics-2026-11"}
    assert len({row["annotation_id"] for row in annotations}) == len(annotations)


def test_a_batch_whose_id_starts_like_another_is_a_batch_of_its_own(platform: AnnotationPlatform) -> None:
    platform.submit(make_batch(["a", "b"], batch_id="topics-2026-1"))
    assert platform.submit(make_batch(["a"], batch_id="topics-2026-10")).tasks == 1


def test_an_empty_batch_sends_nothing(platform: AnnotationPlatform, store: LocalStore) -> None:
    receipt = platform.submit(make_batch(["a"]).slice(1))
    assert (receipt.batch_id, receipt.tasks, everything(store)) == (None, 0, {})


def test_annotators_do_not_see_why_a_page_was_chosen(
    platform: AnnotationPlatform, backend: Backend, store: LocalStore
) -> None:
    platform.submit(make_batch(["a"], reason="audit"))
    assert set(backend.sent(store)[0]) == backend.columns


def test_pulling_twice_returns_the_same_answers(
    platform: AnnotationPlatform, backend: Backend, store: LocalStore
) -> None:
    platform.submit(make_batch(["b", "a", "c"]))
    backend.answer(store)
    first, second = platform.pull(), platform.pull()
    assert first.annotations.num_rows >= 3
    assert first.annotations.equals(second.annotations)
    assert first.quarantine.equals(second.quarantine)


def test_answers_have_the_columns_that_ingest_reads(
    platform: AnnotationPlatform, backend: Backend, store: LocalStore
) -> None:
    platform.submit(make_batch(["a"]))
    backend.answer(store)
    pulled = platform.pull()
    assert pulled.annotations.schema.equals(ANNOTATIONS)
    assert pulled.quarantine.schema.equals(QUARANTINE)
    assert set(pulled.annotations.column("guideline_version").to_pylist()) == {"2"}


def test_a_platform_without_answers_returns_empty_tables(platform: AnnotationPlatform) -> None:
    pulled = platform.pull()
    assert pulled.annotations.equals(ANNOTATIONS.empty_table())
    assert pulled.quarantine.equals(QUARANTINE.empty_table())


def test_hostile_pages_arrive_as_they_are(platform: AnnotationPlatform, backend: Backend, store: LocalStore) -> None:
    platform.submit(make_batch(HOSTILE))
    assert {each["page_id"]: each["text"] for each in backend.sent(store)} == {
        page_id: backend.shown(text) for page_id, text in HOSTILE.items()
    }
    backend.answer(store)
    pulled = platform.pull()
    assert set(pulled.annotations.column("page_id").to_pylist()) == set(HOSTILE)
    assert pulled.quarantine.num_rows == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.dictionaries(st.text(min_size=1), st.text(), min_size=1, max_size=5))
def test_any_page_is_sent_once_and_its_answers_come_back(
    files: Files, tmp_path_factory: pytest.TempPathFactory, pages: dict[str, str]
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("any"))
    platform = files.connect(store)
    platform.submit(make_batch(pages))
    platform.submit(make_batch(pages))
    assert {each["page_id"]: each["text"] for each in files.sent(store)} == pages
    files.answer(store)
    assert set(platform.pull().annotations.column("page_id").to_pylist()) == set(pages)


class KilledError(Exception):
    """The process ends here."""


class KilledStore(LocalStore):
    """A store whose process is killed at the n-th ``create``, before or after it took place."""

    def __init__(self, root: Path, at: int, *, after: bool):
        super().__init__(root)
        self._left = at
        self._after = after

    def create(self, path: str, data: bytes) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise KilledError
        super().create(path, data)
        if self._left == 0:
            raise KilledError


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
def test_submitting_again_after_a_crash_leaves_what_no_crash_would_have_left(
    files: Files, tmp_path: Path, at: int, after: bool
) -> None:
    batch = make_batch(["a", "b"])
    expected = files.connect(LocalStore(tmp_path / "calm")).submit(batch)
    crashing = KilledStore(tmp_path / "crashed", at, after=after)
    for _ in _until_it_succeeds():
        try:
            assert files.connect(crashing).submit(batch) == expected
        except KilledError:
            continue
        break
    assert everything(LocalStore(tmp_path / "crashed")) == everything(LocalStore(tmp_path / "calm"))


def _until_it_succeeds() -> Iterator[int]:
    yield from range(5)
    pytest.fail("submit did not succeed after the crash")


class RacingStore(LocalStore):
    """A store in which another run submits its pages just before our n-th ``create``."""

    def __init__(self, root: Path, at: int, files: Files, batch: pa.Table):
        super().__init__(root)
        self._left = at
        self._other = (files, batch)

    def create(self, path: str, data: bytes) -> None:
        self._left -= 1
        if self._left == 0:
            files, batch = self._other
            files.connect(LocalStore(self.root)).submit(batch)
        super().create(path, data)


def test_two_runs_that_submit_at_once_send_each_page_once(files: Files, tmp_path: Path) -> None:
    racing = RacingStore(tmp_path, 1, files, make_batch(["a", "b"]))
    assert files.connect(racing).submit(make_batch(["b", "c"])).tasks == 3
    assert sorted(each["page_id"] for each in outbox_tasks(racing)) == ["a", "b", "c"]


@pytest.mark.parametrize("at", [1, 2])
def test_two_runs_that_submit_the_same_batch_at_once_leave_what_one_leaves(
    files: Files, tmp_path: Path, at: int
) -> None:
    batch = make_batch(["a", "b"])
    calm, racing = LocalStore(tmp_path / "calm"), RacingStore(tmp_path / "raced", at, files, batch)
    assert files.connect(racing).submit(batch) == files.connect(calm).submit(batch)
    assert everything(racing) == everything(calm)


def test_a_table_of_two_batches_is_refused(platform: AnnotationPlatform) -> None:
    two = pa.concat_tables([make_batch(["a"]), make_batch(["b"], batch_id="topics-2026-11")])
    with pytest.raises(InputError, match="one batch, found 2"):
        platform.submit(two)


def test_a_page_that_is_in_a_batch_twice_is_refused(platform: AnnotationPlatform) -> None:
    with pytest.raises(InputError, match="2 rows for 1 pages"):
        platform.submit(pa.concat_tables([make_batch(["a"]), make_batch(["a"])]))


@pytest.mark.parametrize("batch_id", ["../x", "a/b", "", "a.2", "-x"])
def test_a_batch_id_that_cannot_name_a_file_is_refused(platform: AnnotationPlatform, batch_id: str) -> None:
    with pytest.raises(InputError, match="cannot name a file"):
        platform.submit(make_batch(["a"], batch_id=batch_id))


def test_an_unknown_platform_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="Did you mean 'simulated'"):
        AnnotationOptions(backend="simulate")
