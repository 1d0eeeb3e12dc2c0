"""A secret that is planted where people plant them is found nowhere afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from temporary_project import CYCLE

IN_ENVIRONMENT = "env-secret-4f9a1c7e"
IN_CREDENTIALS = "file-secret-83bd02aa"
IN_LINK = "link-secret-c0ffee11"
PLANTED = (IN_ENVIRONMENT, IN_CREDENTIALS, IN_LINK)

SCRIPT = """
import logging, sys
from pathlib import Path
from kedro.framework.cli.utils import KedroCliError
import al_platform.pipelines.preparation.nodes as nodes
import al_platform.pipelines.preparation.pipeline as pipeline
real = nodes.report_preparation
def failing(*arguments):
    logging.getLogger("al_platform").warning("connecting with %s and {0} and {1}")
    raise RuntimeError("the server refused {0} and {1}")
def leaking(*arguments):
    logging.getLogger("al_platform").warning("connecting with {0} and {1}")
    return real(*arguments)
pipeline.report_preparation = failing if sys.argv[1] == "fail" else leaking
pipeline.report_preparation.__name__ = "report_preparation"
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
from al_platform.cli import cli
cli(["run", "--pipelines=monthly", "--env=test", "--params=cycle={2}"])
"""


def run(project, how):
    script = SCRIPT.replace("{0}", IN_ENVIRONMENT).replace("{1}", IN_CREDENTIALS).replace("{2}", CYCLE)
    return subprocess.run(
        [sys.executable, "-c", script, how],
        cwd=project.path,
        env={
            **os.environ,
            "DO_NOT_TRACK": "1",
            "WANDB_API_KEY": IN_ENVIRONMENT,
            "AL_RUN_URL": f"https://user:{IN_LINK}@airflow/runs/1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def files_with(folder: Path, secret: str) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


@pytest.mark.parametrize("how", ["fail", "succeed"])
def test_a_planted_secret_reaches_no_log_manifest_record_or_message(project, how):
    project.only("topics")
    (project.path / "conf/local/credentials.yml").write_text(yaml.safe_dump({"platform": {"api": IN_CREDENTIALS}}))
    ended = run(project, how)
    assert (ended.returncode != 0) == (how == "fail"), ended.stderr
    shown = ended.stdout + ended.stderr
    assert "***" in shown
    store = project.path / "data"
    for secret in PLANTED:
        assert secret not in shown
        assert files_with(store, secret) == []
    runs = list((store / "test/logs/runs").iterdir())
    assert "***" in (runs[0] / "run.log").read_text()
    assert json.loads((runs[0] / "started.json").read_text())["orchestrator"] == "https://***@airflow/runs/1"
