"""The gate: how often it promotes what it must not, and how often it promotes what it should.

    python benchmarks/gate.py [--quick]     # or QUICK=1

Pages and the decisions of champion and challenger are drawn from populations whose true difference in macro-F1 is set
exactly. The error is that of golden's bound alone, as the other checks only lower it; the power is that of the whole
gate, with an audit of half golden's size from the same population, and validation left out. Writes
``results/gate.json``.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from al_platform.domain.evidence import ModelFacts, ModelOutput, ScoredSet, gather_evidence
from al_platform.domain.gate import decide
from al_platform.domain.gate_options import GateOptions
from al_platform.domain.metrics import ClassCounts, macro_f1_of
from al_platform.domain.paired import macro_f1_gains
from al_platform.domain.shared_error import GoldenDecision, GoldenHistory
from al_platform.domain.taxonomy import Taxonomy

RESULTS = Path(__file__).parent / "results" / "gate.json"
RULES = ("non_inferior", "superior")
SIZES = (500, 1000, 2000, 4000)
GAINS = (0.0, 0.01, 0.02, 0.03)
CONFIDENCE = 0.95
MARGIN = GateOptions().margin
CHALLENGERS = 4
BATCH = 500  # samples at a time
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Patterns(NamedTuple):
    """Every way in which a page can be labelled and answered: K = G x B of them.

    Attributes:
        truth: (K, C).
        champion: (K, C).
        challenger: (K, C).
        groups: Probability of each pair of truth and champion's answer, (G,).
        answers: Probability of the challenger's answer in each group, (G, B).
    """

    truth: Bools
    champion: Bools
    challenger: Bools
    groups: Floats
    answers: Floats

    def draw(self, n: int, samples: int, generator: np.random.Generator, n_challengers: int = 1) -> list[Floats]:
        """Return for each challenger how often each pattern is in samples of ``n`` pages, (samples, K).

        Challengers meet the same pages and the same answers of the champion.
        """
        pages = generator.multinomial(n, self.groups, samples)  # (S, G)
        drawn = [generator.multinomial(pages, self.answers) for _ in range(n_challengers)]  # (S, G, B)
        return [counts.reshape(samples, -1).astype(np.float64) for counts in drawn]


@dataclass(frozen=True)
class Population:
    """Pages on which both models find and invent labels at known rates.

    Attributes:
        name: For the table.
        priors: Share of pages that have each class.
        recall: Of the champion.
        copied: Share of pages, multi-label of pairs with a class, on which a challenger answers as the champion does.
        is_multi: Whether a page may have several classes, which come independently of one another.
        invented: Multi-label: share of other pages that get a class.
    """

    name: str
    priors: tuple[float, ...]
    recall: float
    copied: float
    is_multi: bool = False
    invented: float = 0.01

    def patterns(self, difference: float) -> Patterns:
        """Return the patterns where the challenger's true macro-F1 differs by ``difference``."""

        def excess(recall: float) -> float:
            return self._true_difference(self._with_recall(recall)) - difference

        return self._with_recall(float(optimize.brentq(excess, 0.0, 1.0)))

    def _with_recall(self, recall: float) -> Patterns:
        own, old = self._given_truth(recall), self._given_truth(self.recall)  # (T, B)
        truth = self._truth_probabilities()
        n_answers = len(truth)
        # Rows of groups: truth outermost, then the champion's answer.
        groups = (truth[:, None] * old).ravel()
        copies = np.tile(np.eye(n_answers), (n_answers, 1))
        if self.is_multi:
            answers = np.array([self._copied_labels(t, a, recall) for t in range(n_answers) for a in range(n_answers)])
        else:
            answers = self.copied * copies + (1 - self.copied) * np.repeat(own, n_answers, axis=0)
        labels = self._labels()
        number = np.arange(n_answers)
        t, a, b = (part.ravel() for part in np.meshgrid(number, number, number, indexing="ij"))
        return Patterns(labels[t], labels[a], labels[b], groups, answers)

    def _labels(self) -> Bools:
        """Return the labels of each possible answer, (B, C)."""
        n_classes = len(self.priors)
        if self.is_multi:
            return np.array(list(product((False, True), repeat=n_classes)))
        return np.eye(n_classes, dtype=bool)

    def _truth_probabilities(self) -> Floats:
        if not self.is_multi:
            return np.array(self.priors)
        return np.where(self._labels(), self.priors, 1 - np.array(self.priors)).prod(axis=1)

    def _given_truth(self, recall: float) -> Floats:
        """Return the probability of each answer for each truth, (B, B)."""
        if not self.is_multi:
            # A page that is not recalled gets a label by the priors, which may be the right one.
            return recall * np.eye(len(self.priors)) + (1 - recall) * np.array(self.priors)
        labels = self._labels()
        found = np.where(labels, recall, self.invented)[:, None, :]  # (T, 1, C)
        return np.where(labels[None], found, 1 - found).prod(axis=2)

    def _copied_labels(self, truth: int, champion: int, recall: float) -> Floats:
        """Return the probability of each answer where every label is copied, or found anew, on its own, (B,)."""
        labels = self._labels()
        own = np.where(labels[truth], recall, self.invented)
        given = self.copied * labels[champion] + (1 - self.copied) * own
        return np.where(labels, given, 1 - given).prod(axis=1)

    def _true_difference(self, patterns: Patterns) -> float:
        share = (patterns.groups[:, None] * patterns.answers).ravel()

        def macro_f1(decisions: Bools) -> float:
            sums = (share @ marks for marks in (patterns.truth & decisions, decisions, patterns.truth))
            return float(macro_f1_of(ClassCounts(*sums)))

        return macro_f1(patterns.challenger) - macro_f1(patterns.champion)


