"""The README's commands, run as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from temporary_project import ROOT, make_project

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
SERVERS = ("kedro viz run",)  # run by test_viz.py


def commands(program):
    """Every command of a program in code blocks and table cells, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    cells = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)
    found = [command for command in [*cells, *lines] if command.split()[:1] == [program]]
    return list(dict.fromkeys(found))


def test_the_first_command_stands_by_line_20():
    first = next(number for number, line in enumerate(README.splitlines(), 1) if line.startswith("make "))
    assert first <= 20


def test_every_make_target_of_the_readme_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
    asked = set(re.findall(r"`?make ([a-z0-9-]+)", README))
    assert asked <= targets


def test_every_target_is_described_and_short():
    recipes = re.findall(r"^([a-z0-9-]+):.*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)
    for target, recipe in recipes:
        assert len(recipe.splitlines()) <= 2, target
        assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE), target


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("readme"))
    texts = [" ".join(f"word{i}x{k}" for k in range(12)) for i in range(60)]
    urls = [f"https://site.example/{i}" for i in range(60)]
    pq.write_table(pa.table({"url": urls, "body": texts}), project.path / "pages.parquet")
    rows = [f'"{url}","{text}","sport"' for url, text in zip(urls[:30], texts[:30], strict=True)]
    (project.path / "labelled.csv").write_text("\n".join(["url,text,category", *rows]) + "\n")
    scores = [json.dumps({"url": url, "probabilities": [0.2] * 5}) for url in urls]
    (project.path / "scores.jsonl").write_text("\n".join(scores) + "\n")
    project.env = "mine"
    project.configure("globals.yml", {"root": "data/mine", "traffic": {"source": "imported"}})
    project.only("topics")
    settings = {"annotation": {"backend": "exchange"}, "selection": {"budget": 10, "domain_share": None}}
    project.configure("parameters/topics.yml", {"topics": settings})
    return project.path


@pytest.mark.parametrize("command", [command for command in commands("kedro") if not command.startswith(SERVERS)])
def test_the_command_works_as_it_stands(folder, command):
    arguments = [sys.executable, "-m", *shlex.split(command)]
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    result = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_commands_are_found():
    assert "kedro run --pipelines=monthly" in commands("kedro")
    assert any(command.startswith("kedro al import-pages") for command in commands("kedro"))
