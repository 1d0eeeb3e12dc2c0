"""From answers to labels: which classes a page has, how sure that is, and how well each annotator answers."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.dawid_skene import DawidSkeneOptions, Estimate, Responses, estimate
from al_platform.domain.selection.reasons import CONTROL
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.votes import Answers
from al_platform.schemas import ANNOTATIONS, BATCH, LABELS, conform

SENT_COLUMNS = (*("batch_id", "page_id", "rank", "reason", "inclusion_probability", "answers_wanted", "known_values"),)
SENT = pa.schema([*(BATCH.field(name) for name in SENT_COLUMNS), pa.field("cycle", pa.string(), nullable=False)])
ORIGIN = pa.schema([LABELS.field(name) for name in ("reason", "inclusion_probability", "cycle")])
"""How a page came to be labelled."""

_DIGITS = 6
_CERTAIN_ENOUGH = 1e-9


class AdjudicationOptions(BaseModel):
    """How answers become labels.

    Attributes:
        method: ``dawid_skene``: answers count by how well who gave them answers; ``majority``: each counts the same.
        min_confidence: Least probability at which dawid_skene decides; below it a page has no label and is asked about
            again. Between two annotators who contradict each other, it leaves the decision to a third.
        min_answers: With fewer answers in all, a majority decides: they would say more about chance than about people.
        dawid_skene: How it is fitted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["dawid_skene", "majority"] = "dawid_skene"
    min_confidence: float = Field(default=0.6, ge=0.5, lt=1)
    min_answers: int = Field(default=100, ge=0)
    dawid_skene: DawidSkeneOptions = DawidSkeneOptions()


class Checks(NamedTuple):
    """Answers about pages whose label is known; ``known`` holds it for each page of ``answers``, (P, C)."""

    answers: Answers
    known: NDArray[np.bool_]

    def right_by_annotator(self) -> dict[str, tuple[int, int]]:
        """Return of each annotator how many answers there are, and how many of them name the known labels exactly."""
        is_right = (self.answers.chosen == self.known[self.answers.page]).all(axis=1)
        n = np.bincount(self.answers.annotator, minlength=len(self.answers.annotators))
        right = np.bincount(self.answers.annotator, is_right, minlength=len(n))
        counts = zip(n.tolist(), right.astype(np.int64).tolist(), strict=True)
        return dict(zip(self.answers.annotators, counts, strict=True))


class Conclusion(NamedTuple):
    """What answers come to, by page of the answers.

    Attributes:
        winners: The classes of each page, (P, C).
        is_decided: Whether the answers decide, (P,).
        confidence: How sure they are, (P,): single-label the winner's share or probability, multi-label that of the
            least certain class.
        quality: Chance that an annotator is right, by name: single-label about a page like these, multi-label the mean
            of being right where a class applies and where it does not. Empty after a majority, which knows no names.
    """

    winners: NDArray[np.bool_]
    is_decided: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    quality: dict[str, float]


def conclude(answers: Answers, checks: Checks, taxonomy: Taxonomy, options: AdjudicationOptions) -> Conclusion:
    """Return the label of each page.

    Majority. Single-label: the answer with most votes. Multi-label: each class that more than half of the annotators
    chose. An exact tie (for any class) decides nothing: with two annotators it is the common kind of disagreement, and
    to settle it by label order or by date would teach the model a rule that nobody chose.

    Dawid-Skene. Single-label: the class of greatest probability. Multi-label: each class is a question of its own, yes
    or no. Pages with known labels tell how well annotators answer, before any of the others does.
    """
    n_answers = len(answers.page) + len(checks.answers.page)
    if options.method == "majority" or n_answers < options.min_answers:
        votes = answers.votes()
        return Conclusion(votes.winners(taxonomy), ~votes.is_tied(taxonomy), votes.confidence(taxonomy), {})
    names = sorted({*answers.annotators, *checks.answers.annotators})
    everyone = _Together(answers, checks, names)
    concluded = _each_class(everyone, options) if taxonomy.is_multi else _one_class(everyone, options)
    return Conclusion(*concluded[:3], dict(zip(names, np.round(concluded[3], _DIGITS).tolist(), strict=True)))


