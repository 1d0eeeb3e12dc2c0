"""One run's view of the store: what it staged is what it reads; the rest is what was committed."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from al_platform.domain.errors import CommitConflictError, StoreError
from al_platform.stages import class_of
from al_platform.storage.audit_log import AuditLog, commit_subject
from al_platform.storage.commit_log import Entry, Input, Manifest, Output, StageKey, commit, log_length
from al_platform.storage.redaction import redacted
from al_platform.storage.store import Store

LOG = logging.getLogger("al_platform")


@dataclass
class Attempt:
    """What a run has written and read so far for one stage.

    Attributes:
        store: Where the stage commits.
        base: Entries in the stage's log when the attempt began.
        started_at: ISO 8601, UTC.
        is_committed: Whether this run has committed it, or may have.
    """

    store: Store
    base: int
    started_at: str
    is_committed: bool = False
    outputs: dict[str, Output] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)


@dataclass
class Run:
    """The state of one Kedro run.

    Attributes:
        run_id: Unique to this run.
        code_revision: Git revision of the code.
        environment: Versions of Python and the main libraries, and the machine.
        audit: Gets a line for every commit and promotion, before it is made.
    """

    run_id: str
    code_revision: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    audit: AuditLog | None = None
    _attempts: dict[StageKey, Attempt] = field(default_factory=dict)
    _after_commit: dict[StageKey, list[Callable[[], None]]] = field(default_factory=dict)

    def attempt(self, key: StageKey, store: Store) -> Attempt:
        """Return this run's attempt at a stage, begun now if there is none yet."""
        if key not in self._attempts:
            self._attempts[key] = Attempt(store, log_length(store, key), _now())
        return self._attempts[key]

    def staged(self, key: StageKey, name: str) -> Output | None:
        """Return what this run wrote for ``name``, or None."""
        attempt = self._attempts.get(key)
        return attempt.outputs.get(name) if attempt else None

    def staged_outputs(self, key: StageKey) -> Mapping[str, Output]:
        """Return everything that this run wrote of a stage."""
        attempt = self._attempts.get(key)
        return attempt.outputs if attempt else {}

    def missing(self, key: StageKey, expected: Iterable[str]) -> list[str]:
        """Return the expected outputs that this run has not written."""
        attempt = self._attempts.get(key)
        return sorted(set(expected) - set(attempt.outputs if attempt else ()))

    def uncommitted(self) -> list[StageKey]:
        """Return the stages of which this run has written something that it has not committed."""
        return [key for key, attempt in self._attempts.items() if attempt.outputs and not attempt.is_committed]

    def after_commit(self, key: StageKey, action: Callable[[], None]) -> None:
        """Call ``action`` once this run has committed the stage."""
        self._after_commit.setdefault(key, []).append(action)

    def commit(self, key: StageKey, parameters: Mapping[str, Any]) -> Entry | None:
        """Commit this run's attempt at a stage; see ``commit_log.commit``."""
        attempt = self._attempts[key]
        manifest = Manifest(
            family=key.family,
            cycle=key.cycle,
            stage=key.stage,
            run_id=self.run_id,
            outputs=attempt.outputs,
            inputs=attempt.inputs,
            parameters=redacted(dict(parameters)),
            code_revision=self.code_revision,
            environment=dict(self.environment),
            started_at=attempt.started_at,
            ended_at=_now(),
        )
        # Where the store does not answer, the entry may be there: then nothing that it points to may be removed.
        attempt.is_committed = True
        try:
            entry = commit(attempt.store, manifest, attempt.base, self._announce)
        except CommitConflictError:
            attempt.is_committed = False
            raise
        if entry is None:
            # The attempt is gone, being equal to what was committed: from here on that is what is read.
            del self._attempts[key]
        for action in self._after_commit.pop(key, []):
            action()
        return entry

    def _announce(self, key: StageKey, entry: Entry) -> None:
        if self.audit:
            self.audit.record("commit", commit_subject(class_of(f"{key.prefix}/log"), key, entry))

    def discard(self, key: StageKey) -> None:
        """Forget and remove this run's attempt at a stage; where the store does not let us, it stays as a leftover."""
        attempt = self._attempts.pop(key, None)
        if attempt is None or attempt.is_committed:
            return
        try:
            attempt.store.remove(key.attempt(self.run_id))
        except StoreError as error:
            LOG.warning("%s stays until 'kedro al doctor --fix': %s", key.attempt(self.run_id), error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
