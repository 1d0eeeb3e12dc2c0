"""What a lineage consists of: things that a model came from, their files, and how one came from another."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from al_platform.stages import DataClass

State = Literal["intact", "erased", "unrecorded", "altered", "missing"]
"""``erased``: changed by an erasure alone. ``unrecorded``: nothing tells what it should hash to."""

DAMAGED: tuple[State, ...] = ("altered", "missing")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckedFile(_Record):
    """A file, what it should hash to (None where nothing tells), and whether it does."""

    data_class: DataClass
    path: str
    sha256: str | None
    state: State


class RunFacts(_Record):
    """The stage run that made something; ``log_entry`` is None where no log points to it."""

    run_id: str
    code_revision: str | None
    parameters_sha256: str
    started_at: str
    ended_at: str
    log_entry: int | None


class Node(_Record):
    """Something that a model came from, or the model itself.

    Attributes:
        id: A model's digest; otherwise the path of the manifest, of the sealed batch or of the folder.
        kind: ``model``, ``training``, ``dataset``, ``labels``, ``batch``, ``predictions``, ``champion``, ...
        title: For people.
        run: Who made it, where a stage did.
        files: What was looked at.
        facts: Further figures, by name.
    """

    id: str
    kind: str
    title: str
    run: RunFacts | None = None
    files: tuple[CheckedFile, ...] = ()
    facts: dict[str, str] = {}


class Edge(_Record):
    """``source`` came from ``target``, or was judged by it."""

    source: str
    target: str
    what: str


class Lineage(_Record):
    """Everything that a model came from.

    Attributes:
        nodes: The model first, then by distance from it; each once.
        edges: Between the nodes, by their ids.
        annotators: How many answers each gave, of those that the labels rest on.
    """

    family: str
    model_digest: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    annotators: dict[str, int]

    @property
    def damaged(self) -> list[CheckedFile]:
        """The files that are missing, or were changed by anything but an erasure."""
        return [file for node in self.nodes for file in node.files if file.state in DAMAGED]
