"""An index of every committed stage run, on this machine; what it holds never changes in the store.

It is made once from all logs, and from then on grows by what the audit log announces. A store that was begun anew, or
whose audit log lost lines, makes it anew.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from al_platform.growth import wall_s
from al_platform.progress import progress
from al_platform.stages import STAGE, STAGES, DataClass
from al_platform.storage.audit_log import AuditLine, first_line_id, last_lines, lines_after
from al_platform.storage.commit_log import Entry, Manifest, read_manifest, to_json
from al_platform.storage.store import Store
from al_platform.stores import CLASSES, Stores

# Raise it when a row comes out otherwise than before: the index is then made anew.
_VERSION = 1
_PARALLEL_READS = 8
_TABLE, _STATE = "runs.parquet", "state.json"
_DEPTH = 5  # family/cycle/stage/log/entry
_PATIENCE = timedelta(days=1)
_AT_WORK_LINES = 100  # newest lines, of which some may announce what their runs have yet to create
# Small outputs, beside a stage's report, that name a model.
_MORE = {"training": ("challenger",), "evaluation": ("verdict",)}

Figure: TypeAlias = str | float | int
_Row: TypeAlias = dict[str, Any]


class _Logged(NamedTuple):
    """Where an entry of a stage's log lies."""

    data_class: DataClass
    path: str


