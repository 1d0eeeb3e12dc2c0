"""The duel: which of two models is right where they disagree.

After an undecided verdict both models decide about a large random frame of pages that neither was trained on. Where
they say the same, a label tells nothing about which is better, so that only a random sample of their disagreements is
labelled. The difference of their accuracies on the frame is

    (disagreements / decisions) * mean of +1 (challenger right), -1 (champion right), 0 (both wrong)

A *disagreement* is a page of a single-label family, and a page with a label of a multi-label one: there exactly one of
the two is right, and the accuracy is that of a single yes or no, over all pages and labels.

What the duel decides is accuracy on traffic. Macro-F1, which the gate reads, is no mean over pages and cannot be had
from disagreements alone: the gate's guardrails stay. A challenger that is significantly worse on golden is rejected
before, and a duel stands in for the checks of difference only (``SETTLED``), for no other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy  # its submodules are loaded when they are used
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from al_platform.domain.errors import InputError
from al_platform.domain.metrics import BoolArray
from al_platform.domain.selection.random_order import random_keys, random_order
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import BATCH, STRINGS

DUEL = "duel"
STRATUM = "disagreement"
SETTLED = frozenset({"golden_rows", "golden_difference", "audit_rows", "audit_difference"})
"""Checks of the gate that ask whether the challenger is better, for which the duel's answer stands in."""

DUEL_PAGES = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("champion_values", STRINGS, nullable=False),
        pa.field("challenger_values", STRINGS, nullable=False),
        pa.field("disputed", STRINGS, nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("stratum", pa.string(), nullable=False),
        pa.field("inclusion_probability", pa.float64(), nullable=False),
        pa.field("frame_size", pa.int64(), nullable=False),
    ]
)
"""One row a page to label. ``disputed``: the labels on which it was drawn, none in a single-label family;
``inclusion_probability``: that of the page among the frame's pages of disagreement; ``frame_size``: pages decided."""


_SAID = ("champion_values", "challenger_values", "disputed")
_PAGES_READ = pa.schema([DUEL_PAGES.field(name) for name in ("page_id", *_SAID)])


class DuelOptions(BaseModel):
    """How large a duel is, and what it may be wrong.

    Attributes:
        size: Disagreements that are labelled; 0: no duels. 100 show a gain of 3 points with a power of 0.98 to 0.74
            where 8 to 12 % of the pages are decided differently; see ``docs/benchmarks.md``.
        frame: Pages that both models decide on; at a tenth of disagreement it takes ten for each to be labelled.
        alpha: Probability to let a challenger win that is no better. With the 0.03 that the gate spends on its decision
            about one challenger (confidence 0.95, spend 0.6) the two looks together are wrong in at most 0.05.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(default=100, ge=0)
    frame: int = Field(default=5_000, ge=1)
    alpha: float = Field(default=0.02, gt=0, lt=0.5)


class DuelFrame(BaseModel):
    """What a duel was drawn from.

    Attributes:
        decisions: Decisions of each model: pages, in a multi-label family times labels.
        disagreements: Decisions in which the models differ.
        drawn: Disagreements to be labelled, drawn uniformly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    decisions: int = Field(ge=1)
    disagreements: int = Field(ge=0)
    drawn: int = Field(ge=0)

    @property
    def rate(self) -> float:
        """Share of the decisions in which the models differ."""
        return self.disagreements / self.decisions


class Duel(NamedTuple):
    """Pages to label (``DUEL_PAGES``), and what they were drawn from."""

    pages: pa.Table
    frame: DuelFrame


