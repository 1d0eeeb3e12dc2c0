"""The Kedro datasets of the project: the store, the champion and the annotation platform as catalog entries."""

from al_platform.catalog.challenger_before import ChallengerBefore
from al_platform.catalog.champion import Champion, ChampionLog, EarlierChampions, ModelOutput
from al_platform.catalog.checkpoints import Checkpoints
from al_platform.catalog.history import AllCycles, NewestBefore, SealedBatches
from al_platform.catalog.labels import ImportedLabels
from al_platform.catalog.outputs import SealedOutput, StageOutput
from al_platform.catalog.partitions import PartitionedOutput
from al_platform.catalog.past_champions import PastChampions
from al_platform.catalog.platform import LedgerPartition, Platform
from al_platform.catalog.traffic import ImportedPredictions, Traffic
from al_platform.catalog.training_logger import TrainingLogger

__all__ = [
    "AllCycles",
    "ChallengerBefore",
    "Champion",
    "ChampionLog",
    "Checkpoints",
    "EarlierChampions",
    "ImportedLabels",
    "ImportedPredictions",
    "LedgerPartition",
    "ModelOutput",
    "NewestBefore",
    "PartitionedOutput",
    "PastChampions",
    "Platform",
    "SealedBatches",
    "SealedOutput",
    "StageOutput",
    "Traffic",
    "TrainingLogger",
]
