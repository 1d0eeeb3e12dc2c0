"""The rights of every role: those of stages follow from what their pipelines read and write.

A pattern is a path below the root of its area, in which ``*`` stands for any text, ``/`` included, and ``?`` for one
character. Writing rights spell out the family and the length of the cycle, so that no ``*`` reaches into a folder of
another stage; reading rights need not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from al_platform.domain.errors import ConfigError, known_names
from al_platform.pipeline_registry import instantiate
from al_platform.stages import STAGES, DataClass, Stage

Area: TypeAlias = DataClass | Literal["experiments", "anchor"]
"""A class of data, or what lies beside them: experiments, and the place that holds the audit log's head."""

Right = Literal["read", "write", "delete", "erase", "clean"]
"""``write`` creates, or replaces where the path is not protected; ``erase`` lists, reads and removes old versions of an
object; ``clean`` lists and gives up unfinished uploads."""

Entry: TypeAlias = Mapping[str, Any]
"""A dataset's entry in the catalog, with its root filled in."""

CLASSES: tuple[DataClass, ...] = get_args(DataClass)
CYCLE = "????-??"

GATE, ERASER, OPERATOR = "promotion", "eraser", "operator"
"""Who alone may write the champion log, who alone may remove versions, and who looks after the stores."""


@dataclass(frozen=True, order=True)
class Grant:
    """A right on the paths of an area that fit a pattern."""

    right: Right
    area: Area
    pattern: str


@dataclass(frozen=True)
class Role:
    """A role and what it may do; ``purpose`` says who takes it."""

    name: str
    purpose: str
    grants: tuple[Grant, ...]

    def areas(self, *rights: Right) -> tuple[Area, ...]:
        """Return the areas in which the role has one of these rights; in which it has any, without an argument."""
        return tuple(sorted({grant.area for grant in self.grants if not rights or grant.right in rights}))


_COMMITTED: tuple[Area, ...] = ("labels", "datasets", "models", "champion")

LOGS: tuple[tuple[Area, str], ...] = (
    *((area, "*/log/*") for area in _COMMITTED),
    ("logs", "audit/*"),
    *((area, "erasures/*") for area in CLASSES),
)
"""Entries that are created, and never replaced nor deleted, whoever asks."""

SEALED: tuple[tuple[Area, str], ...] = (("labels", "*/sealed/*"),)
"""What is created and never replaced nor deleted, but for a privacy erasure."""

CHAMPION_LOG: tuple[tuple[Area, str], ...] = (("champion", "*/log/*"),)
"""What the gate's role alone writes."""

_READ_WRITE: tuple[Right, ...] = ("read", "write")

# Counts, digests and names, no texts: what the table at the end of every run and `kedro al status` are made of.
_STATUS = (
    *(
        Grant("read", stage.data_class, pattern)
        for stage in STAGES
        for pattern in ("*/log/*", "*/attempts/*/manifest.json", "*/attempts/*_report.json")
    ),
    Grant("read", "champion", "*/log/*"),
)

# Every run adds to the audit log, holds its head in the anchor and leaves its own record; whether another run is at
# work is read from that one's.
_RUN = (
    *(Grant(right, "logs", pattern) for right in _READ_WRITE for pattern in ("audit/*", "runs/*")),
    Grant("write", "anchor", "anchors/*"),
)

