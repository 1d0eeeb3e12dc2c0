"""``kedro package``, which must not take secrets along."""

import copy
import functools
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import package as kedro_package
from kedro.framework.project import settings

from al_platform.domain.errors import ConfigError


def package_command() -> click.Command:
    """Return Kedro's ``package``, which refuses where its archive would hold secrets."""
    command = copy.copy(kedro_package)
    callback = kedro_package.callback
    assert callback is not None

    @functools.wraps(callback)
    def package(*args: Any, **kwargs: Any) -> Any:
        from al_platform.project import project_folder

        try:
            refuse_secrets(project_folder() / settings.CONF_SOURCE)
        except ConfigError as error:
            raise click.ClickException(str(error)) from error
        return callback(*args, **kwargs)

    command.callback = package
    return command


def refuse_secrets(conf: Path) -> None:
    """Refuse files of ``conf/local`` that Kedro would put into the archive: it leaves out ``*.yml`` alone.

    Raises:
        ConfigError: There is such a file.
    """
    found = [file for file in sorted((conf / "local").rglob("*")) if file.is_file()]
    if taken := [file for file in found if file.suffix != ".yml" and file.name != ".gitkeep"]:
        raise ConfigError(
            f"The archive would hold {taken[0]}, and conf/local is for secrets. Rename it to {taken[0].stem}.yml, "
            f"which is left out, or move it away."
        )
