"""The report on a replay, one HTML document: what each strategy, budget and cadence would have brought."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from al_platform.domain.replay.figures import ReplayFigures, SettingFigures
from al_platform.domain.replay.paired import Mean
from al_platform.domain.replay.plan import Setting
from al_platform.reports import replay_drawings
from al_platform.reports.figures import interval, number, signed, words
from al_platform.reports.html import html_templates

_TEMPLATE = "replay_report.html.j2"
_QUARTER = 3


def render_replay_report(figures: ReplayFigures) -> str:
    """Return the page. It needs nothing else and runs nothing: no script, no font, no picture from anywhere."""
    base, others = figures.settings[: figures.base], figures.settings[figures.base :]
    return (
        html_templates(_FILTERS)
        .get_template(_TEMPLATE)
        .render(
            replay=figures,
            base=base,
            others=[(found, _lead(found, base)) for found in others],
            styles={found.setting.strategy: replay_drawings.style(place, found) for place, found in enumerate(base)},
            traffic=replay_drawings.traffic(figures),
            in_use=replay_drawings.in_use(figures),
            learning=replay_drawings.learning(figures),
            against_random=replay_drawings.against_random(figures),
            about=_about(figures.about),
        )
    )


def setting_title(setting: Setting) -> str:
    """Return what a setting is called."""
    budget = "" if setting.budget is None else f", {setting.budget:,} a month"
    cadence = "" if setting.cadence == _QUARTER else f", trained every {setting.cadence} months"
    return f"{setting.strategy}{budget}{cadence}"


def _lead(found: SettingFigures, base: tuple[SettingFigures, ...]) -> SettingFigures | None:
    return next((each for each in base if each.setting.strategy == found.setting.strategy), None)


def _about(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a replay ran on as names and texts, nested ones one level down."""
    flat: list[tuple[str, str]] = []
    for name, value in about.items():
        parts = value.items() if isinstance(value, Mapping) else [("", value)]
        flat += [(f"{name} {part}".replace("_", " ").strip(), _written(found)) for part, found in parts]
    return [(name, text) for name, text in flat if text]


def _written(value: Any) -> str:
    if value is None or value in ({}, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _mean(mean: Mean | None) -> str:
    return number(mean.value if mean else None)


def _bounds(mean: Mean | None, points: bool = False) -> str:
    if mean is None or mean.low is None or mean.high is None:
        return ""
    write = signed if points else number
    return f"{write(mean.low)} to {write(mean.high)}"


def _tone(mean: Mean | None) -> str:
    if mean is None:
        return ""
    return "better" if mean.is_above_zero else "worse" if mean.is_below_zero else "same"


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "figure": number,
    "interval": interval,
    "words": words,
    "signed": signed,
    "mean": _mean,
    "bounds": _bounds,
    "tone": _tone,
    "titled": setting_title,
}
