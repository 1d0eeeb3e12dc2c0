"""How many labels each query strategy needs: a simulated year of rounds on real text, all paired by seed.

    AL_BENCH_DATA=/folder/with/parquet python -m benchmarks.label_efficiency [--quick]     # or QUICK=1

Each Parquet file of the folder has the columns ``text`` and ``label``. Per scenario and seed, a pool and a test set are
drawn; every strategy starts from the same 100 random labels and takes 100 a round for ten rounds. The model is a
logistic regression on features that are made once (TF-IDF, 200 latent dimensions), which are the embeddings too. The
strategies are the platform's own, with its shortlist and, where a name ends in ``+dedup``, its near-duplicate removal
against the batch and what is labelled. Peers' strategies run in an environment of their own (``peer_worker``), on the
same features and probabilities. The figure is the area under the curve of macro-F1 (average precision where 1 %
of the pages are positive), times 100. Writes ``results/label_efficiency.json``.

The default strategy's rule was chosen from that table; ``--held-out`` measures the default on seeds that it did not
see, and writes ``results/label_efficiency_held_out.json``.
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.peer_worker import the_worker
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from al_platform.domain.near_duplicates import NearDuplicateOptions, near_duplicate_groups
from al_platform.domain.selection.label_scores import label_scores
from al_platform.domain.selection.query import Query
from al_platform.domain.selection.strategies import strategy_named
from al_platform.domain.selection.uncertainty import uncertainty_scalars

RESULTS = Path(__file__).parent / "results" / "label_efficiency.json"
HELD_OUT_RESULTS = RESULTS.with_name("label_efficiency_held_out.json")
DATA_VARIABLE = "AL_BENCH_DATA"
POOL, TEST, START, BATCH, ROUNDS, SEEDS = 5_000, 2_000, 100, 100, 10, 5
DIMENSIONS = 200
MIN_POSITIVES = 5  # in the start of a task with 1 % positives, for every strategy
TAIL = 100  # times the rarest class, the largest has in a long tail
PART_CHARS = 2_000  # of an article in a page about several topics
EDITED = 0.05  # words left out of a near-duplicate

Strings = NDArray[np.object_]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """A strategy with its shortlist's factor, and whether near-duplicates go first; or a peer's, of ``peer_cases``."""

    strategy: str
    factor: int = 5
    removes_duplicates: bool = False
    is_peer: bool = False


VARIANTS = {
    "random": Variant("random"),
    "margin": Variant("margin"),
    "margin+dedup": Variant("margin", removes_duplicates=True),
    "weighted_kmeans x3": Variant("weighted_kmeans", 3),
    "weighted_kmeans x5": Variant("weighted_kmeans", 5),
    "weighted_kmeans x10": Variant("weighted_kmeans", 10),
    "cluster_margin": Variant("cluster_margin", 10),
    "badge": Variant("badge", 10),
    "label_margin": Variant("label_margin"),
    "rare_class": Variant("rare_class"),
    "typiclust": Variant("typiclust"),
    "label_margin+dedup": Variant("label_margin", removes_duplicates=True),
    "rare_class+dedup": Variant("rare_class", removes_duplicates=True),
    "weighted_kmeans x5+dedup": Variant("weighted_kmeans", 5, removes_duplicates=True),
    "adaptive": Variant("adaptive", 10),
    "adaptive+dedup": Variant("adaptive", 10, removes_duplicates=True),
    "scikit-activeml Falcun": Variant("scikit-activeml: Falcun", is_peer=True),
    "scikit-activeml Clue": Variant("scikit-activeml: Clue", is_peer=True),
    "small-text embedding k-means": Variant("small-text: embedding k-means", is_peer=True),
}
HELD_OUT = ("random", "margin", "margin+dedup", "adaptive+dedup")


@dataclass(frozen=True)
class Corpus:
    """Texts with one label each, their features, and what made the features."""

    name: str
    texts: Strings
    labels: Strings
    features: Floats
    embed: Callable[[Strings], Floats]


class Task(NamedTuple):
    """A pool to label and a test set; ``shown`` are the labels that annotators give, some of them wrong.

    Multi-label, labels are indicators, (N, C); otherwise numbers, (N,).
    """

    features: Floats
    shown: NDArray[np.int64]
    start: NDArray[np.int64]
    groups: NDArray[np.int64]
    test_features: Floats
    test_labels: NDArray[np.int64]
    n_labels: int
    is_binary: bool
    is_multi: bool = False


@dataclass(frozen=True)
class Run:
    """One strategy on one seed of one scenario; figures are times 100, ``curve`` goes from the start to the end.

    Of a peer, ``select_s`` leaves out the peer's own process.
    """

    scenario: str
    variant: str
    seed: int
    area: float
    curve: list[float]
    select_s: float


def load_corpora(names: Container[str]) -> Iterator[Corpus]:
    """Yield corpora of the folder in the environment, with features made from all of their texts."""
    files = sorted(Path(os.environ[DATA_VARIABLE]).glob("*.parquet"))
    for path in (file for file in files if file.stem in names):
        table = pq.read_table(path, columns=["text", "label"])
        texts, labels = (np.array(table[name].to_pylist(), dtype=object) for name in ("text", "label"))
        vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=50_000)
        svd = TruncatedSVD(DIMENSIONS, random_state=0)
        features = svd.fit_transform(vectorizer.fit_transform(texts))

        def embed(unseen: Strings, vectorizer: Any = vectorizer, svd: Any = svd) -> Floats:
            return normalize(svd.transform(vectorizer.transform(unseen))).astype(np.float32)

        yield Corpus(path.stem, texts, labels, normalize(features).astype(np.float32), embed)


def plain(corpus: Corpus, seed: int) -> Task:
    """Return a pool and a test set as the corpus has them."""
    return _task(corpus, np.random.default_rng(seed).permutation(len(corpus.texts)), seed)


def long_tail(corpus: Corpus, seed: int) -> Task:
    """Return a pool in which each class is rarer than the one before, the last TAIL times rarer than the first."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(corpus.texts))
    test, rest = order[: _sizes().test], order[_sizes().test :]
    classes = generator.permutation(np.unique(corpus.labels))
    kept = []
    for rank, label in enumerate(classes):
        members = rest[corpus.labels[rest] == label]
        kept.append(members[: max(2, int(len(members) * TAIL ** (-rank / (len(classes) - 1))))])
    pool = generator.permutation(np.concatenate(kept))[: _sizes().pool]
    return _task(corpus, np.concatenate([test, pool]), seed)


