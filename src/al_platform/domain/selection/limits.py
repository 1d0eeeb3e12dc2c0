"""Floors and caps of domains and predicted labels, and the choice that keeps to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.errors import ConfigError, PoolExhaustedError, known_names
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.query import Query, QueryStrategy
from al_platform.domain.taxonomy import Taxonomy

DOMAIN: Literal["domain"] = "domain"
PREDICTED: Literal["predicted"] = "predicted"


@dataclass(frozen=True)
class Group:
    """Pages of one domain, or with one most likely label.

    Attributes:
        column: ``domain`` or ``predicted``.
        name: Of the domain or the label.
        floor: Pages that the strategy must choose of it at least.
        option: What the floor is called in the configuration.
    """

    column: Literal["domain", "predicted"]
    name: str
    floor: int = 0
    option: str = ""


@dataclass(frozen=True)
class Limits:
    """What the strategy's picks must keep to beside the cap of domains, which the candidates keep to already.

    Attributes:
        groups: Whose candidates join the shortlist, and their floors.
        class_cap: Most picks with one most likely label; None: no limit.
        class_share: The option that the cap comes from.
    """

    groups: tuple[Group, ...] = ()
    class_cap: int | None = None
    class_share: float | None = None


class Picks(NamedTuple):
    """Rows of the candidates, best first, with their scores, and why each was chosen.

    Attributes:
        is_floor: Whether a floor asked for the row.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    whys: list[str]
    is_floor: NDArray[np.bool_]


def limits_of(options: SelectionOptions, taxonomy: Taxonomy, *, is_cold_start: bool) -> Limits:
    """Return the limits that the options set. Without predictions there are none of predicted labels.

    Raises:
        ConfigError: A floor names no label of the taxonomy.
    """
    unknown = [name for name in options.class_floors if name not in taxonomy.labels]
    if unknown:
        raise ConfigError(
            f"selection.class_floors asks for pages of {unknown[0]!r}, which is no label. "
            f"{known_names(unknown[0], taxonomy.labels)}"
        )
    domains = [Group(DOMAIN, *floor, "selection.domain_floors") for floor in sorted(options.domain_floors.items())]
    if is_cold_start:
        return Limits(tuple(domains))
    floors = options.class_floors
    named = [label for label in taxonomy.labels if label in floors or options.class_cap is not None]
    labels = [Group(PREDICTED, label, floors.get(label, 0), "selection.class_floors") for label in named]
    return Limits((*domains, *labels), options.class_cap, options.class_share)


def choose_within(
    strategy: QueryStrategy, candidates: pa.Table, query: Query, limits: Limits, labels: Sequence[str]
) -> Picks:
    """Let the strategy choose ``query.size`` pages that keep to the limits.

    Floors come first, each filled with the strategy's choice among the group's candidates; then the strategy chooses
    among all that are left. Of a label that would have more than its cap, it keeps its first ones and chooses anew.

    Args:
        strategy: Chooses.
        candidates: In the order of the shortlist, with ``domain``, ``predicted`` and what the strategy reads.
        query: How many, and what is known.
        limits: Floors and caps.
        labels: Of the taxonomy.

    Raises:
        PoolExhaustedError: A limit cannot be kept; it is named.
    """
    choice = _Choosing(strategy, candidates, query, limits, labels)
    for group in limits.groups:
        choice.fill(group)
    choice.fill_up()
    return choice.picks()


