"""Texts to token sequences: a page is one sequence, or several where it is read in pieces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from al_platform.models.transformer.options import TransformerOptions

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_CHARS_A_TOKEN = 16  # three times what a token of prose has: what is beyond is cut off anyway
PROBE = "a"


class TokenLayout(BaseModel):
    """What the encoder expects around a text's tokens.

    Attributes:
        prefix: Token ids before each sequence, such as ``[CLS]``.
        suffix: Token ids after it, such as ``[SEP]``.
        padding: Token id that fills a batch up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    padding: int


@dataclass(frozen=True)
class EncodedPages:
    """Token ids of N pages, of S sequences in all.

    Attributes:
        token_ids: int32, the sequences one after another.
        sequence_starts: int64 of shape (S + 1,): sequence s has the tokens from its start to the next one's.
        page_starts: int64 of shape (N + 1,): page n has the sequences from its start to the next one's.
    """

    token_ids: NDArray[np.int32]
    sequence_starts: NDArray[np.int64]
    page_starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.page_starts) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each page, shape (N,)."""
        return np.diff(self.sequence_starts[self.page_starts])


@dataclass(frozen=True)
class PageTokenizer:
    """A tokenizer as JSON, and what goes around its tokens."""

    definition: str
    layout: TokenLayout

    @cached_property
    def _tokenizer(self) -> "Tokenizer":
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.definition)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A page that writes "[SEP]" or "<pad>" has written that word, and no mark of the encoder's.
        tokenizer.encode_special_tokens = True
        return tokenizer

    def encode(self, texts: Sequence[str], options: TransformerOptions) -> EncodedPages:
        """Return the sequences of ``texts``, none of them longer than ``options.max_tokens``."""
        readable = [readable_part(text, options) for text in texts]
        found = self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)
        room = options.max_tokens - len(self.layout.prefix) - len(self.layout.suffix)
        pieces = PIECES[options.long_text]
        pages = [pieces(encoding.ids, room, options) for encoding in found]
        return self._flat(pages)

    def _flat(self, pages: Sequence[Sequence[list[int]]]) -> EncodedPages:
        prefix, suffix = list(self.layout.prefix), list(self.layout.suffix)
        sequences = [prefix + piece + suffix for page in pages for piece in page]
        token_ids = np.array([token for sequence in sequences for token in sequence], dtype=np.int32)
        return EncodedPages(token_ids, _starts(map(len, sequences)), _starts(map(len, pages)))


def layout_of(tokenizer: "Tokenizer", padding: int) -> TokenLayout:
    """Return what ``tokenizer`` puts around a text's tokens.

    Raises:
        ValueError: That cannot be told, as it makes nothing of a letter, or something else beside the others.
    """
    bare = tokenizer.encode(PROBE, add_special_tokens=False).ids
    whole = tokenizer.encode(PROBE, add_special_tokens=True).ids
    start = next((at for at in range(len(whole)) if bare and whole[at : at + len(bare)] == bare), None)
    if start is None:
        raise ValueError(f"its tokenizer makes {bare} of {PROBE!r} alone and {whole} with its marks around it")
    return TokenLayout(prefix=tuple(whole[:start]), suffix=tuple(whole[start + len(bare) :]), padding=padding)


def readable_part(text: str, options: TransformerOptions) -> str:
    """Return the characters of ``text`` that may matter; a lone surrogate becomes a ``?``."""
    most = options.max_chars
    if options.long_text == "truncate":
        text = text[: min(most, options.max_tokens * MOST_CHARS_A_TOKEN)]
    elif options.long_text == "head_tail" and len(text) > most:
        text = f"{text[: most - most // 2]} {text[-(most // 2) :]}"
    return text[: most + 1].encode("utf-8", "replace").decode("utf-8")


def _truncated(ids: list[int], room: int, options: TransformerOptions) -> list[list[int]]:
    return [ids[:room]]


def _head_and_tail(ids: list[int], room: int, options: TransformerOptions) -> list[list[int]]:
    if len(ids) <= room:
        return [ids]
    head = round(room * options.head_share)
    return [ids[:head] + ids[len(ids) - (room - head) :]]


def _chunks(ids: list[int], room: int, options: TransformerOptions) -> list[list[int]]:
    step = max(1, room - options.chunk_overlap)
    starts = range(0, max(1, len(ids) - options.chunk_overlap), step)
    return [ids[start : start + room] for start in starts[: options.max_chunks]]


PIECES: dict[str, Callable[[list[int], int, TransformerOptions], list[list[int]]]] = {
    "truncate": _truncated,
    "head_tail": _head_and_tail,
    "chunks": _chunks,
}


def _starts(lengths: Any) -> NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)
