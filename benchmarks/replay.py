"""What a replay says, and what it takes: on the embedded corpus, a synthetic web and labelled archives.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.replay [--only NAME ...] [--quick]     # or QUICK=1

Each scenario is one ``kedro al replay`` in a project folder of its own, as a user calls it. The folder AL_BENCH_DATA
may hold newsgroups20, davidson_hate and sst5 (columns ``text`` and ``label``); archives that are not there are left
out. ``drift`` holds the promises that need many seeds, ``year`` twelve months; ``one-answer`` and ``three-answers``
people who err, with as many answers in both. ``scale`` is the synthetic web with the sizes of the environment
``synthetic``, for the time of a month. Gates ask for fewer pages than the base where the scenario is smaller.

Writes ``results/replay.json``, scenario by scenario; those that are not played keep their last figures.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy
import yaml
from benchmarks.loop import copy_project

from al_platform.domain.replay.figures import ReplayFigures, SettingFigures
from al_platform.domain.replay.paired import Mean

RESULTS = Path(__file__).parent / "results" / "replay.json"
DATA_VARIABLE = "AL_BENCH_DATA"
YEAR, HALF_A_YEAR = 12, 6
SMALL_GATE = {"min_golden": 40, "min_audit": 20, "min_protected": 5}


@dataclass(frozen=True)
class Scenario:
    """One replay.

    Attributes:
        family: That is replayed.
        traffic: ``globals.yml``; nothing takes the environment's own.
        selection: Of the family.
        cycles: Months.
        seeds: Runs of each strategy.
        strategies: That are compared.
        gate: Of the family; nothing takes the environment's own.
        env: That the rest is taken from, beside the base.
        archive: File in AL_BENCH_DATA; None for the simulated source.
        is_sorted: Whether the archive is sorted by label: its rows are then shuffled, or each month would bring others.
        people: Options about annotators, as on the command line.
    """

    family: str = "topics"
    traffic: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    env: str | None = None
    cycles: int = YEAR
    seeds: int = 3
    strategies: str = "default,margin,random"
    archive: str | None = None
    is_sorted: bool = False
    people: tuple[str, ...] = ()


def _web(pages: int, labels: int) -> dict[str, Any]:
    return {"source": "synthetic", "options": {"pages_per_month": pages, "seed_labels": labels}}


def _people(budget: int, answers: int) -> Scenario:
    """Return a replay with people who err: ``budget`` pages a month, each with so many answers."""
    return Scenario(
        traffic=_web(600, 300),
        selection={"budget": budget},
        gate=SMALL_GATE,
        cycles=3,
        seeds=10,
        strategies="default",
        people=("--annotator-errors=0.1,0.4", f"--answers-per-page={answers}"),
    )


def _archived(family: str, archive: str, gate: dict[str, Any] | None = None) -> Scenario:
    """Return a replay of a labelled file."""
    selection = {"budget": 100}
    return Scenario(family=family, archive=archive, selection=selection, gate=gate or {}, cycles=HALF_A_YEAR, seeds=2)


SCENARIOS = {
    "drift": Scenario(
        traffic=_web(600, 300),
        selection={"budget": 80},
        gate=SMALL_GATE,
        cycles=HALF_A_YEAR,
        seeds=10,
        strategies="default,random",
    ),
    "year": Scenario(
        traffic=_web(1_000, 300),
        selection={"budget": 80},
        gate=SMALL_GATE,
        seeds=5,
        strategies="margin,default,random",
    ),
    "one-answer": _people(budget=120, answers=1),
    "three-answers": _people(budget=40, answers=3),
    "embedded": Scenario(cycles=HALF_A_YEAR, seeds=2),
    "newsgroups20": replace(_archived("topics", "newsgroups20"), is_sorted=True),
    "davidson_hate": _archived("brand_safety", "davidson_hate", {"protected": ["hate"]}),
    "sst5": _archived("sentiment", "sst5"),
    "scale": Scenario(env="synthetic", cycles=3, seeds=1),
}


def main() -> None:
    """Play the scenarios and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")))
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    for name in asked.only:
        scenario = SCENARIOS[name]
        if scenario.archive and not _archive(scenario).exists():
            print(f"{name}: left out, {DATA_VARIABLE} holds no {scenario.archive}.parquet")
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = told(play(scenario, copy_project(Path(folder)), asked.quick, asked.workers), scenario)
        print(json.dumps({name: found}, indent=1))
        if not asked.quick:
            before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
            RESULTS.write_text(json.dumps({**before, name: found}, indent=1) + "\n")


