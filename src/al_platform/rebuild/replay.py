"""Stages run again from their manifests: recorded files and parameters in, outputs in a folder of their own out."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from pydantic import ValidationError

from al_platform.catalog import (
    AllCycles,
    ChallengerBefore,
    Champion,
    Checkpoints,
    ImportedLabels,
    NewestBefore,
    PastChampions,
    SealedBatches,
    StageOutput,
    TrainingLogger,
)
from al_platform.catalog.champion import ChampionEntry, EarlierChampions, load_model
from al_platform.catalog.history import with_cycle
from al_platform.catalog.outputs import StoreDataset
from al_platform.catalog.past_champions import past_champions
from al_platform.catalog.stored_table import table_of_files
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.parameters import FamilyParameters
from al_platform.pipeline_registry import instantiate
from al_platform.rebuild.inputs import locate
from al_platform.stages import STAGE
from al_platform.storage.commit_log import Manifest, Output, StageKey
from al_platform.storage.run import Run
from al_platform.storage.store import Store, open_store
from al_platform.stores import Stores
from al_platform.tracking.fits import NothingFollows

OUTSIDE = "platform"
PARAMETER = "params:"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Replayed:
    """A stage that was run again.

    Attributes:
        manifest: The record that it followed.
        outputs: What came out, by name; without what only the world outside could give again.
        erased: The recorded files that a privacy erasure has rewritten since.
    """

    manifest: Manifest
    outputs: Mapping[str, Output]
    erased: tuple[str, ...]


class Replay:
    """Runs the stages of one cycle again; what one has rebuilt, the next one reads in place of the record's file."""

    def __init__(
        self, stores: Stores, configured: tuple[Mapping[str, Any], Mapping[str, Any]], cycle: str, folder: Path
    ):
        """Prepare.

        Args:
            stores: Of the project; only read.
            configured: The project's catalog, which says how each dataset is read and written, and its credentials.
            cycle: Of the stages.
            folder: Where outputs go, laid out as in the store.
        """
        self.store: Store = open_store(str(folder))
        moved = {"root": str(folder), "cycle": cycle}
        catalog, credentials = configured
        entries = {name: {**entry, **moved} for name, entry in catalog.items()}
        self._catalog = DataCatalog.from_config(entries, dict(credentials))
        self._stores = stores
        self._run = Run("rebuild")
        self._rebuilt: set[str] = set()
        self._erased: list[str] = []

    def run(self, manifest: Manifest) -> Replayed:
        """Run a stage again, but for the nodes that ask the world outside.

        Raises:
            StoreError: A recorded file is missing or was changed.
            ConfigError: The recorded parameters do not fit this code.
        """
        stage = STAGE[manifest.stage]
        pipeline = _without_outside(instantiate(manifest.family, stage), manifest.family)
        public = {f"{manifest.family}.{name}": name for name in stage.outputs}
        read = {name: self._input(manifest, name) for name in pipeline.inputs()}
        written = {name: self._dataset(name) for name in pipeline.all_outputs() & public.keys()}
        SequentialRunner().run(pipeline, DataCatalog(datasets={**read, **written}))
        outputs = {public[name]: self._staged(manifest, public[name]) for name in written}
        self._rebuilt |= {manifest.outputs[name].path for name in outputs}
        erased, self._erased = tuple(self._erased), []
        return Replayed(manifest, outputs, erased)

    def load(self, family: str, name: str) -> Any:
        """Return the rebuilt output of this name."""
        return self._dataset(f"{family}.{name}").load()

    def copy_model(self, family: str, digest: str, target: Path) -> None:
        """Copy the files of a rebuilt model to the folder ``target``."""
        shutil.copytree(self.store.local(model_folder(family, digest)), target, dirs_exist_ok=True)

    def _dataset(self, name: str) -> StoreDataset:
        dataset = self._catalog[name]
        assert isinstance(dataset, StoreDataset)
        dataset.bind(self._run)
        return dataset

    def _staged(self, manifest: Manifest, name: str) -> Output:
        staged = self._run.staged(StageKey(manifest.family, manifest.cycle, manifest.stage), name)
        assert staged is not None
        return staged

    def _input(self, manifest: Manifest, name: str) -> AbstractDataset[Any, Any]:
        if name.startswith(PARAMETER):
            return MemoryDataset(_parameter(manifest, name.removeprefix(PARAMETER)))
        if isinstance(dataset := self._dataset(name), TrainingLogger):
            return MemoryDataset(NothingFollows(), copy_mode="assign")
        if isinstance(dataset, Checkpoints):
            scratch = Path(self.store.root) / CHECKPOINTS
            return MemoryDataset(dataset.apart(self._stores.by_class["models"], scratch), copy_mode="assign")
        if name not in manifest.inputs:
            raise StoreError(f"The record of {manifest.stage} (run {manifest.run_id}) does not name its input {name}.")
        recorded = manifest.inputs[name]
        if recorded.files and {file.path for file in recorded.files} <= self._rebuilt:
            return dataset
        located = locate(self._stores, recorded)
        self._erased += located.erased
        data = read_files(dataset, located.files, self._stores.by_class["models"])
        return MemoryDataset(data, copy_mode="assign")


def _without_outside(pipeline: Pipeline, family: str) -> Pipeline:
    # What people answered cannot be asked again: the recorded partition stands for it.
    return Pipeline([node for node in pipeline.nodes if f"{family}.{OUTSIDE}" not in node.inputs])


def _parameter(manifest: Manifest, name: str) -> Any:
    if name == "cycle":
        return manifest.cycle
    try:
        recorded = FamilyParameters.model_validate(manifest.parameters)
    except ValidationError as error:
        raise ConfigError(
            f"The parameters that {manifest.stage} (run {manifest.run_id}) recorded do not fit this code: {error}\n"
            f"Check out revision {manifest.code_revision or '(not recorded)'} and rebuild there."
        ) from error
    return getattr(recorded, name.removeprefix(f"{manifest.family}."))


def read_files(dataset: StoreDataset, files: Mapping[str, Path], models: Store) -> Any:
    """Return the data in recorded files, read as ``dataset`` read them.

    Args:
        dataset: The catalog's entry.
        files: Local files by their path in the store, in the order of the record; none for what was not there yet.
        models: Where models lie.
    """
    match dataset:
        case AllCycles():
            return table_of_files(files, with_cycle(dataset.empty().schema))
        case SealedBatches() | ImportedLabels():
            return table_of_files(files, dataset.schema)
        case Champion():
            return _champion(dataset.family, files, models)
        case ChallengerBefore() if files:
            (file,) = files.values()
            return load_model(models, dataset.family, dataset.format.load(file)["model_digest"])
        case PastChampions():
            return past_champions(_entries(files), models)
        case EarlierChampions():
            return _entries(files)
        case NewestBefore() if not files:
            return dataset.empty()
        case NewestBefore() | StageOutput():
            (file,) = files.values()
            return dataset.format.load(file)
    raise AssertionError(f"No rule says how recorded files of {type(dataset).__name__} are read.")


def model_folder(family: str, digest: str) -> str:
    """Return where a model lies below the root of models."""
    return f"{family}/by_digest/{digest}"


def _champion(family: str, files: Mapping[str, Path], models: Store) -> Any:
    champions = _entries(files)
    return load_model(models, family, champions[-1].model_digest) if champions else None


def _entries(files: Mapping[str, Path]) -> list[ChampionEntry]:
    return [ChampionEntry.model_validate_json(file.read_bytes()) for file in files.values()]
