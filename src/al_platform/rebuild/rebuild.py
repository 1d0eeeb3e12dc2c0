"""Makes a model again from its record, and compares."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from al_platform.catalog.formats import format_named, read_parquet
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.models.classifier import Classifier
from al_platform.models.model import Model, directory_digest, load_classifier
from al_platform.rebuild import compare
from al_platform.rebuild.comparison import (
    Comparison,
    DatasetComparison,
    MetricsComparison,
    StageComparison,
    WeightsComparison,
)
from al_platform.rebuild.record import Record, find_record
from al_platform.rebuild.replay import Replay, Replayed, model_folder
from al_platform.storage.commit_log import file_sha256
from al_platform.storage.scratch import temporary_folder
from al_platform.storage.store import Store
from al_platform.stores import Stores

_PARQUET = ".parquet"


def rebuild_model(
    loader: FamilyConfigLoader,
    model: str,
    here: Mapping[str, str | None],
    announce: Callable[[str], None],
    keep: Path | None = None,
) -> Comparison:
    """Run the stages that made a model again, and compare what comes out with the record. The store is only read.

    Args:
        loader: Says where everything lies, and how it is read; the parameters are those of the record.
        model: Digest, the beginning of one, or a family's name for its newest trained model.
        here: Code revision, libraries and machine of this process.
        announce: Takes a line about what is being done.
        keep: An empty or new folder for the rebuilt model's files.

    Raises:
        ConfigError: No model or several are meant, ``keep`` holds files, or the parameters do not fit this code.
        StoreError: The record is incomplete, or something that the runs read is missing or was changed.
    """
    _require_empty(keep)
    stores = Stores.of_environment(loader)
    record = find_record(stores, loader.families, model)
    judged = _recorded_figures(stores, record)
    with temporary_folder() as folder:
        replay = Replay(stores, (loader["catalog"], loader["credentials"]), record.cycle, Path(folder))
        replayed = _run_stages(record, replay, announce)
        rebuilt: Model = replay.load(record.family, "challenger")
        if keep is not None:
            replay.copy_model(record.family, rebuilt.digest, keep)
        return _compare(stores, record, replay, replayed, judged, here)


def _require_empty(keep: Path | None) -> None:
    if keep is not None and keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise ConfigError(f"{keep} is there and not empty. Give an empty or new folder for the rebuilt model.")


def _run_stages(record: Record, replay: Replay, announce: Callable[[str], None]) -> dict[str, Replayed]:
    replayed = {}
    for number, (stage, manifest) in enumerate(record.manifests.items(), start=1):
        announce(f"{number} of {len(record.manifests)}: {stage} of {record.family} {record.cycle}")
        replayed[stage] = replay.run(manifest)
    return replayed


def _compare(
    stores: Stores,
    record: Record,
    replay: Replay,
    replayed: Mapping[str, Replayed],
    judged: dict[str, Any] | None,
    here: Mapping[str, str | None],
) -> Comparison:
    then = {
        stage: compare.circumstances_of(manifest.code_revision, manifest.environment)
        for stage, manifest in record.manifests.items()
    }
    circumstances = compare.compare_circumstances(then, here)
    stages = {stage: _compare_stage(stores, replay, found) for stage, found in replayed.items()}
    dataset = _compare_dataset(stores, record, replay, replayed, stages["preparation"])
    weights = _compare_weights(stores, record, replay.load(record.family, "challenger"))
    metrics = _compare_metrics(replay, record, judged, is_same_build=not circumstances)
    outcome, statements = compare.conclude(dataset, weights, metrics, circumstances)
    return Comparison(
        model_digest=record.model_digest,
        family=record.family,
        cycle=record.cycle,
        outcome=outcome,
        statements=statements,
        stages=stages,
        dataset=dataset,
        weights=weights,
        metrics=metrics,
        circumstances=circumstances,
    )


def _compare_stage(stores: Stores, replay: Replay, found: Replayed) -> StageComparison:
    store = stores.of_stage(found.manifest.stage)
    same_content = set()
    for name, output in found.outputs.items():
        recorded = found.manifest.outputs[name]
        if not compare.are_same_bytes(recorded, output) and recorded.path.endswith(_PARQUET):
            before = store.local(recorded.path)
            is_as_recorded = before.exists() and file_sha256(before) == recorded.sha256
            if is_as_recorded and read_parquet(before).equals(read_parquet(replay.store.local(output.path))):
                same_content.add(name)
    return compare.compare_outputs(found.manifest, found.outputs, same_content)


def _compare_dataset(
    stores: Stores, record: Record, replay: Replay, replayed: Mapping[str, Replayed], preparation: StageComparison
) -> DatasetComparison:
    has_erased_input = any(found.erased for found in replayed.values())
    if not has_erased_input or not preparation.differing:
        return compare.compare_dataset(preparation, None)
    store, outputs = stores.of_stage("preparation"), record.manifests["preparation"].outputs
    card = read_output(store, outputs["dataset_card"], format_named("json"))
    stored: pa.Table = read_output(store, outputs["dataset"], format_named("parquet"))
    rebuilt = replay.load(record.family, "dataset")
    return compare.compare_dataset(preparation, compare.erased_pages(card["pages"], stored, rebuilt))


def _compare_weights(stores: Stores, record: Record, rebuilt: Model) -> WeightsComparison:
    folder = _model_folder(stores.by_class["models"], record.family, record.model_digest)
    stored = directory_digest(folder) if folder is not None else None
    if rebuilt.digest == record.model_digest and stored in {None, rebuilt.digest}:
        return WeightsComparison(status="equal", recorded=record.model_digest, rebuilt=rebuilt.digest, stored=stored)
    return WeightsComparison(
        status="differs" if rebuilt.digest != record.model_digest else "store changed",
        recorded=record.model_digest,
        rebuilt=rebuilt.digest,
        stored=stored,
        **_model_differences(folder, rebuilt.classifier),
    )


def _model_differences(folder: Path | None, rebuilt: Classifier) -> dict[str, Any]:
    if folder is None:
        return {}
    try:
        stored = load_classifier(folder)
    # Damaged files are a finding here: the model that they held has just been made again.
    except StoreError as error:
        return {"problem": str(error)}
    return {
        "max_difference": compare.compare_tensors(stored.tensors, rebuilt.tensors),
        "config": compare.compare_json(stored.config.model_dump(mode="json"), rebuilt.config.model_dump(mode="json")),
    }


def _compare_metrics(
    replay: Replay, record: Record, judged: dict[str, Any] | None, *, is_same_build: bool
) -> MetricsComparison:
    if judged is None:
        return MetricsComparison(status="not judged", tolerance="none")
    found = _figures(replay.load(record.family, "evaluation"), replay.load(record.family, "verdict"))
    return compare.compare_metrics(judged, found, is_same_build=is_same_build)


def _recorded_figures(stores: Stores, record: Record) -> dict[str, Any] | None:
    if "evaluation" not in record.manifests:
        return None
    outputs, store = record.manifests["evaluation"].outputs, stores.of_stage("evaluation")
    return _figures(*(read_output(store, outputs[name], format_named("json")) for name in ("evaluation", "verdict")))


def _figures(evaluation: dict[str, Any], verdict: dict[str, Any]) -> dict[str, Any]:
    return {**evaluation, "verdict": verdict["verdict"]}


def _model_folder(store: Store, family: str, digest: str) -> Path | None:
    folder = model_folder(family, digest)
    return store.local(folder) if store.list(folder) else None
