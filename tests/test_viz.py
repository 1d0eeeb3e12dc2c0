"""Kedro-Viz on the project, in a real browser."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from temporary_project import CYCLE, make_project

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_TIMEOUT_S = 120


def free_port():
    # Not from the ephemeral range, where outgoing connections of other programs come and go.
    for port in range(24100, 24999):
        with socket.socket() as server, contextlib.suppress(OSError):
            server.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port between 24100 and 24999")


@pytest.fixture(scope="module")
def viz(tmp_path_factory):
    """The address of a Kedro-Viz server on a project whose monthly has run, and a family's evaluation."""
    project = make_project(tmp_path_factory.mktemp("viz"))
    project.run("monthly")
    project.run("quarterly", namespaces=["topics.training", "topics.evaluation"])
    port = free_port()
    command = [sys.executable, "-m", "kedro", "viz", "run", "--no-browser", "--host=127.0.0.1", f"--port={port}"]
    command += ["--env=test", f"--params=cycle={CYCLE}"]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    log = (project.path / "viz.log").open("w+")
    server = subprocess.Popen(command, cwd=project.path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/api/main", server, project.path / "viz.log")
        yield address
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def wait_for(url, server, log):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"Kedro-Viz did not answer within {START_TIMEOUT_S} s:\n{log.read_text()}")


@pytest.fixture
def page():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; install Debian's chromium")
        pytest.skip("runs where Chromium is installed (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


def test_the_graph_opens_with_families_which_open_into_stages(viz, page, tmp_path):
    page.goto(viz)
    for family in ("topics", "sentiment", "brand_safety"):
        page.get_by_text(family, exact=True).first.wait_for(timeout=60_000)
    assert not page.get_by_text("topics.preparation", exact=True).first.is_visible()
    topics = page.locator("li", has=page.get_by_text("topics", exact=True)).first
    topics.locator("[data-testid=ChevronRightIcon]").first.click()
    for stage in ("scoring", "selection", "annotation_ingest", "preparation"):
        page.get_by_text(f"topics.{stage}", exact=True).first.wait_for(timeout=10_000)
    page.screenshot(path=os.environ.get("VIZ_SCREENSHOT", str(tmp_path / "viz.png")))


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def test_the_graph_holds_layers_in_the_order_of_the_loop_and_previews(viz):
    graph = fetch(f"{viz}/api/main")
    monthly = ["inputs", "predictions", "batch", "labels", "dataset"]
    assert [layer for layer in graph["layers"] if layer in monthly] == monthly
    by_name = {node["name"]: node["id"] for node in graph["nodes"] if node["type"] == "data"}
    report = fetch(f"{viz}/api/nodes/{by_name['topics.preparation_report']}")
    assert report["preview_type"] == "JSONPreview"
    assert json.loads(report["preview"])["splits"]["golden"] > 0
    batch = fetch(f"{viz}/api/nodes/{by_name['topics.batch']}")
    assert batch["preview_type"] == "TablePreview"
    assert "page_id" in batch["preview"]["columns"]


@pytest.fixture(scope="module")
def quarterly(viz):
    """Ids of the quarterly's datasets by their names."""
    nodes = fetch(f"{viz}/api/pipelines/quarterly")["nodes"]
    return {node["name"]: node["id"] for node in nodes if node["type"] == "data"}


@pytest.mark.parametrize(
    ("dataset", "kind"),
    [
        ("training_report", "PlotlyPreview"),
        ("dataset_card", "PlotlyPreview"),
        ("evaluation", "PlotlyPreview"),
        ("evaluation_report", "JSONPreview"),
        ("verdict", "TablePreview"),
        ("error_analysis", "TablePreview"),
        ("staleness", "TablePreview"),
        ("evaluated_pages", "TablePreview"),
    ],
)
def test_what_people_look_at_has_a_preview_of_its_kind(viz, quarterly, dataset, kind):
    by_name = quarterly | {
        node["name"]: node["id"] for node in fetch(f"{viz}/api/main")["nodes"] if node["type"] == "data"
    }
    shown = fetch(f"{viz}/api/nodes/{by_name[f'topics.{dataset}']}")
    assert shown["preview_type"] == kind
    assert shown["preview"]


def test_curves_of_a_training_are_drawn_beside_the_graph(viz, quarterly, page, tmp_path):
    page.goto(f"{viz}/?pid=quarterly&sid={quarterly['topics.training_report']}", timeout=90_000)
    plot = page.locator(".js-plotly-plot").first
    plot.wait_for(timeout=60_000)
    assert plot.locator(".scatterlayer .trace").count() == 3
    page.screenshot(path=os.environ.get("VIZ_PREVIEW_SCREENSHOT", str(tmp_path / "preview.png")))
