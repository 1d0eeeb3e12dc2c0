import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoder import VOCABULARY, reading
from tokenizers import Tokenizer
from tokenizers.models import BPE

from al_platform.models.transformer.base import read_base
from al_platform.models.transformer.batches import batches_within, pad, steps_of_epoch
from al_platform.models.transformer.texts import PageTokenizer, layout_of

CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")
TEN = ["apple", "bread", "cheese", "soup", "engine", "wheel", "road", "diesel", "ship", "sail"]
IDS = [VOCABULARY.index(word) for word in TEN]


@pytest.fixture(scope="module")
def tokenizer(encoder) -> PageTokenizer:
    return read_base(encoder).tokenizer


def sequences(tokenizer, encoder, text, **changes) -> list[list[int]]:
    pages = tokenizer.encode([text], reading(encoder, **changes))
    parts = np.split(pages.token_ids, pages.sequence_starts[1:-1])
    assert all(part[0] == CLS and part[-1] == SEP for part in parts)
    return [part[1:-1].tolist() for part in parts]


def test_a_long_page_is_cut_at_the_end(tokenizer, encoder):
    assert sequences(tokenizer, encoder, " ".join(TEN), max_tokens=6) == [IDS[:4]]


def test_head_and_tail_keep_the_beginning_and_the_end(tokenizer, encoder):
    found = sequences(tokenizer, encoder, " ".join(TEN), max_tokens=6, long_text="head_tail", head_share=0.25)
    assert found == [[IDS[0], *IDS[-3:]]]


def test_head_and_tail_of_a_short_page_are_the_page(tokenizer, encoder):
    assert sequences(tokenizer, encoder, "apple bread", max_tokens=6, long_text="head_tail") == [IDS[:2]]


def test_chunks_overlap_and_hold_the_whole_page(tokenizer, encoder):
    found = sequences(tokenizer, encoder, " ".join(TEN), max_tokens=6, long_text="chunks", chunk_overlap=1)
    assert found == [IDS[0:4], IDS[3:7], IDS[6:10]]


def test_no_more_chunks_than_allowed_are_read(tokenizer, encoder):
    found = sequences(
        tokenizer, encoder, " ".join(TEN), max_tokens=6, long_text="chunks", chunk_overlap=0, max_chunks=2
    )
    assert found == [IDS[0:4], IDS[4:8]]


@pytest.mark.parametrize("long_text", ["truncate", "head_tail", "chunks"])
def test_hostile_texts_are_read(tokenizer, encoder, long_text):
    texts = ["", "\0", "x" * 5_000_000, "\ud800", "unheard", "ship " * 100_000]
    pages = tokenizer.encode(texts, reading(encoder, long_text=long_text, max_chunks=3, chunk_overlap=2))
    assert len(pages) == len(texts)
    assert np.diff(pages.sequence_starts).max() <= 24
    assert np.diff(pages.page_starts).min() == 1


def test_a_page_cannot_write_the_encoders_marks(tokenizer, encoder):
    (tokens,) = sequences(tokenizer, encoder, "apple [SEP] [PAD] [CLS] [MASK] bread")
    assert not {CLS, SEP, VOCABULARY.index("[PAD]"), VOCABULARY.index("[MASK]")} & {*tokens}
    assert (tokens[0], tokens[-1]) == (IDS[0], IDS[1])


def test_chunks_that_would_never_move_on_are_refused(encoder):
    with pytest.raises(ValueError, match="more than half"):
        reading(encoder, long_text="chunks", max_tokens=24, chunk_overlap=13)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=200), st.integers(1, 16), st.integers(0, 3))
def test_an_epoch_holds_every_row_once(lengths, batch_size, epoch):
    steps = steps_of_epoch(np.array(lengths), batch_size, seed=7, epoch=epoch)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    assert max(map(len, steps)) <= batch_size
    assert len(steps) == -(-len(lengths) // batch_size)


def test_epochs_differ_and_repeat_by_seed():
    lengths = np.arange(100)
    first, second = (np.concatenate(steps_of_epoch(lengths, 8, 1, epoch)).tolist() for epoch in (0, 1))
    assert first != second
    assert first == np.concatenate(steps_of_epoch(lengths, 8, 1, 0)).tolist()


def test_rows_of_similar_length_share_a_step():
    lengths = np.random.default_rng(0).integers(1, 256, 1_000)
    padded = sum(len(rows) * lengths[rows].max() for rows in steps_of_epoch(lengths, 16, 0, 0))
    assert padded < 1.1 * lengths.sum()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 60), max_size=100), st.integers(1, 200))
def test_scoring_batches_hold_every_row_once_and_stay_within_the_tokens(lengths, most_tokens):
    batches = list(batches_within(np.array(lengths, dtype=np.int64), most_tokens))
    assert sorted(row for rows in batches for row in rows) == list(range(len(lengths)))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= most_tokens


def test_a_batch_is_padded_to_its_longest_sequence(tokenizer, encoder):
    pages = tokenizer.encode(["apple", "apple bread soup"], reading(encoder))
    batch = pad(pages, np.array([1, 0]), padding=0)
    assert batch.token_ids.tolist() == [[CLS, IDS[0], IDS[1], IDS[3], SEP], [CLS, IDS[0], SEP, 0, 0]]
    assert batch.attention.tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


def test_pieces_know_their_page_and_place(tokenizer, encoder):
    options = reading(encoder, max_tokens=6, long_text="chunks", chunk_overlap=0)
    batch = pad(tokenizer.encode(["apple", " ".join(TEN)], options), np.array([1, 0]), padding=0)
    assert batch.page.tolist() == [0, 0, 0, 1]
    assert batch.piece.tolist() == [0, 1, 2, 0]


def test_a_tokenizer_that_makes_nothing_of_a_letter_is_refused():
    with pytest.raises(ValueError, match=r"makes \[\] of 'a'"):
        layout_of(Tokenizer(BPE()), padding=0)
