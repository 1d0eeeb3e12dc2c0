"""Looks at a family's month and keeps what was found below ``monitoring/`` of the logs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.domain.errors import NotReadyError
from al_platform.domain.pages import page_text
from al_platform.domain.selection.random_order import random_order
from al_platform.domain.taxonomy import Taxonomy
from al_platform.domain.text import CleaningOptions, cut_text
from al_platform.monitoring.accuracy import MonthAccuracy, audit_accuracy
from al_platform.monitoring.drift import Binned, FeatureDrift, Texts, compare, predicted_features, text_features
from al_platform.monitoring.findings import Findings, conclude
from al_platform.monitoring.notify import notifiers, tell
from al_platform.monitoring.options import MonitoringOptions
from al_platform.records.shares import predicted_counts, shares_folder, thresholds_of
from al_platform.reports.figures import set_figures
from al_platform.storage.commit_log import Manifest, StageKey, committed_cycles, head, history, parts_of, to_json
from al_platform.stores import Stores

_FOLDER = "monitoring"
_JSON, _PARQUET = format_named("json"), format_named("parquet")
_PREDICTED = ["page_id", "probabilities"]
_SHOWN = ["page_id", "title", "text", "language", "domain"]


def monitor(loader: FamilyConfigLoader, cycle: str | None = None) -> list[Findings]:
    """Look at a month of every family, keep what is found, and tell of new proposals.

    Args:
        loader: Of the environment, or of one of its experiments.
        cycle: The month; by default each family's newest that was scored.
    """
    options, stores = loader.options("monitoring", MonitoringOptions), Stores.of_environment(loader)
    return [_look(_Family(family, stores, options), cycle) for family in loader.families]


def _look(family: "_Family", cycle: str | None) -> Findings:
    scored = committed_cycles(family.stores.of_stage("scoring"), family.name, "scoring")
    if not scored or (cycle is not None and cycle not in scored):
        asked = f"month {cycle}" if cycle else "any month"
        raise NotReadyError(
            f"{family.name} has not scored {asked}, so that there is nothing to look at. Run: kedro run "
            f"--pipelines=monthly{f' --params cycle={cycle}' if cycle else ''}"
        )
    found = family.findings(cycle or scored[-1])
    before = family.kept(found.cycle)
    ways = notifiers(family.options.alerts)
    # Who was told once is not told again of the same month.
    due = {name: ways[name] for name in (before.untold if before and before.proposes else ways) if name in ways}
    if found.proposes:
        failed = tell(_subject(found), "\n".join(found.reasons), due)
        found = found.model_copy(update={"untold": tuple(failed)})
    family.keep(found)
    return found


def _subject(found: Findings) -> str:
    return f"{found.family} {found.cycle}: run the quarterly early"


@dataclass(frozen=True)
class _Family:
    name: str
    stores: Stores
    options: MonitoringOptions

    def findings(self, cycle: str) -> Findings:
        scored = self._manifest("scoring", cycle)
        trained_in = self._trained_in(scored)
        return conclude(
            self.name,
            cycle,
            trained_in=trained_in,
            drift=self._drift(trained_in, scored) if trained_in else [],
            accuracy=self._accuracy(cycle),
            quarters=committed_cycles(self.stores.of_stage("evaluation"), self.name, "evaluation"),
            proposed=[found.cycle for found in self._all_kept() if found.proposes],
            options=self.options,
        )

    def kept(self, cycle: str) -> Findings | None:
        return next((found for found in self._all_kept() if found.cycle == cycle), None)

    def keep(self, found: Findings) -> None:
        self.stores.by_class["logs"].write(f"{_FOLDER}/{self.name}/{found.cycle}.json", to_json(found))

    def _all_kept(self) -> list[Findings]:
        logs = self.stores.by_class["logs"]
        paths = logs.list(f"{_FOLDER}/{self.name}")
        return [Findings.model_validate_json(logs.read(path)) for path in paths]

    def _trained_in(self, scored: Manifest) -> str | None:
        """Return the cycle whose data the scoring model was trained on; None where nothing was scored.

        A model of somebody else's is compared with the pages that were labelled by then.
        """
        digest = self._scored_by(scored)
        if digest is None:
            return None
        store = self.stores.of_stage("training")
        for cycle, manifest in history(store, self.name, "training").items():
            if read_output(store, manifest.outputs["challenger"], _JSON)["model_digest"] == digest:
                return cycle
        return max(self._prepared(scored.cycle), default=None)

    def _scored_by(self, scored: Manifest) -> str | None:
        report = read_output(self.stores.of_stage("scoring"), scored.outputs["scoring_report"], _JSON)
        return next(iter(report["model_digests"]), None)

    def _prepared(self, cycle: str) -> list[str]:
        found = committed_cycles(self.stores.of_stage("preparation"), self.name, "preparation")
        return [each for each in found if each <= cycle]

    def _manifest(self, stage: str, cycle: str) -> Manifest:
        manifest = head(self.stores.of_stage(stage), StageKey(self.name, cycle, stage))
        if manifest is None:
            raise NotReadyError(f"{stage} of {self.name} {cycle} has not been committed. Run it for that cycle first.")
        return manifest

    def _dataset(self, cycle: str) -> pa.Table:
        output = self._manifest("preparation", cycle).outputs["dataset"]
        return read_output(self.stores.of_stage("preparation"), output, _PARQUET)

    def _drift(self, trained_in: str, scored: Manifest) -> list[FeatureDrift]:
        dataset = self._dataset(trained_in)
        train = dataset.filter(pc.field("set") == "train")
        features = {**self._predicted(train, scored), **self._texts(train, scored)}
        return compare(features, **self.options.model_dump(include={"psi_limit", "alpha", "min_pages"}))

    def _predicted(self, train: pa.Table, scored: Manifest) -> dict[str, Binned]:
        taxonomy = _taxonomy(scored)
        trained = {label: sum(label in values for values in train["values"].to_pylist()) for label in taxonomy.labels}
        store, outputs = self.stores.of_stage("scoring"), parts_of(scored.outputs, "predictions")
        said = predicted_counts(store, outputs, taxonomy, self._thresholds(scored, taxonomy), shares_folder())
        return predicted_features(trained, train.num_rows, said.counts, said.pages)

    def _texts(self, train: pa.Table, scored: Manifest) -> dict[str, Binned]:
        traffic = self.stores.by_class["traffic"]
        files = [traffic.local(path) for path in traffic.list(f"{scored.cycle}/pages")]
        if not files:
            return {}
        pages = self._sample(pa.concat_tables([pq.read_table(file, columns=_SHOWN) for file in files]), scored.cycle)
        known = self._sample(train, scored.cycle)
        return text_features(
            _as_texts(known, known["text"].to_pylist()), _as_texts(pages, _as_trained(pages, scored.parameters))
        )

    def _sample(self, pages: pa.Table, cycle: str) -> pa.Table:
        order = random_order(pages["page_id"], f"{cycle}|monitoring")
        return pages.take(pa.array(order[: self.options.sample_pages]))

    def _accuracy(self, cycle: str) -> list[MonthAccuracy]:
        prepared = self._prepared(cycle)
        if not prepared:
            return []
        dataset = self._dataset(prepared[-1])
        drawn = dataset.filter(pc.field("set") == "audit")["cycle"].unique().to_pylist()
        months = (self._month(each, dataset) for each in sorted(filter(None, drawn)) if each <= cycle)
        return [month for month in months if month is not None]

    def _month(self, cycle: str, dataset: pa.Table) -> MonthAccuracy | None:
        store = self.stores.of_stage("scoring")
        scored = head(store, StageKey(self.name, cycle, "scoring"))
        digest = self._scored_by(scored) if scored else None
        if scored is None or digest is None:
            return None
        taxonomy = _taxonomy(scored)
        files = [store.local(output.path) for output in parts_of(scored.outputs, "predictions")]
        drawn = pc.field("page_id").isin(dataset.filter(pc.field("set") == "audit")["page_id"].combine_chunks())
        predictions = pa.concat_tables([pq.read_table(file, columns=_PREDICTED, filters=drawn) for file in files])
        found = audit_accuracy(dataset, predictions, taxonomy, self._thresholds(scored, taxonomy), cycle)
        if found is None:
            return None
        return MonthAccuracy(cycle=cycle, model_digest=digest, accuracy=found, promised=self._promised(digest))

    def _promised(self, digest: str) -> float | None:
        """Return the accuracy on traffic that the gate found of a challenger."""
        store = self.stores.of_stage("evaluation")
        for manifest in reversed(history(store, self.name, "evaluation").values()):
            if read_output(store, manifest.outputs["verdict"], _JSON)["challenger_digest"] == digest:
                traffic = set_figures(read_output(store, manifest.outputs["evaluation"], _JSON))["audit"].traffic
                found = traffic.challenger.inclusion_weighted if traffic else None
                return found.value if found else None
        return None

    def _thresholds(self, scored: Manifest, taxonomy: Taxonomy) -> list[float]:
        return thresholds_of(self.stores.by_class["models"], self.name, self._scored_by(scored), taxonomy)


def _taxonomy(scored: Manifest) -> Taxonomy:
    return Taxonomy.model_validate(scored.parameters["taxonomy"])


def _as_texts(pages: pa.Table, texts: Sequence[str]) -> Texts:
    return Texts(texts, pages["language"].to_pylist(), pages["domain"].to_pylist())


def _as_trained(pages: pa.Table, parameters: Mapping[str, Any]) -> list[str]:
    """Return the texts of traffic as they would be trained on: what an annotator is shown is cut, a text too."""
    shown = int(parameters["selection"]["text_max_chars"])
    cleaning = CleaningOptions.model_validate(parameters["preparation"]["cleaning"])
    pairs = zip(pages["title"].to_pylist(), pages["text"].to_pylist(), strict=True)
    return [cut_text(page_text(title, (text or "")[:shown]), cleaning) for title, text in pairs]
