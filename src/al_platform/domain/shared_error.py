"""Challengers judged on the same golden pages share one error: together at most 1 - confidence of wrong promotions.

A decision may use a share of what is left (``GateOptions.spend``). A promotion gives back what it used, a challenger
that was not promoted has used it up: alpha investing with full return (Foster and Stine 2008), which keeps the error of
all decisions together because it is a graphical Bonferroni procedure (Bretz et al. 2009). New golden pages begin anew.

What people did since is written beside a decision. A promotion that a person rolled back takes again what it gave back:
it was the wrong one that the error is for. A promotion by hand gives nothing back: no test on these pages led to it.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

SKETCH_SIZE = 16
ByHand: TypeAlias = Literal["promoted", "rolled_back"]
SAME_PAGES = 0.5  # of two sketches: an erased page or two leave the pages what they were


class GoldenDecision(BaseModel):
    """One challenger that was judged on the golden pages.

    Attributes:
        cycle: Of the evaluation.
        challenger_digest: The model that was judged.
        champion_digest: What it was compared with; None: the baseline.
        share: Part of the whole error that its decision used.
        verdict: What was decided.
        by_hand: What a person did about the challenger last; None: nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cycle: str
    challenger_digest: str
    champion_digest: str | None
    share: float
    verdict: Literal["promote", "iterate", "reject"]
    by_hand: ByHand | None = None

    @property
    def is_failure(self) -> bool:
        """Whether a challenger of a champion was not promoted."""
        return self.champion_digest is not None and self.verdict != "promote"

    @property
    def is_refuted(self) -> bool:
        """Whether a challenger of a champion was promoted, and a person took that back."""
        return self.champion_digest is not None and self.verdict == "promote" and self.by_hand == "rolled_back"


class GoldenHistory(BaseModel):
    """The decisions so far on the same golden pages, oldest first.

    Attributes:
        sketch: Of the pages; see :func:`sketch_pages`.
        decisions: One a pair of challenger and champion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sketch: tuple[str, ...]
    decisions: tuple[GoldenDecision, ...] = ()

    def share_of(self, challenger_digest: str, champion_digest: str | None, spend: float) -> float:
        """Return the part of the whole error that the decision on a challenger may use.

        A challenger that was judged on these pages against this champion keeps its share: it is the same decision.
        Before the first champion nothing is in use that could be replaced by something worse: nothing is shared.
        """
        if champion_digest is None:
            return 1.0
        # What was left when a decision was made, and what is left of it today: a promotion that was refuted later takes
        # the part of the whole that it had used from what later decisions left.
        then, left = 1.0, 1.0
        for decision in self.decisions:
            if (decision.challenger_digest, decision.champion_digest) == (challenger_digest, champion_digest):
                return decision.share
            if decision.is_failure or decision.is_refuted:
                left *= max(0.0, 1 - decision.share / then) if then > 0 else 0.0
            if decision.is_failure:
                then = max(0.0, then - decision.share)
        return left * spend

    def with_people(self, by_hand: Mapping[str, ByHand]) -> "GoldenHistory":
        """Return the history with what people did last about each challenger, by its digest."""
        told = (each.model_copy(update={"by_hand": by_hand.get(each.challenger_digest)}) for each in self.decisions)
        return self.model_copy(update={"decisions": tuple(told)})

    def with_decision(self, decision: GoldenDecision) -> "GoldenHistory":
        """Return the history with a decision in place of an earlier one on the same models, or at its end."""
        key = (decision.challenger_digest, decision.champion_digest)
        found = [(each.challenger_digest, each.champion_digest) == key for each in self.decisions]
        if any(found):
            kept = tuple(decision if same else each for each, same in zip(self.decisions, found, strict=True))
        else:
            kept = (*self.decisions, decision)
        return self.model_copy(update={"decisions": kept})


def sketch_pages(page_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the smallest hashes of the pages: a bottom-k sketch (Broder 1997), which tells their overlap."""
    return tuple(sorted(sha256(page_id.encode()).hexdigest()[:16] for page_id in page_ids)[:SKETCH_SIZE])


def continue_history(earlier: GoldenHistory | None, page_ids: Sequence[str]) -> GoldenHistory:
    """Return the history to go on with: the earlier one where most of its golden pages are still golden."""
    sketch = sketch_pages(page_ids)
    if earlier is None or not sketch:
        return GoldenHistory(sketch=sketch)
    smallest = sorted({*earlier.sketch, *sketch})[: max(len(sketch), len(earlier.sketch))]
    shared = len({*earlier.sketch} & {*sketch} & {*smallest})
    is_same = shared >= SAME_PAGES * len(smallest)
    return GoldenHistory(sketch=sketch, decisions=earlier.decisions if is_same else ())
