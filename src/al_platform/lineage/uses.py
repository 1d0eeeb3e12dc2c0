"""Everywhere a page was used: every file that names it, and every model that saw it."""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from al_platform.config import FamilyConfigLoader
from al_platform.lineage.mentions import find_page, values_of_page
from al_platform.lineage.stores import Place, SearchedStores, fresh_copy, production_and_experiments
from al_platform.lineage.trained import Training, champion_entries, present_file, trainings
from al_platform.progress import progress
from al_platform.stages import DataClass
from al_platform.storage.erasures import AffectedModel, Tombstone, page_sha256, tombstones
from al_platform.storage.store import Store

CHAMPION = "champion now"

PARALLEL_READS = 8
# Logs and manifests hold digests and no page; a model is never rewritten.
_NAMES_NO_PAGE = re.compile(
    r"(audit|anchors|erasures|encoders)/.+|.+/by_digest/.+|[^/]+(/\d{4}-\d\d/[^/]+)?/log/[^/]+|.+/manifest\.json"
    r"|.+\.safetensors"
)
_MONTH = r"(?P<cycle>\d{4}-\d\d)"
_FAMILY = r"(?P<family>[^/]+)"
_ROLES = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (rf"{_MONTH}/pages/.+", "page of the traffic"),
        (rf"{_MONTH}/(predictions/)?quarantine/.+", "quarantine of an import"),
        (rf"{_MONTH}/predictions/{_FAMILY}/.+", "imported prediction"),
        (rf"{_FAMILY}/imported/.+", "imported label"),
        (rf"{_FAMILY}/quarantine/.+", "quarantine of an import"),
        (rf"{_FAMILY}/platform/.+/outbox/.+", "task for annotators"),
        (rf"{_FAMILY}/platform/.+/inbox/.+", "answers of annotators"),
        (rf"{_FAMILY}/{_MONTH}/[^/]+/sealed/.+", "sealed batch"),
        (r"runs/.+", "log of a run"),
    )
)
_OUTPUT = re.compile(rf"{_FAMILY}/{_MONTH}/(?P<stage>[^/]+)/attempts/[^/]+/(?P<name>[^/.]+)\.[^/]+")
_OUTPUT_ROLES = {
    "annotations": "answers in the ledger",
    "annotation_quarantine": "quarantine of answers",
    "answered_pages": "votes about it",
    "pulled_pages": "what the platform showed",
    "predictions": "prediction",
    "labels": "label",
    "quarantine": "quarantine of preparation",
    "split_ledger": "split ledger",
}
_SAW = {"train": "trained on", "validation": "validated on", "golden": "tested on", "audit": "tested on"}


