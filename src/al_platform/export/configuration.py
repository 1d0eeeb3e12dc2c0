"""The configuration that is exported: what the environment variables of other machines will say is not known here."""

import os
from pathlib import Path
from typing import Any

from kedro.framework.project import settings

from al_platform.config import FamilyConfigLoader
from al_platform.settings import CONFIG_LOADER_ARGS

_NOT_GIVEN = object()


def exported_loader(project: Path, env: str | None) -> FamilyConfigLoader:
    """Return the configuration of an environment in which variables that are not set stand for their own names.

    Raises:
        ConfigError: There is no such environment.
    """
    conf = project / settings.CONF_SOURCE
    arguments: dict[str, Any] = {**CONFIG_LOADER_ARGS, "custom_resolvers": {"oc.env": _variable}}
    return FamilyConfigLoader(conf_source=str(conf), env=env, **arguments)


def _variable(name: str, default: Any = _NOT_GIVEN) -> Any:
    return os.environ.get(name, name if default is _NOT_GIVEN else default)