POPULATIONS = (
    Population("single, 5 equal classes", (0.2,) * 5, recall=0.75, copied=0.6),
    Population("single, 5 equal classes, models near and good", (0.2,) * 5, recall=0.9, copied=0.85),
    Population("single, classes of 50 % to 1 %", (0.5, 0.3, 0.15, 0.04, 0.01), recall=0.75, copied=0.6),
    Population("multi, 3 classes of 10 % to 30 %", (0.3, 0.2, 0.1), 0.7, 0.6, is_multi=True, invented=0.05),
    Population("multi, 3 classes of 1 % to 4 %", (0.04, 0.02, 0.01), 0.6, 0.6, is_multi=True),
)
TYPICAL = POPULATIONS[0]


@dataclass(frozen=True)
class Rate:
    """How many of ``n`` decisions promoted, with the 95 % Clopper-Pearson interval."""

    rate: float
    low: float
    high: float
    n: int


def rate_of(promoted: int, n: int) -> Rate:
    """Return a rate with its exact interval."""
    interval = stats.binomtest(promoted, n).proportion_ci(0.95, method="exact")
    return Rate(round(promoted / n, 5), round(float(interval.low), 5), round(float(interval.high), 5), n)


def threshold_of(rule: str) -> float:
    """Return the true difference at which the rule promises its error."""
    return -MARGIN if rule == "non_inferior" else 0.0


def bound_rate(population: Population, rule: str, n: int, trials: int) -> Rate:
    """Return how often golden's bound alone passes a challenger at the threshold, with the whole error for it."""
    at, generator = threshold_of(rule), np.random.default_rng([n, POPULATIONS.index(population), RULES.index(rule)])
    patterns = population.patterns(at)
    passed = 0
    for size in _batches(trials):
        (counts,) = patterns.draw(n, size, generator)
        passed += int((_lower(patterns, counts, 1.0) > at).sum())
    return rate_of(passed, trials)


def series_rate(population: Population, rule: str, n: int, trials: int) -> Rate:
    """Return how often any of several challengers at the threshold, judged on the same golden pages, is passed."""
    at, generator = threshold_of(rule), np.random.default_rng([n, POPULATIONS.index(population), RULES.index(rule), 7])
    patterns, shares = population.patterns(at), shares_without_success(CHALLENGERS)
    passed = 0
    for size in _batches(trials):
        drawn = patterns.draw(n, size, generator, CHALLENGERS)
        is_passed = [_lower(patterns, counts, share) > at for counts, share in zip(drawn, shares, strict=True)]
        passed += int(np.any(is_passed, axis=0).sum())
    return rate_of(passed, trials)


def shares_without_success(n: int) -> list[float]:
    """Return the shares of the error of challengers none of which is promoted: a first wrong one ends the count."""
    history, shares = GoldenHistory(sketch=()), []
    for number in range(n):
        shares.append(history.share_of(str(number), "old", GateOptions().spend))
        decision = {"cycle": "2026-01", "challenger_digest": str(number), "champion_digest": "old"}
        history = history.with_decision(GoldenDecision(**decision, share=shares[-1], verdict="iterate"))
    return shares


