import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from al_platform.models.features import CHUNK_TEXTS, count_ngrams, embed_texts, feature_table, projection, tfidf
from al_platform.models.options import NgramOptions

SMALL = NgramOptions(n_features=2**12, embedding_dim=32)
TEXTS = ["The cat sat on the mat.", "A dog  barked,\nthe cat ran!", "Änderung der Straße 東京", ""]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first.astype(np.float64) @ second.astype(np.float64))


def test_counts_are_those_of_a_hashing_vectorizer_for_words_and_one_for_characters():
    shared = {"n_features": SMALL.n_features, "alternate_sign": False, "norm": None, "dtype": np.float32}
    words = HashingVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", **shared).transform(TEXTS)
    characters = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), **shared).transform(TEXTS)
    assert abs(count_ngrams(TEXTS, SMALL) - sp.hstack([words, characters])).max() == 0


def test_tfidf_agrees_with_scikit_learn():
    counts = count_ngrams(TEXTS, SMALL)
    feature_ids, idf = feature_table(counts, max_features=10**6)
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts[:, feature_ids])
    assert abs(tfidf(counts, feature_ids, idf) - expected).max() < 1e-6


def test_the_most_widespread_features_are_kept_in_ascending_order():
    counts = sp.csr_matrix(np.array([[0, 9, 1, 1], [0, 0, 1, 1], [0, 0, 1, 0]], dtype=np.float32))
    feature_ids, idf = feature_table(counts, max_features=2)
    assert feature_ids.tolist() == [2, 3]
    assert idf.tolist() == pytest.approx([1.0, np.log(4 / 3) + 1])


def test_features_unseen_in_training_are_dropped():
    counts = count_ngrams(["apple", "zebra"], SMALL)
    feature_ids, idf = feature_table(counts[:1], max_features=100)
    assert tfidf(counts, feature_ids, idf)[1].nnz < counts[1].nnz


def test_embeddings_have_length_one_and_no_words_mean_zeros():
    embeddings = embed_texts(TEXTS, SMALL)
    assert embeddings.dtype == np.float16
    assert np.linalg.norm(embeddings.astype(np.float64), axis=1).tolist() == pytest.approx([1, 1, 1, 0], abs=2e-3)


def test_near_identical_texts_are_closer_than_different_ones():
    page, edited, other = embed_texts(
        [
            "The harbour master counted nine ships at dawn, and the wind was rising from the north.",
            "The harbour master counted ten ships at dawn, and the wind was rising from the north!",
            "Bake the bread for forty minutes, then let it cool on a rack before you cut it.",
        ],
        NgramOptions(),
    )
    assert cosine(page, edited) > 0.8
    assert cosine(page, other) < 0.5


def test_the_projection_keeps_cosines():
    counts = count_ngrams(TEXTS[:2], SMALL)
    feature_ids = np.unique(counts.indices).astype(np.int64)
    features = tfidf(counts, feature_ids, np.ones(len(feature_ids), dtype=np.float32))
    wide = (features @ projection(feature_ids, 8192)).toarray()
    expected = (features[0] @ features[1].T).toarray().item()
    assert wide[0] @ wide[1] / np.linalg.norm(wide[0]) / np.linalg.norm(wide[1]) == pytest.approx(expected, abs=0.05)


def test_the_projection_is_pinned_so_that_stored_embeddings_stay_comparable():
    matrix = projection(np.array([0, 7, 2**21 - 1]), 16)
    assert matrix.indices.tolist() == [0, 15, 5, 2, 1, 0, 7, 1, 9, 3, 9, 7]
    assert matrix.data.tolist() == [-1, 1, -1, 1, 1, 1, 1, -1, -1, -1, -1, -1]


def test_a_text_embeds_the_same_in_any_chunk():
    alone = embed_texts(["the last page"], SMALL)
    assert (embed_texts(["filler"] * CHUNK_TEXTS + ["the last page"], SMALL)[-1] == alone[0]).all()


def test_hostile_texts_are_embedded():
    texts = ["x" * 5_000_000, "\0 \0a " * 1_000_000, "", "\ud800 lone surrogate", "   ", "\u202e\U0001f600"]
    embeddings = embed_texts(texts, NgramOptions())
    assert np.isfinite(embeddings).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(), max_size=4))
def test_any_text_has_a_finite_embedding(texts):
    embeddings = embed_texts(texts, SMALL)
    assert embeddings.shape == (len(texts), SMALL.embedding_dim)
    assert np.isfinite(embeddings).all()


@pytest.mark.parametrize(
    "mistake", [{"n_features": 1000}, {"word_ngrams": (2, 1)}, {"char_ngrams": (0, 3)}, {"words": 3}]
)
def test_a_mistaken_option_is_refused(mistake):
    with pytest.raises(ValidationError):
        NgramOptions(**mistake)


def test_scoring_and_features_load_no_torch():
    code = "import sys, al_platform.models.classifier, al_platform.models.features; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
