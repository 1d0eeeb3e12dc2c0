"""What ``kedro package`` must not take along."""

import subprocess
import sys

import pytest

from al_platform.domain.errors import ConfigError
from al_platform.export.package import refuse_secrets
from temporary_project import make_project


@pytest.mark.parametrize("name", ["credentials.yaml", "deep/token.json", ".env"])
def test_secrets_that_the_archive_would_hold_are_refused_by_name(tmp_path, name):
    file = tmp_path / "local" / name
    file.parent.mkdir(parents=True)
    file.write_text("secret")
    with pytest.raises(ConfigError, match=str(file)):
        refuse_secrets(tmp_path)


def test_nothing_secret_is_refused_for_what_stays_out(tmp_path):
    (tmp_path / "local" / "deep").mkdir(parents=True)
    for name in (".gitkeep", "credentials.yml", "deep/credentials.yml"):
        (tmp_path / "local" / name).touch()
    refuse_secrets(tmp_path)


def test_the_command_makes_nothing_where_it_refuses(tmp_path):
    project = make_project(tmp_path)
    (project.path / "conf" / "local" / "credentials.yaml").write_text("key: secret")
    command = [sys.executable, "-m", "kedro", "package"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "credentials.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.path / "dist").exists()
