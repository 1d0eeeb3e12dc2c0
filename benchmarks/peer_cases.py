"""One selection by another package, in a process of the environment ``servers/peers.lock``; see ``benchmarks.peers``.

    python -m benchmarks.peer_cases CASE FOLDER SIZE
    python -m benchmarks.peer_cases --serve FOLDER     # see ``peer_worker``

Each package gets the probabilities and embeddings that are there: a stand-in for its model returns them, so that no
inference is measured. Prints wall and CPU seconds of the query as ``timing.repeated`` has them, after a small one, the
peak memory of the process and the mean margin of the rows, as JSON.
"""

import json
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.timing import mean_margin, peak_mb, repeated
from sklearn.base import BaseEstimator, ClassifierMixin

Rows = Any
MEMORY = 10 << 30
SEED = 0


class Known(ClassifierMixin, BaseEstimator):
    """Says what it was given of the rows it is asked about; a row carries its number as its first feature."""

    def __init__(self, probabilities: Any = None):
        self.probabilities = probabilities
        self.classes_ = None if probabilities is None else np.arange(probabilities.shape[1])

    def fit(self, *_: Any, **__: Any) -> "Known":
        return self

    def predict_proba(self, rows: Any) -> Any:
        return self.probabilities if len(rows) == len(self.probabilities) else self.probabilities[: len(rows)]

    def predict(self, rows: Any) -> Any:
        return self.predict_proba(rows).argmax(axis=1)


def baal_margin(probabilities: Any, embeddings: Any, size: int) -> Rows:
    from baal.active.heuristics import Margin

    return Margin()(probabilities)[:size]


def modal_margin(probabilities: Any, embeddings: Any, size: int) -> Rows:
    from modAL.uncertainty import margin_sampling

    found = margin_sampling(Known(probabilities), embeddings, n_instances=size)
    return found[0] if isinstance(found, tuple) else found


def modal_ranked_batch(probabilities: Any, embeddings: Any, size: int) -> Rows:
    from modAL.batch import ranked_batch
    from modAL.uncertainty import classifier_uncertainty

    learner = Known(probabilities)
    learner.on_transformed, learner.X_training = False, embeddings[:100]
    uncertainty = classifier_uncertainty(learner, embeddings)
    found = ranked_batch(learner, embeddings, uncertainty, n_instances=size, metric="euclidean", n_jobs=1)
    return found[0] if isinstance(found, tuple) else found


def _small_text(strategy: Any, probabilities: Any, embeddings: Any, size: int) -> Rows:
    unlabeled = np.arange(len(embeddings))
    labeled = np.empty(0, dtype=int)
    return strategy.query(Known(probabilities), embeddings, unlabeled, labeled, np.empty(0, dtype=int), n=size)


def small_text_breaking_ties(*given: Any) -> Rows:
    from small_text import BreakingTies

    return _small_text(BreakingTies(), *given)


def small_text_lightweight_coreset(probabilities: Any, embeddings: Any, size: int) -> Rows:
    from small_text.query_strategies.coresets import lightweight_coreset

    return lightweight_coreset(embeddings, embeddings.mean(axis=0), size)


def small_text_kmeans(probabilities: Any, embeddings: Any, size: int) -> Rows:
    from small_text import EmbeddingKMeans

    strategy = EmbeddingKMeans(normalize=True)
    unlabeled = np.arange(len(embeddings))
    return strategy.sample(
        Known(probabilities), embeddings, unlabeled, np.empty(0, int), np.empty(0, int), size, embeddings
    )


def _skactiveml(strategy: Any, probabilities: Any, embeddings: Any, size: int, **options: Any) -> Rows:
    from skactiveml.base import SkactivemlClassifier

    class Given(SkactivemlClassifier):
        def __init__(
            self, classes: Any = None, missing_label: Any = np.nan, cost_matrix: Any = None, random_state: Any = None
        ):
            super().__init__(classes, missing_label, cost_matrix, random_state)
            self.classes_ = np.arange(probabilities.shape[1])

        def fit(self, *_: Any, **__: Any) -> Any:
            return self

        def predict_proba(self, rows: Any, **_: Any) -> Any:
            return probabilities[: len(rows)]

    unknown = np.full(len(embeddings), np.nan)
    for name in {"clf", "estimator"} & options.keys():
        options[name] = Given(classes=list(range(probabilities.shape[1])))
    return strategy.query(embeddings, unknown, batch_size=size, **options)


def skactiveml_margin(*given: Any) -> Rows:
    from skactiveml.pool import UncertaintySampling

    strategy = UncertaintySampling(method="margin_sampling", random_state=SEED)
    return _skactiveml(strategy, *given, clf=None, fit_clf=False)


def skactiveml_falcun(*given: Any) -> Rows:
    from skactiveml.pool import Falcun

    return _skactiveml(Falcun(random_state=SEED), *given, clf=None, fit_clf=False)


def skactiveml_badge(*given: Any) -> Rows:
    from skactiveml.pool import Badge

    return _skactiveml(Badge(random_state=SEED), *given, clf=None, fit_clf=False)


def skactiveml_clue(*given: Any) -> Rows:
    from skactiveml.pool import Clue

    return _skactiveml(Clue(random_state=SEED), *given, estimator=None, fit_estimator=False)


def skactiveml_coreset(*given: Any) -> Rows:
    from skactiveml.pool import CoreSet

    return _skactiveml(CoreSet(random_state=SEED), *given)


CASES: dict[str, Callable[[Any, Any, int], Rows]] = {
    "baal: margin": baal_margin,
    "modAL: margin": modal_margin,
    "small-text: breaking ties": small_text_breaking_ties,
    "scikit-activeml: margin": skactiveml_margin,
    "scikit-activeml: Falcun": skactiveml_falcun,
    "scikit-activeml: Clue": skactiveml_clue,
    "scikit-activeml: BADGE": skactiveml_badge,
    "scikit-activeml: CoreSet": skactiveml_coreset,
    "small-text: lightweight coreset": small_text_lightweight_coreset,
    "small-text: embedding k-means": small_text_kmeans,
    "modAL: ranked batch": modal_ranked_batch,
}


def serve(folder: Path) -> None:
    """Answer each line of the input, a case and a size, with the rows that it chooses of the folder's arrays."""
    for line in sys.stdin:
        name, size = json.loads(line)
        np.random.seed(SEED)
        rows = np.asarray(CASES[name](*_arrays(folder), size))
        print(json.dumps(rows.astype(int).tolist()), flush=True)


def _arrays(folder: Path) -> list[Any]:
    return [np.load(folder / f"{each}.npy") for each in ("probabilities", "embeddings")]


def main() -> None:
    """Run one case, or all that are asked for."""
    warnings.simplefilter("ignore")
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
        return
    name, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    probabilities, embeddings = _arrays(folder)
    query = CASES[name]
    query(probabilities[:200].copy(), embeddings[:200].copy(), 5)  # imports and compiles
    np.random.seed(SEED)
    times, rows = repeated(lambda: np.asarray(query(probabilities, embeddings, size)))
    n_distinct = len(np.unique(rows))
    if n_distinct != size:
        sys.exit(f"{n_distinct} distinct rows of the {size} asked for")
    print(json.dumps({**times, "peak_mb": peak_mb(), "mean_margin": mean_margin(probabilities[rows])}))


if __name__ == "__main__":
    main()
