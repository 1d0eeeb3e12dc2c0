"""Which pages go into a step, and pages as padded tensors."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from al_platform.models.transformer.texts import EncodedPages

STEPS_A_BUCKET = 50  # as in transformers' LengthGroupedSampler: little padding, and steps still differ by epoch

Rows = NDArray[np.int64]
_Made = TypeVar("_Made")


class TokenBatch(NamedTuple):
    """S sequences of B pages, padded to T tokens."""

    token_ids: Tensor  # (S, T) int64
    attention: Tensor  # (S, T) int64, 1 where there is a token
    page: Tensor  # (S,) int64: the page that each sequence is of
    piece: Tensor  # (S,) int64: its place within the page
    n_pages: int

    def to(self, device: torch.device) -> "TokenBatch":
        """Return the batch on ``device``."""
        return TokenBatch(
            self.token_ids.to(device),
            self.attention.to(device),
            self.page.to(device),
            self.piece.to(device),
            self.n_pages,
        )


def steps_of_epoch(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> list[Rows]:
    """Return the rows of each step of an epoch: every row once, rows of similar length together, steps shuffled.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows of a step.
        seed: Of the shuffles.
        epoch: From 0; each has its own shuffle.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    bucket = batch_size * STEPS_A_BUCKET
    buckets = [order[start : start + bucket] for start in range(0, len(order), bucket)]
    ordered = np.concatenate([rows[np.argsort(-lengths[rows], kind="stable")] for rows in buckets])
    steps = [ordered[start : start + batch_size] for start in range(0, len(ordered), batch_size)]
    return [steps[index] for index in rng.permutation(len(steps))]


def batches_within(lengths: NDArray[np.int64], most_tokens: int) -> Iterator[Rows]:
    """Yield every row once, the longest first, in batches that padded hold at most ``most_tokens``, or one row."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, most_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + size]
        start += size


def halved_to_fit(rows: Rows, make: Callable[[Rows], _Made]) -> Iterator[tuple[Rows, _Made]]:
    """Yield rows with what ``make`` makes of them, in halves where the device's memory does not hold them at once."""
    made = []
    try:
        made.append(make(rows))
    except torch.cuda.OutOfMemoryError:
        if len(rows) == 1:
            raise
    if made:
        yield rows, made[0]
        return
    # Outside of the handler: its traceback holds on to what did not fit.
    for half in np.array_split(rows, 2):
        yield from halved_to_fit(half, make)


def pad(pages: EncodedPages, rows: Rows, padding: int) -> TokenBatch:
    """Return the sequences of some pages, padded to the longest of them."""
    first, n_pieces = pages.page_starts[rows], np.diff(pages.page_starts)[rows]
    page = np.repeat(np.arange(len(rows)), n_pieces)
    piece = np.arange(len(page)) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    sequences = first[page] + piece
    starts, lengths = pages.sequence_starts[sequences], np.diff(pages.sequence_starts)[sequences]
    is_token = np.arange(lengths.max(initial=1)) < lengths[:, None]  # (S, T)
    token_ids = np.full(is_token.shape, padding, dtype=np.int64)
    places = starts[:, None] + np.arange(is_token.shape[1])
    token_ids[is_token] = pages.token_ids[places[is_token]]
    return TokenBatch(
        token_ids=torch.from_numpy(token_ids),
        attention=torch.from_numpy(is_token.astype(np.int64)),
        page=torch.from_numpy(page),
        piece=torch.from_numpy(piece),
        n_pages=len(rows),
    )
