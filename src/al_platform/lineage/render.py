"""Lineage and uses of a page, printed for people."""

import re
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from al_platform.lineage.graph import DAMAGED, CheckedFile, Lineage, Node
from al_platform.lineage.uses import Use
from al_platform.storage.erasures import Tombstone

_SHORT = 12
# Names come from outside: no escape sequence of theirs may reach a terminal, nor a picture.
_CONTROL = re.compile(r"[^\t\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """Return text without control characters and lone surrogates."""
    return _CONTROL.sub("�", text)


def node_lines(node: Node) -> list[str]:
    """Return what is told of a node below its title."""
    lines = []
    if node.run:
        entry = f"commit {node.run.log_entry}" if node.run.log_entry else "not committed"
        lines.append(f"run {node.run.run_id}, {entry}, ended {node.run.ended_at[:19]}")
        revision = (node.run.code_revision or "unknown")[:_SHORT]
        lines.append(f"code {revision}, parameters {node.run.parameters_sha256[:_SHORT]}")
    lines += [f"{name}: {value}" for name, value in node.facts.items()]
    return [printable(line) for line in lines]


def file_line(file: CheckedFile) -> str:
    """Return a file's state, the beginning of its digest, and its name."""
    name, digest = file.path.rpartition("/")[2], file.sha256 or ""
    parts = (file.state.upper(), digest[:_SHORT], "" if name == digest else name)
    return printable(" ".join(part for part in parts if part))


def print_lineage(lineage: Lineage, console: Console | None = None) -> None:
    """Print what a model came from as a tree; a thing that several came from is shown once, nearest to the model."""
    console = console or Console()
    nodes = {node.id: node for node in lineage.nodes}
    branches = {lineage.model_digest: _fill(Tree(_title(nodes[lineage.model_digest])), nodes[lineage.model_digest])}
    for edge in lineage.edges:
        source, target = branches[edge.source], nodes[edge.target]
        if edge.target in branches:
            source.add(Text(f"{edge.what}: {printable(target.title)}, shown elsewhere", style="dim"))
        else:
            branches[edge.target] = _fill(source.add(_title(target)), target)
    console.print(branches[lineage.model_digest])
    counts = ", ".join(f"{name} {count}" for name, count in lineage.annotators.items())
    console.print(Text(printable(f"Annotators (answers): {counts or 'none'}")), soft_wrap=True)
    for file in lineage.damaged:
        console.print(Text(printable(f"{file.state.upper()}: {file.data_class} {file.path}"), style="bold red"))


def print_uses(uses: Iterable[Use], console: Console | None = None) -> None:
    """Print the places where a page was used, each with its path below it."""
    console = console or Console()
    for use in uses:
        where = " ".join(part for part in (use.family, use.cycle) if part) or "all families"
        detail = f": {use.detail}" if use.detail else ""
        console.print(Text(printable(f"{use.role}, {where}{detail}"), style="bold"), soft_wrap=True)
        console.print(Text(printable(f"    {use.root}/{use.path}"), style="dim"), soft_wrap=True)


def print_erasures(erasures: Iterable[Tombstone], console: Console | None = None) -> None:
    """Print when a page was erased, by whom and why."""
    console = console or Console()
    for erasure in erasures:
        told = f"erased {erasure.at} by {erasure.actor}, tombstone {erasure.number}: {erasure.reason}"
        console.print(Text(printable(told), style="bold"), soft_wrap=True)


def print_models(uses: Iterable[Use], console: Console | None = None) -> None:
    """Print the models that saw a page, and what to do about them."""
    console = console or Console()
    uses = list(uses)
    for use in uses:
        champion = f", {use.detail}" if use.detail else ""
        console.print(
            f"Model {use.path.rpartition('/')[2][:_SHORT]} of {use.family} {use.cycle}: {use.role} the page{champion}.",
            highlight=False,
        )
    if uses:
        console.print(
            "Models are never rewritten, and weights may remember what they were trained on. Retrain on the data that "
            "is left, or retire these models.",
            highlight=False,
            soft_wrap=True,
        )


def _title(node: Node) -> Text:
    is_damaged = any(file.state in DAMAGED for file in node.files)
    return Text(printable(node.title), style="bold red" if is_damaged else "bold")


def _fill(branch: Tree, node: Node) -> Tree:
    for line in node_lines(node):
        branch.add(Text(line, style="dim"))
    for file in node.files:
        branch.add(Text(file_line(file), style="bold red" if file.state in DAMAGED else ""))
    return branch
