"""One month of one run: the stages, the training where one is due, and what the truth says."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_platform.catalog.champion import champion_before, champion_log, load_model
from al_platform.catalog.formats import format_named
from al_platform.catalog.outputs import read_output
from al_platform.config import FamilyConfigLoader
from al_platform.domain.cycles import shift_cycle
from al_platform.domain.estimators import Difference
from al_platform.domain.paired import macro_f1_difference
from al_platform.domain.replay.plan import DEFAULT, RANDOM, RunSpec
from al_platform.domain.replay.points import CurvePoint, Decision, Point
from al_platform.domain.taxonomy import Taxonomy
from al_platform.growth import growth_of
from al_platform.monitoring.accuracy import audit_accuracy
from al_platform.pipelines.replay.options import ReplayOptions
from al_platform.replay.measure import SET, Models, first_champion, predictions_of, sample_of, true_accuracy
from al_platform.replay.stages import Loop, TimedRunner
from al_platform.replay.world import World
from al_platform.storage.commit_log import StageKey, committed_cycles, head
from al_platform.storage.store import Store, open_store
from al_platform.stores import Stores

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Replayed:
    """All that a process must know to play a month of any run.

    Attributes:
        project: The project's folder.
        env: Kedro configuration environment.
        options: Of the replay.
        world: Its traffic.
    """

    project: Path
    env: str | None
    options: ReplayOptions
    world: World

    @property
    def family(self) -> str:
        """The family that is replayed."""
        assert self.options.family is not None
        return self.options.family

    def root(self, spec: RunSpec) -> str:
        """Return the root of a run's store."""
        return f"{self.world.folder}/runs/{spec.name}"

    def loop(self, spec: RunSpec) -> Loop:
        """Return where a run's months run."""
        store = {
            "root": self.root(spec),
            "roots": {"traffic": self.world.traffic_root(spec.seed)},
            "traffic": self.world.traffic_of(spec.seed),
            "audit_anchor": None,
        }
        parameters = {
            "families": [self.family],
            "globals": store,
            "tracking": {"backend": "none"},  # dozens of trainings that nobody asked to see
            self.family: self._parameters(spec),
        }
        return Loop(self.project, self.env, parameters)

    def cycle(self, number: int) -> str:
        """Return the name of a month; the first is 1."""
        return shift_cycle(self.options.first_cycle, number - 1)

    def stored(self, spec: RunSpec, number: int) -> Point | None:
        """Return a month that was played before; None where it was not, or not to its end."""
        store = open_store(self.root(spec))
        path = _point_path(self.cycle(number))
        return Point.model_validate_json(store.read(path)) if store.exists(path) else None

    def _parameters(self, spec: RunSpec) -> dict[str, Any]:
        selection: dict[str, Any] = {"seed": spec.seed}
        if spec.strategy != DEFAULT:
            selection["strategy"] = spec.strategy
        if spec.strategy == RANDOM:
            selection["cold_start_strategy"] = RANDOM  # else its first batch would be chosen all the same
        if spec.budget is not None:
            selection["budget"] = spec.budget
        people: dict[str, Any] = {"seed": spec.seed}
        if self.options.error_rates is not None:
            people["error_rates"] = list(self.options.error_rates)
        annotation: dict[str, Any] = {"backend": "simulated", "simulated": people}
        if self.options.answers_per_page is not None:
            annotation["answers_per_page"] = self.options.answers_per_page
            people["annotators"] = max(5, self.options.answers_per_page)
        return {
            "selection": selection,
            "training": {"seed": spec.seed},
            "preparation": {"splits": {"seed": spec.seed}},
            "annotation": annotation,
        }


def play_month(replay: Replayed, spec: RunSpec, number: int) -> Point:
    """Play a month to its end, unless it was; the one after the last is measured only."""
    if (stored := replay.stored(spec, number)) is not None:
        return stored
    began, cpu, runner = time.monotonic(), time.process_time(), TimedRunner()
    cycle, loop = replay.cycle(number), replay.loop(spec)
    is_last = number > replay.options.cycles
    if is_last:
        loader = _loader(loop, cycle)
    else:
        replay.world.give_start(open_store(f"{replay.root(spec)}/labels"), replay.family, spec.seed)
        loader = loop.run("monthly", cycle, runner)
        if spec.trains_after(number, replay.options.is_first_trained):
            loader = loop.run("quarterly", cycle, runner)
    point = _measured(replay, spec, number, loader)
    took = {
        "cpu_s": round(time.process_time() - cpu, 3),
        "wall_s": round(time.monotonic() - began, 3),
        "stages_cpu_s": round(runner.cpu_s, 3),
    }
    point = point.model_copy(update=took)
    open_store(replay.root(spec)).write(_point_path(cycle), point.model_dump_json(indent=1).encode())
    return point


