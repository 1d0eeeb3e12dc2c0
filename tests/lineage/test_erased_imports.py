"""What was erased does not come back through the commands that bring data in."""

import json

import pytest
from click.testing import CliRunner

from al_platform.cli import cli
from al_platform.storage.store import open_store


@pytest.fixture
def call(project, monkeypatch):
    project.configure("globals.yml", {"root": "data/mine", "traffic": {"source": "imported"}})
    monkeypatch.chdir(project.path)

    def invoke(*arguments):
        done = CliRunner().invoke(cli, ["al", *arguments, "--env", "test"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return invoke


def write_pages(path, *page_ids):
    path.write_text("page_id,text\n" + "".join(f"{page_id},text of {page_id}\n" for page_id in page_ids))
    return str(path)


def test_an_erased_page_is_set_aside_when_it_is_imported_again(project, call, tmp_path):
    call("import-pages", write_pages(tmp_path / "first.csv", "kept-1", "gone-1"), "--cycle", "2026-10")
    assert "Taken out of 1 files (1 rows)" in call("erase", "gone-1", "--reason", "ticket 7", "--yes")
    again = call("import-pages", write_pages(tmp_path / "second.csv", "gone-1", "kept-2"), "--cycle", "2026-11")
    assert "1 pages of 2026-11 taken" in again
    assert "1 erased" in again
    traffic = open_store(project.loader.root("traffic"))
    assert not [path for path in traffic.list("") if b"gone-1" in traffic.read(path)]
    lines = json.loads(call("audit", "--json"))
    assert [line["action"] for line in lines] == ["import", "erase", "erase", "import"]
    assert [line["subject"].get("data_class") for line in lines][1:3] == ["traffic", "labels"]
