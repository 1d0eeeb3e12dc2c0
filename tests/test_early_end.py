"""The ingest run between months: it asks the platform, and ends there when nothing is new."""

import pytest
from kedro.framework.hooks import hook_impl

from temporary_project import CYCLE, make_project
from test_people_by_files import answer, tasks

INGEST = ("annotation_ingest", "preparation")
PULL = "topics.annotation_ingest.pull_annotations"


class Nodes:
    """Writes down which nodes run."""

    def __init__(self):
        self.names = []

    @hook_impl
    def after_node_run(self, node):
        self.names.append(node.name)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A month whose batch lies with people, run by code of a known revision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("al_platform.hooks.code_revision", lambda _: "0" * 40)
        project = make_project(tmp_path_factory.mktemp("people"))
        project.only("topics")
        project.configure("parameters/topics.yml", {"topics": {"annotation": {"backend": "exchange"}}})
        project.run("monthly")
        yield project


def ran(project, *pipelines, **parameters):
    nodes = Nodes()
    project.run(*(pipelines or INGEST), hooks=(nodes,), parameters=parameters)
    return nodes.names


def logs(project):
    return [project.log_numbers("topics", stage) for stage in INGEST]


def test_without_news_it_asks_the_platform_and_ends(people):
    before = logs(people), people.state()
    assert ran(people) == [PULL]
    assert (logs(people), people.state()) == before


def test_a_new_answer_is_taken_and_the_next_run_ends_early_again(people):
    answer(people, "first.json", tasks(people)[:2])
    assert len(ran(people)) > 10
    assert people.load("topics.labels").num_rows == 2
    assert ran(people) == [PULL]


def test_a_changed_option_is_news(people):
    changed = {"topics": {"annotation": {"adjudication": {"min_confidence": 0.8}}}}
    assert len(ran(people, **changed)) > 5


def test_labels_that_were_imported_meanwhile_are_news_to_preparation(people):
    ran(people)
    folder = people.path / "data/test/labels/topics/imported"
    [stored] = folder.iterdir()
    (folder / "0002-more.parquet").write_bytes(stored.read_bytes())
    try:
        names = ran(people)
        assert names[0] == PULL
        assert "topics.preparation.merge_labels" in names
        assert "topics.annotation_ingest.adjudicate_labels" not in names
    finally:
        (folder / "0002-more.parquet").unlink()


def test_code_with_uncommitted_changes_runs_whole(people, monkeypatch):
    ran(people)
    monkeypatch.setattr("al_platform.hooks.code_revision", lambda _: "0" * 40 + "-dirty")
    assert len(ran(people)) > 10


def test_a_whole_month_runs_whole(people):
    assert len(ran(people, "monthly")) > 10
    assert people.load("topics.labels", CYCLE).num_rows == 2
