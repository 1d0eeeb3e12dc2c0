"""Where every family stands: read from the reports that stages committed, as a table or as JSON."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from al_platform.catalog.champion import champion_log
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import MONTHS_PER_QUARTER, months_between, shift_cycle
from al_platform.domain.rounds import progress_of
from al_platform.growth import Growth, growth_of, texts
from al_platform.stages import STAGE, STAGES, Stage
from al_platform.storage.commit_log import StageKey, committed_cycles, head
from al_platform.storage.store import Store
from al_platform.stores import Stores

MONTHLY = tuple(stage for stage in STAGES if stage.cadence == "monthly")
Status = dict[str, dict[str, Any]]
SETS = ("train", "validation", "golden", "audit")
PROSE = ("reason", "loosened", "promoted_in")


def read_status(loader: FamilyConfigLoader, cycle: str | None = None) -> Status:
    """Return the state of every family.

    Monthly figures are those of ``cycle``, by default the newest with any commit; the verdict and its figures are those
    of the newest evaluation up to that cycle. What has not run is None.
    """
    return {
        "families": {family: _family_status(loader, family, cycle) for family in loader.families},
        "environment": {"env": loader.env},
    }


def public_status(status: Status) -> Status:
    """Return the state of every family as ``kedro al status --json`` prints it: the four sets, and no prose."""
    shown = {name: _public_family(family) for name, family in status["families"].items()}
    return {"families": shown}


def _public_family(family: dict[str, Any]) -> dict[str, Any]:
    splits = family["splits"]
    kept = {name: value for name, value in family.items() if name not in PROSE}
    return {**kept, "splits": {name: splits[name] for name in SETS} if splits else None}


def _family_status(loader: FamilyConfigLoader, family: str, cycle: str | None) -> dict[str, Any]:
    stores = Stores.of_environment(loader)
    cycles = {stage.name: committed_cycles(stores.of_stage(stage.name), family, stage.name) for stage in STAGES}
    shown = cycle or max((found for stage in MONTHLY for found in cycles[stage.name]), default=None)
    month = {stage.name: _report(stores.of_stage(stage.name), family, shown, stage) for stage in MONTHLY}
    evaluated = _newest(cycles["evaluation"], shown)
    evaluation = _report(stores.of_stage("evaluation"), family, evaluated, STAGE["evaluation"])
    champions = champion_log(stores.by_class["champion"], family)
    return {
        "cycle": shown,
        "pool": month["scoring"].get("pool"),
        "candidates": month["selection"].get("candidates"),
        "batch": month["selection"].get("batch"),
        "annotated": month["annotation_ingest"].get("annotated"),
        "pending": month["annotation_ingest"].get("pending"),
        "agreement": month["annotation_ingest"].get("agreement"),
        "simulated": month["annotation_ingest"].get("simulated"),
        "rounds": _rounds(loader, family, month["annotation_ingest"].get("rounds")),
        "annotators": month["annotation_ingest"].get("annotators"),
        "relabelled": month["annotation_ingest"].get("relabelled"),
        "splits": month["preparation"].get("splits"),
        "evaluated": evaluated,
        "metrics": evaluation.get("metrics"),
        "verdict": evaluation.get("verdict"),
        "reason": evaluation.get("reason"),
        "loosened": evaluation.get("loosened"),
        "promoted_in": _newest(cycles["promotion"], shown),
        "champion": champions[-1].model_digest if champions else None,
        "growth": asdict(growth_of(loader, family, shown)) if shown else None,
    }


def _rounds(loader: FamilyConfigLoader, family: str, counted: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return every round with where it stands now."""
    if counted is None:
        return None
    options, now = loader["parameters"][family]["annotation"], datetime.now(UTC)
    progress = {
        cycle: progress_of(cycle, found, options["due_days"], options["close_days"], now)
        for cycle, found in counted.items()
    }
    return {
        cycle: {
            **counted[cycle],
            "state": found.state,
            "due": found.due.isoformat(),
            "finish": found.finish.isoformat() if found.finish else None,
        }
        for cycle, found in progress.items()
    }


def _newest(cycles: list[str], cycle: str | None) -> str | None:
    return max((found for found in cycles if cycle is None or found <= cycle), default=None)


def _report(store: Store, family: str, cycle: str | None, stage: Stage) -> dict[str, Any]:
    manifest = head(store, StageKey(family, cycle, stage.name)) if cycle else None
    if manifest is None:
        return {}
    report: dict[str, Any] = read_output(store, manifest.outputs[stage.report], format_named("json"))
    return report