_STAGE_FOLDER = (("root", "*/" + CYCLE + "/{stage}/*"),)
_CHAMPIONS = (("root", "*/log/*"), ("models_root", "*/by_digest/*"))
_CHECKPOINTS = "*/" + CYCLE + "/training/checkpoints/*"
_READS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "StageOutput": _STAGE_FOLDER,
    "SealedOutput": _STAGE_FOLDER,
    "SealedBatches": _STAGE_FOLDER,
    "AllCycles": _STAGE_FOLDER,
    "NewestBefore": _STAGE_FOLDER,
    "LedgerPartition": _STAGE_FOLDER,
    "PartitionedOutput": _STAGE_FOLDER,
    "ModelOutput": (*_STAGE_FOLDER, ("root", "*/by_digest/*")),
    "Champion": _CHAMPIONS,
    "EarlierChampions": (("root", "*/log/*"),),
    "PastChampions": _CHAMPIONS,
    "Checkpoints": (("root", _CHECKPOINTS), ("root", "encoders/*")),
    "TrainingLogger": (),
    "ChallengerBefore": (*_STAGE_FOLDER, ("root", "*/by_digest/*")),
    "ChampionLog": (("root", "*/log/*"),),
    "Traffic": (("root", "*/pages/*"),),
    "ImportedPredictions": (("root", "*/predictions/*"),),
    "ImportedLabels": (("root", "*/imported/*"),),
    "Platform": (("root", "*/platform/*"), ("traffic_root", "*/pages/*")),
}
_STAGE_WRITES = "{family}/" + CYCLE + "/{stage}/*"
_WRITES: Mapping[str, tuple[str, ...]] = {
    "StageOutput": (_STAGE_WRITES,),
    "SealedOutput": (_STAGE_WRITES,),
    "PartitionedOutput": (_STAGE_WRITES,),
    "ModelOutput": (_STAGE_WRITES, "{family}/by_digest/*"),
    "ChampionLog": ("{family}/log/*",),
}
# What a stage reads, writes while it runs, and removes at its end.
_KEEPS: Mapping[str, str] = {"Checkpoints": "{family}/" + CYCLE + "/training/checkpoints/*"}
# The stage that hands over a receipt is the one that sends a batch to the platform.
_RECEIPT = "receipt"
_TO_PLATFORM = "{family}/platform/*"


def derive_roles(
    families: Sequence[str], entry: Callable[[str], Entry], class_at: Mapping[str, DataClass]
) -> tuple[Role, ...]:
    """Return every role.

    Args:
        families: The model families.
        entry: Returns the catalog entry of a dataset by its name.
        class_at: The class of data by its root.

    Raises:
        ConfigError: A dataset is of a type whose rights are not known here.
    """
    stages = [_stage_role(stage, families, entry, class_at) for stage in STAGES]
    return (
        *stages,
        _importer(families),
        _reader(),
        _analyst(),
        _auditor(),
        _experimenter(),
        _operator(),
        _eraser(),
    )


def _stage_role(
    stage: Stage, families: Sequence[str], entry: Callable[[str], Entry], class_at: Mapping[str, DataClass]
) -> Role:
    pipeline = instantiate(families[0], stage)
    inputs = sorted(name for name in pipeline.inputs() if not name.startswith("params:"))
    outputs = [f"{families[0]}.{name}" for name in (*stage.outputs, *stage.appends)]
    grants = [
        *(grant for name in [*inputs, *outputs] for grant in _reads(name, entry(name), class_at)),
        *(grant for name in outputs for family in families for grant in _writes(name, entry(name), family, class_at)),
        *(grant for name in inputs for family in families for grant in _keeps(entry(name), family, class_at)),
        *(Grant("delete", stage.data_class, f"{family}/{CYCLE}/{stage.name}/attempts/*") for family in families),
    ]
    return _role(stage.name, f"runs of the stage {stage.name}", [*grants, *_STATUS, *_RUN])


def _reads(name: str, entry: Entry, class_at: Mapping[str, DataClass]) -> list[Grant]:
    patterns = _of_type(name, entry, _READS)
    return [Grant("read", class_at[entry[root]], pattern.format(**_stage(entry))) for root, pattern in patterns]


def _writes(name: str, entry: Entry, family: str, class_at: Mapping[str, DataClass]) -> list[Grant]:
    patterns = [*_of_type(name, entry, _WRITES), *([_TO_PLATFORM] if entry.get("name") == _RECEIPT else [])]
    names = {**_stage(entry), "family": family}
    return [Grant("write", class_at[entry["root"]], pattern.format(**names)) for pattern in patterns]


def _keeps(entry: Entry, family: str, class_at: Mapping[str, DataClass]) -> list[Grant]:
    pattern = _KEEPS.get(_kind(entry))
    rights: tuple[Right, ...] = ("write", "delete")
    return [Grant(right, class_at[entry["root"]], pattern.format(family=family)) for right in rights] if pattern else []


def _kind(entry: Entry) -> str:
    return str(entry["type"]).rpartition(".")[2]


def _of_type(name: str, entry: Entry, known: Mapping[str, Any]) -> Any:
    kind = _kind(entry)
    if kind not in known:
        raise ConfigError(f"Asked for the rights on {name}, a {kind}. {known_names(kind, known)} Add it to access.py.")
    return known[kind]


def _stage(entry: Entry) -> dict[str, str]:
    return {"stage": str(entry.get("stage", ""))}


