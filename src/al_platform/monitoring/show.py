"""What monitoring found, for people."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from al_platform.monitoring.findings import Findings

_PIPED_WIDTH = 120


def print_findings(found: Sequence[Findings], env: str | None, console: Console | None = None) -> None:
    """Print a table of features and months for each family, and what is proposed."""
    console = console or _console()
    for each in found:
        if each.drift or each.accuracy:
            console.print(_table(each))
        else:
            why = "no page could be compared" if each.trained_in else "there is no model yet"
            console.print(f"{each.family} {each.cycle}: {why}.", highlight=False)
        if each.proposes:
            params = f"--params cycle={each.cycle}" + (f" --env {env}" if env else "")
            console.print(f"Run the quarterly early: kedro run --pipelines=quarterly {params}", highlight=False)
        elif each.waits_because:
            console.print(f"A quarterly is not proposed yet: {each.waits_because}.", highlight=False)
        for reason in each.reasons:
            console.print(f"  because {escape(reason)}", highlight=False)
        for way in each.untold:
            console.print(f"  nobody was told by {way}: the next call tries again", highlight=False)


def _table(found: Findings) -> Table:
    against = f"against the training data of {found.trained_in}" if found.trained_in else "without a model yet"
    table = Table(title=f"{found.family} {found.cycle}, {against}", title_justify="left")
    for name in ("what", "figure", "moved most", "pages", ""):
        table.add_column(name, overflow="fold")
    for drift in found.drift:
        pages = f"{drift.n_before:,} / {drift.n_now:,}"
        verdict = "[bold red]drifted[/]" if drift.has_drifted else ""
        table.add_row(drift.feature, f"PSI {drift.psi:.3f}, p {drift.p:.2g}", escape(drift.largest), pages, verdict)
    for month in found.accuracy:
        seen = month.accuracy
        promised = f"gate: {month.promised:.3f}" if month.promised is not None else ""
        figure = f"{seen.value:.3f} [{seen.low:.3f}, {seen.high:.3f}]"
        table.add_row(f"accuracy {month.cycle}", escape(figure), promised, f"{seen.n:,}", "")
    return table


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_PIPED_WIDTH)
