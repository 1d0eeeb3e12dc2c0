"""What a model came from: read off the manifests, with every digest on the way compared with what is there."""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256

import pyarrow.parquet as pq

from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, NotReadyError, known_names
from al_platform.lineage.graph import DAMAGED, CheckedFile, Edge, Lineage, Node, RunFacts, State
from al_platform.lineage.stores import SearchedStores
from al_platform.lineage.trained import (
    Training,
    champion_entries,
    manifest_path,
    present_file,
    stage_entries,
    stored_json,
    stored_manifest,
    stored_models,
    trainings,
)
from al_platform.models.model import directory_digest
from al_platform.stages import class_of
from al_platform.storage.audit_log import announced_digests
from al_platform.storage.commit_log import Entry, File, Input, Manifest, StageKey, file_sha256, to_json
from al_platform.storage.erasures import accepts
from al_platform.storage.store import Store

_OUTPUT = re.compile(r"(?P<family>[^/]+)/(?P<cycle>[^/]+)/(?P<stage>[^/]+)/attempts/(?P<run_id>[^/]+)/[^/]+")
_SEALED = re.compile(r"(?P<family>[^/]+)/(?P<cycle>[^/]+)/(?P<stage>[^/]+)/sealed/[^/]+")
_MADE = {
    "training": "training",
    "preparation": "dataset",
    "annotation_ingest": "labels",
    "selection": "batch",
    "scoring": "predictions",
    "evaluation": "evaluation",
    "promotion": "promotion",
}
# The receipt orders two stages and hands nothing on.
_NO_DATA = frozenset({"receipt"})


def model_lineage(loader: FamilyConfigLoader, model: str) -> Lineage:
    """Return what a model came from.

    Args:
        loader: The configuration.
        model: A digest, the beginning of one, or a family's name for its newest trained model, promoted or not.

    Raises:
        ConfigError: There is no such model, or several begin like this.
        NotReadyError: The family has trained no model.
    """
    stores = SearchedStores.of(loader)
    trained = trainings(stores)
    family, digest = _find(stores, trained, loader.families, model)
    return _Tracer(stores, trained).trace(family, digest)


def _find(stores: SearchedStores, trained: list[Training], families: list[str], model: str) -> tuple[str, str]:
    if model in families:
        of_family = [training for training in trained if training.family == model]
        if not of_family:
            raise NotReadyError(f"{model} has trained no model yet. Run: kedro run --pipelines=quarterly")
        return model, of_family[-1].model_digest
    known = {(training.family, training.model_digest) for training in trained} | stored_models(stores)
    matches = sorted(found for found in known if model and found[1].startswith(model))
    if len(matches) > 1:
        listed = ", ".join(f"{digest[:16]} of {family}" for family, digest in matches)
        raise ConfigError(f"Asked for model {model!r}, and {len(matches)} begin like that: {listed}. Give more of it.")
    if not matches:
        names = [*families, *(digest[:12] for _, digest in known)]
        raise ConfigError(f"There is no model {model!r}. {known_names(model, names)}")
    return matches[0]


@dataclass
class _Draft:
    kind: str
    title: str
    run: RunFacts | None = None
    files: dict[tuple[str, str | None], CheckedFile] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def add(self, file: CheckedFile) -> None:
        """Keep a file: once with each digest that it was recorded with, or once without."""
        if file.sha256 is None and any(path == file.path for path, _ in self.files):
            return
        self.files.pop((file.path, None), None)
        self.files[file.path, file.sha256] = file


