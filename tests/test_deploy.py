"""What docs/deploy.md shows: commands exist with these options, files are there, settings are valid."""

import json
import re
import shlex
import subprocess

import click
import pytest
import yaml
from kedro.framework.startup import bootstrap_project

from al_platform.cli import cli
from al_platform.export.entry import StageRun, arguments
from al_platform.export.options import export_options
from temporary_project import ROOT, make_project

TEXT = (ROOT / "docs" / "deploy.md").read_text()
SHIPPED = re.sub(r"```yaml\n.*?```", "", TEXT, flags=re.DOTALL)
# Made by commands shown here, or by the reader.
MADE = ("dist", "conf/local/credentials.yml", "conf/s3/export.yml")
# Programs and targets that nothing here can ask.
ELSEWHERE = ("git clone", "git checkout", "cd ", "source ", "cp ", "export ", "pip install", "databricks ", "airflow ")


def shown(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def commands(*programs):
    """Every command of a program in code blocks, and between backticks elsewhere."""
    lines = [part.strip() for block in shown("bash") for line in block.splitlines() for part in line.split("&&")]
    words = re.findall(r"`([^`\n]+)`", SHIPPED)
    return list(dict.fromkeys(c for c in [*lines, *words] if c.startswith(tuple(f"{name} " for name in programs))))


def parse(command, words):
    """Let click read words as the options and arguments of a command, which is not called."""
    while isinstance(command, click.Group):
        name, *words = words
        command = command.commands[name]
    command.make_context(command.name, list(words))


@pytest.mark.parametrize("line", commands("kedro"))
def test_the_command_takes_what_is_shown(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pages.parquet", "labelled.csv"):
        (tmp_path / name).touch()
    parse(cli, shlex.split(line)[1:])


@pytest.mark.parametrize("line", commands("python"))
def test_the_package_takes_what_is_shown(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "conf-al_platform.tar.gz").touch()
    words = shlex.split(line)[1:]
    if words[:2] == ["-m", "al_platform"]:
        parse(cli.commands["run"], words[2:])
    elif words[0] == "-m":
        StageRun.of(arguments(words[2:]))
    else:
        assert (ROOT / words[0]).is_file()
        StageRun.of({**arguments(words[1:]), "stage": "scoring"})


def test_every_other_command_is_known_not_to_be_checked():
    lines = [part.strip() for block in shown("bash") for line in block.splitlines() for part in line.split("&&")]
    checked = {*commands("kedro", "python", "make")}
    assert [line for line in lines if line not in checked and not line.startswith(ELSEWHERE)] == []


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line.split()[1] for line in commands("make")} <= targets


def test_every_file_that_is_named_is_there():
    named = {word for word in re.findall(r"`([\w./-]+)`", SHIPPED) if "/" in word or word.endswith(".yml")}
    links = set(re.findall(r"\]\(([\w./-]+)\)", TEXT))
    missing = [name for name in named if not name.startswith(MADE) and not (ROOT / name).exists()]
    assert missing + [link for link in links if not (ROOT / "docs" / link).exists()] == []
    assert "conf/base/export.yml" in named


def test_the_bundle_has_the_targets_jobs_and_parameters_that_are_shown():
    bundle = yaml.safe_load((ROOT / "databricks.yml").read_text())
    for line in commands("databricks bundle"):
        words = shlex.split(line)
        assert (
            words[words.index("--target") + 1] in bundle["targets"] if "--target" in words else words[2] == "validate"
        )
        if words[2] == "run":
            job = yaml.safe_load((ROOT / "databricks" / f"{words[3]}.yml").read_text())["resources"]["jobs"][words[3]]
            given = dict(pair.split("=") for pair in words[words.index("--params") + 1].split(","))
            assert given.keys() <= {parameter["name"] for parameter in job["parameters"]}
    variables = set(re.findall(r"BUNDLE_VAR_(\w+)", TEXT))
    assert variables <= bundle["variables"].keys()
    assert "service_principal" in variables


def test_the_dags_have_the_ids_and_parameters_that_are_shown():
    dags = "\n".join(file.read_text() for file in (ROOT / "airflow_dags").glob("*_dag.py"))
    ids = set(re.findall(r'dag_id="([\w-]+)"', dags))
    assert ids == {"al-platform-monthly", "al-platform-ingest", "al-platform-quarterly"}
    asked = [
        shlex.split(line)
        for line in commands("airflow")
        if line.startswith(("airflow dags unpause", "airflow dags trig"))
    ]
    assert {words[3] for words in asked} == ids
    for words in asked:
        if "--conf" in words:
            assert all(f'"{name}": Param(' in dags for name in json.loads(words[words.index("--conf") + 1]))


@pytest.mark.parametrize("block", shown("yaml"))
def test_settings_that_are_shown_are_valid(block, tmp_path, monkeypatch):
    monkeypatch.setenv("AL_UC_CATALOG", "main")
    monkeypatch.setenv("AL_S3_ROOT", "s3://bucket/root")
    project = make_project(tmp_path)
    env, file = re.match(r"# conf/(\w+)/(\w+\.yml)", block).groups()
    target = project.path / "conf" / env / file
    before = (yaml.safe_load(target.read_text()) or {}) if target.exists() else {}
    project.env = env
    project.configure(file, {**before, **yaml.safe_load(block)})
    bootstrap_project(project.path)
    assert export_options(project.loader)
    assert project.loader.validated_globals


def test_the_flavours_are_all_described():
    described = set(re.findall(r"^\| `(\w+)` \| a", SHIPPED, re.MULTILINE))
    assert described == {"workflow", "notebook", "worker"}


@pytest.mark.real
def test_airflow_takes_what_is_shown():
    from servers.environments import environment

    asked = [shlex.split(line)[1:] for line in commands("airflow")]
    program = "import json, sys; from airflow.cli.cli_parser import get_parser as p\n"
    program += "[p().parse_args(words) for words in json.loads(sys.argv[1])]"
    command = [environment("airflow") / "bin" / "python", "-c", program, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ["dags", "reserialize"] in asked
