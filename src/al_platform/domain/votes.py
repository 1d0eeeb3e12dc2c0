"""What annotators said about each page, as arrays: their answers, the votes, and how far they agree."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from al_platform.domain.annotations import fold, without_skipped
from al_platform.domain.errors import TaxonomyError
from al_platform.domain.taxonomy import Taxonomy

MIN_ANSWERS_TO_COMPARE = 2


class Answers(NamedTuple):
    """M answers that hold now, of W annotators about P pages; C classes.

    Attributes:
        page_ids: Pages with an answer, (P,).
        annotators: Who answered, by name, (W,).
        page: Of each answer, (M,).
        annotator: Of each answer, (M,).
        chosen: Labels of each answer, (M, C).
    """

    page_ids: list[str]
    annotators: list[str]
    page: NDArray[np.int64]
    annotator: NDArray[np.int64]
    chosen: NDArray[np.bool_]

    @classmethod
    def of_ledger(cls, ledger: pa.Table, taxonomy: Taxonomy) -> "Answers":
        """Return the answers that hold now of a ledger, by page and annotator.

        Raises:
            SchemaError: The ledger does not fit ``schemas.ANNOTATIONS``.
            TaxonomyError: An answer is not valid; ``annotations.valid_answers`` separates those.
        """
        answers = without_skipped(fold(ledger))
        for row in taxonomy.outside(answers).to_pylist():
            raise TaxonomyError(
                f"Annotation {row['annotation_id']} of page {row['page_id']}: {taxonomy.problem(row['values'])} "
                f"Correct it on the platform, or set it aside with valid_answers."
            )
        pages, annotators, values = (answers[name].combine_chunks() for name in ("page_id", "annotator", "values"))
        return cls._of(pages, annotators, values, taxonomy)

    @classmethod
    def of_column(cls, answered: pa.Table, column: str, taxonomy: Taxonomy) -> "Answers":
        """Return the answers in a column of ``schemas.ANSWERED_PAGES``, one list a page, in their order."""
        answers = answered[column].combine_chunks()
        each = answers.flatten()
        pages = answered["page_id"].combine_chunks().take(pc.list_parent_indices(answers))
        return cls._of(pages, each.field("annotator"), each.field("values"), taxonomy)

    @classmethod
    def _of(cls, pages: pa.Array, annotators: pa.Array, values: pa.ListArray, taxonomy: Taxonomy) -> "Answers":
        page, page_ids = _coded(pages)
        annotator, names = _coded(annotators)
        return cls(page_ids, names, page, annotator, taxonomy.encode_lists(values))

    def votes(self) -> "Votes":
        """Return how many chose each class of each page."""
        votes = np.zeros((len(self.page_ids), self.chosen.shape[1]), dtype=np.int64)
        np.add.at(votes, self.page, self.chosen.astype(np.int64))
        return Votes(self.page_ids, votes, np.bincount(self.page, minlength=len(self.page_ids)))


class Votes(NamedTuple):
    """Votes a page: P pages with at least one vote, C classes."""

    page_ids: list[str]
    votes: NDArray[np.int64]  # (P, C)
    n_votes: NDArray[np.int64]  # (P,)

    def of(self, is_asked: NDArray[np.bool_]) -> "Votes":
        """Return the votes of some pages, (P,)."""
        names = [page for page, asked in zip(self.page_ids, is_asked, strict=True) if asked]
        return Votes(names, self.votes[is_asked], self.n_votes[is_asked])

    def agreement(self, taxonomy: Taxonomy) -> float | None:
        """Return Krippendorff's alpha: 1 is perfect, 0 what chance gives.

        Nominal alpha for a single-label family; for a multi-label one the mean of each class's binary alpha, over the
        classes that were chosen in some answers and not in others (Krippendorff 2011, "Computing Krippendorff's
        Alpha-Reliability").

        Returns:
            None where alpha is undefined: no page has two votes, or all votes on such pages are the same.
        """
        if not taxonomy.is_multi:
            return _alpha(self.votes)
        binary = (_alpha(np.stack([yes, self.n_votes - yes], axis=1)) for yes in self.votes.T)
        defined = [alpha for alpha in binary if alpha is not None]
        return float(np.mean(defined)) if defined else None

    def agreement_by(self, groups: Sequence[str | None], taxonomy: Taxonomy) -> dict[str, float | None]:
        """Return alpha of the pages of each group, by group; one name or None a page, (P,)."""
        of = np.array(groups, dtype=object)
        names = sorted({group for group in groups if group is not None})
        return {group: self.of(of == group).agreement(taxonomy) for group in names}

    def winners(self, taxonomy: Taxonomy) -> NDArray[np.bool_]:
        """Return the classes of most votes, (P, C); multi-label: those that more than half of the votes chose."""
        wins = 2 * self.votes > self.n_votes[:, None] if taxonomy.is_multi else self.votes == _most(self.votes)
        return np.asarray(wins, dtype=np.bool_)

    def is_tied(self, taxonomy: Taxonomy) -> NDArray[np.bool_]:
        """Return the pages whose votes decide nothing, (P,)."""
        if taxonomy.is_multi:
            return np.asarray((2 * self.votes == self.n_votes[:, None]).any(axis=1), dtype=np.bool_)
        return np.asarray(self.winners(taxonomy).sum(axis=1) > 1, dtype=np.bool_)

    def confidence(self, taxonomy: Taxonomy) -> NDArray[np.float64]:
        """Return the winner's share of the votes, (P,); multi-label: of the least certain class."""
        against = self.n_votes[:, None] - self.votes
        winning = np.maximum(self.votes, against).min(axis=1) if taxonomy.is_multi else _most(self.votes)[:, 0]
        return np.asarray(winning / self.n_votes, dtype=np.float64)

    def pair_agreement(self, taxonomy: Taxonomy) -> NDArray[np.float64]:
        """Return the share of pairs of annotators who agree, (P,), NaN where there is no pair.

        Fleiss 1971, P_i; multi-label: the mean over classes.
        """
        agreeing = _ordered_pairs(self.votes)
        if taxonomy.is_multi:
            agreeing = agreeing + _ordered_pairs(self.n_votes[:, None] - self.votes)
        together = agreeing.mean(axis=1) if taxonomy.is_multi else agreeing.sum(axis=1)
        pairs = _ordered_pairs(self.n_votes)
        return np.asarray(np.divide(together, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def _coded(names: pa.Array) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each name among the distinct ones, in the order they come."""
    coded = names.dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()


def _alpha(votes: NDArray[np.int64]) -> float | None:
    """Return nominal alpha of votes (P, C): Krippendorff 2011, section D, in the coincidence matrix's diagonal."""
    n_votes = votes.sum(axis=1)
    paired = n_votes >= MIN_ANSWERS_TO_COMPARE
    votes, n_votes = votes[paired], n_votes[paired]
    total = int(n_votes.sum())
    observed = float((_ordered_pairs(votes).sum(axis=1) / (n_votes - 1)).sum())
    by_chance = int(_ordered_pairs(votes.sum(axis=0)).sum())
    pairs = total * (total - 1)
    return None if by_chance == pairs else ((total - 1) * observed - by_chance) / (pairs - by_chance)


def _ordered_pairs(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(counts * (counts - 1))


def _most(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(votes.max(axis=1, keepdims=True))
