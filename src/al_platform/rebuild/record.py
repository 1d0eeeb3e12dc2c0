"""How a model came about: the manifests of the runs that made it and judged it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.domain.errors import ConfigError, StoreError, known_names
from al_platform.rebuild.inputs import require_files
from al_platform.storage.commit_log import (
    Entry,
    File,
    Manifest,
    StageKey,
    committed_cycles,
    entries,
    read_manifest,
)
from al_platform.stores import Stores

_SHOWN = 12  # digits of a digest


@dataclass(frozen=True)
class Training:
    """A committed training run: the model it made, when it was committed, and its manifest."""

    model_digest: str
    committed_at: str
    manifest: Manifest

    def __str__(self) -> str:
        return f"{self.model_digest[:_SHOWN]} ({self.manifest.family} {self.manifest.cycle})"


@dataclass(frozen=True)
class Record:
    """The runs behind a model.

    Attributes:
        model_digest: The model.
        manifests: By stage, in the order of the loop; without ``evaluation`` where nothing judged the model.
    """

    model_digest: str
    manifests: Mapping[str, Manifest]

    @property
    def family(self) -> str:
        """The model's family."""
        return self.manifests["training"].family

    @property
    def cycle(self) -> str:
        """The cycle in which it was trained."""
        return self.manifests["training"].cycle


def find_record(stores: Stores, families: Sequence[str], model: str) -> Record:
    """Return the record of a model.

    Args:
        stores: Of the project.
        families: Names of the families to search.
        model: Digest, the beginning of one, or a family's name for its newest trained model.

    Raises:
        ConfigError: No model, or more than one, is meant.
        StoreError: A manifest is missing, was changed, or is too old to rebuild from.
    """
    training = choose(trainings(stores, families), model, families)
    dataset = _maker_of(stores, training.manifest, "dataset")
    labels = _maker_of(stores, dataset, "labels")
    judged = _evaluation_of(stores, training.manifest)
    found = [labels, dataset, training.manifest, *([judged] if judged else [])]
    for manifest in found:
        require_files(manifest)
    return Record(training.model_digest, {manifest.stage: manifest for manifest in found})


def trainings(stores: Stores, families: Sequence[str]) -> list[Training]:
    """Return every committed training run of the families, oldest first; also those that a later one superseded."""
    store = stores.of_stage("training")
    keys = [
        StageKey(family, cycle, "training")
        for family in families
        for cycle in committed_cycles(store, family, "training")
    ]
    found = [_training(stores, entry) for key in keys for entry in _log(stores, key)]
    return sorted(found, key=lambda training: training.committed_at)


def choose(known: Sequence[Training], model: str, families: Sequence[str]) -> Training:
    """Return the newest training run of the model that ``model`` means; see ``find_record``."""
    if model in families:
        meant = [training for training in known if training.manifest.family == model][-1:]
    else:
        meant = [training for training in known if training.model_digest.startswith(model)]
    digests = {training.model_digest for training in meant}
    if not digests:
        raise ConfigError(f"There is no model {model!r}. {known_names(model, families)} Models: {_listed(known)}.")
    if len(digests) > 1:
        raise ConfigError(f"{model!r} may be any of {_listed(meant)}. Give more digits.")
    return meant[-1]


def _listed(found: Sequence[Training]) -> str:
    return ", ".join(dict.fromkeys(map(str, found))) or "none"


def _training(stores: Stores, entry: Entry) -> Training:
    store = stores.of_stage("training")
    manifest = read_manifest(store, entry)
    challenger = read_output(store, manifest.outputs["challenger"], format_named("json"))
    return Training(challenger["model_digest"], entry.committed_at, manifest)


def _log(stores: Stores, key: StageKey) -> list[Entry]:
    return [Entry.model_validate_json(data) for data in entries(stores.of_stage(key.stage), f"{key.prefix}/log")]


def _maker_of(stores: Stores, reader: Manifest, name: str) -> Manifest:
    """Return the manifest of the run that wrote what ``reader`` read as ``name``."""
    file = _file_of(reader, name)
    family, cycle, stage, *_ = file.path.split("/")
    beside = f"{file.path.rpartition('/')[0]}/manifest.json"
    logged = [entry for entry in _log(stores, StageKey(family, cycle, stage)) if entry.manifest == beside]
    if not logged:
        raise StoreError(f"{reader.stage} read {file.path}, but no log entry of {stage} names {beside}.")
    manifest = read_manifest(stores.of_stage(stage), logged[-1])
    output = manifest.outputs.get(name)
    if output is None or (output.path, output.sha256) != (file.path, file.sha256):
        raise StoreError(f"{reader.stage} read {file.path} with another SHA-256 than {beside} gives it.")
    return manifest


def _file_of(reader: Manifest, name: str) -> File:
    require_files(reader)
    recorded = reader.inputs.get(f"{reader.family}.{name}")
    if recorded is None or len(recorded.files) != 1:
        raise StoreError(f"The record of {reader.stage} (run {reader.run_id}) does not say which {name} it read.")
    return recorded.files[0]


def _evaluation_of(stores: Stores, training: Manifest) -> Manifest | None:
    """Return the newest evaluation that read the challenger of this training run."""
    store = stores.of_stage("evaluation")
    log = _log(stores, StageKey(training.family, training.cycle, "evaluation"))
    challenger = training.outputs["challenger"].path
    for entry in reversed(log):
        manifest = read_manifest(store, entry)
        if _file_of(manifest, "challenger").path == challenger:
            return manifest
    return None
