"""Tells a tracker what it has not been told: in the order of commits, each once, from wherever the last try stopped.

What was committed is the record; what the tracker has taken is a file each below ``tracking/<target>/`` of the logs. A
kill between the two publishes a run again under the same id, which changes nothing.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from al_platform.catalog.champion import ChampionEntry, champion_log
from al_platform.catalog.training_logger import FIT, unsent_fits
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import StoreError, TrackerError
from al_platform.domain.replay.figures import ReplayFigures
from al_platform.progress import progress
from al_platform.publishing.replays import REPLAY, finished_replays, replay_run
from al_platform.publishing.runs import BY_HAND, StageRuns
from al_platform.records.run_index import RunIndex, index_folder
from al_platform.storage.commit_log import Entry, StageKey, read_manifest, to_json
from al_platform.storage.run_record import is_at_work
from al_platform.stores import Stores
from al_platform.tracking.options import TrackingOptions
from al_platform.tracking.registry import open_tracker
from al_platform.tracking.sender import Sender
from al_platform.tracking.tracked_run import TrackedRun, tracker_id

_JSON = ("figures", "inputs", "outputs", "parameters")
_FIT_FILES = ".wandb"
_PATIENCE = timedelta(hours=24)  # of a run on another machine, without a sign of life


@dataclass
class Synced:
    """What a call came to.

    Attributes:
        sent: Runs that the tracker took now.
        left: Runs that it has not taken yet.
        problem: Why it stopped; None where nothing is left.
        skipped: Runs that cannot be told of, by the reason.
    """

    sent: int = 0
    left: int = 0
    problem: str | None = None
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pending:
    """A commit, an entry made by hand or a replay, that the tracker does not know yet."""

    id: str
    mark: str
    at: str
    family: str
    row: Mapping[str, Any] | None = None
    entry: ChampionEntry | None = None
    replay: ReplayFigures | None = None


class Sync:
    """Brings one tracker up to date with one environment."""

    def __init__(self, loader: FamilyConfigLoader, options: TrackingOptions, into: Path | None = None):
        """Prepare; nothing is read yet.

        Args:
            loader: Of the environment.
            options: Which tracker.
            into: See ``registry.open_tracker``.
        """
        self._options = options
        self._stores = Stores.of_environment(loader)
        self._logs = self._stores.by_class["logs"]
        self._families = loader.families
        self._runs = StageRuns(self._stores, loader.validated_globals.experiment, with_pages=options.log_page_text)
        self._arguments = (options, loader.project, into)
        self._folder = f"tracking/{open_tracker(*self._arguments).target}"
        self._deadline: float | None = None

    def run(self, within_s: float | None = None) -> Synced:
        """Send what is pending, until all is sent, the tracker refuses, or the time is over.

        Raises:
            StoreError: The index of runs cannot be read, or what was sent cannot be recorded.
        """
        self._deadline = None if within_s is None else time.monotonic() + within_s
        found = Synced()
        if self._options.backend == "none":
            return found
        marks = set(self._logs.list(self._folder))
        pending, fits = self._pending(marks), self._pending_fits(marks)
        found.left = len(pending) + len(fits)
        with Sender(*self._arguments) as sender:
            try:
                self._send_fits(sender, fits, found)
                self._publish(sender, pending, found)
            except TrackerError as error:
                found.problem = str(error)
        return found

    def _publish(self, sender: Sender, pending: Sequence[_Pending], found: Synced) -> None:
        waves = list(_waves(pending))
        for wave in _shown(waves):
            told = {each.id: each for each in wave}
            runs = [run for each in wave if (run := self._told(each, found)) is not None]
            if not runs:
                continue
            for run_id in sender.publish(runs, self._seconds_left()):
                self._mark(told[run_id].mark, run_id)
                found.sent += 1
                found.left -= 1

    def _told(self, pending: _Pending, found: Synced) -> TrackedRun | None:
        if pending.entry is not None:
            return self._runs.by_hand(pending.entry)
        if pending.replay is not None:
            return replay_run(pending.replay)
        assert pending.row is not None
        row = {**pending.row, **{name: json.loads(pending.row[name]) for name in _JSON}}
        key = StageKey(row["family"], row["cycle"], row["stage"])
        store = self._stores.of_stage(key.stage)
        try:
            entry = Entry.model_validate_json(store.read(f"{key.prefix}/log/{row['number']:06d}.json"))
            return self._runs.of_commit(row, read_manifest(store, entry))
        except (StoreError, FileNotFoundError) as error:
            # One damaged output must not keep all later runs away; 'kedro al doctor' looks after it.
            found.skipped[f"{key.prefix} ({row['number']})"] = str(error)
            return None

    def _send_fits(self, sender: Sender, fits: Mapping[str, Path], found: Synced) -> None:
        for mark, file in fits.items():
            sender.send_fit(file, self._seconds_left())
            self._mark(mark, file.stem)
            found.sent += 1
            found.left -= 1

    def _seconds_left(self) -> float | None:
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TrackerError("The time that a run waits for its tracker is over (tracking.after_run_s).")
        return left

    def _mark(self, mark: str, run_id: str) -> None:
        sent = {"id": run_id, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        with suppress(FileExistsError):
            self._logs.create(mark, to_json(sent))

    def _pending(self, marks: set[str]) -> list[_Pending]:
        table = RunIndex(self._stores, index_folder()).refresh()
        committed = (self._of_row(row) for row in table.to_pylist())
        by_hand = (self._of_entry(entry) for entry in self._entries_by_hand())
        replays = (self._of_replay(replay) for replay in finished_replays(self._logs))
        unknown = [each for each in (*committed, *by_hand, *replays) if each.mark not in marks]
        return sorted(unknown, key=lambda each: each.at)

    def _of_row(self, row: Mapping[str, Any]) -> _Pending:
        family, cycle, stage = row["family"], row["cycle"], row["stage"]
        mark = f"{self._folder}/{family}/{cycle}/{stage}/{row['number']:06d}.json"
        return _Pending(tracker_id(family, cycle, stage, row["run_id"]), mark, row["committed_at"], family, row=row)

    def _of_entry(self, entry: ChampionEntry) -> _Pending:
        mark = f"{self._folder}/{entry.family}/{entry.cycle}/{BY_HAND}/{entry.number:06d}.json"
        return _Pending(self._runs.by_hand(entry).id, mark, entry.at, entry.family, entry=entry)

    def _of_replay(self, figures: ReplayFigures) -> _Pending:
        run = replay_run(figures)
        mark = f"{self._folder}/{REPLAY}/{figures.name}/{run.id}.json"
        return _Pending(run.id, mark, run.ended_at, run.group, replay=figures)

    def _entries_by_hand(self) -> Iterator[ChampionEntry]:
        for family in self._families:
            yield from (e for e in champion_log(self._stores.by_class["champion"], family) if e.kind != "gate")

    def _pending_fits(self, marks: set[str]) -> dict[str, Path]:
        """Return what trainings left behind, by the mark that says that it was sent, oldest first."""
        if self._options.backend != "wandb":
            return {}
        kept = [path for path in self._logs.list("runs") if f"/{FIT}/" in path]
        found = {self._fit_mark(path.rpartition("/")[2]): self._logs.local(path) for path in kept}
        # What a training that was killed left, or one whose store was full.
        for folder in _subfolders(unsent_fits(self._logs.root)):
            if not is_at_work(self._logs, folder.name, _PATIENCE):
                for file in folder.glob(f"*/wandb/offline-run-*/*{_FIT_FILES}"):
                    found.setdefault(self._fit_mark(file.name), file)
        return {mark: file for mark, file in found.items() if mark not in marks}

    def _fit_mark(self, name: str) -> str:
        return f"{self._folder}/{FIT}/{name}.json"


def _subfolders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _waves(pending: Iterable[_Pending]) -> Iterator[list[_Pending]]:
    """Yield runs that need none of each other, in order: at most one of each family."""
    wave: list[_Pending] = []
    for each in pending:
        if any(each.family == other.family for other in wave):
            yield wave
            wave = []
        wave.append(each)
    if wave:
        yield wave


def _shown(waves: Sequence[list[_Pending]]) -> Iterator[list[_Pending]]:
    return progress(iter(waves), total=len(waves), what="telling the tracker")
