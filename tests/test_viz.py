"""Kedro-Viz on the project, in a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from conftest import CYCLE

pytestmark = pytest.mark.real

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_TIMEOUT_S = 120


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture
def viz(project):
    """The address of a Kedro-Viz server on a project whose monthly has run."""
    project.run("monthly")
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


def test_the_graph_opens_with_families_which_open_into_stages_and_layers(viz, page, tmp_path):
    page.goto(viz)
    page.get_by_text("Topics", exact=True).first.wait_for(timeout=60_000)
    text = page.inner_text("body")
    for family in ("Topics", "Sentiment", "Brand Safety"):
        assert family in text
    shot = os.environ.get("VIZ_SCREENSHOT", str(tmp_path / "viz.png"))
    page.screenshot(path=shot)


def test_the_graph_holds_stages_layers_and_previews(viz):
    import json

    with urllib.request.urlopen(f"{viz}/api/main", timeout=30) as answer:
        graph = json.load(answer)
    assert {"traffic", "labels", "datasets", "reports"} <= set(graph["layers"])
    names = {node["id"] for node in graph["nodes"] if node["type"] == "modularPipeline"}
    assert {"topics", "topics.scoring", "topics.selection", "sentiment.preparation"} <= names
    by_name = {node["name"]: node["id"] for node in graph["nodes"] if node["type"] == "data"}
    with urllib.request.urlopen(f"{viz}/api/nodes/{by_name['topics.preparation_report']}", timeout=30) as answer:
        metadata = json.load(answer)
    assert metadata["preview_type"] == "JSONPreview"
    assert json.loads(metadata["preview"])["splits"]["golden"] > 0
    with urllib.request.urlopen(f"{viz}/api/nodes/{by_name['topics.batch']}", timeout=30) as answer:
        metadata = json.load(answer)
    assert metadata["preview_type"] == "TablePreview"
    assert "page_id" in metadata["preview"]["columns"]
