"""SIMULATED annotators: they know the true answer and give it with human faults. For demos, tests and replays."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from al_platform.annotation.exchange import FileExchange
from al_platform.annotation.platform import Pulled, Receipt
from al_platform.domain.taxonomy import Taxonomy
from al_platform.storage.store import Store

Truth = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
"""True values by page id, of those of the given pages for which they are known."""

# People overlook a label that applies far more often than they see one that does not.
_FALSE_ALARMS_PER_MISS = 0.1

# Answers are dated within the two weeks after the month whose traffic was read; no clock is asked.
_CYCLE = re.compile(r"([12]\d{3})-(0[1-9]|1[0-2])")
_LONGEST_MONTH = timedelta(days=32)
_ANSWERING_TIME = timedelta(days=14)
_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


class SimulatedAnnotators(BaseModel):
    """Who answers, and how well.

    Attributes:
        annotators: How many there are; they are called ``simulated-1`` and so on.
        error_rates: Of the best and of the worst of them; the others lie evenly between.
        skip_rate: Share of pages that one of them skips.
        seed: Another seed is other people.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotators: int = Field(default=5, ge=1)
    error_rates: tuple[float, float] = (0.03, 0.2)
    skip_rate: float = Field(default=0.02, ge=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        best, worst = self.error_rates
        if not 0 <= best <= worst <= 1:
            raise ValueError(f"error_rates should rise within 0 to 1, found {list(self.error_rates)}")
        return self

    def names(self) -> list[str]:
        """Return the annotators' names, the most careful first."""
        return [f"simulated-{number}" for number in range(1, self.annotators + 1)]

    def error_rate(self, name: str) -> float:
        """Return how often this annotator errs."""
        best, worst = self.error_rates
        return best + (worst - best) * self.names().index(name) / max(self.annotators - 1, 1)


class SimulatedPlatform:
    """A file exchange whose annotators answer at once.

    An answer depends on seed, family, page and annotator alone. A page that is in a later batch again is answered by
    others than before, as long as there are others. After a crash between tasks and answers, submitting again writes
    the answers.
    """

    name = "simulated"

    def __init__(
        self,
        store: Store,
        prefix: str,
        taxonomy: Taxonomy,
        family: str,
        truth: Truth,
        options: SimulatedAnnotators,
        answers_per_page: int,
    ):
        self._store = store
        self._exchange = FileExchange(store, prefix, taxonomy)
        self._taxonomy = taxonomy
        self._family = family
        self._truth = truth
        self._options = options
        self._answers_per_page = answers_per_page

    def submit(self, batch: pa.Table) -> Receipt:
        """Write the tasks, and the answers to those that have none.

        Pages whose truth is unknown, or outside the taxonomy, stay unanswered.
        """
        receipt = self._exchange.submit(batch)
        if receipt.batch_id is not None:
            for part in self._exchange.parts(receipt.batch_id):
                self._answer(part)
        return receipt.model_copy(update={"platform": self.name})

    def pull(self) -> Pulled:
        """Return all answers so far."""
        return self._exchange.pull()

    def _answer(self, part: str) -> None:
        path = self._exchange.answers_path(part)
        if self._store.exists(path):
            return
        tasks = self._exchange.tasks(part)
        truth = self._truth([task["page_id"] for task in tasks])
        known = [task for task in tasks if task["page_id"] in truth and self._is_answer(truth[task["page_id"]])]
        asked = self._asked_before(part)
        lines = [self._line(task, truth[task["page_id"]], asked[task["page_id"]]) for task in known]
        try:
            self._store.create(path, b"".join(lines))
        except FileExistsError:
            # Another run was as fast, with the same answers.
            return

    def _is_answer(self, truth: Sequence[str]) -> bool:
        return self._taxonomy.problem(truth) is None

    def _asked_before(self, part: str) -> Counter[str]:
        """Return how many answers to each page were wanted in the batches before that of a part, by their ids."""
        wanted: Counter[str] = Counter()
        for earlier in self._exchange.all_parts():
            if earlier.rpartition("/")[2].partition(".")[0] < part.rpartition("/")[2].partition(".")[0]:
                for task in self._exchange.tasks(earlier):
                    wanted[task["page_id"]] += self._wanted(task)
        return wanted

    def _wanted(self, task: Mapping[str, Any]) -> int:
        return int(task["answers_wanted"] or self._answers_per_page)

    def _line(self, task: Mapping[str, Any], truth: Sequence[str], asked_before: int) -> bytes:
        names = self._on_duty(task["page_id"], self._wanted(task), asked_before)
        annotations = [self._annotation(task, truth, name) for name in names]
        data = {"page_id": task["page_id"], "batch_id": task["batch_id"]}
        return json.dumps({"data": data, "annotations": annotations}).encode() + b"\n"

    def _on_duty(self, page_id: str, wanted: int, asked_before: int) -> list[str]:
        """Return the annotators who answer a page: the next ones of an order drawn for it, in turns."""
        drawn = sorted(self._options.names(), key=lambda name: self._chance("duty", page_id, name))
        turns = (drawn[(asked_before + turn) % len(drawn)] for turn in range(min(wanted, len(drawn))))
        return sorted(turns)

    def _annotation(self, task: Mapping[str, str], truth: Sequence[str], name: str) -> dict[str, Any]:
        page_id = task["page_id"]
        is_skipped = self._chance("skip", page_id, name) < self._options.skip_rate
        choices = {"type": "choices", "from_name": "label", "to_name": "text"}
        values = [] if is_skipped else self._values(page_id, truth, name)
        time = (_opened(task["batch_id"]) + self._chance("time", page_id, name) * _ANSWERING_TIME).isoformat()
        return {
            "id": name,
            "completed_by": name,
            "result": [choices | {"value": {"choices": values}}] if values else [],
            "was_cancelled": is_skipped,
            "created_at": time,
            "updated_at": time,
        }

    def _values(self, page_id: str, truth: Sequence[str], name: str) -> list[str]:
        error_rate = self._options.error_rate(name)
        if not self._taxonomy.is_multi:
            errs = self._chance("error", page_id, name) < error_rate
            return [self._confused_with(truth, page_id, name)] if errs else list(truth)
        seen = [label for label in truth if self._chance("miss", page_id, name, label) >= error_rate]
        if self._chance("false alarm", page_id, name) < error_rate * _FALSE_ALARMS_PER_MISS:
            seen.append(self._confused_with(truth, page_id, name))
        return [label for label in self._taxonomy.labels if label in seen]

    def _confused_with(self, truth: Sequence[str], page_id: str, name: str) -> str:
        """Return a label that does not apply; each family has pairs that are mistaken for one another more often.

        The draw is an exponential race, with weights that depend on the true labels.
        """
        others = [label for label in self._taxonomy.labels if label not in truth] or list(truth)
        likeness = {label: self._chance("likeness", *truth, label) ** 3 for label in others}
        return max(others, key=lambda label: self._chance("confusion", page_id, name, label) ** (1 / likeness[label]))

    def _chance(self, *parts: str) -> float:
        """Return a number in (0, 1) for these parts, the same on every machine."""
        spelled = json.dumps([self._options.seed, self._family, *parts])
        return (int.from_bytes(sha256(spelled.encode()).digest()[:6], "big") + 0.5) / 2**48


def _opened(batch_id: str) -> datetime:
    """Return when work on a batch begins: at the first of the month after the cycle that its id names."""
    match = _CYCLE.search(batch_id)
    if not match:
        return _UNDATED
    month = datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC)
    return (month + _LONGEST_MONTH).replace(day=1)
