"""The Kedro project that a command is called in."""

from pathlib import Path

import click
from kedro.framework.project import settings
from kedro.utils import find_kedro_project

from al_platform.config import FamilyConfigLoader
from al_platform.settings import CONFIG_LOADER_ARGS
from al_platform.storage import redaction

EXPERIMENT = "al_platform.experiment"
"""Where a command's context holds the name of the experiment that it looks at."""


def project_folder() -> Path:
    """Return the project's folder: the nearest one upwards from where the command is called."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def project_loader(env: str | None) -> FamilyConfigLoader:
    """Return the project's configuration in an environment, within the experiment of the command if it names one.

    Args:
        env: None for the default environment.
    """
    conf = project_folder() / settings.CONF_SOURCE
    context = click.get_current_context(silent=True)
    experiment = context.meta.get(EXPERIMENT) if context else None
    parameters = {"experiment": experiment} if experiment else None
    loader = FamilyConfigLoader(conf_source=str(conf), env=env, runtime_params=parameters, **CONFIG_LOADER_ARGS)
    redaction.configure(loader.all_credentials())
    return loader
