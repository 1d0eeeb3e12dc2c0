"""A replay's figures in a terminal."""

from rich.console import Console
from rich.table import Table

from al_platform.domain.replay.figures import ReplayFigures, SettingFigures
from al_platform.domain.replay.paired import Mean
from al_platform.domain.replay.plan import Setting


def print_figures(figures: ReplayFigures, console: Console) -> None:
    """Print the conclusions, and one line a setting."""
    for line in figures.conclusions:
        console.print(line, highlight=False)
    table = Table(
        title=f"{figures.family}: {len(figures.cycles) - 1} months, {figures.seeds} seed{'s' * (figures.seeds > 1)}",
        title_justify="left",
    )
    names = ("strategy", "macro-F1 in use", "newest model", "against random", "labels", "labels to target", "promoted")
    for name in names:
        table.add_column(name)
    for found in figures.settings:
        table.add_row(*_row(found))
    console.print(table)
    time = figures.time
    console.print(
        f"Simulated annotators, archive's truth. {time.cpu_s:,.0f} s of processor, of which the stages' own nodes took "
        f"{time.stages_cpu_s:,.0f} (the rest adds {time.overhead:.0%}).",
        highlight=False,
    )


def title(setting: Setting) -> str:
    """Return what a setting is called."""
    budget = "" if setting.budget is None else f", {setting.budget} a month"
    cadence = "" if setting.cadence == 3 else f", trained every {setting.cadence} months"  # noqa: PLR2004
    return f"{setting.strategy}{budget}{cadence}"


def _row(found: SettingFigures) -> tuple[str, ...]:
    gate, target = found.gate, found.target
    return (
        title(found.setting),
        told(found.in_use),
        told(found.newest),
        told(found.against_random, signed=True),
        f"{found.labels:,.0f}",
        f"{target.labels.value:,.0f} in {target.reached} of {target.of}" if target.labels else f"0 of {target.of}",
        f"{gate.promoted + gate.by_duel} of {gate.trainings}",
    )


def told(mean: Mean | None, signed: bool = False) -> str:
    """Return a mean with its interval; a dash where there is none."""
    if mean is None:
        return "-"
    sign = "+" if signed else ""
    interval = "" if mean.low is None or mean.high is None else f" [{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]"
    return f"{mean.value:{sign}.3f}{interval}"
