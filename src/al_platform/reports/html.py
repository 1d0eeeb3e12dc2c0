"""How the reports' templates are read: escaped, and with texts from outside made fit to read."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from al_platform.reports.plain import plain

MAX_CHARS = 4_000  # of any one text on the page; what pages say is cut much shorter


def html_templates(
    filters: Mapping[str, Callable[..., Any]], functions: Mapping[str, Callable[..., Any]] | None = None
) -> Environment:
    """Return the templates of the reports.

    Args:
        filters: That they may use, by name.
        functions: That they may call, by name.
    """
    environment = Environment(
        loader=PackageLoader("al_platform.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_fit_to_read,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    environment.globals |= functions or {}
    return environment


def _fit_to_read(value: Any) -> Any:
    """Return what a template prints: text from outside made fit, before Jinja escapes it."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value, MAX_CHARS)