def label_table(answers: Answers, concluded: Conclusion, origins: pa.Table, taxonomy: Taxonomy) -> pa.Table:
    """Return the label of each page that the answers decide, sorted by page; see ``schemas.LABELS``.

    ``agreement`` is the share of pairs of annotators who agree, null for one annotator.

    Args:
        answers: What was concluded from.
        concluded: Of these answers.
        origins: ``ORIGIN`` of each page of the answers.
        taxonomy: The family's labels.
    """
    votes, decided = answers.votes(), concluded.is_decided
    columns = {
        "page_id": pa.array(answers.page_ids, pa.string()).filter(pa.array(decided)),
        "values": taxonomy.decode(concluded.winners[decided]),
        "confidence": np.round(concluded.confidence[decided], _DIGITS),
        "n_annotations": votes.n_votes[decided],
        "agreement": pa.array(votes.pair_agreement(taxonomy)[decided], pa.float64(), from_pandas=True),
        "source": ["annotated"] * int(decided.sum()),
        **{name: origins[name].filter(pa.array(decided)) for name in ORIGIN.names},
    }
    return pa.table(columns, schema=LABELS).sort_by("page_id")


def adjudicate(
    ledger: pa.Table, batches: pa.Table, taxonomy: Taxonomy, cycle: str, options: AdjudicationOptions
) -> pa.Table:
    """Return the label of each page that its answers decide, from the whole ledger; see ``schemas.LABELS``.

    This is what labels are by definition; ingest comes to the same from what it carries (``domain.answered``).

    ``reason``, ``inclusion_probability`` and ``cycle`` say how the page came to be labelled. They are copied from the
    first batch in which it was annotated, a random draw before others of the same cycle, so that a page that is
    relabelled, or drawn again, keeps what it was. Skipped answers are no votes, nor are those about control pages: they
    tell how well annotators answer.

    Args:
        ledger: Answer versions of all partitions up to this cycle; see ``schemas.ANNOTATIONS``.
        batches: Rows of every batch so far, see ``SENT``; later cycles are ignored.
        taxonomy: The family's labels.
        cycle: The cycle to give pages that are in no batch.
        options: How answers become labels.

    Raises:
        SchemaError: A table does not fit its schema.
        TaxonomyError: An answer is not valid; ``annotations.valid_answers`` separates those.
    """
    ledger = conform(ledger, ANNOTATIONS, "the annotation ledger")
    sent = conform(batches, SENT, "the batches").select(SENT.names).filter(pc.field("cycle") <= cycle)
    voting, checking = split_controls(ledger, sent)
    answers = Answers.of_ledger(voting, taxonomy)
    concluded = conclude(answers, checks_of(checking, sent, taxonomy), taxonomy, options)
    known, unknown = origins_of(voting, sent), {"reason": None, "inclusion_probability": None, "cycle": cycle}
    origins = [{name: known.get(page, unknown)[name] for name in ORIGIN.names} for page in answers.page_ids]
    return label_table(answers, concluded, pa.Table.from_pylist(origins, ORIGIN), taxonomy)