RUNS = pa.schema(
    [
        pa.field("family", pa.string(), nullable=False),
        pa.field("cycle", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("committed_at", pa.string(), nullable=False),
        pa.field("wall_s", pa.float64(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("code_revision", pa.string()),
        pa.field("dataset", pa.string()),
        pa.field("model", pa.string()),
        pa.field("figures", pa.string(), nullable=False),
        pa.field("inputs", pa.string(), nullable=False),
        pa.field("outputs", pa.string(), nullable=False),
        pa.field("parameters", pa.string(), nullable=False),
    ]
)
"""One committed run of a stage.

``number`` is its place in the stage's log, of which the highest counts; ``dataset`` and ``model`` are digests of what
it made or used. JSON objects: ``figures``, ``inputs`` and ``outputs`` (digests by name), ``parameters``.
"""


class _State(BaseModel):
    """How far an index reaches.

    Attributes:
        version: Of the rules that made it.
        first: Id of the audit log's first line: another one is another store.
        newest: Number of the newest line that was taken in.
        awaited: Lines whose commit was not there yet; the run may be at work.
    """

    model_config = ConfigDict(extra="forbid")

    version: int
    first: str | None
    newest: int
    awaited: list[AuditLine] = []


def index_folder() -> Path:
    """Return where this user's indexes lie."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "al-platform" / "runs"


class RunIndex:
    """Every committed run of an environment's stages, as ``RUNS``."""

    def __init__(self, stores: Stores, cache: Path):
        """Open the index.

        Args:
            stores: Of the environment.
            cache: Folder of all indexes; this one's is named by the roots of the stores.
        """
        roots = {name: store.root for name, store in stores.by_class.items()}
        self._folder = cache / sha256(json.dumps(roots, sort_keys=True).encode()).hexdigest()[:16]
        self._stores = stores

    def refresh(self) -> pa.Table:
        """Return every committed run, oldest first, after taking in what is new.

        Raises:
            StoreError: A line of the audit log, or a manifest, was changed.
        """
        held = self._held()
        if held is None:
            return self._made_anew()
        table, state = held
        lines = lines_after(self._logs, state.newest)
        if not lines and not state.awaited:
            return table
        commits = [*state.awaited, *(line for line in lines if line.action == "commit")]
        rows = dict(zip((line.id for line in commits), self._rows(map(_announced, commits)), strict=True))
        awaited = [line for line in commits if rows[line.id] is None and _is_recent(line)]
        newest = lines[-1].number if lines else state.newest
        found = [row for row in rows.values() if row is not None]
        return self._keep([*table.to_pylist(), *found], state.model_copy(update={"newest": newest, "awaited": awaited}))

    @property
    def _logs(self) -> Store:
        return self._stores.by_class["logs"]

    def _held(self) -> tuple[pa.Table, _State] | None:
        """Return what was kept, where it is of this store and these rules."""
        try:
            state = _State.model_validate_json((self._folder / _STATE).read_bytes())
            table = pq.read_table(self._folder / _TABLE)
        except (OSError, ValidationError, pa.ArrowInvalid):
            return None
        is_ours = state.version == _VERSION and state.first is not None and state.first == first_line_id(self._logs)
        return (table, state) if is_ours and table.schema.equals(RUNS) else None

    def _made_anew(self) -> pa.Table:
        # In this order: a line that comes meanwhile is taken in next time, and its commit counts once.
        lines, first = last_lines(self._logs, _AT_WORK_LINES), first_line_id(self._logs)
        logged = [each for name, store in self._stores.by_class.items() for each in _all_logged(name, store)]
        rows = [row for row in self._rows(logged) if row is not None]
        commits = [line for line in lines if line.action == "commit" and _is_recent(line)]
        awaited = [line for line in commits if _announced(line) not in logged]
        newest = lines[-1].number if lines else 0
        return self._keep(rows, _State(version=_VERSION, first=first, newest=newest, awaited=awaited))

    def _keep(self, rows: list[_Row], state: _State) -> pa.Table:
        distinct = {(row["family"], row["stage"], row["cycle"], row["number"]): row for row in rows}
        ordered = sorted(distinct.values(), key=lambda row: (row["committed_at"], row["run_id"], row["stage"]))
        table = pa.Table.from_pylist(ordered, RUNS)
        self._folder.mkdir(parents=True, exist_ok=True)
        # The table first: a state that reaches further than its table would lose runs.
        with _replaced(self._folder / _TABLE) as file:
            pq.write_table(table, file, compression="zstd")
        with _replaced(self._folder / _STATE) as file:
            file.write_bytes(to_json(state))
        return table

    def _rows(self, logged: Iterable[_Logged]) -> list[_Row | None]:
        """Return the row of each entry, None where it is not there; many small reads wait for the network together."""
        wanted = list(logged)
        with ThreadPoolExecutor(_PARALLEL_READS) as pool:
            read = ([row] for row in pool.map(self._row, wanted))
            return [row for chunk in progress(read, total=len(wanted), what="reading runs") for row in chunk]

    def _row(self, logged: _Logged) -> _Row | None:
        store = self._stores.by_class[logged.data_class]
        try:
            entry = Entry.model_validate_json(store.read(logged.path))
        except FileNotFoundError:
            return None
        manifest = read_manifest(store, entry)
        told = {name: _told(store, manifest, name) for name in _told_by(manifest.stage)}
        return {
            "family": manifest.family,
            "cycle": manifest.cycle,
            "stage": manifest.stage,
            "number": entry.number,
            "run_id": entry.run_id,
            "committed_at": entry.committed_at,
            "wall_s": wall_s(manifest),
            "size_bytes": sum(output.size for output in manifest.outputs.values()),
            "code_revision": manifest.code_revision,
            "dataset": _dataset(manifest),
            "model": _model(manifest, told),
            "figures": json.dumps(_flat(told[STAGE[manifest.stage].report]), ensure_ascii=False),
            "inputs": json.dumps({name: read.sha256 for name, read in manifest.inputs.items()}),
            "outputs": json.dumps({name: output.sha256 for name, output in manifest.outputs.items()}),
            "parameters": json.dumps(manifest.parameters, ensure_ascii=False),
        }


def _announced(line: AuditLine) -> _Logged:
    data_class = next(name for name in CLASSES if name == line.subject["data_class"])
    return _Logged(data_class, str(line.subject["entry"]))


def _all_logged(data_class: DataClass, store: Store) -> Iterator[_Logged]:
    stages = {stage.name for stage in STAGES if stage.data_class == data_class}
    for path in store.list("") if stages else ():
        parts = path.split("/")
        if len(parts) == _DEPTH and parts[2] in stages and parts[3] == "log":
            yield _Logged(data_class, path)


def _is_recent(line: AuditLine) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(line.at) < _PATIENCE


def _told_by(stage: str) -> tuple[str, ...]:
    return (STAGE[stage].report, *_MORE.get(stage, ()))


def _told(store: Store, manifest: Manifest, name: str) -> dict[str, Any]:
    output = manifest.outputs.get(name)
    found: dict[str, Any] = json.loads(store.read(output.path)) if output else {}
    return found


def _dataset(manifest: Manifest) -> str | None:
    if "dataset" in manifest.outputs:
        return manifest.outputs["dataset"].sha256
    read = manifest.inputs.get(f"{manifest.family}.dataset")
    return read.sha256 if read else None


def _model(manifest: Manifest, told: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the model that a run trained, evaluated or promoted, or that scored."""
    if manifest.stage == "scoring":
        return next(iter(told["scoring_report"].get("model_digests", [])), None)
    named = {"training": ("challenger", "model_digest"), "evaluation": ("verdict", "challenger_digest")}
    output, key = named.get(manifest.stage, ("promotion_report", "champion"))
    digest: str | None = told.get(output, {}).get(key)
    return digest


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Figure]:
    """Return the leaves by their dotted names; lists are left out."""
    found: dict[str, Figure] = {}
    for name, part in value.items():
        if isinstance(part, Mapping):
            found |= _flat(part, f"{prefix}{name}.")
        elif isinstance(part, str | float | int):
            found[f"{prefix}{name}"] = part
    return found


@contextmanager
def _replaced(file: Path) -> Iterator[Path]:
    """Yield where to write what then takes the file's place at once: two commands may run side by side."""
    temporary = file.with_name(f"{file.name}.{uuid4().hex}")
    yield temporary
    temporary.replace(file)
