import pytest
from aws_account import S3_ROOT
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project

from al_platform.governance.cli import governance


@pytest.fixture
def command(project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AL_S3_ROOT", S3_ROOT)
    monkeypatch.delenv("AL_AUDIT_ANCHOR", raising=False)
    monkeypatch.chdir(project.path)
    bootstrap_project(project.path)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(governance, ["--env", "s3", *arguments])

    return call


def test_check_fails_and_names_the_file_that_differs_until_it_is_written_again(command, project):
    assert command().exit_code == 0
    assert command("--check").exit_code == 0
    training = project.path / "governance" / "s3" / "roles" / "training.json"
    training.write_text("{}")
    found = command("--check")
    assert found.exit_code == 1
    assert "governance/s3/roles/training.json" in found.output
    assert training.read_text() == "{}"
    assert command().exit_code == 0
    assert command("--check").exit_code == 0


def test_check_and_apply_exclude_each_other(command):
    assert command("--check", "--apply").exit_code == 2
