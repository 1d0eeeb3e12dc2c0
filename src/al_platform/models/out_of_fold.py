"""What a simple model says of labelled pages that it was not trained on, for finding wrong labels among them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FOLDS = 3
# Enough of a page to tell its label, and a bound on the time.
_MAX_CHARS = 2_000
_FEATURES = 2**18
_EPOCHS = 20
_LEAST_EXAMPLES = 2 * FOLDS


def out_of_fold_probabilities(
    texts: Sequence[str], given: NDArray[np.bool_], groups: NDArray[np.int64], *, is_multi: bool
) -> NDArray[np.float64]:
    """Return the probability of each class for each page, by a model trained on the other folds, (N, C).

    The model is logistic regression on hashed word n-grams, one for each class; single-label rows add up to 1. Pages of
    one group are in one fold: a copy in another fold would vouch for its own label.

    Args:
        texts: Of the pages, (N,).
        given: Their labels, (N, C).
        groups: Of near-duplicates, (N,).
        is_multi: Whether a page may have any number of labels.

    Returns:
        NaN for a class with too few pages, or too few without it, to learn it from.
    """
    # scikit-learn takes a second to import, and most commands train nothing.
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    found = np.full(given.shape, np.nan)
    n_with = given.sum(axis=0)
    learnable = np.flatnonzero((n_with >= _LEAST_EXAMPLES) & (len(given) - n_with >= _LEAST_EXAMPLES))
    if not len(learnable):
        return found
    hashing = HashingVectorizer(n_features=_FEATURES, ngram_range=(1, 2), alternate_sign=False, norm=None)
    counts = hashing.transform([text[:_MAX_CHARS] for text in texts])
    fold = np.unique(groups, return_inverse=True)[1] % FOLDS
    for number in range(FOLDS):
        is_asked = fold == number
        weights = TfidfTransformer(sublinear_tf=True).fit(counts[~is_asked])
        known, asked = weights.transform(counts[~is_asked]), weights.transform(counts[is_asked])
        for column in learnable:
            found[is_asked, column] = _learnt(known, given[~is_asked, column], asked)
    return found if is_multi else _normalised(found)


def _learnt(known: "object", says: NDArray[np.bool_], asked: "object") -> NDArray[np.float64]:
    from sklearn.linear_model import SGDClassifier

    if says.all() or not says.any():
        return np.full(asked.shape[0], float(says.all()))  # type: ignore[attr-defined]
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=_EPOCHS, tol=None, average=True, random_state=0)
    return np.asarray(model.fit(known, says).predict_proba(asked)[:, 1], dtype=np.float64)


def _normalised(found: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.nansum(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(total > 0, total, 1))
