"""A server that answers what W&B's client asks when runs are uploaded, looked for and tied to artifacts.

It stands at the boundary of the protocol: the client, its Go process and the uploads are W&B's own, over HTTP. What it
answers was learnt from what the client asks and parses; nothing says that W&B's server does the same. It knows one
account and no rights, keeps what it is told in memory, and finds runs by equal config values alone.
"""

import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

ENTITY = "someone"
KEY = "a" * 40  # of no account
MOST_A_PAGE = 1_000  # runs
_AT = "2026-11-02T03:00:00Z"
_OPERATION = re.compile(r"(query|mutation)\s+(\w+)")
_ASKED_FOR = re.compile(r"config\.(.+)\.value")

_Variables: TypeAlias = Mapping[str, Any]


@dataclass
class StoredRun:
    """A run as the server has it."""

    id: str
    project: str
    number: int
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    job_type: str | None = None
    display_name: str | None = None
    tags: list[str] = field(default_factory=list)
    streams: dict[str, dict[int, str]] = field(default_factory=dict)
    is_finished: bool = False
    exit_code: int | None = None

    @property
    def state(self) -> str:
        """As W&B's server names it."""
        return "running" if not self.is_finished else "failed" if self.exit_code else "finished"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows that were logged; what is sent again to the same place is there once."""
        return [json.loads(line) for _, line in sorted(self.streams.get("wandb-history.jsonl", {}).items())]

    @property
    def summary(self) -> dict[str, Any]:
        """The summary."""
        lines = self.streams.get("wandb-summary.json", {})
        found: dict[str, Any] = json.loads(lines[max(lines)]) if lines else {}
        return found


@dataclass
class StoredArtifact:
    """A version of an artifact."""

    id: str
    collection: str
    kind: str
    version: int
    digest: str
    metadata: str | None
    run: str
    is_committed: bool = False


class WandbStandIn:
    """What the server knows, and its answers.

    Attributes:
        runs: By id.
        artifacts: By id.
        aliases: Id of the artifact by (collection, alias).
        uses: (run, artifact id) for each input that was told.
        begun: How often a run was told of, by its id.
        files: What was uploaded, by path.
        asked: How often each operation was.
        unknown: Operations that it has no answer for.
        before: Called with each operation before it is answered; may wait.
    """

    def __init__(self) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.artifacts: dict[str, StoredArtifact] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.uses: set[tuple[str, str]] = set()
        self.begun: list[str] = []
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.unknown: set[str] = set()
        self.before: Callable[[str], object] = lambda operation: None
        self.url = ""
        self._lock = threading.RLock()

    def read_by(self, run_id: str) -> set[tuple[str, str]]:
        """Return collection and digest in the metadata of the artifacts that a run is told to have read."""
        read = [self.artifacts[artifact] for run, artifact in self.uses if run == run_id]
        return {(each.collection, json.loads(each.metadata or "{}")["sha256"]) for each in read}

    def answer(self, query: str, variables: _Variables) -> dict[str, Any]:
        """Return the data of a GraphQL request."""
        found = _OPERATION.search(query)
        operation = found[2] if found else query
        self.before(operation)
        with self._lock:
            self.asked[operation] += 1
            method = getattr(self, f"_{operation}", None)
            if method is None:
                self.unknown.add(operation)
                return {}
            # A list of runs may be asked for without what is heavy.
            answered: dict[str, Any] = method({**variables, "is_lazy": "LightweightRunFragment" in query})
            return answered

    def take_stream(self, run_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take lines of history, summary and the like."""
        self.before("file_stream")
        with self._lock:
            self.asked["file_stream"] += 1
            run = self.runs[run_id]
            for name, chunk in body.get("files", {}).items():
                lines = run.streams.setdefault(name, {})
                lines.update(enumerate(chunk["content"], chunk["offset"]))
            run.is_finished = run.is_finished or body.get("complete", False)
            run.exit_code = body.get("exitcode", run.exit_code)
        return {}

    # Named as W&B's client names its operations.

    def _UpsertBucket(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(asked["name"])
        is_new = run is None
        if run is None:
            run = self.runs[asked["name"]] = StoredRun(asked["name"], asked["project"], len(self.runs) + 1)
        self.begun.append(run.id)
        run.config |= json.loads(asked.get("config") or "{}")
        run.group = asked.get("groupName") or run.group
        run.job_type = asked.get("jobType") or run.job_type
        run.display_name = asked.get("displayName") or run.display_name
        run.tags = asked.get("tags") or run.tags
        return {"upsertBucket": {"bucket": self._bucket(run), "inserted": is_new}}

    def _bucket(self, run: StoredRun) -> dict[str, Any]:
        return {
            "id": f"run-{run.id}",
            "name": run.id,
            "displayName": run.display_name,
            "description": None,
            "config": json.dumps(run.config),
            "sweepName": None,
            "historyLineCount": len(run.history),
            "project": {"id": "1", "name": run.project, "entity": {"id": "1", "name": ENTITY}},
        }

    def _ServerFeaturesQuery(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _GetDefaultEntity(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"viewer": {"id": "1", "entity": ENTITY}}

    def _Viewer(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {
            "viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "email": None, "flags": "{}", "teams": None}
        }

    def _RunResumeStatus(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(asked["name"])
        if run is None:
            return {"model": None}
        status = {
            **self._bucket(run),
            "summaryMetrics": json.dumps(run.summary),
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
            "eventsTail": "[]",
            "tags": run.tags,
            "notes": None,
            "wandbConfig": json.dumps({"t": run.config.get("_wandb", {}).get("value", {}).get("t")}),
        }
        return {"model": {"id": "1", "name": run.project, "entity": {"id": "1", "name": ENTITY}, "bucket": status}}

    def _Runs(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        if asked["project"] not in {run.project for run in self.runs.values()}:
            return {"project": None}
        conditions = list(_conditions(json.loads(asked.get("filters") or "{}")))
        runs = (run for run in self.runs.values() if run.project == asked["project"])
        found_runs = [run for run in runs if all(_holds(run, name, value) for name, value in conditions)]
        begin = int(asked.get("cursor") or 0)
        shown = found_runs[begin : begin + min(asked.get("perPage", 50), MOST_A_PAGE)]
        edges = [
            {"cursor": str(begin + at + 1), "node": self._node(run, asked["is_lazy"])} for at, run in enumerate(shown)
        ]
        page = {"endCursor": str(begin + len(shown)), "hasNextPage": begin + len(shown) < len(found_runs)}
        project = {"internalId": "1", "runCount": len(found_runs), "readOnly": False}
        return {"project": {**project, "runs": {"edges": edges, "pageInfo": page}}}

    def _Run(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        run = self.runs.get(asked["name"])
        return {"project": {"internalId": "1", "run": self._node(run, asked["is_lazy"]) if run else None}}

    def _node(self, run: StoredRun, is_lazy: bool) -> dict[str, Any]:
        heavy = {"systemMetrics": "{}", "summaryMetrics": json.dumps(run.summary), "historyKeys": None}
        light = {name: value for name, value in self._bucket(run).items() if name != "config"}
        return {
            **(light if is_lazy else {**self._bucket(run), **heavy}),
            "projectId": "1",
            "tags": run.tags,
            "state": run.state,
            "group": run.group,
            "jobType": run.job_type,
            "commit": None,
            "readOnly": False,
            "createdAt": _AT,
            "heartbeatAt": _AT,
            "notes": None,
            "user": {"name": ENTITY, "username": ENTITY},
        }

    def _CreateRunFiles(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        files = [{"name": name, "uploadUrl": self._upload_url(f"{asked['run']}/{name}")} for name in asked["files"]]
        return {"createRunFiles": {"runID": f"run-{asked['run']}", "uploadHeaders": [], "files": files}}

    def _MarkRunFilesUploaded(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"markRunFilesUploaded": {"success": True}}

    def _FetchArtifactDigestAlgorithm(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"project": None}

    def _XXHashDigestsEnabled(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _CreateArtifact(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        wanted = asked["input"]
        collection, digest = wanted["artifactCollectionName"], wanted["digest"]
        versions = [each for each in self.artifacts.values() if each.collection == collection]
        made = next((each for each in versions if each.digest == digest), None)
        if made is None:
            made = StoredArtifact(
                id=f"artifact-{len(self.artifacts) + 1}",
                collection=collection,
                kind=wanted["artifactTypeName"],
                version=len(versions),
                digest=digest,
                metadata=wanted["metadata"],
                run=wanted["runName"],
            )
            self.artifacts[made.id] = made
        for alias in [*(each["alias"] for each in wanted["aliases"] or ()), "latest"]:
            self.aliases[collection, alias] = made.id
        state = "COMMITTED" if made.is_committed else "PENDING"
        latest = {"latestArtifact": {"id": versions[-1].id} if versions else None}
        return {"createArtifact": {"artifact": {"id": made.id, "state": state, "artifactSequence": latest}}}

    def _CreateArtifactManifest(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"createArtifactManifest": {"artifactManifest": self._manifest(asked["artifactID"])}}

    def _UpdateArtifactManifest(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(asked["artifactManifestID"])}}

    def _manifest(self, artifact: str) -> dict[str, Any]:
        file = {"id": f"file-{artifact}", "uploadUrl": self._upload_url(f"{artifact}/manifest"), "uploadHeaders": []}
        return {"id": artifact, "file": file}

    def _CreateArtifactFiles(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        nodes = [
            {
                "storagePath": f"{each['artifactID']}/{each['name']}",
                "uploadUrl": self._upload_url(f"{each['artifactID']}/{each['name']}"),
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": each["artifactID"]},
            }
            for each in asked["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _CommitArtifact(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        made = self.artifacts[asked["artifactID"]]
        made.is_committed = True
        return {"commitArtifact": {"artifact": {"id": made.id, "digest": made.digest}}}

    def _UseArtifact(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        told = asked.get("input", asked)
        self.uses.add((told["runName"], told["artifactID"]))
        return {"useArtifact": {"artifact": {"id": told["artifactID"]}}}

    def _ArtifactMembershipByName(self, asked: _Variables) -> dict[str, Any]:  # noqa: N802
        collection, _, alias = asked["name"].partition(":")
        artifact = self.aliases.get((collection, alias))
        is_there = artifact is not None and self.artifacts[artifact].is_committed
        membership = self._membership(self.artifacts[artifact], asked["project"]) if artifact and is_there else None
        return {"project": {"artifactCollectionMembership": membership}}

    def _membership(self, made: StoredArtifact, project: str) -> dict[str, Any]:
        owner = {"id": "1", "internalId": "1", "name": project, "entity": {"name": ENTITY}}
        sequence = {"__typename": "ArtifactSequence", "id": made.collection, "name": made.collection, "project": owner}
        aliases = [
            {"__typename": "ArtifactAlias", "id": alias, "alias": alias, "artifactCollection": sequence}
            for (_, alias), artifact in self.aliases.items()
            if artifact == made.id
        ]
        artifact = {
            "__typename": "Artifact",
            "id": made.id,
            "artifactSequence": sequence,
            "versionIndex": made.version,
            "artifactType": {"name": made.kind},
            "description": None,
            "metadata": made.metadata,
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 1,
            "digest": made.digest,
            "commitHash": None,
            "fileCount": 1,
            "createdAt": _AT,
            "updatedAt": _AT,
            "aliases": aliases,
        }
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": f"membership-{made.id}",
            "versionIndex": made.version,
            "createdAt": _AT,
            "aliases": aliases,
            "artifactCollection": sequence,
            "artifact": artifact,
        }

    def _upload_url(self, path: str) -> str:
        return f"{self.url}/upload/{path}"


def _holds(run: StoredRun, name: str, value: Any) -> bool:
    if name == "name":
        return run.id in value["$in"]
    found = _ASKED_FOR.fullmatch(name)
    assert found, f"The stand-in finds by config and id alone, asked for {name}."
    return bool(run.config.get(found[1], {}).get("value") == value)


def _conditions(filters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in filters.items():
        if name == "$and":
            for each in value:
                yield from _conditions(each)
        else:
            yield name, value


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that are killed break their connections off.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def wandb_stand_in() -> Iterator[WandbStandIn]:
    """Start the server on a port of this machine only."""
    standing_in = WandbStandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self._body())
            if self.path == "/graphql":
                self._reply({"data": standing_in.answer(body["query"], body.get("variables") or {})})
            else:
                self._reply(standing_in.take_stream(self.path.split("/")[-2], body))

        def do_PUT(self) -> None:
            standing_in.files[self.path] = self._body()
            self._reply({})

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, content: Mapping[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    standing_in.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield standing_in
    finally:
        server.shutdown()
        server.server_close()
