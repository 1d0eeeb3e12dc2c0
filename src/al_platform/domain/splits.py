"""Which labelled page serves what: an append-only ledger of assignments to sets.

| set | drawn |
|---|---|
| golden | once, at random from the labelled start, stratified by label |
| audit | pages labelled for the reasons audit and exploration; after two quarters they move to validation |
| validation | at random, near-duplicates together |
| control | pages with known answers, for checking annotators |
| excluded | near-duplicates of a golden, audit or validation page |
| train | all else |

Nothing but the move from audit to validation ever changes an assignment. Random choices go by a hash of seed and
``page_id``, so that neither row order nor the pages that arrive together decide.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.cycles import months_between
from al_platform.domain.errors import InputError
from al_platform.domain.labelled import IMPORTED
from al_platform.schemas import SPLIT_LEDGER

GOLDEN, AUDIT, VALIDATION, TRAIN, CONTROL, EXCLUDED = "golden", "audit", "validation", "train", "control", "excluded"
HELD_OUT = (GOLDEN, AUDIT, VALIDATION)
TEST_REASONS = frozenset({"audit", "exploration"})
CONTROL_REASON = "control"
NO_LABEL = "none"

SimilarTo = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
"""Given rows of ``labelled`` and reference rows of it: which of the first are near-duplicates of any of the second."""


class SplitOptions(BaseModel):
    """How labelled pages are divided.

    Attributes:
        golden_share: Part of the labelled start that is frozen for the gate. A fifth leaves the first champion
            enough to learn from.
        golden_max: Upper limit of golden: the interval of a paired difference narrows little beyond some thousands.
        validation_share: Chance of a page, with its near-duplicates, to be drawn for validation.
        validation_min: While validation is smaller, it takes more, up to a third of the pages at hand: thresholds and
            early stopping chosen on a handful of pages are noise.
        audit_cycles_as_test: Months an audit page is test data before it moves to validation: two quarters, so that
            each gate sees the audit slices of the quarter before it too.
        seed: Decides the random choices.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    golden_share: float = Field(default=0.2, ge=0, le=0.5)
    golden_max: int = Field(default=3_000, ge=0)
    validation_share: float = Field(default=0.1, ge=0, le=0.5)
    validation_min: int = Field(default=50, ge=0)
    audit_cycles_as_test: int = Field(default=6, ge=1)
    seed: int = 0


def assign_splits(
    labelled: pa.Table,
    ledger: pa.Table,
    groups: NDArray[np.int64],
    cycle: str,
    options: SplitOptions,
    similar: SimilarTo | None = None,
) -> pa.Table:
    """Return the ledger rows to append in this cycle: new pages, and audit pages whose time as test data is over.

    Args:
        labelled: Every labelled page, one row each; ``page_id``, ``values``, ``source`` and ``reason`` are read.
        ledger: Assignments so far, of this cycle or earlier; see ``schemas.SPLIT_LEDGER``.
        groups: Near-duplicate group of each row of ``labelled``; validation takes a group as a whole.
        cycle: The cycle that is being prepared.
        options: Sizes and seed.
        similar: Finds direct near-duplicates, also between groups. Without it, the members of a group are each other's.

    Returns:
        Rows of ``schemas.SPLIT_LEDGER``, sorted by page; none for a page that keeps its set.

    Raises:
        InputError: A page has two rows, or the ledger holds a cycle after this one.
    """
    _require_one_row_a_page(labelled)
    _require_no_later_cycle(ledger, cycle)
    current = current_sets(ledger)
    expired = _expired_audit_pages(ledger, current, cycle, options)
    book = _Book(labelled, {**current, **dict.fromkeys(expired, VALIDATION)}, similar or _within(groups))
    book.give_by_reason({CONTROL_REASON}, CONTROL)
    book.give_by_reason(TEST_REASONS, AUDIT)
    book.exclude_near(HELD_OUT)
    if GOLDEN not in current.values():
        book.give(
            _golden_rows(labelled, book.free_of_train(), groups, options), GOLDEN, "drawn from the labelled start"
        )
        book.exclude_near([GOLDEN])
    n_validation = len(book.rows_in(VALIDATION))
    drawn = _validation_rows(book.page_ids, book.free_of_train(), groups, n_validation, options)
    book.give(drawn, VALIDATION, "validation draw")
    book.exclude_near([VALIDATION])
    book.give(book.open_rows(), TRAIN, "all else")
    return _ledger_rows({**dict.fromkeys(expired, (VALIDATION, "audit slice expired")), **book.given}, cycle)


