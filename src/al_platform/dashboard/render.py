"""The dashboard as one HTML document: it needs nothing else and runs nothing."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from al_platform.dashboard.page import Dashboard
from al_platform.reports import figures
from al_platform.reports.plain import plain

_TEMPLATE = "dashboard.html.j2"


def render_dashboard(dashboard: Dashboard) -> str:
    """Return the page."""
    return _environment().get_template(_TEMPLATE).render(page=dashboard, source=dashboard.source)


def _environment() -> Environment:
    environment = Environment(
        # Style sheet and macros are those of the report on a challenger.
        loader=ChoiceLoader([PackageLoader("al_platform.dashboard"), PackageLoader("al_platform.reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_fit_to_read,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figures.number, "interval": figures.interval, "words": figures.words}
    return environment


def _fit_to_read(value: Any) -> Any:
    """Return what a template prints: names and messages from outside made fit, before Jinja escapes them."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value)
