"""Answers about the tensors of a model's files: figures, histograms, blocks, singular values. No run is needed.

Everything is accumulated in float64 over pieces of the tensor, and between two pieces the work can be interrupted.
What cannot be read is an answer too: the sentence that says why. Call in the engine's thread only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.checkpoint.stored import Stored
from engine.checkpoint.values import Values
from engine.errors import Cancelled, EngineError
from engine.frames import SingularValues, TensorBlock, TensorFigures, TensorHistogram, Unreadable
from engine.gate import Answering

_LEAST_BIN = 1e-300  # narrower ones cannot be computed with
_APART = 2.0**-40  # of a number, so that bins around it have edges of their own
_PRODUCT = 5e7  # multiplications between two interruptions of a Gram matrix


@torch.inference_mode()  # as a decorator: a with-block would leak the mode to whoever runs between two slices
def answering(question: Any) -> Answering:
    """The generator that answers a question about files."""
    tensor: Stored = question.tensor
    try:
        _check_matrix(tensor, question.matrix)
        with Values(tensor) as values:
            return (yield from _ANSWERS[type(question)](values, question))
    except Cancelled:
        raise
    except EngineError as error:
        return Unreadable(tensor, str(error))


def _check_matrix(tensor: Stored, matrix: int | None) -> None:
    count = tensor.matrices[0]
    if matrix is not None and count and not 0 <= matrix < count:
        raise EngineError(f"{tensor.name} has no matrix {matrix}; it has 0 to {count - 1}.")


def _chosen(values: Values, matrix: int | None) -> Iterator[int]:
    count = values.matrices[0]
    yield from range(count) if matrix is None else range(matrix, min(matrix + 1, count))


# -- figures -----------------------------------------------------------------------------------------------------------


class _Moments:
    """Figures of everything that was added; parts are joined as in Chan, Golub and LeVeque 1979, equation 2.1."""

    def __init__(self) -> None:
        self.count = self.nans = self.infinities = self.zeros = 0
        self.low, self.high = math.inf, -math.inf
        self.mean = self.squares = 0.0  # of the distances from the mean
        self.norm = 0.0

    def add(self, values: Tensor) -> None:
        """Float64 of any shape."""
        self.count += values.numel()
        finite = values.isfinite()
        if not bool(finite.all()):
            nans = int(values.isnan().sum())
            self.nans, self.infinities = self.nans + nans, self.infinities + int((~finite).sum()) - nans
            values = values[finite]
        if values.numel():
            self._join(values)

    def _join(self, values: Tensor) -> None:
        before, more = self.finite - values.numel(), values.numel()
        self.zeros += more - int(values.count_nonzero())
        low, high = values.aminmax()
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
        mean = float(values.mean())
        apart = mean - self.mean
        self.squares += float((values - mean).square().sum()) + apart * apart * before * more / (before + more)
        self.mean += apart * more / (before + more)
        self.norm = math.hypot(self.norm, float(torch.linalg.vector_norm(values)))

    @property
    def finite(self) -> int:
        return self.count - self.nans - self.infinities

    def figures(self) -> dict[str, Any]:
        if not self.finite:
            return dict.fromkeys(("low", "high", "mean", "deviation", "peak", "norm"), math.nan)
        return {
            "low": self.low,
            "high": self.high,
            "mean": self.mean,
            "deviation": math.sqrt(self.squares / self.finite),
            "peak": max(abs(self.low), abs(self.high)),
            "norm": self.norm,
        }


class _Blocks:
    """Sums, squares and largest magnitudes of the blocks of one matrix [rows, columns]."""

    def __init__(self, rows: int, columns: int, most: int) -> None:
        self.rows, self.columns = rows, columns
        self.high, self.wide = -(-rows // most) or 1, -(-columns // most) or 1
        shape = -(-rows // self.high), -(-columns // self.wide)
        self.sums, self.squares, self.peaks = (torch.zeros(shape, dtype=torch.float64) for _ in range(3))

    def add(self, row: int, column: int, values: Tensor) -> None:
        """A piece that begins in this row and column."""
        n_rows, n_columns = values.shape
        rows = torch.arange(row, row + n_rows) // self.high
        first = column // self.wide
        before = column - first * self.wide
        behind = -(before + n_columns) % self.wide
        padded = torch.nn.functional.pad(values, (before, behind)).view(n_rows, -1, self.wide)
        columns = slice(first, first + padded.shape[1])
        self.sums[:, columns].index_add_(0, rows, padded.sum(-1))
        self.squares[:, columns].index_add_(0, rows, padded.square().sum(-1))
        peaks = padded.abs().amax(-1)
        self.peaks[:, columns].scatter_reduce_(0, rows[:, None].expand_as(peaks), peaks, "amax")

    def arrays(self, turned: bool) -> dict[str, Any]:
        """As they are presented."""
        high = torch.full((len(self.sums), 1), float(self.high), dtype=torch.float64)
        wide = torch.full((1, self.sums.shape[1]), float(self.wide), dtype=torch.float64)
        high[-1:] = self.rows - (len(self.sums) - 1) * self.high
        wide[:, -1:] = self.columns - (self.sums.shape[1] - 1) * self.wide
        found = {"rms": (self.squares / (high * wide)).sqrt(), "means": self.sums / (high * wide), "peaks": self.peaks}
        return {name: (table.T if turned else table).contiguous().numpy() for name, table in found.items()}


def _figures(values: Values, question: ask.AskTensorFigures) -> Answering:
    moments, (_, rows, columns) = _Moments(), values.matrices
    shape = (rows, columns) if question.matrix is not None and question.tensor.elements else (0, 0)
    blocks = _Blocks(*shape, max(1, question.most))
    for matrix in _chosen(values, question.matrix):
        for piece in values.pieces(matrix):
            moments.add(piece.values)
            if question.matrix is not None:
                blocks.add(piece.row, piece.column, piece.values)
            yield None
    block = (blocks.wide, blocks.high) if values.turned else (blocks.high, blocks.wide)
    return TensorFigures(
        question.tensor,
        question.matrix,
        count=moments.count,
        nans=moments.nans,
        infinities=moments.infinities,
        zeros=moments.zeros,
        block=block,
        **moments.figures(),
        **blocks.arrays(values.turned),
    )


# -- histogram ---------------------------------------------------------------------------------------------------------


def _histogram(values: Values, question: ask.AskTensorHistogram) -> Answering:
    """Bins as numpy's: a number that rounding puts into a neighbour's bin is put right by the edges."""
    edges = torch.from_numpy(bin_edges(question.low, question.high, question.bins))
    counts = torch.zeros(question.bins, dtype=torch.int64)
    for matrix in _chosen(values, question.matrix):
        for piece in values.pieces(matrix):
            numbers = piece.values.flatten()
            inside = numbers[(numbers >= edges[0]) & (numbers <= edges[-1])]
            counts += _binned(inside, edges)
            yield None
    return TensorHistogram(question.tensor, question.matrix, edges.numpy(), counts.numpy())


def bin_edges(low: float, high: float, bins: int) -> np.ndarray:
    """Float64 [bins + 1] from ``low`` to ``high``; where they are one number, or nearly so, a half to either side, or
    what a large number can be told apart by."""
    if (high - low) / bins < _LEAST_BIN:
        apart, most = max(0.5, abs(low) * _APART), float(np.finfo(np.float64).max)
        low, high = max(low - apart, -most), min(high + apart, most)
    return np.linspace(low, high, bins + 1)


def _binned(numbers: Tensor, edges: Tensor) -> Tensor:
    bins = len(edges) - 1
    places = ((numbers - edges[0]) * (bins / (edges[-1] - edges[0]))).long().clamp_(0, bins - 1)
    places -= (numbers < edges[places]).long()
    places += ((numbers >= edges[places + 1]) & (places < bins - 1)).long()
    return torch.bincount(places, minlength=bins)


# -- one block ---------------------------------------------------------------------------------------------------------


def _block(values: Values, question: ask.AskTensorBlock) -> Answering:
    rows, columns = (question.columns, question.rows) if values.turned else (question.rows, question.columns)
    low, high, peak, place = math.inf, -math.inf, 0.0, (rows[0], columns[0])
    for top, left, part in _tiles(values, question.matrix, rows, columns):
        finite = part.isfinite()
        numbers = part.where(finite, 0.0)
        if bool(finite.any()):
            low = min(low, float(part[finite].min()))
            high = max(high, float(part[finite].max()))
        index = int(numbers.abs().argmax())
        row, column = divmod(index, part.shape[1])
        if abs(float(numbers[row, column])) > abs(peak):
            peak, place = float(numbers[row, column]), (top + row, left + column)
        yield None
    row, column = reversed(place) if values.turned else place
    low, high = (low, high) if low <= high else (math.nan, math.nan)
    return TensorBlock(question.tensor, question.matrix, question.rows, question.columns, low, high, peak, row, column)


def _tiles(
    values: Values, matrix: int, rows: tuple[int, int], columns: tuple[int, int]
) -> Iterator[tuple[int, int, Tensor]]:
    """A rectangle in pieces of at most 256 rows and 1024 columns."""
    for top in range(rows[0], rows[1], 256):
        for left in range(columns[0], columns[1], 1024):
            inside = (top, min(top + 256, rows[1])), (left, min(left + 1024, columns[1]))
            yield top, left, values.part(matrix, *inside)


# -- singular values ---------------------------------------------------------------------------------------------------


def _singular_values(values: Values, question: ask.AskSingularValues) -> Answering:
    """The roots of the eigenvalues of AᵀA (or AAᵀ, whichever is smaller), which is added up piece by piece."""
    began, (_, rows, columns) = time.perf_counter(), values.matrices
    side = min(rows, columns)
    if not question.tensor.elements:
        raise EngineError(f"{question.tensor.name} is empty, so it has no singular values.")
    if side > ask.MOST_SIDE:
        raise EngineError(
            f"{question.tensor.name} is {rows} x {columns}; singular values are computed where the shorter side is "
            f"at most {ask.MOST_SIDE}."
        )
    gram = torch.zeros(side, side, dtype=torch.float64)
    if columns <= rows:
        parts = (piece.values for piece in values.pieces(question.matrix))
    else:
        parts = (strip.T for strip in values.strips(question.matrix))
    for part in parts:
        if not bool(part.isfinite().all()):
            raise EngineError(f"{question.tensor.name} has numbers that are not finite, so it has no singular values.")
        yield from _add_product(gram, part)
    singular = _eigenvalues(question.tensor, gram).clamp_min_(0).sqrt_().flip(0).contiguous().numpy()
    return SingularValues(question.tensor, question.matrix, singular, time.perf_counter() - began)


def _eigenvalues(tensor: Stored, gram: Tensor) -> Tensor:
    """Rising. Raises EngineError where the squares of the numbers leave the range of float64, or LAPACK gives up."""
    try:
        found = torch.linalg.eigvalsh(gram)
    except torch.linalg.LinAlgError as error:
        raise EngineError(f"The singular values of {tensor.name} could not be found ({error}).") from error
    if not bool(found.isfinite().all()):
        raise EngineError(f"The numbers of {tensor.name} are too large for their squares, so no singular values exist.")
    return found


def _add_product(gram: Tensor, part: Tensor) -> Iterator[None]:
    """``gram`` += partᵀ · part, some columns at a time; only the lower triangle's blocks, which eigvalsh reads."""
    side = len(gram)
    step = max(1, int(_PRODUCT / max(1, part.shape[0] * side)))
    for first in range(0, side, step):
        columns = slice(first, first + step)
        gram[first:, columns].addmm_(part[:, first:].T, part[:, columns])
        yield None


_ANSWERS: dict[type, Callable[[Values, Any], Answering]] = {
    ask.AskTensorFigures: _figures,
    ask.AskTensorHistogram: _histogram,
    ask.AskTensorBlock: _block,
    ask.AskSingularValues: _singular_values,
}
