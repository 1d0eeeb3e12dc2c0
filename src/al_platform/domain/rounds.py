"""How far people have come: rounds (the batch of each cycle), annotators, and labels that were looked at again."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from al_platform.domain.adjudication import Checks
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.selection.reasons import RELABEL
from al_platform.domain.votes import Answers

# Beyond that it is no forecast.
_LONGEST = timedelta(days=3650)
State = Literal["open", "late", "closed"]


def rounds_of(answered: pa.Table) -> dict[str, dict[str, Any]]:
    """Return of each cycle's batch how much of it is answered, by cycle.

    A page is complete with as many answers, or skips, as were wanted of it.

    Args:
        answered: See ``schemas.ANSWERED_PAGES``.

    Returns:
        ``pages``, ``complete``, ``answers_wanted``, ``answers_given`` (at most as many as wanted), the times of the
        first and the last answer, and answers ``by_annotator``.
    """
    asked = answered["asked"].combine_chunks().flatten()
    wanted = pc.fill_null(asked.field("wanted"), 1)
    given = pc.min_element_wise(pc.list_value_length(asked.field("answered_by")).cast(pa.int64()), wanted)
    rows = pa.table(
        {
            "cycle": asked.field("cycle"),
            "wanted": wanted,
            "given": given,
            "complete": pc.equal(given, wanted).cast(pa.int64()),
            **{name: asked.field(name) for name in ("first_at", "last_at")},
        }
    )
    totals = [("wanted", "sum"), ("given", "sum"), ("complete", "sum"), ("first_at", "min"), ("last_at", "max")]
    counted = rows.group_by("cycle").aggregate([*totals, ([], "count_all")]).sort_by("cycle").to_pylist()
    people = _answers_by_annotator(asked)
    return {
        row["cycle"]: {
            "pages": row["count_all"],
            "complete": row["complete_sum"],
            "answers_wanted": row["wanted_sum"],
            "answers_given": row["given_sum"],
            "first_answer_at": _spelled(row["first_at_min"]),
            "last_answer_at": _spelled(row["last_at_max"]),
            "by_annotator": people.get(row["cycle"], {}),
        }
        for row in counted
    }


def annotator_figures(answers: Answers, checks: Checks, quality: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Return of each annotator the answers that hold, the answers to control pages, and the chance to be right."""
    right = checks.right_by_annotator()
    counts = dict.fromkeys(sorted({*answers.annotators, *right}), 0)
    for number in answers.annotator.tolist():
        counts[answers.annotators[number]] += 1
    return {
        name: {
            "answers": n,
            "checks": right.get(name, (0, 0))[0],
            "checks_right": right.get(name, (0, 0))[1],
            "quality": quality.get(name),
        }
        for name, n in counts.items()
    }


def relabelled(answered: pa.Table, labels: pa.Table) -> dict[str, int]:
    """Return how many labels in doubt were asked about again, answered, and found wrong: ``fixed``.

    Args:
        answered: See ``schemas.ANSWERED_PAGES``.
        labels: See ``schemas.LABELS``.
    """
    column = answered["asked"].combine_chunks()
    asked = pa.table({"page_id": answered["page_id"].combine_chunks().take(pc.list_parent_indices(column))})
    for name in ("reason", "known_values", "answered_by"):
        asked = asked.append_column(name, column.flatten().field(name))
    doubted = asked.filter(pc.equal(asked["reason"], RELABEL))
    answered_now = doubted.filter(pc.greater(pc.list_value_length(doubted["answered_by"]), 0))
    before = {row["page_id"]: set(row["known_values"] or []) for row in answered_now.to_pylist()}
    asked_again = labels.filter(pc.is_in(labels["page_id"], value_set=pa.array(list(before), pa.string())))
    found = zip(asked_again["page_id"].to_pylist(), asked_again["values"].to_pylist(), strict=True)
    fixed = sum(set(values) != before[page] for page, values in found)
    return {"asked": doubted.num_rows, "answered": answered_now.num_rows, "fixed": fixed}


class Progress(NamedTuple):
    """Where a round stands.

    Attributes:
        state: ``closed`` once it is complete, or by date; ``late`` when it is due and incomplete.
        due: When it is due.
        finish: When it will be complete if answers go on coming as fast as they did; None: complete, or not to tell.
    """

    state: State
    due: datetime
    finish: datetime | None


def progress_of(cycle: str, found: dict[str, Any], due_days: int, close_days: int, now: datetime) -> Progress:
    """Return where the round of a cycle stands; days count from the end of the cycle.

    Args:
        cycle: ``YYYY-MM``.
        found: As ``rounds_of`` tells.
        due_days: Until it is overdue.
        close_days: Until it is closed.
        now: The time, with a zone.
    """
    sent = datetime.fromisoformat(f"{shift_cycle(cycle, 1)}-01").replace(tzinfo=UTC)
    due = sent + timedelta(days=due_days)
    is_complete = found["complete"] == found["pages"]
    is_closed = is_complete or now >= sent + timedelta(days=close_days)
    state: State = "closed" if is_closed else "late" if now >= due else "open"
    return Progress(state, due, None if is_complete else _finish(found, now))


def _finish(found: dict[str, Any], now: datetime) -> datetime | None:
    given, first, last = found["answers_given"], found["first_answer_at"], found["last_answer_at"]
    if not given or first is None or first == last:
        return None
    # As people stopped answering, the pace falls with each day that passes.
    spent = max(now, datetime.fromisoformat(last)) - datetime.fromisoformat(first)
    left: timedelta = spent * ((found["answers_wanted"] - given) / given)
    return now + left if left < _LONGEST else None


def _answers_by_annotator(asked: pa.StructArray) -> dict[str, dict[str, int]]:
    people = asked.field("answered_by")
    each = pa.table({"cycle": asked.field("cycle").take(pc.list_parent_indices(people)), "annotator": people.flatten()})
    counted = each.group_by(["cycle", "annotator"]).aggregate([([], "count_all")])
    found: dict[str, dict[str, int]] = {}
    for row in counted.sort_by([("cycle", "ascending"), ("annotator", "ascending")]).to_pylist():
        found.setdefault(row["cycle"], {})[row["annotator"]] = row["count_all"]
    return found


def _spelled(time: datetime | None) -> str | None:
    return time.isoformat() if time is not None else None
