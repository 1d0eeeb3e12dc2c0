"""What Label Studio is told, and how its answers are read, without a server."""

import html
import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from annotation_tasks import make_batch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from al_platform.annotation import AnnotationOptions, PlatformConnection
from al_platform.annotation.label_studio import client as client_module
from al_platform.annotation.label_studio.client import Client, FailedError, NoAnswerError, RefusedError
from al_platform.annotation.label_studio.labelling_config import labelling_config, region, shown_labels, spelled_flat
from al_platform.annotation.label_studio.options import Access, LabelStudioOptions
from al_platform.annotation.label_studio.pushes import Pushes, Turn, all_batches
from al_platform.annotation.label_studio.shown import Shown, ShownTasks, answers_that_hold
from al_platform.annotation.label_studio.tasks import link, task
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.storage.store import LocalStore
from temporary_project import Project

# XML has no way to spell the others, and a dollar sign begins a variable.
LABELS = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]) | st.sampled_from("\n\t<>&\"'"), min_size=1
).filter(lambda label: not label.startswith("$"))


def control(config: str) -> ElementTree.Element:
    return next(each for each in ElementTree.fromstring(config).iter() if each.tag in ("Choices", "Taxonomy"))


# --- the labelling configuration


@given(st.lists(LABELS, min_size=2, max_size=5, unique=True))
def test_any_label_is_spelled_so_that_xml_reads_it_back(labels: list[str]) -> None:
    config = labelling_config(Taxonomy(task="multi", labels=tuple(labels)), None)
    assert [choice.get("value") for choice in control(config)] == labels


def test_a_single_label_family_must_choose_one_and_a_multi_label_family_may_choose_any(
    topics: Taxonomy, safety: Taxonomy
) -> None:
    single, multi = control(labelling_config(topics, None)), control(labelling_config(safety, None))
    assert (single.get("choice"), single.get("required")) == ("single", "true")
    assert (multi.get("choice"), multi.get("required")) == ("multiple", None)


def test_a_tree_shows_levels_and_only_its_leaves_can_be_chosen() -> None:
    taxonomy = Taxonomy(task="single", labels=("Sports/Football", "Sports/Tennis", "News"))
    tree = control(labelling_config(taxonomy, "/"))
    assert (tree.tag, tree.get("leafOnly"), tree.get("maxUsages")) == ("Taxonomy", "true", "1")
    shown = {node.get("value"): [below.get("value") for below in node] for node in tree}
    assert shown == {"Sports": ["Football", "Tennis"], "News": []}
    assert shown_labels(taxonomy, "/") == ["Sports", "Football", "Tennis", "News"]


def test_a_node_that_is_a_label_itself_can_be_chosen() -> None:
    tree = control(labelling_config(Taxonomy(task="multi", labels=("Sports", "Sports/Football")), "/"))
    assert (tree.get("leafOnly"), tree.get("maxUsages")) == (None, None)


