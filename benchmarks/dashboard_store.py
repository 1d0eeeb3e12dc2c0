"""A store of several families and years, as the loop would have left it: real commits of made-up figures."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from al_platform.catalog.champion import ChampionEntry, append_champion
from al_platform.catalog.formats import format_named
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import MONTHS_PER_QUARTER, month_number, months_between, shift_cycle
from al_platform.domain.taxonomy import Taxonomy
from al_platform.schemas import PREDICTIONS
from al_platform.stages import STAGE
from al_platform.storage.audit_log import AuditLog, commit_subject
from al_platform.storage.commit_log import Input, Manifest, Output, StageKey, commit, to_json
from al_platform.storage.run_record import RunEnd, RunStart, start_of
from al_platform.storage.store import Store
from al_platform.stores import Stores, open_audit_log

REPORT_CHARS = 120_000
CLASS_FIGURES = ("precision", "recall", "f1")
SCALE = 0.6  # of probabilities, so that one page in six has a label
SETS = {"train": 0.7, "validation": 0.1, "golden": 0.12, "audit": 0.08}


@dataclass(frozen=True)
class Story:
    """What becomes of a family.

    Attributes:
        start: Accuracy of the first challenger on traffic.
        gains: Of each quarter's challenger over the champion.
        missing_months: Newest months that never ran.
        drift: How far a class moves by the end.
        agreement: Of annotators.
    """

    start: float
    gains: tuple[float, ...]
    missing_months: int = 0
    drift: float = 0.1
    agreement: float = 0.8


STORIES = {
    "topics": Story(0.74, (0.03, 0.018, -0.012, 0.022, 0.009, 0.014, 0.006, -0.004, 0.011, 0.008, 0.007)),
    "brand_safety": Story(0.81, (0.02, 0.012, 0.016, -0.03, 0.01), missing_months=2, agreement=0.71),
    "sentiment": Story(0.66, (0.025, -0.006, 0.03, 0.012, 0.02, 0.01), drift=0.24, agreement=0.62),
}


def write_store(loader: FamilyConfigLoader, last: str, months: int, pages: int = 2_000) -> None:
    """Write ``months`` cycles of every family up to ``last``, a quarter every third, and the runs that made them."""
    cycles = [shift_cycle(last, -back) for back in reversed(range(months))]
    audit = open_audit_log(loader)
    for family in loader.families:
        parameters = loader["parameters"][family]
        _Writer(loader, audit, family, parameters, STORIES[family]).write(cycles, pages)
    write_runs(Stores.of_environment(loader).by_class["logs"], cycles)


class _Writer:
    def __init__(
        self, loader: FamilyConfigLoader, audit: AuditLog, family: str, parameters: Mapping[str, Any], story: Story
    ):
        self._stores, self._audit = Stores.of_environment(loader), audit
        self._family, self._parameters, self._story = family, dict(parameters), story
        self._taxonomy = Taxonomy.model_validate(parameters["taxonomy"])
        self._random = random.Random(f"{family}")
        self._champions: list[tuple[str, str, float]] = []  # cycle, digest, accuracy
        self._agreement: dict[str, float] = {}

    def write(self, cycles: Sequence[str], pages: int) -> None:
        for number, cycle in enumerate(cycles[: len(cycles) - self._story.missing_months]):
            self._month(cycle, number, len(cycles), pages)
            if (number + 1) % MONTHS_PER_QUARTER == 0:
                self._quarter(cycle, number // MONTHS_PER_QUARTER)

    def _month(self, cycle: str, number: int, n_cycles: int, pages: int) -> None:
        champion = self._champions[-1] if self._champions else None
        digests = [champion[1]] if champion else []
        labels = 60 * (number + 1) - self._random.randrange(8)
        predictions = self._predictions(pages, number / n_cycles, digests)
        self._commit(
            *("scoring", cycle, 40 * 60),
            {"predictions": predictions, "scoring_report": {"pages": pages, "pool": pages, "model_digests": digests}},
        )
        report = {"strategy": "margin", "batch": {"total": 60, "by_reason": {"strategy": 40, "audit": 20}}}
        self._commit("selection", cycle, 9 * 60, {"batch": b"PAR1", "receipt": {}, "selection_report": report})
        ingest = {"answers_taken": 170 + self._random.randrange(20), "labels": labels, "annotated": 60}
        self._agreement[cycle] = round(self._story.agreement + self._random.uniform(-0.04, 0.04), 3)
        ingest["agreement_by_cycle"] = dict(self._agreement)
        names = STAGE["annotation_ingest"].outputs[:-1]
        parts: dict[str, Any] = dict.fromkeys(names, f"{cycle}".encode())
        self._commit("annotation_ingest", cycle, 4 * 60, {**parts, "annotation_ingest_report": ingest})
        card = self._card(labels + 800)
        names = STAGE["preparation"].outputs[:-2]
        parts = dict.fromkeys(names, f"{cycle} prepared".encode())
        report = {"pages": card["pages"], "splits": card["sets"]}
        self._commit("preparation", cycle, 6 * 60, {**parts, "dataset_card": card, "preparation_report": report})

    def _quarter(self, cycle: str, number: int) -> None:
        champion = self._champions[-1] if self._champions else None
        gains = self._story.gains
        gain = gains[(number - 1) % len(gains)]
        accuracy = champion[2] + gain if champion else self._story.start
        digest = sha256(f"{self._family} {cycle}".encode()).hexdigest()
        config = {"thresholds": [0.5] * len(self._taxonomy.labels)}
        self._stores.by_class["models"].write(f"{self._family}/by_digest/{digest}/config.json", to_json(config))
        report = {"model_digest": digest, "epochs": 4}
        self._commit("training", cycle, 3 * 3600, {"challenger": {"model_digest": digest}, "training_report": report})
        verdict = _verdict(digest, champion[1] if champion else None, gain)
        parts = {
            "evaluation": self._evaluation(accuracy, champion[2] if champion else None, gain),
            "verdict": verdict,
            "staleness": _staleness(cycle, accuracy, self._champions),
            "error_analysis": {},
            "evaluated_pages": b"PAR1",
            "challenger_report": b"<!doctype html><title>report</title>" + b" " * REPORT_CHARS,
            "evaluation_report": {
                "verdict": verdict["verdict"],
                "metrics": {"macro_f1": {"value": accuracy - 0.05, "low": accuracy - 0.08, "high": accuracy - 0.02}},
            },
        }
        self._commit("evaluation", cycle, 20 * 60, parts)
        if verdict["verdict"] == "promote":
            self._promote(cycle, digest, accuracy)
        self._commit("promotion", cycle, 60, {"promotion_report": {"verdict": verdict["verdict"], "champion": digest}})

    def _promote(self, cycle: str, digest: str, accuracy: float) -> None:
        entry = ChampionEntry(
            number=len(self._champions) + 1,
            family=self._family,
            cycle=cycle,
            model_digest=digest,
            previous=self._champions[-1][1] if self._champions else None,
            reason="gate",
            verdict_digest=digest,
            at=_committed(cycle, 600).isoformat(timespec="seconds"),
            verdict="promote",
        )
        append_champion(self._stores.by_class["champion"], entry, self._audit)
        self._champions.append((cycle, digest, accuracy))

    def _commit(self, stage: str, cycle: str, seconds: float, outputs: Mapping[str, Any]) -> None:
        store, key = self._stores.of_stage(stage), StageKey(self._family, cycle, stage)
        ended = _committed(cycle, seconds)
        run_id = f"{ended:%Y-%m-%dT%H.%M.%S}.000Z-{sha256(key.prefix.encode()).hexdigest()[:6]}"
        manifest = Manifest(
            family=self._family,
            cycle=cycle,
            stage=stage,
            run_id=run_id,
            outputs={name: _write(store, key.attempt(run_id), name, value) for name, value in outputs.items()},
            inputs=self._inputs(cycle) if stage in ("training", "evaluation") else {},
            parameters=self._parameters,
            code_revision="0" * 40,
            started_at=(ended - timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
            ended_at=ended.isoformat(timespec="milliseconds"),
        )
        data_class = STAGE[stage].data_class
        commit(
            store, manifest, 0, lambda key, entry: self._audit.record("commit", commit_subject(data_class, key, entry))
        )

    def _inputs(self, cycle: str) -> dict[str, Input]:
        digest = sha256(f"{cycle} prepared".encode()).hexdigest()
        return {f"{self._family}.dataset": Input(place="dataset.parquet", sha256=digest)}

    def _card(self, pages: int) -> dict[str, Any]:
        sets = {name: round(pages * share) for name, share in SETS.items()}
        labels = self._taxonomy.labels
        balance = {label: sets["train"] // len(labels) for label in labels}
        return {"pages": pages, "sets": sets, "class_balance": {"train": balance}}

    def _predictions(self, pages: int, time: float, digests: Sequence[str]) -> pa.Table:
        """Return a month's predictions, in which the first class grows."""
        labels = len(self._taxonomy.labels)
        drawn = np.random.default_rng(int(1e6 * time)).random((pages, labels)).astype(np.float32)
        moved = np.random.default_rng(1).random(pages) < time * self._story.drift
        drawn[moved, 0] = 1.0
        if self._taxonomy.is_multi:
            drawn *= SCALE
        else:
            drawn /= drawn.sum(axis=1, keepdims=True)
        columns: dict[str, Any] = {
            "page_id": [f"page-{number:06d}" for number in range(pages)],
            "domain": ["example.org"] * pages,
            "text_hash": [f"{number:032x}" for number in range(pages)],
            "model_digest": pa.array([digests[0] if digests else None] * pages, pa.string()),
            "probabilities": list(drawn) if digests else pa.nulls(pages, PREDICTIONS.field("probabilities").type),
            "embedding": list(np.zeros((pages, 128), np.float16)),
        }
        missing = {field.name: pa.nulls(pages, field.type) for field in PREDICTIONS if field.name not in columns}
        return pa.table({**columns, **missing}).select(PREDICTIONS.names).cast(PREDICTIONS)

    def _evaluation(self, challenger: float, champion: float | None, gain: float) -> dict[str, Any]:
        def figures(accuracy: float) -> dict[str, Any]:
            interval = {"low": accuracy - 0.03, "high": accuracy + 0.03}
            per_class = [
                {"label": label, "support": 20.0, **dict.fromkeys(CLASS_FIGURES, accuracy)}
                for label in self._taxonomy.labels
            ]
            bins = [{"probability": at / 10, "share": at / 10, "n": 20} for at in range(10)]
            return {"macro_f1": {"value": accuracy, **interval}, "per_class": per_class, "reliability": bins}

        def on_traffic(accuracy: float) -> dict[str, Any]:
            spread = 0.02 + self._random.uniform(0, 0.02)
            return {"inclusion_weighted": {"value": accuracy, "low": accuracy - spread, "high": accuracy + spread}}

        both = {"n": 400, "challenger": figures(challenger), "champion": figures(champion) if champion else None}
        difference = {"point": gain, "lower": gain - 0.02, "upper": gain + 0.02, "n": 400}
        traffic = {
            "response": {"drawn": 200, "labelled": 188, "share": 0.93},
            "challenger": on_traffic(challenger),
            "champion": on_traffic(champion) if champion else None,
        }
        return {"golden": {**both, "difference": difference}, "audit": {**both, "traffic": traffic}, "validation": both}