def play(scenario: Scenario, project: Path, quick: bool, workers: int) -> ReplayFigures:
    """Run the command in a project folder, and return its figures."""
    configure(scenario, project)
    cycles, seeds = (2, 1) if quick else (scenario.cycles, scenario.seeds)
    command = [sys.executable, "-m", "kedro", "al", "replay", "--env=bench", f"--family={scenario.family}"]
    command += [f"--cycles={cycles}", f"--seeds={seeds}", f"--strategies={scenario.strategies}", f"--workers={workers}"]
    command += scenario.people
    if scenario.archive:
        archive = _shuffled(scenario, project) if scenario.is_sorted else _archive(scenario)
        command += [f"--archive={archive}", "--map=values=label", "--id=text"]
    subprocess.run([*command, "--name=bench"], cwd=project, check=True, stdout=subprocess.DEVNULL)
    (found,) = project.glob("data/*/replays/bench/replay.json")
    return ReplayFigures.model_validate_json(found.read_bytes())


def configure(scenario: Scenario, project: Path) -> None:
    """Write the environment ``bench``: what differs from the base."""
    if scenario.env:
        shutil.copytree(project / "conf" / scenario.env, project / "conf" / "bench")
        return
    family: dict[str, Any] = {"selection": scenario.selection}
    if scenario.gate:
        family["evaluation"] = {"gate": scenario.gate}
    if scenario.archive:
        labels = sorted({str(label) for label in pq.read_table(_archive(scenario))["label"].to_pylist()})
        family |= {"taxonomy": {"task": "single", "labels": labels}}
        family["selection"] = {**scenario.selection, "domain_share": None}
    globals_ = {"root": "data/bench"} | ({"traffic": scenario.traffic} if scenario.traffic else {})
    files = {
        "globals.yml": globals_,
        "families.yml": {"families": [scenario.family]},
        "tracking.yml": {"backend": "none"},
        "parameters/bench.yml": {scenario.family: family},
    }
    for name, content in files.items():
        target = project / "conf" / "bench" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(yaml.safe_dump(content))


def told(figures: ReplayFigures, scenario: Scenario) -> dict[str, Any]:
    """Return what is published of a replay."""
    return {
        "sizes": {
            "months": len(figures.cycles) - 1,
            "seeds": figures.seeds,
            "pages_a_month": figures.about.get("pages_a_month") or figures.about.get("pages_per_month"),
            "archive": scenario.archive,
        },
        "conclusions": figures.conclusions,
        "strategies": {found.setting.strategy: _figures_of(found) for found in figures.settings},
        "coverage": figures.coverage.model_dump() if figures.coverage else None,
        "time": {**figures.time.model_dump(), "cpu_s_a_month": round(figures.time.cpu_s / _steps(figures), 2)},
    }


def _figures_of(found: SettingFigures) -> dict[str, Any]:
    means = {
        "newest": found.newest,
        "in_use": found.in_use,
        "last": found.last,
        "against_random": found.against_random,
        "in_use_against_random": found.in_use_against_random,
        "against_frozen": found.against_frozen,
    }
    return {
        **{name: _mean(mean) for name, mean in means.items()},
        "labels": found.labels,
        "saved": found.saved.model_dump() if found.saved else None,
        "gate": found.gate.model_dump(),
    }


def _mean(mean: Mean | None) -> dict[str, Any] | None:
    """Return a mean over seeds with its interval and, of two seeds or more, the p of a two-sided t-test against 0."""
    if mean is None:
        return None
    found = mean.model_dump()
    if mean.n > 1 and len(set(mean.values)) > 1:
        found["p_of_zero"] = float(scipy.stats.ttest_1samp(mean.values, 0.0).pvalue)
    return found


def _steps(figures: ReplayFigures) -> int:
    return len(figures.cycles) * figures.seeds * len(figures.settings)


def _shuffled(scenario: Scenario, folder: Path) -> Path:
    """Return a copy of an archive with its rows in a random order, always the same."""
    rows = pq.read_table(_archive(scenario))
    file = folder / f"{scenario.archive}.parquet"
    pq.write_table(rows.take(np.random.default_rng(0).permutation(rows.num_rows)), file)
    return file


def _archive(scenario: Scenario) -> Path:
    return Path(os.environ.get(DATA_VARIABLE, ".")).absolute() / f"{scenario.archive}.parquet"


if __name__ == "__main__":
    main()