def split_controls(ledger: pa.Table, sent: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Return the answers that are votes, and those about control pages.

    Args:
        ledger: See ``schemas.ANNOTATIONS``.
        sent: See ``SENT``.
    """
    controls = sent.filter(pc.field("reason") == CONTROL)
    asked = pc.is_in(_asked(ledger), value_set=_asked(controls))
    return ledger.filter(pc.invert(asked)), ledger.filter(asked)


def known_values(sent: pa.Table) -> dict[str, list[str]]:
    """Return the label of each control page as it was when it was sent last."""
    controls = sent.filter(pc.field("reason") == CONTROL).sort_by([("cycle", "ascending"), ("batch_id", "ascending")])
    return dict(zip(controls["page_id"].to_pylist(), controls["known_values"].to_pylist(), strict=True))


def checks_of(ledger: pa.Table, sent: pa.Table, taxonomy: Taxonomy) -> Checks:
    """Return the answers about control pages beside what is known; without those that the taxonomy no longer knows."""
    known = {page: values for page, values in known_values(sent).items() if values is not None}
    usable = [page for page, values in known.items() if taxonomy.problem(values) is None]
    answers = Answers.of_ledger(ledger.filter(pc.is_in(ledger["page_id"], pa.array(usable, pa.string()))), taxonomy)
    return Checks(answers, taxonomy.encode([known[page] for page in answers.page_ids]))


def origins_of(ledger: pa.Table, sent: pa.Table) -> dict[str, dict[str, Any]]:
    """Return the batch row of each page that says how it came to be labelled."""
    annotated_in = set(zip(*(ledger.column(name).to_pylist() for name in ("page_id", "batch_id")), strict=True))
    rows = sent.filter(pc.field("reason") != CONTROL).to_pylist()

    def precedence(row: dict[str, Any]) -> tuple[object, ...]:
        answered = (row["page_id"], row["batch_id"]) in annotated_in
        is_random = row["inclusion_probability"] is not None
        return (not answered, row["cycle"], not is_random, row["batch_id"], row["rank"])

    return {row["page_id"]: row for row in sorted(rows, key=precedence, reverse=True)}


def _asked(rows: pa.Table) -> pa.Array:
    """Return batch and page of each row as one text."""
    batch, page = (pc.fill_null(rows[name].combine_chunks(), "") for name in ("batch_id", "page_id"))
    return pc.binary_join_element_wise(batch, page, "\x1f")


class _Together(NamedTuple):
    """Answers about pages of unknown and of known label, in one numbering: the known pages come last."""

    answers: Answers
    checks: Checks
    names: list[str]

    @property
    def item(self) -> NDArray[np.int64]:
        return np.concatenate([self.answers.page, self.checks.answers.page + len(self.answers.page_ids)])

    @property
    def annotator(self) -> NDArray[np.int64]:
        number = {name: index for index, name in enumerate(self.names)}
        parts = [
            np.array([number[name] for name in each.annotators], dtype=np.int64)[each.annotator]
            for each in (self.answers, self.checks.answers)
        ]
        return np.concatenate(parts)

    @property
    def chosen(self) -> NDArray[np.bool_]:
        return np.concatenate([self.answers.chosen, self.checks.answers.chosen])

    def fitted(
        self, choice: NDArray[np.int64], known: NDArray[np.int64], n_classes: int, options: AdjudicationOptions
    ) -> Estimate:
        """Return the estimate for one question; the class of each known page is ``known``."""
        n_unknown = len(self.answers.page_ids)
        item, annotator = self.item, self.annotator
        responses = Responses(item, annotator, choice, n_unknown + len(known), len(self.names), n_classes)
        found = estimate(responses, np.concatenate([np.full(n_unknown, -1), known]), options.dawid_skene)
        return found._replace(posterior=found.posterior[:n_unknown])


_Concluded = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]


def _one_class(everyone: _Together, options: AdjudicationOptions) -> _Concluded:
    chosen, known = everyone.chosen, everyone.checks.known
    found = everyone.fitted(chosen.argmax(axis=1), known.argmax(axis=1), chosen.shape[1], options)
    winners = np.zeros(found.posterior.shape, dtype=bool)
    winners[np.arange(len(winners)), found.posterior.argmax(axis=1)] = True
    confidence = found.posterior.max(axis=1, initial=0)
    return winners, _is_sure(confidence, options), confidence, found.accuracy


def _each_class(everyone: _Together, options: AdjudicationOptions) -> _Concluded:
    chosen, known = everyone.chosen.astype(np.int64), everyone.checks.known.astype(np.int64)
    # A class that nobody ever named applies to no page, and says nothing of anybody.
    asked = np.flatnonzero(chosen.any(axis=0) | known.any(axis=0))
    found = [everyone.fitted(chosen[:, column], known[:, column], 2, options) for column in asked]
    yes = np.zeros((len(everyone.answers.page_ids), chosen.shape[1]))
    for column, each in zip(asked, found, strict=True):
        yes[:, column] = each.posterior[:, 1]
    confidence = np.maximum(yes, 1 - yes).min(axis=1, initial=1)
    quality = np.mean([each.recall for each in found], axis=0) if found else np.ones(len(everyone.names))
    return yes > 1 / 2, _is_sure(confidence, options), confidence, quality


def _is_sure(confidence: NDArray[np.float64], options: AdjudicationOptions) -> NDArray[np.bool_]:
    return np.asarray(confidence >= options.min_confidence - _CERTAIN_ENOUGH)