def gate_rate(population: Population, rule: str, n: int, difference: float, trials: int) -> Rate:
    """Return how often the gate promotes the first challenger on its golden pages at a true difference."""
    seed = [n, POPULATIONS.index(population), RULES.index(rule), round(difference * 1e4) + 1000]
    generator = np.random.default_rng(seed)
    patterns, (share,) = population.patterns(difference), shares_without_success(1)
    promoted = (_promotes(population, patterns, rule, n, share, generator) for _ in range(trials))
    return rate_of(sum(promoted), trials)


def _lower(patterns: Patterns, counts: Floats, share: float) -> Floats:
    gains = macro_f1_gains(patterns.truth, patterns.champion, patterns.challenger, counts=counts)
    return gains.bounds(1 - (1 - CONFIDENCE) * share)[0]


def _batches(trials: int) -> list[int]:
    return [min(BATCH, trials - start) for start in range(0, trials, BATCH)]


def _promotes(
    population: Population, patterns: Patterns, rule: str, n: int, share: float, generator: np.random.Generator
) -> bool:
    """Return the whole gate's decision: golden, an audit of half its size, guardrails of classes and calibration."""
    golden, audit = (_scored(patterns, size, generator) for size in (n, n // 2))
    options = GateOptions.model_validate({"rule": rule, "min_golden": n, "min_audit": n // 2, "replicates": 200})
    wrong = int((golden.truth != golden.challenger.decisions).any(axis=1).sum())
    evidence = gather_evidence(
        golden,
        audit,
        _scored(patterns, 0, generator),
        taxonomy=_taxonomy(population),
        challenger_digest="new",
        champion_digest="old",
        options=options,
        seed=0,
        share=share,
        facts=ModelFacts(errors_analysed=wrong, model_bytes=1, is_fast_enough=True),
    )
    return decide(evidence, options).verdict == "promote"


def _scored(patterns: Patterns, n: int, generator: np.random.Generator) -> ScoredSet:
    rows = np.repeat(np.arange(len(patterns.truth)), patterns.draw(n, 1, generator)[0][0].astype(np.int64))
    sides = [
        ModelOutput(side[rows], side[rows].astype(np.float32)) for side in (patterns.challenger, patterns.champion)
    ]
    return ScoredSet(patterns.truth[rows], *sides)


def _taxonomy(population: Population) -> Taxonomy:
    labels = tuple(f"class {number}" for number in range(len(population.priors)))
    return Taxonomy(task="multi" if population.is_multi else "single", labels=labels)


def table(measure: Callable[[Population, str, int], Rate], cases: list[tuple[Population, str, int]]) -> list[Any]:
    """Measure and print each case."""
    rows = []
    for population, rule, n in cases:
        found = measure(population, rule, n)
        rows.append({"population": population.name, "rule": rule, "golden": n, **asdict(found)})
        print(f"{population.name:48}{rule:14}{n:6}  {found.rate:.4f} [{found.low:.4f}, {found.high:.4f}]", flush=True)
    return rows


def worst(rows: list[Any]) -> dict[str, Any]:
    """Return for each rule the row with the highest rate, and where the true difference was."""
    found = {rule: max((row for row in rows if row["rule"] == rule), key=lambda row: row["rate"]) for rule in RULES}
    return {rule: {"at": threshold_of(rule), **row} for rule, row in found.items()}


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1")
    is_quick = parser.parse_args().quick
    errors, gates = (1_000, 20) if is_quick else (40_000, 300)
    started = time.perf_counter()
    cases = [(population, rule, n) for population in POPULATIONS for rule in RULES for n in (500, 2000)]
    print("Golden's bound alone, one challenger with the whole error, true difference at the threshold:")
    alone = table(lambda *case: bound_rate(*case, errors), cases)
    print(f"Any of {CHALLENGERS} challengers on the same golden pages, whose error they share:")
    series = table(lambda *case: series_rate(*case, errors // 4), cases)
    print("Power: the whole gate, first challenger on its golden pages:")
    power = []
    for gain in GAINS:
        print(f"true gain {gain:+.2f}")
        grid = [(TYPICAL, rule, n) for rule in RULES for n in SIZES]
        rows = table(lambda p, r, n, gain=gain: gate_rate(p, r, n, gain, gates), grid)
        power += [{"gain": gain, **row} for row in rows]
    results = {
        "quick": is_quick,
        "confidence": CONFIDENCE,
        "margin": MARGIN,
        "spend": GateOptions().spend,
        "challengers": CHALLENGERS,
        "false_promotion": worst([*alone, *series]),
        "one_challenger": alone,
        "several_challengers": series,
        "power": power,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