# All that may hold a page's data. A model is never changed: an erasure lists those that saw the page.
_ERASABLE: tuple[tuple[Area, str], ...] = (
    ("traffic", "*/pages/*"),
    ("traffic", "*/predictions/*"),
    ("traffic", "*/quarantine/*"),
    *((area, "*/attempts/*") for area in _COMMITTED),
    ("models", "*/checkpoints/*"),
    *(("labels", f"*/{folder}/*") for folder in ("sealed", "imported", "platform", "quarantine")),
    ("logs", "runs/*"),
    ("experiments", "*"),
)


def _importer(families: Sequence[str]) -> Role:
    places: list[tuple[Area, str]] = [("traffic", f"{CYCLE}/{folder}/*") for folder in ("pages", "quarantine")]
    places += [("traffic", f"{CYCLE}/predictions/{name}/*") for name in (*families, "quarantine")]
    folders = ("imported", "quarantine", "platform/inbox")
    places += [("labels", f"{family}/{folder}/*") for family in families for folder in folders]
    grants = [Grant(right, area, pattern) for right in _READ_WRITE for area, pattern in places]
    return _role("importer", "who brings in pages, labels, predictions and annotators' answers", [*grants, *_RUN])


def _reader() -> Role:
    grants = [*_STATUS, Grant("read", "anchor", "*"), *_read("logs", "*")]
    return _role("reader", "who looks at status and the lines of the audit log; sees no page nor label", grants)


def _analyst() -> Role:
    # A lineage follows a model to the pages it was trained on, and compares every digest on the way.
    grants = [*_everything(), Grant("read", "experiments", "*"), Grant("read", "anchor", "*")]
    return _role("analyst", "who asks for lineage and uses of a page, or rebuilds: reads all, changes nothing", grants)


def _auditor() -> Role:
    grants = [
        *_STATUS,
        *_read("logs", "*"),
        *(Grant("read", area, "erasures/*") for area in CLASSES),
        Grant("read", "anchor", "*"),
        Grant("write", "anchor", "anchors/*"),
    ]
    return _role("auditor", "who verifies the audit log and holds its head in the anchor bucket", grants)


def _experimenter() -> Role:
    rights: tuple[Right, ...] = ("read", "write", "delete")
    grants = [*_everything(), *(Grant(right, "experiments", "*") for right in rights)]
    return _role("experimenter", "who tries things out: reads everything, changes experiments alone", grants)


def _operator() -> Role:
    # All that a manifest or a log entry names is hashed; what nothing names is removed.
    removed: list[tuple[Area, str]] = [(area, "*/attempts/*") for area in _COMMITTED]
    removed += [("models", "*/by_digest/*"), ("models", "*/checkpoints/*")]
    grants = [
        *_everything(),
        *(Grant("delete", area, pattern) for area, pattern in removed),
        *(Grant("clean", area, "*") for area in CLASSES),
        *(Grant("write", "logs", pattern) for pattern in ("dashboard/*", "monitoring/*", "tracking/*")),
    ]
    return _role(OPERATOR, "who looks after stores and loop: doctor, dashboard, monitor, sync", [*grants, *_RUN])


def _eraser() -> Role:
    rights: tuple[Right, ...] = ("write", "delete", "erase", "clean")
    grants = [
        *_everything(),
        *(Grant(right, area, pattern) for right in rights for area, pattern in _ERASABLE),
        *(Grant("write", area, "erasures/*") for area in CLASSES),
    ]
    return _role(ERASER, "who carries out privacy erasures: rewrites and removes data, no log entry", [*grants, *_RUN])


def _everything() -> list[Grant]:
    return [grant for area in CLASSES for grant in _read(area, "*")]


def _read(area: Area, *patterns: str) -> list[Grant]:
    return [Grant("read", area, pattern) for pattern in patterns]


def _role(name: str, purpose: str, grants: Iterable[Grant]) -> Role:
    found = set(grants)
    # Whoever reads a class must know what was erased from it, or would take an erasure for damage.
    found |= {Grant("read", grant.area, "erasures/*") for grant in found if grant.area in CLASSES}
    return Role(name, purpose, tuple(sorted(grant for grant in found if not _is_covered(grant, found))))


def _is_covered(grant: Grant, others: Iterable[Grant]) -> bool:
    return grant.pattern != "*" and Grant(grant.right, grant.area, "*") in others
