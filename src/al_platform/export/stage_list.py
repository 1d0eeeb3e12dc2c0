"""The stage list: what there is to run, for every scheduler alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline

from al_platform import families
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import ConfigError
from al_platform.export.options import Compute, ExportOptions
from al_platform.pipeline_registry import register_pipelines
from al_platform.stages import STAGES, Cadence, Job, Stage


@dataclass(frozen=True)
class StageTask:
    """One stage of one family, as a scheduler sees it.

    Attributes:
        family: Name of the family.
        stage: Name of the stage, and of its pipeline.
        job: What is started as one, for one family.
        cadence: How often.
        compute: Kind of machine.
        retries: Further tries after a failure.
        timeout_minutes: Of one try.
        needs: Stages of the same family and job whose outputs it reads.
    """

    family: str
    stage: str
    job: Job
    cadence: Cadence
    compute: Compute
    retries: int
    timeout_minutes: int
    needs: tuple[str, ...]


def stage_list(loader: FamilyConfigLoader, options: ExportOptions) -> tuple[StageTask, ...]:
    """Return every stage of every family of an environment, in the order of families and stages.

    Raises:
        ConfigError: A dataset that one stage hands to another is not kept in the store.
    """
    families.configure(loader.families)
    pipelines = register_pipelines()
    _require_kept(pipelines, DataCatalog.from_config(loader["catalog"], loader["credentials"]))
    return tuple(_task(family, stage, pipelines, options) for family in loader.families for stage in STAGES)


def _task(family: str, stage: Stage, pipelines: Mapping[str, Pipeline], options: ExportOptions) -> StageTask:
    wanted = options.stages[stage.name]
    read = _of_family(pipelines, family, stage).inputs()
    others = [other for other in STAGES if other.job == stage.job and other != stage]
    needs = tuple(other.name for other in others if read & _of_family(pipelines, family, other).all_outputs())
    return StageTask(family=family, stage=stage.name, job=stage.job, cadence=stage.cadence, needs=needs, **dict(wanted))


def _of_family(pipelines: Mapping[str, Pipeline], family: str, stage: Stage) -> Pipeline:
    return pipelines[stage.name].only_nodes_with_namespaces([f"{family}.{stage.name}"])


def _require_kept(pipelines: Mapping[str, Pipeline], catalog: DataCatalog) -> None:
    """Raise ConfigError where what one stage writes and another reads would be gone between their processes."""
    for writer, reader in permutations(STAGES, 2):
        for name in sorted(pipelines[writer.name].all_outputs() & pipelines[reader.name].inputs()):
            dataset = catalog.get(name)
            if dataset is None or isinstance(dataset, MemoryDataset):
                raise ConfigError(
                    f"{reader.name} reads {name}, which {writer.name} writes, but the catalog does not keep it, and "
                    f"each stage runs in a process of its own. Give {name} an entry in catalog.yml."
                )