def one_percent(corpus: Corpus, seed: int) -> Task:
    """Return a task of one class against the rest, 1 % of the pool and of the test set."""
    generator = np.random.default_rng(seed)
    positive = {"newsgroups20": "talk.politics.guns", "davidson_hate": "hate"}[corpus.name]
    is_positive = corpus.labels == positive
    positives, negatives = (generator.permutation(np.flatnonzero(each)) for each in (is_positive, ~is_positive))
    n_test, n_pool = _sizes().test // 100, _sizes().pool // 100
    test = np.concatenate([positives[:n_test], negatives[: 99 * n_test]])
    pool = np.concatenate([positives[n_test:][:n_pool], negatives[99 * n_test :][: 99 * n_pool]])
    order = np.concatenate([generator.permutation(test), generator.permutation(pool)])
    return _task(corpus, order, seed, labels=np.where(is_positive, "positive", "negative").astype(object))


def near_duplicates(corpus: Corpus, seed: int) -> Task:
    """Return a pool of which a tenth are other pages of it with some words left out."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(corpus.texts))[: _sizes().test + _sizes().pool]
    pool = order[_sizes().test :]
    copies = generator.permutation(len(pool))[: len(pool) // 10]
    originals = generator.choice(np.setdiff1d(np.arange(len(pool)), copies), len(copies))
    texts, features, labels = corpus.texts[order].copy(), corpus.features[order].copy(), corpus.labels[order].copy()
    places = _sizes().test + copies
    texts[places] = [_edited(text, generator) for text in corpus.texts[pool[originals]]]
    features[places], labels[places] = corpus.embed(texts[places]), corpus.labels[pool[originals]]
    return _task(Corpus(corpus.name, texts, labels, features, corpus.embed), np.arange(len(order)), seed)


def label_noise(corpus: Corpus, seed: int) -> Task:
    """Return a pool whose annotators name another class on 5 % of the pages."""
    task, generator = plain(corpus, seed), np.random.default_rng(seed + 1_000)
    is_wrong = generator.random(len(task.shown)) < 0.05
    other = (task.shown + generator.integers(1, task.n_labels, len(task.shown))) % task.n_labels
    return task._replace(shown=np.where(is_wrong, other, task.shown))


def several_topics(corpus: Corpus, seed: int) -> Task:
    """Return a multi-label pool: each page is made of the texts of up to three articles, with all of their labels.

    The topics of a page are drawn with falling shares, from 1 in 6 pages to 1 in 60, and a page may have none of them:
    then it is an article of the most frequent class, which is no label.
    """
    generator = np.random.default_rng(seed)
    classes = generator.permutation(np.unique(corpus.labels))
    members = {label: np.flatnonzero(corpus.labels == label) for label in classes}
    n, labels = _sizes().test + _sizes().pool, classes[1:]
    shares = np.geomspace(1 / 6, 1 / 60, len(labels))
    has = generator.random((n, len(labels))) < shares
    texts = np.empty(n, dtype=object)
    for row in range(n):
        about = generator.permutation(np.flatnonzero(has[row]))[:3]
        has[row] = np.isin(np.arange(len(labels)), about)
        drawn = [generator.choice(members[labels[topic]]) for topic in about] or [generator.choice(members[classes[0]])]
        texts[row] = "\n".join(corpus.texts[article][:PART_CHARS] for article in drawn)
    features, indicators = corpus.embed(texts), has.astype(np.int64)
    test, pool = np.arange(_sizes().test), np.arange(_sizes().test, n)
    start = generator.permutation(len(pool))[:START]
    groups = near_duplicate_groups(texts[pool].tolist(), NearDuplicateOptions())
    known = (features[pool], indicators[pool], start, groups, features[test], indicators[test])
    return Task(*known, n_labels=len(labels), is_binary=False, is_multi=True)


SCENARIOS: dict[str, tuple[str, Callable[[Corpus, int], Task]]] = {
    "newsgroups20": ("newsgroups20", plain),
    "davidson_hate": ("davidson_hate", plain),
    "sst5": ("sst5", plain),
    "newsgroups20, long tail": ("newsgroups20", long_tail),
    "newsgroups20, 1 % positives": ("newsgroups20", one_percent),
    "davidson_hate, 1 % positives": ("davidson_hate", one_percent),
    "newsgroups20, 10 % near-duplicates": ("newsgroups20", near_duplicates),
    "davidson_hate, 10 % near-duplicates": ("davidson_hate", near_duplicates),
    "newsgroups20, 5 % label noise": ("newsgroups20", label_noise),
    "davidson_hate, 5 % label noise": ("davidson_hate", label_noise),
    "newsgroups20, several topics a page": ("newsgroups20", several_topics),
}


def simulate(scenario: str, task: Task, name: str, seed: int) -> Run:
    """Label round by round as one strategy asks, and test after each."""
    labelled, curve, select_s = task.start, [], 0.0
    for round_number in range(_sizes().rounds + 1):
        model = _model(task).fit(task.features[labelled], task.shown[labelled])
        curve.append(_score(model, task))
        if round_number < _sizes().rounds:
            started = time.process_time()
            labelled = np.concatenate([labelled, choose(model, task, labelled, VARIANTS[name], seed + round_number)])
            select_s += time.process_time() - started
    area = float(np.mean((np.array(curve[1:]) + np.array(curve[:-1])) / 2))
    percent = [round(100 * value, 2) for value in curve]
    return Run(scenario, name, seed, round(100 * area, 3), percent, round(select_s, 2))


def choose(model: Any, task: Task, labelled: NDArray[np.int64], variant: Variant, seed: int) -> NDArray[np.int64]:
    """Return the pages that the strategy asks about next."""
    left = np.setdiff1d(np.arange(len(task.features)), labelled)
    if variant.removes_duplicates:
        left = left[~np.isin(task.groups[left], task.groups[labelled])]
    probabilities = np.zeros((len(left), task.n_labels), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(task.features[left])
    if variant.is_peer:
        return left[the_worker().choose(variant.strategy, probabilities, task.features[left], BATCH)]
    strategy = strategy_named(variant.strategy)
    page_ids = [f"{row:06d}" for row in left]
    is_multi = task.is_multi
    pool = uncertainty_scalars(probabilities, page_ids, is_multi=is_multi).append_column("page_id", [page_ids])
    rows = _shortlist(pool, probabilities, variant, seed, task.groups[left], is_multi=is_multi)
    candidates = pool.take(pa.array(rows))
    candidates = candidates.append_column("probabilities", pa.array(list(probabilities[rows])))
    candidates = candidates.append_column("embedding", pa.array(list(task.features[left][rows])))
    shares = tuple(probabilities.mean(axis=0).tolist())
    taken = task.features[labelled] if strategy.compares_taken else None
    query = Query(BATCH, is_multi=is_multi, seed=seed, label_shares=shares, taken=taken)
    return left[rows[strategy.choose(candidates, query).rows]]


def _shortlist(
    pool: pa.Table,
    probabilities: Floats,
    variant: Variant,
    seed: int,
    groups: NDArray[np.int64],
    *,
    is_multi: bool,
) -> NDArray[np.int64]:
    """Return the rows of the shortlist, as the platform makes it."""
    strategy = strategy_named(variant.strategy)
    order = strategy.order(is_multi=is_multi)
    ranked = np.random.default_rng(seed).permutation(len(probabilities))
    if order is not None:
        ranked = np.argsort(-order.scores(pool), kind="stable")
    if variant.removes_duplicates:
        ranked = ranked[np.sort(np.unique(groups[ranked], return_index=True)[1])]
    shortlist = ranked[: variant.factor * BATCH]
    if strategy.label_score is None:
        return shortlist
    scores = label_scores(probabilities[ranked], strategy.label_score, is_multi=is_multi)
    heads = ranked[np.argsort(-scores, axis=0, kind="stable")[: variant.factor * BATCH].ravel()]
    both = np.union1d(shortlist, heads)
    place = np.empty(len(probabilities), dtype=np.int64)
    place[ranked] = np.arange(len(ranked))
    return both[np.argsort(place[both])]


class Sizes(NamedTuple):
    """How much is simulated."""

    pool: int
    test: int
    rounds: int
    seeds: int


def _sizes() -> Sizes:
    return Sizes(1_500, 500, 2, 1) if os.environ.get("QUICK") == "1" else Sizes(POOL, TEST, ROUNDS, SEEDS)


def _task(corpus: Corpus, order: NDArray[np.int64], seed: int, labels: Strings | None = None) -> Task:
    """Return a task of which the first rows of ``order`` are the test set."""
    generator = np.random.default_rng(seed + 500)
    classes, codes = np.unique(corpus.labels if labels is None else labels, return_inverse=True)
    test, pool = order[: _sizes().test], order[_sizes().test :][: _sizes().pool]
    start = generator.permutation(len(pool))[:START]
    if labels is not None:
        positives = np.flatnonzero(codes[pool] == list(classes).index("positive"))
        start = np.union1d(start, generator.permutation(positives)[:MIN_POSITIVES])
    groups = near_duplicate_groups(corpus.texts[pool].tolist(), NearDuplicateOptions())
    known = (corpus.features[pool], codes[pool], start, groups, corpus.features[test], codes[test])
    return Task(*known, n_labels=len(classes), is_binary=labels is not None)


def _edited(text: str, generator: np.random.Generator) -> str:
    words = text.split()
    return " ".join(word for word, keep in zip(words, generator.random(len(words)) >= EDITED, strict=True) if keep)


def _model(task: Task) -> Any:
    each = LogisticRegression(C=10, max_iter=60)
    return OneVsRestClassifier(each) if task.is_multi else each


def _score(model: Any, task: Task) -> float:
    if task.is_binary:
        return float(average_precision_score(task.test_labels == 1, model.predict_proba(task.test_features)[:, 1]))
    return float(f1_score(task.test_labels, model.predict(task.test_features), average="macro", zero_division=0))


def summarise(runs: list[Run]) -> list[dict[str, Any]]:
    """Return for each scenario and strategy the area, its difference to margin, and labels saved against random."""
    rows = []
    for scenario in dict.fromkeys(run.scenario for run in runs):
        mine = [run for run in runs if run.scenario == scenario]
        for name in _variants(mine):
            areas, margins = _areas(mine, name), _areas(mine, "margin")
            rows.append(
                {
                    "scenario": scenario,
                    "variant": name,
                    "area": round(float(areas.mean()), 2),
                    **_difference(areas - margins),
                    "labels_of_random": _labels_ratio(mine, name),
                }
            )
    return rows


def overall(runs: list[Run]) -> list[dict[str, Any]]:
    """Return each strategy's difference to margin over all scenarios and seeds."""
    rows = []
    for name in _variants(runs):
        # Not every strategy was measured in every scenario.
        scenarios = {run.scenario for run in runs if run.variant == name}
        same = [run for run in runs if run.scenario in scenarios]
        rows.append({"variant": name, **_difference(_areas(same, name) - _areas(same, "margin"))})
    return rows