def current_sets(ledger: pa.Table) -> dict[str, str]:
    """Return the set of each page: the last row of the latest cycle decides."""
    return {page_id: row["set"] for page_id, row in _current_rows(ledger).items()}


def contaminated_pages(
    labelled: pa.Table, ledger: pa.Table, groups: NDArray[np.int64], similar: SimilarTo | None = None
) -> dict[str, list[str]]:
    """Return the pages of golden, audit and validation that are near-duplicates of a train page.

    An audit page stays one when it repeats a page that is in train already: it is a fair draw of traffic. Evaluation
    can report accuracy with and without such pages.

    Args:
        labelled: As in ``assign_splits``.
        ledger: With the rows of ``assign_splits`` appended.
        groups: As in ``assign_splits``.
        similar: As in ``assign_splits``.
    """
    book = _Book(labelled, current_sets(ledger), similar or _within(groups))
    held_out = {name: book.rows_in(name) for name in HELD_OUT}
    return {name: book.names(rows[book.near(rows, TRAIN)]) for name, rows in held_out.items()}


class _Book:
    """The sets of the rows of ``labelled`` while they are being assigned."""

    def __init__(self, labelled: pa.Table, current: Mapping[str, str], similar: SimilarTo) -> None:
        self.page_ids: list[str] = labelled.column("page_id").to_pylist()
        self.given: dict[str, tuple[str, str]] = {}
        self._reasons = labelled.column("reason").to_pylist()
        self._sets = np.array([current.get(page_id, "") for page_id in self.page_ids], dtype=object)
        self._similar = similar

    def rows_in(self, name: str) -> NDArray[np.int64]:
        return np.flatnonzero(self._sets == name)

    def open_rows(self) -> NDArray[np.int64]:
        return self.rows_in("")

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        return sorted(self.page_ids[row] for row in rows.tolist())

    def near(self, rows: NDArray[np.int64], name: str) -> NDArray[np.bool_]:
        """Return which of ``rows`` are near-duplicates of a page in the set ``name``."""
        reference = self.rows_in(name)
        return self._similar(rows, reference) if len(rows) and len(reference) else np.zeros(len(rows), dtype=bool)

    def free_of_train(self) -> NDArray[np.int64]:
        """Return the open rows that repeat no page of train, and may therefore be held out."""
        rows = self.open_rows()
        return rows[~self.near(rows, TRAIN)]

    def give(self, rows: NDArray[np.int64], name: str, why: str) -> None:
        self._sets[rows] = name
        self.given.update((self.page_ids[row], (name, why)) for row in rows.tolist())

    def give_by_reason(self, reasons: Iterable[str], name: str) -> None:
        rows = self.open_rows()
        for reason in sorted(reasons):
            asked = [self._reasons[row] == reason for row in rows.tolist()]
            self.give(rows[np.array(asked, dtype=bool)], name, f"labelled for {reason}")

    def exclude_near(self, names: Sequence[str]) -> None:
        for name in names:
            rows = self.open_rows()
            self.give(rows[self.near(rows, name)], EXCLUDED, f"near_duplicate_of_{name}")


def _within(groups: NDArray[np.int64]) -> SimilarTo:
    return lambda rows, reference: np.isin(groups[rows], groups[reference])