def _verdict(challenger: str, champion: str | None, gain: float) -> dict[str, Any]:
    decided = "promote" if champion is None or gain > 0 else "iterate" if gain > -0.02 else "reject"
    return {
        "verdict": decided,
        "rule": "non_inferior",
        "reason": f"{decided}, as the figures say",
        "checks": [],
        "challenger_digest": challenger,
        "champion_digest": champion,
        "options": {"confidence": 0.95},
    }


def _staleness(cycle: str, accuracy: float, champions: Sequence[tuple[str, str, float]]) -> dict[str, Any]:
    def figure(value: float) -> dict[str, Any]:
        return {"value": value, "low": value - 0.04, "high": value + 0.04, "n": 188, "set": "audit"}

    def gain(value: float) -> dict[str, Any]:
        point = accuracy - value
        bounds = {"point": point, "lower": point - 0.04, "upper": point + 0.04}
        return {**bounds, "confidence": 0.95, "n": 188, "set": "audit"}

    past = [
        {
            "cycle": since,
            "model_digest": digest,
            "age_months": months_between(since, cycle),
            "macro_f1": figure(value),
            "gain": gain(value),
        }
        for since, digest, value in champions
    ]
    return {"cycle": cycle, "n": 188, "champions": past, "challenger": figure(accuracy), "left_out": []}