def _variants(runs: list[Run]) -> list[str]:
    return [name for name in VARIANTS if any(run.variant == name for run in runs)]


def _areas(runs: list[Run], name: str) -> NDArray[np.float64]:
    return np.array([run.area for run in runs if run.variant == name])


def _difference(differences: NDArray[np.float64]) -> dict[str, float | None]:
    n = len(differences)
    error = float(differences.std(ddof=1)) / sqrt(n) if n > 1 else None
    return {
        "to_margin": round(float(differences.mean()), 2),
        "standard_error": None if error is None else round(error, 2),
    }


def _labels_ratio(runs: list[Run], name: str) -> float | None:
    """Return how many labels random takes to its last figure, for each that this strategy takes to it; None: never."""
    random, mine = (np.mean([run.curve for run in runs if run.variant == each], axis=0) for each in ("random", name))
    labels = START + BATCH * np.arange(len(mine))
    best = np.maximum.accumulate(mine)
    reached = np.flatnonzero(best >= random[-1])
    if not len(reached):
        return None
    after = int(reached[0])
    share = (random[-1] - best[after - 1]) / (best[after] - best[after - 1])
    return round(float(labels[-1] / (labels[after - 1] + share * BATCH)), 2)


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1")
    parser.add_argument("--seeds", type=int, help="fewer or more than five")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, help="measure these anew, and keep the others' results")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, help="measure these anew, and keep the others")
    parser.add_argument("--held-out", action="store_true", help="the default alone, on seeds that chose nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        os.environ["QUICK"] = "1"
    if not os.environ.get(DATA_VARIABLE):
        print(f"Nothing to measure: set {DATA_VARIABLE} to a folder of Parquet files with the columns text and label.")
        return
    with threadpool_limits(limits=1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 iterations are enough to rank pages by
        warnings.filterwarnings("ignore", message="Label .* is present in all")  # a start may lack a topic
        seeds = range(arguments.seeds or _sizes().seeds)
        if arguments.held_out:
            seeds = range(SEEDS, SEEDS + len(seeds))
        variants = arguments.only or list(HELD_OUT if arguments.held_out else VARIANTS)
        results = HELD_OUT_RESULTS if arguments.held_out else RESULTS
        _measure(seeds, arguments.quick, variants, arguments.scenarios or list(SCENARIOS), results)


def _measure(seeds: Iterable[int], is_quick: bool, variants: list[str], scenarios: list[str], results: Path) -> None:
    names = {SCENARIOS[scenario][0] for scenario in scenarios}
    corpora = {corpus.name: corpus for corpus in load_corpora(names)}
    found_before = json.loads(results.read_text())["runs"] if results.exists() and not is_quick else []
    anew = {(scenario, variant) for scenario in scenarios for variant in variants}
    runs = [Run(**run) for run in found_before if (run["scenario"], run["variant"]) not in anew]
    for scenario in scenarios:
        name, make = SCENARIOS[scenario]
        if name not in corpora:
            print(f"{scenario}: no {name}.parquet in the folder, left out")
            continue
        for seed in seeds:
            task = make(corpora[name], seed)
            runs += [simulate(scenario, task, variant, seed) for variant in variants]
        for row in summarise([run for run in runs if run.scenario == scenario]):
            print(*row.values(), sep="\t", flush=True)
    runs.sort(key=lambda run: (list(SCENARIOS).index(run.scenario), list(VARIANTS).index(run.variant), run.seed))
    found = {"quick": is_quick, "overall": overall(runs), "scenarios": summarise(runs)}
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps({**found, "runs": [asdict(run) for run in runs]}) + "\n", encoding="utf-8")
    for row in overall(runs):
        print(*row.values(), sep="\t")


if __name__ == "__main__":
    main()