def _measured(replay: Replayed, spec: RunSpec, number: int, loader: FamilyConfigLoader) -> Point:
    family, cycle = replay.family, replay.cycle(number)
    stores = Stores.of_environment(loader)
    champions, models_store = stores.by_class["champion"], stores.by_class["models"]
    models = Models(loader, family, sample_of(loader, family, cycle, replay.options.measured_pages))
    trained = [each for each in committed_cycles(models_store, family, "training") if each < cycle]
    in_use = champion_before(champions, family, cycle)
    figures = {
        "in_use": models.on_traffic(in_use.model_digest if in_use else None),
        "newest": models.on_traffic(_challenger(models_store, family, trained[-1]) if trained else None),
        "frozen": models.on_traffic(first_champion(champions, family) if in_use else None),
        "decision": _decision(stores, models, family, trained[-1]) if _is_fresh(trained, cycle) else None,
    }
    if number > replay.options.cycles:
        return Point(number=number, cycle=cycle, curve=_curve(replay, spec, models, stores, trained), **figures)
    grown = growth_of(loader, family, cycle)
    selection = _report(stores, family, cycle, "selection")
    return Point(
        number=number,
        cycle=cycle,
        labels=selection["batch"]["total"],
        answers=grown.answers,
        cost=grown.cost,
        is_duel="duel" in selection["batch"]["by_reason"],
        **figures,
        **_audit(loader, stores, family, cycle, in_use.model_digest if in_use else None),
    )


def _is_fresh(trained: list[str], cycle: str) -> bool:
    return bool(trained) and shift_cycle(trained[-1], 1) == cycle


def _challenger(store: Store, family: str, cycle: str) -> str:
    manifest = head(store, StageKey(family, cycle, "training"))
    assert manifest is not None
    reference = read_output(store, manifest.outputs["challenger"], format_named("json"))
    return str(reference["model_digest"])


def _decision(stores: Stores, models: Models, family: str, cycle: str) -> Decision:
    challenger = _challenger(stores.by_class["models"], family, cycle)
    report = _report(stores, family, cycle, "evaluation")
    champion = champion_before(stores.by_class["champion"], family, cycle)
    own = [each for each in champion_log(stores.by_class["champion"], family) if each.cycle == cycle]
    return Decision(
        cycle=cycle,
        verdict=report["verdict"],
        promoted=own[-1].model_digest if own else None,
        by_duel=bool(own) and own[-1].verdict == "duel",
        truth=_gain(models, champion.model_digest, challenger) if champion else None,
    )


def _gain(models: Models, champion: str, challenger: str) -> Difference:
    ours, theirs = models.decisions(challenger), models.decisions(champion)
    return macro_f1_difference(models.truth, theirs, ours, set_name=SET, confidence=_CONFIDENCE)


def _curve(
    replay: Replayed, spec: RunSpec, models: Models, stores: Stores, trained: list[str]
) -> tuple[CurvePoint, ...]:
    points = [replay.stored(spec, number) for number in range(1, replay.options.cycles + 1)]
    before = [point for point in points if point is not None]
    return tuple(
        CurvePoint(
            labels=sum(point.labels for point in before if point.cycle <= cycle),
            cost=round(sum(point.cost for point in before if point.cycle <= cycle), 4),
            macro_f1=models.macro_f1(_challenger(stores.by_class["models"], replay.family, cycle)),
        )
        for cycle in trained
    )


def _audit(
    loader: FamilyConfigLoader, stores: Stores, family: str, cycle: str, digest: str | None
) -> Mapping[str, Any]:
    """Return what the audit says of the month's accuracy, and what every page's truth says."""
    if digest is None:
        return {}
    config = load_model(stores.by_class["models"], family, digest).classifier.config
    manifest = head(stores.of_stage("preparation"), StageKey(family, cycle, "preparation"))
    assert manifest is not None
    dataset = read_output(stores.of_stage("preparation"), manifest.outputs["dataset"], format_named("parquet"))
    predictions = predictions_of(stores.by_class["datasets"], family, cycle)
    taxonomy = Taxonomy.model_validate(loader["parameters"][family]["taxonomy"])
    return {
        "audit": audit_accuracy(dataset, predictions, taxonomy, config.thresholds, cycle),
        "audit_truth": true_accuracy(loader, family, cycle, config.thresholds),
    }


def _report(stores: Stores, family: str, cycle: str, stage: str) -> dict[str, Any]:
    store = stores.of_stage(stage)
    manifest = head(store, StageKey(family, cycle, stage))
    assert manifest is not None
    report: dict[str, Any] = read_output(store, manifest.outputs[f"{stage}_report"], format_named("json"))
    return report


def _loader(loop: Loop, cycle: str) -> FamilyConfigLoader:
    from al_platform.settings import CONFIG_LOADER_ARGS

    return FamilyConfigLoader(
        conf_source=str(loop.project / "conf"),
        env=loop.env,
        runtime_params={"cycle": cycle, **loop.parameters},
        **CONFIG_LOADER_ARGS,
    )


def _point_path(cycle: str) -> str:
    return f"points/{cycle}.json"