def print_status(status: Status, console: Console | None = None) -> None:
    """Print one column a family, and what to type next."""
    console = console or Console()
    families = status["families"]
    table = Table(title="Where every family stands", title_justify="left")
    table.add_column("")
    for name in families:
        table.add_column(name, overflow="fold")
    for row in zip(*(_rows(family) for family in families.values()), strict=True):
        table.add_row(row[0][0], *(text for _, text in row))
    console.print(table)
    if any(family["simulated"] for family in families.values()):
        console.print("Annotators are simulated: a program answered, from known or computed truth. No person did.")
    for name, family in families.items():
        if family["reason"]:
            console.print(f"{name}: {family['reason']}", highlight=False)
        if family["loosened"]:
            console.print(f"{name}: looser than production: {'; '.join(family['loosened'])}.", highlight=False)
    console.print(f"Next: [bold]{next_command(status)}[/bold]", highlight=False, soft_wrap=True)


def _rows(family: dict[str, Any]) -> list[tuple[str, str]]:
    batch, splits = family["batch"], family["splits"]
    reasons = [f"{count} {reason}" for reason, count in batch["by_reason"].items()] if batch else []
    agreement = family["agreement"]
    return [
        ("cycle", family["cycle"] or "-"),
        ("pages in the pool", _number(family["pool"])),
        ("candidates", _number(family["candidates"])),
        ("batch to annotate", "\n".join([_number(batch["total"] if batch else None), *reasons])),
        ("annotated", _number(family["annotated"]) + (f" ({family['pending']} open)" if family["pending"] else "")),
        ("rounds", "\n".join(_round(cycle, found) for cycle, found in _unfinished(family["rounds"])) or "-"),
        ("answers (right)", "\n".join(_annotator(*each) for each in (family["annotators"] or {}).items()) or "-"),
        ("agreement (alpha)", "-" if agreement is None else f"{agreement:.2f}"),
        ("labels in doubt", _relabelled(family["relabelled"])),
        ("labelled pages by set", "\n".join(f"{splits[name]} {name}" for name in SETS) if splits else "-"),
        ("evaluated in", family["evaluated"] or "-"),
        ("challenger's macro-F1", _metric(family["metrics"])),
        ("verdict", family["verdict"] or "-"),
        ("champion", (family["champion"] or "none")[:12]),
        ("this cycle took", "\n".join(texts(Growth(**family["growth"]))[::3]) if family["growth"] else "-"),
    ]


def _unfinished(rounds: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the rounds that are not closed, and the newest."""
    newest = max(rounds, default=None) if rounds else None
    return [each for each in (rounds or {}).items() if each[1]["state"] != "closed" or each[0] == newest]


def _round(cycle: str, found: dict[str, Any]) -> str:
    end = f", done about {found['finish'][:10]}" if found["finish"] else ""
    due = f", due {found['due'][:10]}{end}" if found["state"] != "closed" else ""
    return f"{cycle}: {found['complete']} of {found['pages']} pages, {found['state']}{due}"


def _annotator(name: str, found: dict[str, Any]) -> str:
    told = [f"{found['quality']:.0%}"] if found["quality"] is not None else []
    told += [f"{found['checks_right']}/{found['checks']} known"] if found["checks"] else []
    return f"{name}: {found['answers']}" + (f" ({', '.join(told)})" if told else "")


def _relabelled(found: dict[str, int] | None) -> str:
    return f"{found['asked']} asked, {found['fixed']} fixed" if found and found["asked"] else "-"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _metric(metrics: dict[str, Any] | None) -> str:
    if not metrics or metrics["macro_f1"]["value"] is None:
        return "-"
    figure = metrics["macro_f1"]
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]\n{figure['n']} pages, {figure['set']}"


def next_command(status: Status) -> str:
    """Return the command that moves the loop on from here."""
    families = status["families"].values()
    cycle = max((family["cycle"] for family in families if family["cycle"]), default=None)
    if cycle is None:
        return _command("monthly", None, status)
    if any(family["splits"] is None for family in families):
        return _command("monthly", cycle, status)
    if any(_is_quarterly_due(_decided_in(family), cycle) for family in families):
        return _command("quarterly", cycle, status)
    return _command("monthly", shift_cycle(cycle, 1), status)


def _command(pipeline: str, cycle: str | None, status: Status) -> str:
    env = status["environment"]["env"]
    parts = [
        f"kedro run --pipelines={pipeline}",
        f"--params cycle={cycle}" if cycle else "",
        f"--env {env}" if env else "",
    ]
    return " ".join(part for part in parts if part)


def _decided_in(family: dict[str, Any]) -> str | None:
    """Return the cycle of the last quarter that came to its end; a scheduler leaves promotion out where none is due."""
    is_over = family["verdict"] in ("iterate", "reject")
    decided: str | None = family["evaluated"] if is_over else family["promoted_in"]
    return decided


def _is_quarterly_due(decided: str | None, cycle: str) -> bool:
    return decided is None or months_between(decided, cycle) >= MONTHS_PER_QUARTER
