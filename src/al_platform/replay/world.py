"""Where a replay's pages come from: a labelled archive cut into months, or a simulated source with a web a seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from al_platform.catalog.formats import read_parquet
from al_platform.catalog.labels import labels_folder
from al_platform.catalog.traffic import IMPORTED, add_table
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.errors import ConfigError, InputError, SchemaError, known_names
from al_platform.domain.taxonomy import Taxonomy
from al_platform.importing import check_labels, read_file, table_digest, with_page_ids
from al_platform.pipelines.replay.options import ReplayOptions
from al_platform.schemas import IMPORTED_LABELS, PAGES, conform
from al_platform.storage.store import Store, open_store

ARCHIVE = "archive"
_HISTORY = "history"
_HISTORY_SHARE = 0.2
_MAX_START = 1_000


@dataclass(frozen=True)
class World:
    """The traffic of a replay.

    Attributes:
        folder: Root below which the replay has its files.
        traffic: ``source`` and ``options`` as in ``globals.yml``; of an archive, ``imported``.
        start_labels: Labelled pages that a seed draws from the archive's history; 0 for a simulated source.
    """

    folder: str
    traffic: Mapping[str, Any]
    start_labels: int = 0

    @property
    def is_archive(self) -> bool:
        """Whether all seeds share one archive; a simulated source makes a web for each."""
        return bool(self.traffic["source"] == IMPORTED)

    def traffic_root(self, seed: int) -> str:
        """Return the root of the pages of a seed."""
        return f"{self.folder}/{ARCHIVE if self.is_archive else f'web-{seed}'}"

    def traffic_of(self, seed: int) -> dict[str, Any]:
        """Return ``source`` and ``options`` of a seed."""
        if self.is_archive:
            return dict(self.traffic)
        options = dict(self.traffic["options"])
        return {**self.traffic, "options": {**options, "seed": options["seed"] + seed}}

    def give_start(self, labels: Store, family: str, seed: int) -> None:
        """Store a seed's labelled start, drawn at random from the archive's history; once."""
        folder = labels_folder(family)
        if not self.is_archive or labels.list(folder):
            return
        archive = open_store(self.traffic_root(seed))
        (file,) = archive.list(_HISTORY)
        history = read_parquet(archive.local(file))
        rows = np.random.default_rng([seed, self.start_labels]).permutation(history.num_rows)[: self.start_labels]
        add_table(labels, folder, history.take(pa.array(np.sort(rows))))


def archive_world(options: ReplayOptions, taxonomy: Taxonomy, folder: str) -> tuple[World, dict[str, Any]]:
    """Cut an archive into its history and months, and store them; return the world and what to say about it.

    The oldest fifth is the history, from which each seed draws its labelled start; the rest is cut into
    equal parts, one a month and one for the month after the last, which is measured only.

    Raises:
        InputError: The file holds too few pages, or none that can be taken.
    """
    assert options.archive is not None
    assert options.family is not None
    file = Path(options.archive)
    table = with_page_ids(_in_time(read_file(file, options.mapping, options.id_rule), options, file), options.id_rule)
    imported = check_labels(table, taxonomy, options.separator)
    labelled = imported.table
    history = int(labelled.num_rows * _HISTORY_SHARE)
    start = options.start_labels or min(history // 2, _MAX_START)
    if start > history or labelled.num_rows - history < 2 * (options.cycles + 1) or start == 0:
        raise InputError(
            f"{file.name} holds {labelled.num_rows:,} usable pages. A fifth of them, {history:,}, is the history that "
            f"the labelled start of {start:,} is drawn from; the rest must fill {options.cycles} months and one more. "
            f"Give a larger archive, fewer --cycles or fewer --start-labels."
        )
    store = open_store(f"{folder}/{ARCHIVE}")
    digest = table_digest(labelled, options.cycles, options.first_cycle)
    add_table(store, _HISTORY, conform(labelled.slice(0, history), IMPORTED_LABELS, "labels"), digest)
    bounds = np.linspace(history, labelled.num_rows, options.cycles + 2).astype(int)
    for number in range(options.cycles + 1):
        pages = labelled.slice(bounds[number], bounds[number + 1] - bounds[number])
        add_table(store, f"{shift_cycle(options.first_cycle, number)}/pages", _as_pages(pages, options.family), digest)
    about = {
        "archive": file.name,
        "archive_digest": digest,
        "pages": labelled.num_rows,
        "pages_a_month": int((labelled.num_rows - history) // (options.cycles + 1)),
        "set_aside": imported.reasons,
        "start_labels": start,
        "order": options.time or "as in the file",
    }
    return World(folder, {"source": IMPORTED, "options": {}}, start), about


def simulated_world(options: ReplayOptions, traffic: Mapping[str, Any], folder: str) -> tuple[World, dict[str, Any]]:
    """Return the environment's own simulated source as a world: another web for each seed.

    Raises:
        ConfigError: The environment has no simulated source.
    """
    if traffic["source"] == IMPORTED:
        raise ConfigError(
            "This environment takes its traffic from imports, whose truth is not known. Give the labelled pages to "
            "replay: --archive FILE."
        )
    sizes = {"seed_labels": options.start_labels} if options.start_labels else {}
    own = {**traffic, "options": {**traffic["options"], **sizes}}
    return World(folder, own), {"archive": f"{traffic['source']} source, another web for each seed", **own["options"]}


def _as_pages(labelled: pa.Table, family: str) -> pa.Table:
    """Return labelled pages as traffic: all that a page has, and its label as the truth that annotators know."""
    kept = [name for name in PAGES.names if name in labelled.column_names]
    pages = conform(labelled.select(kept), PAGES, "pages")
    return pages.append_column(f"truth_{family}", labelled.column("values"))


def _in_time(table: pa.Table, options: ReplayOptions, file: Path) -> pa.Table:
    if options.time is None:
        return table
    if options.time not in table.column_names:
        raise SchemaError(
            f"Asked to order {file.name} by {options.time!r}. {known_names(options.time, table.column_names)}"
        )
    unknown = table.column(options.time).null_count
    if unknown:
        raise InputError(f"{unknown:,} rows of {file.name} have no {options.time}. Fill it in or leave them out.")
    # Stable, so that equal times keep the order of the file.
    return table.take(pc.sort_indices(table, sort_keys=[(options.time, "ascending")]))