class DuelOfModels(NamedTuple):
    """A duel, and the models in it."""

    challenger_digest: str
    champion_digest: str
    duel: Duel

    @property
    def pages(self) -> pa.Table:
        """The pages to label; see ``DUEL_PAGES``."""
        return self.duel.pages

    def noted_in(self, batch: pa.Table) -> pa.Table:
        """Return a batch with what is to be known of the duel in its column ``duel``, so that it is sealed with it."""
        digests = {"challenger_digest": self.challenger_digest, "champion_digest": self.champion_digest}
        frame = self.duel.frame.model_dump()
        said = {
            page["page_id"]: {**digests, **frame, **{name: page[name] for name in _SAID}}
            for page in self.pages.to_pylist()
        }
        column = pa.array([said.get(page_id) for page_id in batch["page_id"].to_pylist()], BATCH.field("duel").type)
        return batch.set_column(batch.column_names.index("duel"), BATCH.field("duel"), column)


class DuelVerdict(BaseModel):
    """Who won, with the counts it rests on.

    Attributes:
        winner: ``undecided`` where neither is significantly better, whatever the missing answers would be.
        wins: Disagreements in which the challenger is right.
        losses: In which the champion is.
        ties: In which neither is.
        unanswered: Without a label.
        difference: Challenger minus champion in accuracy on the frame, from the answered disagreements; None without.
        lower: One-sided bound of it at ``confidence``, with every missing answer against the challenger.
        upper: The same, with every missing answer for it.
        p_value: Of the exact test that the challenger is better, with every missing answer against it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    winner: Literal["challenger", "champion", "undecided"]
    reason: str
    frame: DuelFrame
    wins: int
    losses: int
    ties: int
    unanswered: int
    difference: float | None
    lower: float
    upper: float
    confidence: float
    p_value: float


def read_duels(batches: pa.Table) -> list[DuelOfModels]:
    """Return the duels that batches hold, oldest first.

    Args:
        batches: ``page_id``, ``cycle`` and ``duel`` of ``schemas.BATCH``.
    """
    rows = batches.filter(pc.is_valid(batches["duel"])).to_pylist()
    by_cycle: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["cycle"], row["page_id"])):
        by_cycle.setdefault(row["cycle"], []).append({"page_id": row["page_id"], **row["duel"]})
    return [_duel_of_rows(pages) for pages in by_cycle.values()]


def _duel_of_rows(rows: list[dict[str, Any]]) -> DuelOfModels:
    first = rows[0]
    frame = DuelFrame(**{name: first[name] for name in DuelFrame.model_fields})
    columns = ("page_id", *_SAID)
    pages = pa.Table.from_pylist([{name: row[name] for name in columns} for row in rows], _PAGES_READ)
    return DuelOfModels(first["challenger_digest"], first["champion_digest"], Duel(pages, frame))


def draw_frame(page_ids: pa.ChunkedArray, unavailable: pa.Array, size: int, salt: str) -> NDArray[np.int64]:
    """Return the rows of a uniform random sample of pages, in random order; fewer where there are no more.

    Args:
        page_ids: The month's scored pages.
        unavailable: Pages that are labelled or pending, so that a model may have been trained on them.
        size: Pages to draw.
        salt: Of the draw, for instance cycle and seed.
    """
    order = random_order(page_ids, f"{salt}|{DUEL} frame")
    known = set(unavailable.to_pylist())
    names = page_ids.take(pa.array(order)).to_pylist()
    is_open = np.array([name not in known for name in names], dtype=bool)
    return np.asarray(order[is_open][:size])


def draw_duel(
    page_ids: Sequence[str], champion: BoolArray, challenger: BoolArray, taxonomy: Taxonomy, *, size: int, salt: str
) -> Duel:
    """Draw disagreements uniformly at random from a random frame.

    Args:
        page_ids: The frame: random pages that neither model was trained on, nor on a near-duplicate of.
        champion: Its decisions, boolean (N, C).
        challenger: Its decisions, boolean (N, C).
        taxonomy: Of the family; its labels name the columns.
        size: Disagreements to draw; all, where there are no more. In a multi-label family some may share a page.
        salt: Of the draw, for instance cycle and seed.

    Raises:
        InputError: Decisions do not fit the frame, or the frame is empty.
    """
    _require_fitting(page_ids, champion, challenger, taxonomy)
    rows, columns = _disagreements(champion, challenger, taxonomy)
    names = [f"{page_ids[row]}|{column}" for row, column in zip(rows.tolist(), columns.tolist(), strict=True)]
    drawn = np.argsort(random_keys(names, f"{salt}|{DUEL}"), kind="stable")[:size]
    n_units = len(taxonomy.labels) if taxonomy.is_multi else 1
    frame = DuelFrame(decisions=len(page_ids) * n_units, disagreements=len(rows), drawn=len(drawn))
    disputed: dict[int, list[str]] = {}
    for row, column in zip(rows[drawn].tolist(), columns[drawn].tolist(), strict=True):
        disputed.setdefault(row, []).extend([taxonomy.labels[column]] if taxonomy.is_multi else [])
    pages = np.array(list(disputed), dtype=np.int64)  # (P,), in the order of the draw
    of_page = np.bincount(rows, minlength=len(page_ids))[pages]
    table = pa.table(
        {
            "page_id": [page_ids[page] for page in disputed],
            "champion_values": taxonomy.decode(champion[pages]),
            "challenger_values": taxonomy.decode(challenger[pages]),
            "disputed": list(disputed.values()),
            "reason": [DUEL] * len(pages),
            "stratum": [STRATUM] * len(pages),
            "inclusion_probability": [_inclusion_probability(frame, count) for count in of_page.tolist()],
            "frame_size": [len(page_ids)] * len(pages),
        },
        schema=DUEL_PAGES,
    )
    return Duel(table, frame)


def decide_duel(duel: Duel, answers: Mapping[str, Sequence[str]], taxonomy: Taxonomy, *, alpha: float) -> DuelVerdict:
    """Return who is right more often where the two disagree.

    The test is the exact sign test on the disagreements in which exactly one is right, that is McNemar's test in its
    exact form (McNemar 1947, "Note on the sampling error of the difference between correlated proportions"; Dixon and
    Mood 1946, "The statistical sign test"): without a difference on the frame each is as likely to be the challenger's
    as the champion's, and the challenger wins where P(Binomial(wins + losses, 1/2) >= wins) is at most ``alpha``. As
    they are drawn without replacement the true probability is smaller. A disagreement without an answer counts against
    whoever would win, so that non-response can take a victory, and cannot give one.

    The bounds are those of Clopper and Pearson 1934 for the challenger's share of wins, scaled by the share of
    decisions in which exactly one is right; the error of that share, which cannot change the sign, is left out.

    Args:
        duel: As it was drawn.
        answers: Label of each answered page.
        taxonomy: Of the family.
        alpha: Probability to let a challenger win that is no better. The duel is a second look after the gate's, so
            that the two must share what one decision may be wrong.

    Raises:
        InputError: There is nothing to decide: no disagreement was drawn.
    """
    if duel.frame.drawn == 0:
        raise InputError("Asked who wins a duel, but the models never disagreed on its frame: they decide alike.")
    answered_pages = [page for page in duel.pages.to_pylist() if page["page_id"] in answers]
    gains = [gain for page in answered_pages for gain in _gains(page, answers[page["page_id"]], taxonomy)]
    wins, losses, ties = (gains.count(value) for value in (1, -1, 0))
    answered = wins + losses + ties
    unanswered = duel.frame.drawn - answered  # a page that was erased since is one of them
    p_value = _sign_test(wins, losses + unanswered)
    worse = _sign_test(losses, wins + unanswered)
    winner: Literal["challenger", "champion", "undecided"] = (
        "challenger" if p_value <= alpha else "champion" if worse <= alpha else "undecided"
    )
    return DuelVerdict(
        winner=winner,
        reason=_reason(winner, wins, losses, ties, unanswered, p_value, alpha),
        frame=duel.frame,
        wins=wins,
        losses=losses,
        ties=ties,
        unanswered=unanswered,
        difference=duel.frame.rate * (wins - losses) / answered if answered else None,
        lower=_bound(duel.frame, wins, losses + unanswered, alpha),
        upper=-_bound(duel.frame, losses, wins + unanswered, alpha),
        confidence=1 - alpha,
        p_value=p_value,
    )


def opens_duel(verdict: Mapping[str, Any]) -> bool:
    """Return whether a duel could turn a verdict of the gate into a promotion.

    The verdict is *iterate*, there is a champion, and no required check stands in the way but those that ask whether
    the challenger is better.
    """
    return verdict["verdict"] == "iterate" and verdict["champion_digest"] is not None and not blocking_checks(verdict)


def blocking_checks(verdict: Mapping[str, Any]) -> list[str]:
    """Return the names of the required checks that did not pass and that a duel cannot stand in for."""
    checks = verdict["checks"]
    return [
        check["name"]
        for check in checks
        if check["required"] and check["passed"] is not True and check["name"] not in SETTLED
    ]


def _require_fitting(page_ids: Sequence[str], champion: BoolArray, challenger: BoolArray, taxonomy: Taxonomy) -> None:
    shape = (len(page_ids), len(taxonomy.labels))
    if champion.shape != shape or challenger.shape != shape or not len(page_ids):
        raise InputError(
            f"A duel needs at least one page and both models' decisions on each: {shape[0]} pages and {shape[1]} "
            f"labels were given with decisions of shapes {champion.shape} and {challenger.shape}."
        )


def _disagreements(
    champion: BoolArray, challenger: BoolArray, taxonomy: Taxonomy
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of each disagreement; the column is 0 throughout in a single-label family."""
    differs = champion != challenger
    if not taxonomy.is_multi:
        rows = np.flatnonzero(differs.any(axis=1))
        return rows, np.zeros_like(rows)
    rows, columns = np.nonzero(differs)
    return rows, columns


