"""The Kedro project that a command is called in."""

from pathlib import Path

from kedro.framework.project import settings
from kedro.utils import find_kedro_project

from al_platform.config import FamilyConfigLoader
from al_platform.settings import CONFIG_LOADER_ARGS


def project_folder() -> Path:
    """Return the project's folder: the nearest one upwards from where the command is called."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def project_loader(env: str | None) -> FamilyConfigLoader:
    """Return the project's configuration in an environment; None is the default one."""
    conf = project_folder() / settings.CONF_SOURCE
    return FamilyConfigLoader(conf_source=str(conf), env=env, **CONFIG_LOADER_ARGS)
