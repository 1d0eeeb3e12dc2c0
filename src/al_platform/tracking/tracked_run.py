"""A stage run as a tracker takes it: plain data, the same for equal commits."""

from hashlib import sha256
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Cell: TypeAlias = str | float | int | bool | None
_ID_CHARS = 24


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrackedTable(_Record):
    """A table: each row has a cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


class TrackedArtifact(_Record):
    """A data set or model: where it lies and what it hashes to. Its bytes stay in the store.

    Attributes:
        name: One name for all versions, such as ``topics-model``.
        kind: What it is.
        sha256: Digest of its content, which names the version.
        uri: Where it lies.
        size: In bytes; None where it is not known.
        metadata: What else is known of it.
        aliases: Names of this version, such as ``champion``; a tracker takes them from the version that had them.
    """

    name: str
    kind: Literal["dataset", "model"]
    sha256: str
    uri: str
    size: int | None = None
    metadata: dict[str, Cell] = Field(default_factory=dict)
    aliases: tuple[str, ...] = ()


class TrackedRun(_Record):
    """One committed run of a stage.

    Attributes:
        id: The same for the same commit, wherever and whenever it is published; see :func:`tracker_id`.
        name: For people.
        group: Runs that belong together: a family in a cycle.
        job_type: The stage.
        tags: To filter by.
        started_at: ISO 8601, UTC.
        ended_at: ISO 8601, UTC.
        config: Parameters, inputs with their digests, code revision, environment.
        summary: Figures by dotted name.
        history: A row per epoch of a training.
        tables: By name.
        plots: Drawings by name, each a small HTML document.
        uses: What it read.
        makes: What it wrote, or gave another alias.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    started_at: str
    ended_at: str
    config: dict[str, Any] = Field(default_factory=dict)
    summary: dict[str, Cell] = Field(default_factory=dict)
    history: tuple[dict[str, float], ...] = ()
    tables: dict[str, TrackedTable] = Field(default_factory=dict)
    plots: dict[str, str] = Field(default_factory=dict)
    uses: tuple[TrackedArtifact, ...] = ()
    makes: tuple[TrackedArtifact, ...] = ()


class FitHeader(_Record):
    """What a training says of itself before it begins; its curves follow while it runs."""

    id: str
    name: str
    group: str
    job_type: str = "fit"
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)


def tracker_id(*parts: str) -> str:
    """Return an id that any tracker takes, the same for the same parts."""
    return sha256("/".join(parts).encode()).hexdigest()[:_ID_CHARS]


def group_name(family: str, cycle: str, experiment: str | None) -> str:
    """Return the group of all runs of a family in a cycle."""
    return f"{family} {cycle}" if experiment is None else f"{experiment}: {family} {cycle}"
