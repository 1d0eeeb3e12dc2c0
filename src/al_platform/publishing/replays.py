"""What a tracker is told of a replay: one run with its figures, tables and charts. Its months stay untracked."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from al_platform.domain.replay.figures import Month, ReplayFigures, SettingFigures
from al_platform.domain.replay.paired import Mean
from al_platform.publishing.tables import table_of
from al_platform.reports import replay_drawings
from al_platform.storage.redaction import redacted
from al_platform.storage.store import Store
from al_platform.tracking.tracked_run import Cell, TrackedRun, tracker_id

REPLAY = "replay"
FOLDER = "replays"
_PLAYED_AT = "played_at"


def finished_replays(logs: Store) -> list[ReplayFigures]:
    """Return the figures of the replays of an environment, as each was when it last ended."""
    return [ReplayFigures.model_validate_json(logs.read(path)) for path in logs.list(FOLDER)]


def keep_for_trackers(figures: ReplayFigures, logs: Store) -> None:
    """Put a replay's figures beside the logs, where ``finished_replays`` finds them without a look at every replay."""
    logs.write(f"{FOLDER}/{figures.name}.json", figures.model_dump_json().encode())


def replay_run(figures: ReplayFigures) -> TrackedRun:
    """Return a replay as a tracker's run; equal figures give the same, whenever they were told."""
    played_at = str(figures.about.get(_PLAYED_AT, ""))
    return TrackedRun(
        id=tracker_id(REPLAY, figures.name, _digest(figures)),
        name=f"{figures.family} {REPLAY} {figures.name}",
        group=f"{REPLAY} {figures.name}",
        job_type=REPLAY,
        tags=(figures.family, REPLAY),
        started_at=played_at,
        ended_at=played_at,
        config=redacted({"family": figures.family, "stage": REPLAY, "replay": figures.name, **figures.about}),
        summary=redacted({name: value for name, value in _summary(figures) if value is not None}),
        tables={
            "conclusions": table_of({"conclusion": line} for line in figures.conclusions),
            "settings": table_of(dict(_row(found)) for found in figures.settings),
            "months": table_of(_month(found, month) for found in figures.settings for month in found.months),
        },
        plots=_plots(figures),
    )


def _digest(figures: ReplayFigures) -> str:
    about = {name: value for name, value in figures.about.items() if name != _PLAYED_AT}
    return sha256(figures.model_copy(update={"about": about}).model_dump_json().encode()).hexdigest()


def _summary(figures: ReplayFigures) -> Iterator[tuple[str, Cell]]:
    yield "conclusion", figures.conclusions[0]
    yield "seeds", figures.seeds
    yield "months", len(figures.cycles) - 1
    yield "overhead", figures.time.overhead
    if figures.coverage:
        yield "audit.held", figures.coverage.held
        yield "audit.months", figures.coverage.months
    for found in figures.settings:
        for name, value in _row(found):
            if name not in found.setting.model_dump():
                yield f"{_title(found)}.{name}", value


def _row(found: SettingFigures) -> Iterator[tuple[str, Cell]]:
    yield from found.setting.model_dump().items()
    means = {
        "newest": found.newest,
        "in_use": found.in_use,
        "against_random": found.against_random,
        "in_use_against_random": found.in_use_against_random,
        "against_frozen": found.against_frozen,
        "labels_saved": found.saved.labels if found.saved else None,
    }
    for name, mean in means.items():
        yield from _cells(name, mean)
    yield "labels", found.labels
    yield "cost", found.cost
    for name, count in found.gate.model_dump(exclude={"margin"}).items():
        yield f"gate.{name}", count


def _month(found: SettingFigures, month: Month) -> Mapping[str, Any]:
    told = {"newest": month.newest, "in_use": month.in_use, "frozen": month.frozen}
    cells = [cell for name, mean in told.items() for cell in _cells(name, mean)]
    return {"setting": _title(found), "cycle": month.cycle, **dict(cells)}


def _cells(name: str, mean: Mean | None) -> list[tuple[str, Cell]]:
    """Return a mean and its interval; nulls where there is none, so that every row has the same columns."""
    low, value, high = (mean.low, mean.value, mean.high) if mean else (None, None, None)
    return [(name, value), (f"{name}.low", low), (f"{name}.high", high)]


def _title(found: SettingFigures) -> str:
    setting = found.setting
    budget = "" if setting.budget is None else f"-budget-{setting.budget}"
    return f"{setting.strategy}{budget}-every-{setting.cadence}"


def _plots(figures: ReplayFigures) -> dict[str, str]:
    read = files("al_platform.reports").joinpath
    style = "".join(read(f"templates/{name}.css").read_text(encoding="utf-8") for name in ("report", "replay_report"))
    drawn = (replay_drawings.traffic, replay_drawings.in_use, replay_drawings.learning, replay_drawings.against_random)
    charts = (draw(figures) for draw in drawn)
    return {chart.title: f"<style>{style}</style>{chart.svg}" for chart in charts if chart is not None}
