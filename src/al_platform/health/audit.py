"""The audit log of an environment, for people: its last lines, and what a check of it found."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import StoreError
from al_platform.health.stores import TendedStores
from al_platform.storage.audit_check import Committed, Verification, unknown_to, verify
from al_platform.storage.audit_log import Anchor, AuditLine, anchor_quietly
from al_platform.storage.redaction import redact
from al_platform.stores import open_anchor, open_audit_log

NO_ANCHOR = "There is no anchor: rewriting of the whole chain cannot be noticed."


def verify_environment(loader: FamilyConfigLoader) -> Verification:
    """Return what is wrong with the audit log of the environment, compared with every log in its stores."""
    stores = TendedStores.of(loader)
    committed = list(stores.committed())
    found = verify(stores.by_class["logs"], open_anchor(loader), committed, stores.find)
    families = {entry.entry.partition("/")[0] for entry in committed if not entry.is_tombstone}
    return replace(found, notes=stores.beyond(families))


def adopt_commits(loader: FamilyConfigLoader, reason: str) -> list[Committed]:
    """Leave a line for each commit that is older than the audit log, and return them.

    Args:
        loader: The configuration of production.
        reason: Why they are vouched for. It is kept.

    Raises:
        StoreError: The log itself is not what it was: a line more would vouch for it.
    """
    stores = TendedStores.of(loader)
    logs, committed = stores.by_class["logs"], list(stores.committed())
    findings = verify(logs, open_anchor(loader), committed, stores.find).findings
    of_log = [found for found in findings if found.kind in _OF_THE_LOG]
    if of_log:
        raise StoreError(
            f"Asked to adopt commits into an audit log that is not sound: {of_log[0].path}: {of_log[0].detail}. "
            f"{of_log[0].remedy}"
        )
    audit, adopted = open_audit_log(loader), unknown_to(logs, committed)
    for entry in adopted:
        audit.record("adopt", {"reason": redact(reason), **asdict(entry)})
    anchor_quietly(audit)
    return adopted


_OF_THE_LOG = ("tampered", "missing", "rewritten")


def check_as_json(verification: Verification | None, anchored: Anchor | None) -> dict[str, Any]:
    """Return what a check found, if there was one, and what was anchored, as JSON for other programs."""
    found = {"is_sound": not verification.findings, **asdict(verification)} if verification else {}
    return {**found, "anchored": anchored.model_dump(mode="json") if anchored else None}


def print_adopted(adopted: Sequence[Committed], console: Console | None = None) -> None:
    """Print which commits have a line from now on."""
    console = console or Console()
    for entry in adopted:
        _print(console, f"adopted {entry.data_class}/{entry.entry}, SHA-256 {entry.entry_sha256[:12]}")
    _print(console, f"{len(adopted):,} commits were older than the audit log, and have a line now.")


def print_lines(lines: Sequence[AuditLine], console: Console | None = None) -> None:
    """Print one line each: number, time, who, what, and about what."""
    console = console or Console()
    for line in lines:
        subject = " ".join(f"{name}={_short(value)}" for name, value in line.subject.items() if value is not None)
        _print(console, f"{line.number:>6}  {line.at}  {line.actor}  {line.action}  {subject}")
    if not lines:
        _print(console, "The audit log is empty.")


def print_check(
    verification: Verification | None, anchored: Anchor | None, is_asked_to_anchor: bool, console: Console | None = None
) -> None:
    """Print the findings with what to do, a line that sums up, and what was anchored."""
    console = console or Console()
    for finding in verification.findings if verification else ():
        _print(console, f"{finding.kind} {finding.path}: {finding.detail}. {finding.remedy}")
    for path in verification.announced_only if verification else ():
        _print(console, f"announced only {path}: its run failed or was killed, or another one came first")
    for note in verification.notes if verification else ():
        _print(console, note)
    if verification:
        _print(console, _summary(verification))
    if is_asked_to_anchor:
        _print(console, _anchoring(verification, anchored))


def _anchoring(verification: Verification | None, anchored: Anchor | None) -> str:
    if anchored:
        return f"Line {anchored.number} is anchored with SHA-256 {anchored.sha256[:12]}."
    if verification and verification.findings:
        return "Nothing was anchored: an anchor would vouch for a log that is not sound."
    return "There is nothing new to anchor."


def _summary(verification: Verification) -> str:
    problems = f"{len(verification.findings)} findings" if verification.findings else "The audit log is sound"
    anchors = "" if verification.anchors is None else f"{verification.anchors:,} anchors, "
    counted = f"{verification.lines:,} lines, {anchors}{verification.commits:,} commits checked"
    announced = f", {len(verification.announced_only):,} announced only" if verification.announced_only else ""
    unanchored = "" if verification.anchors else f" {NO_ANCHOR}"
    return f"{problems}: {counted}{announced}.{unanchored}"


def _short(value: str | int) -> str:
    text = str(value)
    is_digest = len(text) == _DIGEST and set(text) <= set("0123456789abcdef")
    return text[:12] if is_digest else text


_DIGEST = 64


def _print(console: Console, line: str) -> None:
    # Paths and names may hold square brackets, which are no markup here.
    console.print(line, markup=False, highlight=False, soft_wrap=True)