class _Tracer:
    """Walks from a model to what it came from, nearest first; what was met before is linked, not walked again."""

    def __init__(self, stores: SearchedStores, trained: list[Training]):
        self._stores = stores
        self._trained = trained
        self._drafts: dict[str, _Draft] = {}
        self._edges: dict[tuple[str, str], list[str]] = {}
        self._answers: dict[str, str] = {}
        self._found: dict[str, str | None] = {}
        self._entries: dict[StageKey, list[Entry]] = {}
        # A queue, not recursion: every cycle builds on the one before it.
        self._pending: deque[Callable[[], None]] = deque()

    def trace(self, family: str, digest: str) -> Lineage:
        self._model(family, digest)
        while self._pending:
            self._pending.popleft()()
        return Lineage(
            family=family,
            model_digest=digest,
            nodes=tuple(_node(name, draft) for name, draft in self._drafts.items()),
            edges=tuple(
                Edge(source=source, target=target, what=", ".join(dict.fromkeys(names)))
                for (source, target), names in self._edges.items()
            ),
            annotators=dict(sorted(Counter(self._answers.values()).items())),
        )

    def _link(self, source: str, target: str, what: str) -> None:
        if source != target:
            self._edges.setdefault((source, target), []).append(what)

    def _model(self, family: str, digest: str) -> str:
        if digest not in self._drafts:
            draft = _Draft("model", f"model {digest[:12]} of {family}")
            draft.add(self._checked_model(family, digest))
            self._drafts[digest] = draft
            self._pending.append(partial(self._expand_model, family, digest))
        return digest

    def _expand_model(self, family: str, digest: str) -> None:
        named = [training for training in self._trained if (training.family, training.model_digest) == (family, digest)]
        if not named:
            self._drafts[digest].facts["training"] = "no committed training names it"
        for training in named:
            run = self._run(training.entry.manifest)
            self._link(digest, run, "training")
            if output := training.manifest.outputs.get("challenger"):
                self._drafts[run].add(self._checked(File(path=output.path, sha256=output.sha256)))
        for cycle in dict.fromkeys(training.cycle for training in named):
            self._judgements(family, cycle, digest)
        for path, entry in champion_entries(self._stores.by_class["champion"], family):
            if entry.model_digest == digest:
                self._link(digest, self._champion(path), "champion log")

    def _judgements(self, family: str, cycle: str, digest: str) -> None:
        """Link the evaluations of a cycle whose verdict names the model, and the promotions that followed them."""
        verdicts = set()
        for path, manifest in self._manifests(StageKey(family, cycle, "evaluation")):
            output = manifest.outputs.get("verdict")
            verdict = stored_json(self._stores.holding(output.path), output.path) if output else {}
            if output and verdict.get("challenger_digest") == digest:
                verdicts.add(output.sha256)
                self._link(digest, self._run(path, follow=False), "verdict")
                draft = self._drafts[path]
                draft.add(self._checked(File(path=output.path, sha256=output.sha256)))
                draft.facts |= {name: str(verdict.get(name)) for name in ("verdict", "reason")}
        for path, manifest in self._manifests(StageKey(family, cycle, "promotion")):
            read = {found.sha256 for name, found in manifest.inputs.items() if name.endswith(".verdict")}
            if read & verdicts:
                self._link(digest, self._run(path, follow=False), "promotion")

    def _manifests(self, key: StageKey) -> Iterable[tuple[str, Manifest]]:
        for entry in self._log(key):
            manifest = stored_manifest(self._stores.holding(entry.manifest), entry.manifest)
            if manifest is not None:
                yield entry.manifest, manifest

    def _champion(self, path: str, recorded: str | None = None) -> str:
        draft = self._drafts.setdefault(path, _Draft("champion", f"champion {_number(path)}"))
        draft.add(self._checked(File(path=path, sha256=recorded or self._announced.get(("champion", path), ""))))
        entry = stored_json(self._stores.holding(path), path)
        draft.facts |= {name: str(entry[name]) for name in ("cycle", "reason", "at") if name in entry}
        return path

    @cached_property
    def _announced(self) -> dict[tuple[str, str], str]:
        # Nothing points to the entries of a champion's log, but lines of the audit log say what they are.
        return announced_digests(self._stores.by_class["logs"])

    def _run(self, manifest_path: str, follow: bool = True) -> str:
        """Draft what a stage run made; its inputs come later, ``follow`` permitting."""
        if manifest_path not in self._drafts:
            self._draft_run(manifest_path, manifest_path, follow)
        return manifest_path

    def _draft_run(self, name: str, manifest_path: str, follow: bool = True) -> _Draft:
        match = _OUTPUT.fullmatch(manifest_path)
        kind = _MADE.get(match["stage"], match["stage"]) if match else manifest_path
        draft = self._drafts.setdefault(name, _Draft(kind, f"{kind} {match['cycle']}" if match else kind))
        entry = self._entry_of(manifest_path)
        draft.add(self._checked(File(path=manifest_path, sha256=entry.manifest_sha256 if entry else "")))
        manifest = stored_manifest(self._stores.holding(manifest_path), manifest_path)
        if manifest is not None:
            draft.run = _run_facts(manifest, entry)
            if follow:
                self._pending.append(partial(self._expand_run, name, manifest))
        return draft

    def _expand_run(self, name: str, manifest: Manifest) -> None:
        own = {output.path for output in manifest.outputs.values()}
        for dataset, read in manifest.inputs.items():
            what = dataset.rpartition(".")[2]
            if what == "champion":
                self._expand_champion(name, manifest.family, read)
            elif what not in _NO_DATA:
                for file in read.files:
                    if file.path not in own:
                        self._link(name, self._source(present_file(self._stores, file), what), what)
        if manifest.stage == "annotation_ingest" and (partition := manifest.outputs.get("annotations")):
            self._partition(name, File(path=partition.path, sha256=partition.sha256))

    def _expand_champion(self, name: str, family: str, read: Input) -> None:
        for file in read.files:
            champion = self._champion(file.path, file.sha256)
            self._link(name, champion, "champion")
            if read.sha256:
                self._link(champion, self._model(family, read.sha256), "model")

    def _source(self, file: File, what: str) -> str:
        """Draft what a file came from, and return it: the run that wrote it, or the folder that it was brought to."""
        if _SEALED.fullmatch(file.path):
            name = self._batch(file.path)
        elif match := _OUTPUT.fullmatch(file.path):
            name = self._run(manifest_path(self._stores, file.path))
            if match["stage"] == "annotation_ingest" and file.path.endswith("/annotations.parquet"):
                self._partition(name, file)
        else:
            name = file.path.rpartition("/")[0]
            self._drafts.setdefault(name, _Draft(what, f"{what.replace('_', ' ')} in {name}"))
        self._drafts[name].add(self._checked(file))
        return name

    def _batch(self, sealed: str) -> str:
        if sealed not in self._drafts:
            family, cycle, stage, *_ = sealed.split("/")
            self._drafts[sealed] = _Draft("batch", f"batch {cycle}")
            # The first run that committed it is the one that chose; later ones found it sealed.
            first = next(iter(self._log(StageKey(family, cycle, stage))), None)
            if first is None:
                self._drafts[sealed].facts["selection"] = "sealed, not committed"
            else:
                self._draft_run(sealed, first.manifest)
        return sealed

    def _partition(self, name: str, file: File) -> None:
        checked = self._checked(present_file(self._stores, file))
        self._drafts[name].add(checked)
        if checked.state in DAMAGED:
            return
        local = self._stores.holding(checked.path).local(checked.path)
        table = pq.read_table(local, columns=["annotation_id", "annotator"])
        rows = dict(zip(*(table[column].to_pylist() for column in ("annotation_id", "annotator")), strict=True))
        self._answers |= rows
        self._drafts[name].facts["answers taken"] = str(len(rows))

    def _log(self, key: StageKey) -> list[Entry]:
        if key not in self._entries:
            self._entries[key] = list(stage_entries(self._stores.holding(f"{key.prefix}/log"), key))
        return self._entries[key]

    def _entry_of(self, manifest_path: str) -> Entry | None:
        match = _OUTPUT.fullmatch(manifest_path)
        log = self._log(StageKey(match["family"], match["cycle"], match["stage"])) if match else []
        return next((entry for entry in log if entry.manifest == manifest_path), None)

    def _checked(self, file: File) -> CheckedFile:
        """Return the file with its state; an empty ``sha256`` says that none was recorded."""
        store, found = self._stores.holding(file.path), self._digest_of(file.path)
        state: State = "missing"
        if found is not None:
            state = _state(store, file, found)
        return CheckedFile(data_class=class_of(file.path), path=file.path, sha256=file.sha256 or None, state=state)

    def _digest_of(self, path: str) -> str | None:
        if path not in self._found:
            store = self._stores.holding(path)
            self._found[path] = file_sha256(store.local(path)) if store.exists(path) else None
        return self._found[path]

    def _checked_model(self, family: str, digest: str) -> CheckedFile:
        store, folder = self._stores.by_class["models"], f"{family}/by_digest/{digest}"
        state: State = "missing"
        if store.list(folder):
            state = "intact" if directory_digest(store.local(folder)) == digest else "altered"
        return CheckedFile(data_class="models", path=folder, sha256=digest, state=state)


def _state(store: Store, file: File, found: str) -> State:
    if not file.sha256:
        return "unrecorded"
    if found == file.sha256:
        return "intact"
    return "erased" if accepts(store, file.path, file.sha256, found) else "altered"


def _run_facts(manifest: Manifest, entry: Entry | None) -> RunFacts:
    return RunFacts(
        run_id=manifest.run_id,
        code_revision=manifest.code_revision,
        parameters_sha256=sha256(to_json(manifest.parameters)).hexdigest(),
        started_at=manifest.started_at,
        ended_at=manifest.ended_at,
        log_entry=entry.number if entry else None,
    )


def _number(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json").lstrip("0")


def _node(name: str, draft: _Draft) -> Node:
    return Node(
        id=name,
        kind=draft.kind,
        title=draft.title,
        run=draft.run,
        files=tuple(draft.files.values()),
        facts=draft.facts,
    )