def _inclusion_probability(frame: DuelFrame, n_of_page: int) -> float:
    """Return the probability that at least one of a page's disagreements is among those drawn."""
    missed = 1.0
    for taken in range(n_of_page):
        missed *= max(0, frame.disagreements - frame.drawn - taken) / (frame.disagreements - taken)
    return 1 - missed


def _gains(page: Mapping[str, Any], truth: Sequence[str], taxonomy: Taxonomy) -> list[int]:
    """Return for each disagreement drawn of the page who is right: 1 the challenger, -1 the champion, 0 neither."""
    if taxonomy.is_multi:
        return [1 if (label in page["challenger_values"]) == (label in truth) else -1 for label in page["disputed"]]
    right = list(truth)
    return [int(page["challenger_values"] == right) - int(page["champion_values"] == right)]


def _sign_test(wins: int, losses: int) -> float:
    """Return P(Binomial(wins + losses, 1/2) >= wins)."""
    return float(scipy.special.bdtrc(wins - 1, wins + losses, 0.5)) if wins else 1.0


def _bound(frame: DuelFrame, wins: int, losses: int, alpha: float) -> float:
    """Return the lower bound of the difference for the side with these wins."""
    share_of_wins = float(scipy.special.betaincinv(wins, losses + 1, alpha)) if wins else 0.0
    return frame.rate * (wins + losses) / frame.drawn * (2 * share_of_wins - 1)


def _reason(winner: str, wins: int, losses: int, ties: int, unanswered: int, p_value: float, alpha: float) -> str:
    outcome = {
        "challenger": "The challenger wins the duel",
        "champion": "The champion wins the duel",
        "undecided": "The duel is undecided",
    }[winner]
    missing = f", {unanswered} are not answered and count against the winner" if unanswered else ""
    return (
        f"{outcome}: where they disagree the challenger is right {wins} times, the champion {losses} times, neither "
        f"{ties} times{missing}; p = {p_value:.4f} that the challenger is no better, which must be at most {alpha:g}."
    )