def _write(store: Store, folder: str, name: str, value: Any) -> Output:
    suffix = {bytes: ".html", pa.Table: ".parquet"}.get(type(value), ".json")
    data = value if isinstance(value, bytes) else _parquet(value) if isinstance(value, pa.Table) else to_json(value)
    store.write(f"{folder}/{name}{suffix}", data)
    return Output(path=f"{folder}/{name}{suffix}", sha256=sha256(data).hexdigest(), size=len(data))


def _parquet(table: pa.Table) -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        format_named("parquet").dump(table, file)
        return file.read_bytes()


def _committed(cycle: str, seconds: float) -> datetime:
    """Return when a stage of a cycle is through: on the second of the month after, at three, one after another."""
    begin = datetime.fromisoformat(f"{shift_cycle(cycle, 1)}-02T03:00:00+00:00")
    return begin + timedelta(seconds=seconds + 60 * (month_number(cycle) % 7))


def write_runs(logs: Store, cycles: Sequence[str]) -> None:
    """Write a run a month and a quarter; the newest was lost, the one before it failed."""
    for start, end in _runs(cycles):
        logs.write(f"runs/{start.run_id}/started.json", to_json(start))
        if end:
            logs.write(f"runs/{start.run_id}/run.log", b"what the run said\n")
            logs.write(f"runs/{start.run_id}/ended.json", to_json(end))


