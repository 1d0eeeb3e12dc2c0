"""Sparse rows in batches for the trainer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True)
class SparseRows:
    """Features, targets and weights of the same rows.

    Attributes:
        features: CSR of shape (N, F).
        targets: float32 indicator matrix of shape (N, C).
        weights: float32 of shape (N,).
    """

    features: sp.csr_matrix
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.targets)


class SparseBatch(NamedTuple):
    """B rows as tensors; the features of row i are those from ``offsets[i]`` to ``offsets[i + 1]``."""

    feature_columns: Tensor  # (nnz,) int64
    feature_values: Tensor  # (nnz,) float32
    offsets: Tensor  # (B,) int64
    targets: Tensor  # (B, C) float32
    weights: Tensor  # (B,) float32


def to_batch(rows: Any) -> SparseBatch:
    """Return ``SparseRows`` as tensors; ``Any`` because torch types a collate function as one over lists."""
    return SparseBatch(
        feature_columns=torch.from_numpy(rows.features.indices.astype(np.int64)),
        feature_values=torch.from_numpy(rows.features.data.astype(np.float32)),
        offsets=torch.from_numpy(rows.features.indptr[:-1].astype(np.int64)),
        targets=torch.from_numpy(rows.targets),
        weights=torch.from_numpy(rows.weights),
    )


class SparseDataset(Dataset[SparseRows]):
    """Rows taken a batch at a time, which slices a CSR matrix far faster than row by row."""

    def __init__(self, rows: SparseRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: NDArray[np.int64]) -> SparseRows:
        return SparseRows(self.rows.features[index], self.rows.targets[index], self.rows.weights[index])


class BatchOrder(Sampler[NDArray[np.int64]]):
    """The row numbers of each batch: shuffled by seed and epoch, or in order without a seed."""

    def __init__(self, n_rows: int, batch_size: int, seed: int | None = None) -> None:
        self.n_rows = n_rows
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the shuffle; the trainer calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        order = np.arange(self.n_rows)
        if self.seed is not None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n_rows)
        for start in range(0, self.n_rows, self.batch_size):
            yield order[start : start + self.batch_size]


class NgramDataModule(L.LightningDataModule):
    """Training rows, shuffled by ``seed``, and validation rows, in order."""

    def __init__(self, train: SparseRows, validation: SparseRows, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train = train
        self.validation = validation
        self.batch_size = batch_size
        self.seed = seed

    def train_dataloader(self) -> DataLoader[SparseRows]:
        """Return the batches of an epoch."""
        return _loader(self.train, BatchOrder(len(self.train), self.batch_size, self.seed))

    def val_dataloader(self) -> DataLoader[SparseRows]:
        """Return the validation batches."""
        return _loader(self.validation, BatchOrder(len(self.validation), self.batch_size))


def _loader(rows: SparseRows, order: BatchOrder) -> DataLoader[SparseRows]:
    # A generator of its own: by default the loader draws from torch's global one.
    return DataLoader(
        SparseDataset(rows), sampler=order, batch_size=None, collate_fn=to_batch, generator=torch.Generator()
    )