def _golden_rows(
    labelled: pa.Table, candidates: NDArray[np.int64], groups: NDArray[np.int64], options: SplitOptions
) -> NDArray[np.int64]:
    """Draw golden from the imported pages: one page a near-duplicate group, stratified by a page's rarest label."""
    page_ids, values, sources, reasons = (
        labelled.column(name).to_pylist() for name in ("page_id", "values", "source", "reason")
    )
    imported = [row for row in candidates.tolist() if sources[row] == IMPORTED and reasons[row] is None]
    first: dict[int, int] = {}
    for row in sorted(imported, key=lambda row: _draw(options.seed, GOLDEN, page_ids[row])):
        first.setdefault(int(groups[row]), row)
    one_a_group = list(first.values())
    strata: defaultdict[str, list[int]] = defaultdict(list)
    for row, stratum in zip(one_a_group, _strata([values[row] for row in one_a_group]), strict=True):
        strata[stratum].append(row)
    n = min(options.golden_max, round(options.golden_share * len(one_a_group)), len(one_a_group) // 2)
    quotas = _quotas({stratum: len(rows) for stratum, rows in strata.items()}, n)
    return _as_rows(row for stratum, rows in strata.items() for row in rows[: quotas[stratum]])


def _strata(values: Sequence[Sequence[str]]) -> list[str]:
    """Return the rarest label of each page, by name where two are as rare, and ``NO_LABEL`` where it has none."""
    counts = Counter(label for row in values for label in row)
    return [min(row, key=lambda label: (counts[label], label), default=NO_LABEL) for row in values]


def _quotas(sizes: Mapping[str, int], n: int) -> dict[str, int]:
    """Divide ``n``, at most half of all, in proportion to ``sizes``; what rounding leaves goes to the smallest.

    No stratum gives more than half, so that a label with a single page keeps it for training.
    """
    total = sum(sizes.values())
    quotas = {stratum: n * size // total for stratum, size in sizes.items()}
    left = n - sum(quotas.values())
    for stratum in sorted(sizes, key=lambda stratum: (sizes[stratum], stratum)):
        has_remainder = n * sizes[stratum] % total > 0
        if left and has_remainder and quotas[stratum] < sizes[stratum] // 2:
            quotas[stratum] += 1
            left -= 1
    return quotas


def _validation_rows(
    page_ids: Sequence[str],
    candidates: NDArray[np.int64],
    groups: NDArray[np.int64],
    n_before: int,
    options: SplitOptions,
) -> NDArray[np.int64]:
    """Draw whole near-duplicate groups by the hash of their first page; more of them while validation is small."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for row in sorted(candidates.tolist(), key=page_ids.__getitem__):
        members[int(groups[row])].append(row)
    wanted = min(options.validation_min - n_before, len(candidates) // 3)
    drawn: list[int] = []
    for chance, rows in sorted((_draw(options.seed, VALIDATION, page_ids[rows[0]]), rows) for rows in members.values()):
        if chance < options.validation_share or len(drawn) + len(rows) <= wanted:
            drawn.extend(rows)
    return _as_rows(drawn)


def _draw(seed: int, purpose: str, page_id: str) -> float:
    """Return a number in [0, 1) that depends on its arguments alone."""
    digest = hashlib.sha256(f"{seed}|{purpose}|{page_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _as_rows(rows: Iterable[int]) -> NDArray[np.int64]:
    return np.array(sorted(rows), dtype=np.int64)


def _expired_audit_pages(ledger: pa.Table, current: Mapping[str, str], cycle: str, options: SplitOptions) -> list[str]:
    rows = _current_rows(ledger).values()
    audit = (row for row in rows if current[row["page_id"]] == AUDIT)
    return [row["page_id"] for row in audit if months_between(row["cycle"], cycle) >= options.audit_cycles_as_test]


def _current_rows(ledger: pa.Table) -> dict[str, dict[str, str]]:
    return {row["page_id"]: row for row in sorted(ledger.to_pylist(), key=lambda row: row["cycle"])}


def _ledger_rows(given: Mapping[str, tuple[str, str]], cycle: str) -> pa.Table:
    rows = [{"page_id": page_id, "set": name, "cycle": cycle, "why": why} for page_id, (name, why) in given.items()]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["page_id"]), SPLIT_LEDGER)


def _require_one_row_a_page(labelled: pa.Table) -> None:
    counts = Counter(labelled.column("page_id").to_pylist())
    repeated = sorted(compress(counts, (n > 1 for n in counts.values())))
    if repeated:
        raise InputError(
            f"Asked to split labelled pages, but {len(repeated)} have several rows, for instance {repeated[0]!r}. "
            "Merge the labels of a page first."
        )


def _require_no_later_cycle(ledger: pa.Table, cycle: str) -> None:
    latest = max(ledger.column("cycle").to_pylist(), default=cycle)
    if latest > cycle:
        raise InputError(
            f"Asked to split the pages of {cycle}, but the ledger already holds assignments of {latest}. "
            f"Pass the ledger as it was committed before {cycle}."
        )
