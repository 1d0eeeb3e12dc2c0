"""Former versions: what a bucket still holds of files that were replaced or removed."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from al_platform.domain.errors import StoreError
from al_platform.lineage.mentions import find_page
from al_platform.lineage.stores import SearchedStores, temporary_copy
from al_platform.lineage.uses import PARALLEL_READS, may_name_a_page
from al_platform.progress import progress
from al_platform.storage.erasures import FormerVersion, Versioned
from al_platform.storage.store import LocalStore, Store

_BEFORE_A_CLASS = 2  # folders of an experiment: its name, and the class of data


class Former(NamedTuple):
    """A former version of a file, and the store that keeps it."""

    store: Versioned
    version: FormerVersion


def former_versions(production: SearchedStores, experiments: Store) -> list[Former]:
    """Return every former version that may name a page, those of experiments that are gone too.

    Args:
        production: Its stores.
        experiments: The store that holds all experiments.
    """
    return [*_of(production.roots, 0), *_of([experiments], _BEFORE_A_CLASS)]


def without_answer(production: SearchedStores) -> tuple[str, ...]:
    """Return the roots that cannot say whether former versions are kept below them."""
    return tuple(store.root for store in production.roots if not isinstance(store, Versioned | LocalStore))


def holding(former: Sequence[Former], page_id: str) -> list[Former]:
    """Return those that hold the page; each is read.

    Raises:
        StoreError: One cannot be read, so that nobody can tell.
    """
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        answers = ([answer] for answer in pool.map(lambda each: _holds(each, page_id), former))
        chunks = progress(answers, total=len(former), what="searching former versions")
        found = [answer for chunk in chunks for answer in chunk]
    return [each for each, holds in zip(former, found, strict=True) if holds]


def erase_former(former: Sequence[Former]) -> None:
    """Have the stores give versions up for good.

    Raises:
        StoreError: Some must stay; all others are gone then.
    """
    refused = []
    for store in {id(each.store): each.store for each in former}.values():
        try:
            store.erase_versions([each.version for each in former if each.store is store])
        except StoreError as error:
            refused.append(error)
    if refused:
        raise StoreError(" ".join(map(str, refused))) from refused[0]


def _of(stores: Iterable[Store], depth: int) -> Iterator[Former]:
    for store in stores:
        if isinstance(store, Versioned):
            for version in store.former_versions():
                if may_name_a_page(version.path.split("/", depth)[-1]):
                    yield Former(store, version)


def _holds(former: Former, page_id: str) -> bool:
    path, version = former.version
    try:
        with temporary_copy(path, former.store.read_version(former.version)) as file:
            return find_page(file, page_id) is not None
    except FileNotFoundError:  # gone since it was listed
        return False
    except StoreError as error:
        raise StoreError(f"Asked whether the former version {version} of {path} holds the page. {error}") from error
