"""Which model families this project has: names read from ``families.yml`` before pipelines are registered."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from al_platform.domain.errors import ConfigError

# Kedro registers pipelines without the context that loaded the configuration, so the hook leaves the names here.
_configured: list[str] = []

RESERVED = frozenset(
    {"cycle", "family_defaults", "params", "parameters", "pages"}
    | {"replay", "globals", "experiment", "families", "tracking"}
)


def parse_families(config: Mapping[str, Any]) -> list[str]:
    """Return the family names in the content of ``families.yml``.

    Raises:
        ConfigError: It is no list of distinct names, or a name cannot be used.
    """
    names = config.get("families")
    if not isinstance(names, list) or not names or len(set(names)) != len(names):
        raise ConfigError(f"families.yml must hold 'families: [NAME, ...]' with distinct names, found {names!r}.")
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
            raise ConfigError(
                f"Family name {name!r} cannot be used: take letters, digits and '_', and none of {sorted(RESERVED)}."
            )
    return list(names)


def configure(names: list[str]) -> None:
    """Remember the family names of the configuration in use."""
    _configured[:] = names


def family_names() -> list[str]:
    """Return the configured family names, read from the project's base configuration where no run has set them."""
    return list(_configured) or _read_base()


def _read_base() -> list[str]:
    from kedro.framework.project import settings
    from kedro.utils import find_kedro_project

    project = find_kedro_project(Path.cwd()) or Path.cwd()
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(Path(project) / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
    )
    return parse_families(loader["families"])