def _runs(cycles: Sequence[str]) -> Iterator[tuple[RunStart, RunEnd | None]]:
    for number, cycle in enumerate(cycles, start=1):
        yield _run(cycle, "monthly", "done")
        if number % MONTHS_PER_QUARTER == 0 and number < len(cycles):
            yield _run(cycle, "quarterly", "done")
    yield _run(cycles[-1], "quarterly", "failed")
    yield _run(cycles[-1], "ingest", None)


def _run(cycle: str, pipeline: str, status: Any) -> tuple[RunStart, RunEnd | None]:
    hours = {"monthly": 0, "quarterly": 30, "ingest": 60}[pipeline]
    began = datetime.fromisoformat(f"{shift_cycle(cycle, 1)}-02T03:00:00+00:00") + timedelta(hours=hours)
    run_id = f"{began:%Y-%m-%dT%H.%M.%S}.000Z-{sha256(pipeline.encode()).hexdigest()[:6]}"
    link = f"https://airflow.example.org/dags/{pipeline}/{cycle}"
    start = start_of(run_id, "production", (pipeline,), cycle).model_copy(
        update={
            "actor": "scheduler",
            "host": "worker-1",
            "began_at": began.astimezone(UTC).isoformat(),
            "orchestrator": link,
        }
    )
    if status is None:
        return start, None
    error = (
        "The root s3://bucket/models refused to write: ask for the right s3:PutObject." if status == "failed" else None
    )
    ended = (began + timedelta(minutes=math.pi * 20)).isoformat()
    return start, RunEnd(run_id=run_id, status=status, ended_at=ended, error=error)
