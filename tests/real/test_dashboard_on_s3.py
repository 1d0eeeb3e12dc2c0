"""The dashboard of a store on S3: it lies there, and its links lead within the bucket."""

import pytest
from benchmarks.dashboard_store import write_store

from al_platform.dashboard import publish
from al_platform.storage.s3_store import S3Store
from reports.read_html import Document
from temporary_project import make_project

pytestmark = pytest.mark.real


def test_the_page_lies_beside_the_logs_and_its_links_lead_to_objects_of_the_bucket(
    on_s3, bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = make_project(tmp_path / "project")
    project.only("topics")
    project.configure("globals.yml", {"root": f"s3://{bucket}/al", "traffic": {"source": "synthetic"}})
    write_store(project.loader, "2026-10", months=3, pages=50)
    (place,) = publish.publish(project.loader)
    assert place == f"s3://{bucket}/al/logs/dashboard/index.html"
    store = S3Store(f"s3://{bucket}/al")
    document = Document(store.read("logs/dashboard/index.html").decode())
    links = [element.attributes["href"] for element in document.of("a")]
    inside = [link.removeprefix("../").removeprefix("../") for link in links if link.startswith("..")]
    found = [path if store.exists(path) else f"logs/{path}" for path in inside]
    assert {path.rpartition("/")[2] for path in found} == {"challenger_report.html", "run.log"}
    assert all(store.exists(path) for path in found)
