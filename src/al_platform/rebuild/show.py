"""A comparison as text."""

from rich.console import Console
from rich.table import Table

from al_platform.rebuild.compare import HEADLINE
from al_platform.rebuild.comparison import Circumstance, Comparison, OutputComparison, Pair

_DIGITS = 12  # of a digest
_FIGURES = 10  # shown; --json has all


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print every stage's outputs, what differs in figures and circumstances, and the conclusion."""
    console.print(_outputs(comparison))
    differences = sorted(comparison.metrics.differences.items(), key=lambda item: not item[0].endswith(HEADLINE))
    for path, pair in differences[:_FIGURES]:
        console.print(_figure(path, pair), highlight=False, soft_wrap=True)
    if (left := len(differences) - _FIGURES) > 0:
        console.print(f"and {left} more figures: --json lists them.", highlight=False)
    for circumstance in comparison.circumstances:
        console.print(_circumstance(circumstance), highlight=False, soft_wrap=True)
    for statement in comparison.statements:
        console.print(statement, highlight=False, soft_wrap=True)


def _outputs(comparison: Comparison) -> Table:
    title = f"{comparison.family} {comparison.cycle}, model {comparison.model_digest[:_DIGITS]}"
    table = Table("stage", "output", "SHA-256", "rebuilt", title=title, title_justify="left", box=None)
    for stage, compared in comparison.stages.items():
        for index, (name, output) in enumerate(compared.outputs.items()):
            table.add_row(stage if index == 0 else "", name, output.recorded.sha256[:_DIGITS], _found(output))
    return table


def _found(output: OutputComparison) -> str:
    if output.rebuilt is None:
        return "taken as recorded"
    return output.status if output.status == "equal" else f"{output.status}: {output.rebuilt.sha256[:_DIGITS]}"


def _figure(path: str, pair: Pair) -> str:
    return f"{path}: {pair.recorded} in the record, {pair.found} now"


def _circumstance(found: Circumstance) -> str:
    recorded, here = found.recorded or "not recorded", found.here or "unknown"
    return f"{found.name}: {recorded} at {', '.join(found.stages)}, {here} here"
