"""What a tracker is told of a commit: everything that a manifest and its small outputs say, and no page."""

import math
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from al_platform.catalog.champion import ChampionEntry
from al_platform.publishing.tables import Committed, Tables, tables_of
from al_platform.publishing.traffic import traffic_tables
from al_platform.reports import drawings
from al_platform.reports.figures import Training, set_figures
from al_platform.storage.commit_log import Input, Manifest
from al_platform.storage.redaction import redacted
from al_platform.stores import Stores
from al_platform.tracking.tracked_run import Cell, TrackedArtifact, TrackedRun, group_name, tracker_id

CHAMPION, CHALLENGER = "champion", "challenger"
BY_HAND = "by_hand"
_DATASETS = ("batch", "labels", "dataset")
"""Outputs that are artifacts, by the name under which other stages read them."""

_READ_FIRST = {"annotation_ingest": "batches"}
"""Of these only the newest file is named: the config holds the digest of all."""


class StageRuns:
    """Makes a tracker's run of a commit."""

    def __init__(self, stores: Stores, experiment: str | None, *, with_pages: bool):
        """Prepare.

        Args:
            stores: Of the environment.
            experiment: Its experiment, if any.
            with_pages: Whether tables may show pages.
        """
        self._stores = stores
        self._experiment = experiment
        self._with_pages = with_pages

    def of_commit(self, row: Mapping[str, Any], manifest: Manifest) -> TrackedRun:
        """Return the run of a commit.

        Args:
            row: Of the index of runs; see ``run_index.RUNS``, with JSON read.
            manifest: That the row was made of.

        Raises:
            StoreError: An output is missing or was changed.
        """
        family, cycle, stage = manifest.family, manifest.cycle, manifest.stage
        committed = Committed(self._stores.of_stage(stage), manifest)
        figures = {**row["figures"], "wall_s": row["wall_s"], "size_bytes": row["size_bytes"]}
        history = committed.json("training_report").get("history", ()) if stage == "training" else ()
        return TrackedRun(
            id=tracker_id(family, cycle, stage, manifest.run_id),
            name=f"{family} {cycle} {stage}",
            group=group_name(family, cycle, self._experiment),
            job_type=stage,
            tags=tuple(tag for tag in (family, cycle, self._experiment) if tag),
            started_at=manifest.started_at,
            ended_at=manifest.ended_at,
            config=redacted(self._config(row, manifest)),
            summary=redacted(dict(_known(figures))),
            history=tuple(dict(_numbers(epoch)) for epoch in history),
            tables=self._tables(committed),
            plots=plots_of(committed),
            uses=tuple(self._uses(manifest, row["model"])),
            makes=tuple(self._makes(manifest, row)),
        )

    def by_hand(self, entry: ChampionEntry) -> TrackedRun:
        """Return the run of a promotion, or return to a former champion, that a person made."""
        return TrackedRun(
            id=tracker_id(entry.family, entry.cycle, BY_HAND, str(entry.number), entry.at),
            name=f"{entry.family} {entry.cycle} {entry.kind}",
            group=group_name(entry.family, entry.cycle, self._experiment),
            job_type=BY_HAND,
            tags=(entry.family, entry.cycle),
            started_at=entry.at,
            ended_at=entry.at,
            config={**redacted(entry.model_dump(mode="json")), "stage": BY_HAND, "model": entry.model_digest},
            makes=(self._model(entry.family, entry.model_digest, CHAMPION),),
        )

    def _tables(self, committed: Committed) -> Tables:
        of_traffic = traffic_tables(self._stores, committed.manifest) if committed.manifest.stage == "selection" else {}
        return {**tables_of(committed, with_pages=self._with_pages), **of_traffic}

    def _config(self, row: Mapping[str, Any], manifest: Manifest) -> dict[str, Any]:
        inputs = {name: {"place": read.place, "sha256": read.sha256} for name, read in manifest.inputs.items()}
        named = {"experiment": self._experiment, "dataset": row["dataset"], "model": row["model"]}
        return {
            "family": manifest.family,
            "cycle": manifest.cycle,
            "stage": manifest.stage,
            "run_id": manifest.run_id,
            "commit": row["number"],
            "code_revision": manifest.code_revision,
            "started_at": manifest.started_at,
            "ended_at": manifest.ended_at,
            **{name: value for name, value in named.items() if value is not None},
            "inputs": inputs,
            "outputs": {name: output.sha256 for name, output in manifest.outputs.items()},
            "parameters": manifest.parameters,
            "environment": manifest.environment,
        }

    def _uses(self, manifest: Manifest, model: str | None) -> Iterator[TrackedArtifact]:
        family = manifest.family
        for name in _DATASETS:
            if (read := manifest.inputs.get(f"{family}.{name}")) and name not in manifest.outputs:
                yield from self._read(family, name, read)
        if (newest := _READ_FIRST.get(manifest.stage)) and (read := manifest.inputs.get(f"{family}.{newest}")):
            yield from self._read(family, "batch", Input.of_files(read.place, read.files[-1:]))
        champion = manifest.inputs.get(f"{family}.{CHAMPION}")
        others = () if manifest.stage == "training" else (model,)
        for digest in dict.fromkeys([champion.sha256 if champion else None, *others]):
            if digest is not None:
                yield self._model(family, digest)

    def _read(self, family: str, name: str, read: Input) -> Iterator[TrackedArtifact]:
        for file in read.files:
            yield self._dataset(family, name, file.path, file.sha256)

    def _makes(self, manifest: Manifest, row: Mapping[str, Any]) -> Iterator[TrackedArtifact]:
        for name in _DATASETS:
            if output := manifest.outputs.get(name):
                made = self._dataset(manifest.family, name, output.path, output.sha256)
                yield made.model_copy(update={"aliases": (manifest.cycle,)})
        alias = {"training": CHALLENGER, "promotion": CHAMPION}.get(manifest.stage)
        if alias and row["model"]:
            yield self._model(manifest.family, row["model"], alias)

    def _dataset(self, family: str, name: str, path: str, digest: str) -> TrackedArtifact:
        root = self._stores.holding(path).root
        return TrackedArtifact(name=f"{family}-{name}", kind="dataset", sha256=digest, uri=f"{root}/{path}")

    def _model(self, family: str, digest: str, *aliases: str) -> TrackedArtifact:
        uri = f"{self._stores.by_class['models'].root}/{family}/by_digest/{digest}"
        return TrackedArtifact(name=f"{family}-model", kind="model", sha256=digest, uri=uri, aliases=aliases)


def plots_of(committed: Committed) -> dict[str, str]:
    """Return the drawings of a stage as small HTML documents that need nothing else."""
    charts: tuple[drawings.Chart, ...] = ()
    found: dict[str, Markup] = {}
    if committed.manifest.stage == "training":
        charts = drawings.training(Training.model_validate(committed.json("training_report")))
    if committed.manifest.stage == "evaluation":
        evaluation = set_figures(committed.json("evaluation"))
        charts = drawings.reliability(evaluation)
        found["Macro-F1"] = drawings.macro_f1_chart(evaluation)
    found |= {chart.title: chart.svg for chart in charts}
    style = (files("al_platform.reports") / "templates/report.css").read_text(encoding="utf-8") if found else ""
    return {name: f"<style>{style}</style>{svg}" for name, svg in found.items()}


def _known(figures: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    """Yield what a tracker can hold: no list, and no number that JSON has no word for."""
    for name, value in figures.items():
        if value is not None and not (isinstance(value, float) and not math.isfinite(value)):
            yield name, value


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, int | float) and math.isfinite(value):
            yield name, value