@pytest.mark.parametrize(
    ("label", "separator", "why"),
    [("a\0b", None, "no XML can hold"), ("$x", None, "begins as a variable"), ("a//b", "/", "level without a name")],
)
def test_a_label_that_cannot_be_shown_is_named(label: str, separator: str | None, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        labelling_config(Taxonomy(task="multi", labels=(label, "other")), separator)


def test_pages_are_shown_by_tags_that_show_text_only(topics: Taxonomy) -> None:
    shown = {each.get("value"): each.tag for each in ElementTree.fromstring(labelling_config(topics, None)).iter()}
    assert shown["$title"] == "Header"
    assert shown["$text"] == "Text"
    assert shown["$link"] == "HyperText"


def test_an_answer_in_a_tree_is_read_as_the_label_that_it_means() -> None:
    values = ["Sports/Football", "News"]
    assert spelled_flat([region(values, "/")], "/")[0]["value"] == {"choices": values}


@pytest.mark.parametrize(
    "odd", [None, "x", [3], [{"type": "taxonomy"}], [{"type": "taxonomy", "value": {"taxonomy": [1]}}]]
)
def test_what_is_no_answer_in_a_tree_stays_as_it_is(odd: object) -> None:
    assert spelled_flat(odd, "/") == odd


# --- pages


class Tags(HTMLParser):
    """The tags of a piece of HTML, and its text."""

    def __init__(self, markup: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(
    st.sampled_from(["", "http://a.example/", "https://"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\0")),
)
def test_an_address_adds_no_tag_but_the_link_and_reads_as_it_is(start: str, rest: str) -> None:
    found = Tags(link(start + rest))
    assert [tag for tag, _ in found.tags] in ([], ["a"])
    assert found.text == start + rest
    assert all(set(attributes) == {"href", "target", "rel"} for _, attributes in found.tags)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.example", "http://[", "file:///x"],
)
def test_only_web_addresses_become_links(url: str) -> None:
    assert link(url) == html.escape(url)


def row(**changes: Any) -> dict[str, Any]:
    [found] = make_batch(["a"]).to_pylist()
    return {**found, **changes}


def test_what_only_a_machine_needs_is_not_shown() -> None:
    made = task(row(), "2", None)
    assert made["meta"] == {"page_id": "a", "batch_id": "topics-2026-10"}
    assert "reason" not in json.dumps(made)
    assert "predictions" not in made


def test_a_suggestion_is_made_where_there_is_one() -> None:
    made = task(row(suggested=["tech"], model_digest="d1"), "2", None)
    assert made["predictions"] == [{"model_version": "d1", "result": [region(["tech"], None)]}]
    assert "predictions" not in task(row(suggested=None), "2", None)


@pytest.mark.parametrize(
    "changes",
    [{"reason": reason} for reason in ("audit", "exploration", "duel", "control", "relabel")]
    + [{"reason": "another draw", "inclusion_probability": 0.1}],
)
def test_no_suggestion_is_made_on_a_page_that_measures(changes: dict[str, Any]) -> None:
    assert "predictions" not in task(row(suggested=["tech"], **changes), "2", None)


# --- the record of what was sent


def test_a_turn_is_taken_once_and_ends_once(store: LocalStore) -> None:
    pushes = Pushes(store, "pushes", "b")
    assert pushes.newest() is None
    assert pushes.take(1, {"x": "2", "y": "2"})
    assert not pushes.take(1, {"z": "2"})
    turn = Turn(1, frozenset("xy"), is_over=False)
    assert pushes.newest() == turn
    assert (pushes.claimed(), pushes.sent()) == ({"x": "2", "y": "2"}, {})
    pushes.end(turn, arrived=True)
    pushes.end(turn, arrived=False)
    assert pushes.sent() == {"x": "2", "y": "2"}
    assert pushes.newest() == Turn(1, frozenset("xy"), is_over=True)


def test_pages_of_a_turn_that_failed_were_not_sent(store: LocalStore) -> None:
    pushes = Pushes(store, "pushes", "b")
    pushes.take(1, {"x": "2"})
    pushes.end(Turn(1, frozenset("x"), is_over=False), arrived=False)
    assert pushes.sent() == {}
    assert all_batches(store, "pushes") == ["b"]


def test_a_damaged_record_is_named(store: LocalStore) -> None:
    store.write("pushes/b/000001.claimed.jsonl", b'{"page_id"')
    with pytest.raises(StoreError, match=r"pushes/b/000001\.claimed\.jsonl is no record"):
        Pushes(store, "pushes", "b").claimed()


# --- what the server showed


def exported(*answers: int, second: int = 1) -> dict[str, Any]:
    meta = {"page_id": "a", "batch_id": "b"}
    given_answers = [{"id": number, "completed_by": 3, "result": [], "lead_time": 1.5} for number in answers]
    time = f"2026-11-02T10:00:{second:02}.000001Z"
    return {"id": 1, "updated_at": time, "data": {"text": "long"}, "meta": meta, "annotations": given_answers}


def held(record: ShownTasks, shown: Shown) -> list[tuple[int, bool]]:
    [task] = record.tasks(shown, [1])
    return [(each["id"], each.get("deleted", False)) for each in answers_that_hold(task)]


def test_an_answer_that_is_there_no_more_was_deleted_and_stays_so(store: LocalStore) -> None:
    shown = ShownTasks(store, "shown")
    after = shown.add([exported(7, 8)], shown.read())
    for second in (2, 3):
        after = shown.add([exported(8, second=second)], after)
        assert held(shown, after) == [(8, False), (7, True)]
    assert shown.read() == after


def test_many_tasks_are_recorded_some_at_a_time_and_the_newest_line_of_each_counts(store: LocalStore) -> None:
    shown = ShownTasks(store, "shown")
    many = [exported(7) | {"id": number} for number in range(2500)]
    after = shown.add(many, shown.read())
    assert len(store.list("shown")) == 3
    after = shown.add([exported(7, 8, second=2) | {"id": 2400}], after)
    assert sorted(task["id"] for task in shown.tasks(after)) == list(range(2500))
    [newest] = shown.tasks(after, [2400])
    assert len(newest["annotations"]) == 2


def test_what_is_shown_again_is_not_recorded_again(store: LocalStore) -> None:
    shown = ShownTasks(store, "shown")
    after = shown.add([exported(7)], shown.read())
    assert shown.add([exported(7)], after) == after
    assert store.list("shown") == ["shown/000001.jsonl"]
    assert b"long" not in store.read("shown/000001.jsonl")


def test_a_pull_that_began_earlier_and_ends_later_sees_the_deletion_of_what_the_other_saw(store: LocalStore) -> None:
    shown = ShownTasks(store, "shown")
    before = shown.read()
    shown.add([exported(7)], before)
    assert held(shown, shown.add([exported(second=2)], before)) == [(7, True)]


@pytest.mark.parametrize("second", [1, 2])
def test_a_slow_pull_takes_no_answer_for_deleted_that_came_after_it_looked(store: LocalStore, second: int) -> None:
    shown = ShownTasks(store, "shown")
    before = shown.read()
    shown.add([exported(7, second=second)], before)
    assert held(shown, shown.add([exported(second=1)], before)) == [(7, False)]


# --- asking


Respond = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[[Respond], Client]:
    """Return a client whose server is a function."""
    monkeypatch.setattr(client_module, "_PAUSES_S", (0, 0))

    def _ask(respond: Respond, token: str = "t0ken-that-nobody-sees") -> Client:
        opened = httpx.Client
        transport = httpx.MockTransport(respond)
        with monkeypatch.context() as patch:
            patch.setattr(httpx, "Client", lambda **how: opened(transport=transport, base_url=how["base_url"]))
            return Client(Access("http://server", token), 1)

    return _ask


def test_what_only_reads_is_asked_again(ask: Callable[[Respond], Client]) -> None:
    answers = iter([httpx.Response(500), httpx.Response(502), httpx.Response(200, json={"release": "1.23.2"})])
    ask(lambda request: next(answers)).require_known_version()
    assert not list(answers)


def test_what_adds_is_asked_once(ask: Callable[[Respond], Client]) -> None:
    asked = []

    def fail(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise httpx.ReadTimeout("slow")

    with pytest.raises(NoAnswerError):
        ask(fail).import_tasks(1, [])
    assert len(asked) == 1


def test_an_answer_that_comes_later_is_told_from_one_that_is_done(ask: Callable[[Respond], Client]) -> None:
    assert ask(lambda request: httpx.Response(201, json={"task_count": 1})).import_tasks(1, [{}])
    assert not ask(lambda request: httpx.Response(201, json={"import": 7})).import_tasks(1, [{}])


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (httpx.Response(401, json={"detail": "Invalid token."}), ConfigError, "does not accept the token"),
        (httpx.Response(400, json={"validation_errors": {"text": ["missing"]}}), RefusedError, "'missing'"),
        (httpx.Response(500, text="<html>" + "x" * 9000), FailedError, "500 $"),
        (httpx.Response(200, text="<html>a shop</html>"), ConfigError, "as no Label Studio does"),
        (httpx.Response(301, headers={"location": "https://server/"}), ConfigError, "redirects to https://server/"),
        (httpx.Response(200, json={"release": "2.0.0"}), ConfigError, "release 2.0.0"),
        (httpx.Response(200, json={"release": "1.9.1"}), ConfigError, r"release 1\.9\.1"),
        (httpx.Response(200, json=[]), ConfigError, "release unknown"),
    ],
)
def test_an_odd_answer_says_what_to_do_and_never_the_token(
    ask: Callable[[Respond], Client], response: httpx.Response, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        ask(lambda request: response).require_known_version()
    assert "t0ken" not in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_a_deletion_whose_answer_was_lost_is_done(ask: Callable[[Respond], Client]) -> None:
    answers = iter([httpx.Response(502), httpx.Response(404)])
    ask(lambda request: next(answers)).delete_task(7)
    assert not list(answers)


def test_a_session_that_ended_is_opened_again(ask: Callable[[Respond], Client]) -> None:
    sessions = iter(["first", "second"])

    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/token/refresh":
            return httpx.Response(200, json={"access": next(sessions)})
        is_open = request.headers["Authorization"] == "Bearer second"
        return httpx.Response(200, json={"release": "1.23.2"}) if is_open else httpx.Response(401)

    ask(respond, token="a.b.c").require_known_version()
    assert not list(sessions)


@pytest.mark.parametrize(
    ("url", "message"), [("ftp://server", "is no address"), ("http://127.0.0.1:1", "cannot be reached")]
)
def test_an_address_that_cannot_be_used_is_named(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAUSES_S", ())
    with pytest.raises(Exception, match=message):
        Client(Access(url, "t"), 1).require_known_version()


# --- configuration


def test_without_credentials_it_says_where_to_write_them(store: LocalStore, topics: Taxonomy) -> None:
    connection = PlatformConnection(store, "topics/platform", "topics", lambda *_: {}, {"url": "http://x", "token": ""})
    with pytest.raises(ConfigError, match=r"token are not known.*AL_LABEL_STUDIO_TOKEN.*conf/local/credentials\.yml"):
        connection.open(topics, AnnotationOptions(backend="label_studio"))


def test_credentials_are_in_no_representation(store: LocalStore) -> None:
    connection = PlatformConnection(store, "p", "topics", lambda *_: {}, {"url": "http://x", "token": "hidden"})
    assert "hidden" not in repr(connection) + repr(Access("http://x", "hidden"))


def test_a_mistyped_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="show_prediction"):
        LabelStudioOptions.model_validate({"show_prediction": True})


def test_credentials_come_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AL_LABEL_STUDIO_URL", "http://from.environment")
    monkeypatch.setenv("AL_LABEL_STUDIO_TOKEN", "token-of-the-environment")
    project.only("topics")
    connection = project.load("topics.platform")
    assert connection.credentials == {"url": "http://from.environment", "token": "token-of-the-environment"}


def test_credentials_of_conf_local_go_before_those_of_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AL_LABEL_STUDIO_TOKEN", "token-of-the-environment")
    own = {"label_studio": {"url": "http://from.file", "token": "token-of-the-file"}}
    (project.path / "conf/local/credentials.yml").write_text(json.dumps(own))
    loader = FamilyConfigLoader(conf_source=str(project.path / "conf"), env="local", **CONFIG_LOADER_ARGS)
    assert loader["credentials"]["label_studio"] == own["label_studio"]