class Use(BaseModel):
    """One place where a page was used.

    Attributes:
        data_class: Class of data of the place.
        path: Below the root of that class; a model's folder.
        role: What the page is there.
        family: The model family, None where all share the place.
        cycle: The month, None where the place belongs to none.
        detail: Its set, why it was chosen, its labels; of a model, whether it is champion.
        rows: How many rows, objects or mentions; 0 of a model.
        root: Root that the path is below: experiments have their own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_class: DataClass
    path: str
    role: str
    family: str | None
    cycle: str | None
    detail: str
    rows: int
    root: str

    @property
    def is_of_model(self) -> bool:
        """Whether this is a model that saw the page, and no file that holds it."""
        return self.rows == 0


class Occurrence(NamedTuple):
    """A file that holds a page."""

    place: Place
    use: Use


def page_uses(loader: FamilyConfigLoader, page_id: str) -> list[Use]:
    """Return everywhere a page was used: files first, then models.

    Raises:
        ConfigError: The environment is that of an experiment.
        StoreError: A file cannot be read, so that nobody can tell.
    """
    everywhere = production_and_experiments(loader)
    found = occurrences(list(searched(everywhere)), page_id)
    return [*(each.use for each in found), *model_uses(everywhere, found, page_id)]


def page_erasures(loader: FamilyConfigLoader, page_id: str) -> list[Tombstone]:
    """Return every erasure of a page, oldest first.

    Raises:
        ConfigError: The environment is that of an experiment.
    """
    # Every root that one changes holds the same tombstone.
    found = {tombstone.number: tombstone for tombstone in erasures_of(production_and_experiments(loader), page_id)}
    return [found[number] for number in sorted(found)]


def erasures_of(everywhere: Iterable[SearchedStores], page_id: str) -> list[Tombstone]:
    """Return every tombstone of a page, in each root that holds it."""
    told = (tombstone for stores in everywhere for root in stores.roots for tombstone in tombstones(root))
    digest = page_sha256(page_id)
    return [tombstone for tombstone in told if tombstone.page_sha256 == digest]


def searched(everywhere: Iterable[SearchedStores]) -> Iterator[Place]:
    """Yield every file that may name a page."""
    return (place for stores in everywhere for place in stores.places() if may_name_a_page(place.path))


def may_name_a_page(path: str) -> bool:
    """Return whether the file at this path of a class of data may name a page: no log, no manifest and no model."""
    return not _NAMES_NO_PAGE.fullmatch(path)


def occurrences(places: Sequence[Place], page_id: str) -> list[Occurrence]:
    """Return every file among ``places`` that holds a page, read from its store now.

    Raises:
        StoreError: A file cannot be read, so that nobody can tell.
    """
    # Many reads: on a remote store each waits for the network.
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        uses = ([use] for use in pool.map(lambda place: _use(place, page_id), places))
        found = [use for chunk in progress(uses, total=len(places), what="searching files") for use in chunk]
    return [Occurrence(place, use) for place, use in zip(places, found, strict=True) if use is not None]


def model_uses(everywhere: list[SearchedStores], found: Iterable[Occurrence], page_id: str) -> list[Use]:
    """Return every model that was trained, validated or tested on a page, and whether it is champion now.

    Those whose data hold it still, and those that tombstones remember.

    Args:
        everywhere: Production and experiments.
        found: Every file that holds the page.
        page_id: The page.
    """
    holding = {each.place.path for each in found}
    uses = (
        use
        for stores in everywhere
        for training in trainings(stores)
        for use in _seen(stores, training, holding, page_id)
    )
    # An experiment reads production's trainings too, and a model may have been trained twice.
    distinct: dict[tuple[str, str], Use] = {}
    for use in uses:
        distinct.setdefault((use.path, use.role), use)
    for model in (model for tombstone in erasures_of(everywhere, page_id) for model in tombstone.models):
        use = _remembered(everywhere, model)
        distinct.setdefault((use.path, use.role), use)
    return list(distinct.values())


def is_champion(store: Store, family: str, digest: str) -> bool:
    """Return whether the newest entry of the champion log names a model."""
    digests = [entry.model_digest for _, entry in champion_entries(store, family)]
    return bool(digests) and digests[-1] == digest


def _remembered(everywhere: list[SearchedStores], model: AffectedModel) -> Use:
    champions = (stores.by_class["champion"] for stores in everywhere)
    return Use(
        data_class="models",
        path=f"{model.family}/by_digest/{model.digest}",
        role=model.role,
        family=model.family,
        cycle=model.cycle,
        detail=CHAMPION if any(is_champion(store, model.family, model.digest) for store in champions) else "",
        rows=0,
        root=everywhere[0].by_class["models"].root,
    )


def _use(place: Place, page_id: str) -> Use | None:
    with fresh_copy(place.store, place.path) as file:
        found = find_page(file, page_id)
    if found is None:
        return None
    role, match = _role(place.path)
    named = match.groupdict() if match else {}
    return Use(
        data_class=place.data_class,
        path=place.path,
        role=role,
        family=named.get("family"),
        cycle=named.get("cycle"),
        detail=found.detail,
        rows=found.rows,
        root=place.store.root,
    )


def _role(path: str) -> tuple[str, re.Match[str] | None]:
    if match := _OUTPUT.fullmatch(path):
        return _OUTPUT_ROLES.get(match["name"], match["name"].replace("_", " ")), match
    return next(((role, match) for pattern, role in _ROLES if (match := pattern.fullmatch(path))), ("file", None))


def _seen(stores: SearchedStores, training: Training, holding: Container[str], page_id: str) -> Iterator[Use]:
    names = _sets(stores, training, holding, page_id)
    champion = bool(names) and is_champion(stores.by_class["champion"], training.family, training.model_digest)
    for name in names:
        yield Use(
            data_class="models",
            path=f"{training.family}/by_digest/{training.model_digest}",
            role=_SAW[name],
            family=training.family,
            cycle=training.cycle,
            detail=CHAMPION if champion else "",
            rows=0,
            root=stores.by_class["models"].root,
        )


def _sets(stores: SearchedStores, training: Training, holding: Container[str], page_id: str) -> list[str]:
    """Return the sets in which the page was in the data of a training."""
    inputs = (read for name, read in training.manifest.inputs.items() if name.endswith(".dataset"))
    paths = {present_file(stores, file).path for read in inputs for file in read.files}
    found: set[str] = set()
    for path in sorted(path for path in paths if path in holding):
        with fresh_copy(stores.holding(path), path) as file:
            found |= set(values_of_page(file, page_id, "set"))
    return [name for name in _SAW if name in found]