class _Choosing:
    """A choice in steps."""

    def __init__(
        self, strategy: QueryStrategy, candidates: pa.Table, query: Query, limits: Limits, labels: Sequence[str]
    ) -> None:
        self._strategy, self._candidates, self._query = strategy, candidates, query
        self._limits, self._labels = limits, labels
        self._predicted = _codes(candidates[PREDICTED], labels)
        self._is_left = np.ones(candidates.num_rows, dtype=bool)
        self._rows = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0)
        self._whys: list[str] = []
        self._n_floor = 0

    def fill(self, group: Group) -> None:
        """Choose what the group's floor still lacks."""
        is_member = pc.equal(self._candidates[group.column], group.name).fill_null(False).to_numpy()
        lacking = group.floor - int(is_member[self._rows].sum())
        if lacking <= 0:
            return
        what = f"{group.option} asks for {group.floor} pages of {group.name!r}"
        if lacking > self._query.size - len(self._rows):
            raise PoolExhaustedError(
                f"{what}, but {len(self._rows)} of the {self._query.size} pages that the strategy may choose go to "
                f"other floors. Lower a floor, or raise selection.budget."
            )
        self._choose(is_member, lacking, what, f"floor of {group.name}")
        self._n_floor = len(self._rows)

    def fill_up(self) -> None:
        """Choose the rest."""
        size = self._query.size - len(self._rows)
        self._choose(np.ones(len(self._is_left), dtype=bool), size, f"selection.budget leaves {size} pages to choose")

    def picks(self) -> Picks:
        """Return what was chosen, best first."""
        best_first = np.argsort(-self._scores, kind="stable")
        whys = [self._whys[row] for row in best_first]
        return Picks(self._rows[best_first], self._scores[best_first], whys, best_first < self._n_floor)

    def _choose(self, is_member: NDArray[np.bool_], size: int, what: str, why: str | None = None) -> None:
        """Choose among the members, again where a label would have more than its cap."""
        while size:
            open_rows = np.flatnonzero(is_member & self._is_left & self._has_room())
            if len(open_rows) < size:
                raise PoolExhaustedError(f"{what}, {self._lacking(is_member, size, len(open_rows))}")
            choice = self._strategy.choose(self._candidates.take(pa.array(open_rows)), replace(self._query, size=size))
            rows = open_rows[choice.rows]
            is_over = self._is_over_cap(rows)
            # A label that would have too many keeps its first ones; the others' pages are chosen anew.
            kept = (
                ~is_over & np.isin(self._predicted[rows], self._predicted[rows[is_over]]) if is_over.any() else ~is_over
            )
            accounts = np.full(size, -1) if choice.labels is None else choice.labels
            self._add(rows[kept], choice.scores[kept], accounts[kept], why)
            size -= int(kept.sum())

    def _add(
        self, rows: NDArray[np.int64], scores: NDArray[np.float64], accounts: NDArray[np.int64], why: str | None
    ) -> None:
        self._is_left[rows] = False
        self._rows, self._scores = np.concatenate([self._rows, rows]), np.concatenate([self._scores, scores])
        strategy = self._strategy.name
        self._whys += [
            f"{strategy}: {why}" if why else f"{strategy}: {self._labels[label]}" if label >= 0 else strategy
            for label in accounts.tolist()
        ]

    def _has_room(self) -> NDArray[np.bool_]:
        """Return for each candidate whether its label is below its cap."""
        return ~self._is_over_cap(np.arange(len(self._predicted)), at_once=False)

    def _is_over_cap(self, rows: NDArray[np.int64], *, at_once: bool = True) -> NDArray[np.bool_]:
        """Return for each row whether its label has its share, with the rows before it if they come at once."""
        cap = self._limits.class_cap
        if cap is None:
            return np.zeros(len(rows), dtype=bool)
        chosen = np.bincount(self._predicted[self._rows] + 1, minlength=len(self._labels) + 1)
        codes = self._predicted[rows]
        before = _occurrences_before(codes) if at_once else np.zeros(len(rows), dtype=np.int64)
        return np.asarray((codes >= 0) & (chosen[codes + 1] + before >= cap))

    def _lacking(self, is_member: NDArray[np.bool_], size: int, found: int) -> str:
        n_capped = int((is_member & self._is_left & ~self._has_room()).sum())
        if n_capped:
            return (
                f"but {size - found} of them are lacking: selection.class_share={self._limits.class_share} allows "
                f"{self._limits.class_cap} pages of a label, which leaves out {n_capped} candidates. Raise it."
            )
        return f"but only {found} candidates are left for {size}. Lower it, or add traffic."


def _codes(predicted: pa.ChunkedArray, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each label, -1 where it is missing."""
    codes = pc.index_in(predicted, value_set=pa.array(labels, pa.string())).fill_null(-1)
    return np.asarray(codes, dtype=np.int64)


def _occurrences_before(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each entry how many earlier ones equal it."""
    by_code = np.argsort(codes, kind="stable")
    ordered = codes[by_code]
    before = np.empty(len(codes), dtype=np.int64)
    before[by_code] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return before
