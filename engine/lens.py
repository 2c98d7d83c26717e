"""The logit lens: what the last norm and the unembedding make of the residual stream at every layer boundary.

nostalgebraist, "interpreting GPT: the logit lens" (2020). The streams between layers are read as if they were the last
one; a model need not keep them in a form that this suits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from engine.model.decoder import Decoder
from engine.transfer import to_host

Array = np.ndarray
Work = Generator[None, None, "Reading"]

_PRODUCTS = 150_000_000  # multiplications in one slice: 4 to 12 ms on two cores
_CELLS = 400_000  # logits that are looked through in one slice: 3 to 8 ms
_COLUMNS_KEPT = 256  # 5 kB each with 30 layers
_TOP = 10
_FOLLOWED = 5  # most probable tokens of the last row that are followed over depth


@dataclass(frozen=True)
class Wanted:
    """What is to be read of a position. ``words`` None: no token is followed over depth."""

    position: int
    rows: int  # boundaries that are computed
    whole: bool  # that is all of them
    next_id: int  # the token that follows in the text, -1 while there is none
    top: int
    words: tuple[int, ...] | None = None
    edits: int = 0  # points whose tensor listeners have replaced so far in its pass: one may change what was read


@dataclass(frozen=True)
class Reading:
    """One position under the lens, row by boundary, from the embedding up.

    ``ids`` int64, ``logits`` and ``probabilities`` float32 [rows, top], most probable first, ties by id. ``entropy``
    [rows] in nats. ``divergence`` [rows]: KL(last boundary ‖ this one) in nats, NaN while the last is not computed.
    ``next_probability`` and ``next_rank`` (int64, from 0) [rows] are of the token that follows in the text: NaN and -1
    while there is none. ``words`` int64 [words] are followed over depth: ``word_probability`` and ``word_rank``
    [words, rows].
    """

    wanted: Wanted
    ids: Array
    logits: Array
    probabilities: Array
    entropy: Array
    divergence: Array
    next_probability: Array
    next_rank: Array
    words: Array
    word_probability: Array
    word_rank: Array

    def serves(self, wanted: Wanted) -> bool:
        """Whether this is all that is wanted."""
        mine = self.wanted
        same = (mine.rows, mine.next_id, mine.edits) == (wanted.rows, wanted.next_id, wanted.edits)
        followed = wanted.words is None or (mine.words is not None and set(wanted.words) <= set(mine.words))
        return same and followed and mine.top >= wanted.top

    def settled(self) -> int:
        """The boundary from which on the last one's first choice stays first; -1 while the last is not computed."""
        if not self.wanted.whole:
            return -1
        others = np.flatnonzero(self.ids[:, 0] != self.ids[-1, 0])
        return int(others[-1]) + 1 if len(others) else 0


_ROW_FIELDS = ("ids", "logits", "probabilities", "entropy", "divergence", "next_probability", "next_rank")


class Readings:
    """The readings of a run that are kept, so that a growing run reads only its new positions. The oldest go first.

    ``works`` are begun and not at their end: two who want the same share the work, which ends when nobody wants it.
    """

    def __init__(self) -> None:
        self.columns: OrderedDict[int, Reading] = OrderedDict()
        self.works: WeakValueDictionary[Wanted, Work] = WeakValueDictionary()
        self.words: tuple[int, ...] = ()  # that the user follows, as they were last asked for
        self.top = _TOP

    def truncate(self, length: int) -> None:
        """Forget positions from this one on, and work that may be on them."""
        self.works.clear()
        for position in [position for position in self.columns if position >= length]:
            del self.columns[position]

    def reading(self, wanted: Wanted, stream: Callable[[], Tensor], model: Decoder) -> Iterator[None]:
        """Yields between slices until ``columns`` has what is wanted. ``stream()``: the column ``[rows, d_model]``."""
        while not self._has(wanted):
            work = self.works.get(wanted) or self._begin(wanted, stream(), model)
            try:
                next(work)
            except StopIteration as done:
                self._keep(done.value)
            except Exception:
                self.works.pop(wanted, None)
                raise
            yield

    def _has(self, wanted: Wanted) -> bool:
        reading = self.columns.get(wanted.position)
        if reading is None or not reading.serves(wanted):
            return False
        self.columns.move_to_end(wanted.position)
        return True

    def _begin(self, wanted: Wanted, stream: Tensor, model: Decoder) -> Work:
        before = self.columns.get(wanted.position)
        if before is not None and _goes_on(before.wanted, wanted):
            work = _continued(model, stream, before, wanted)
        else:
            work = read(model, stream, wanted)
        self.works[wanted] = work
        return work

    def _keep(self, reading: Reading) -> None:
        self.works.pop(reading.wanted, None)
        self.columns[reading.wanted.position] = reading
        self.columns.move_to_end(reading.wanted.position)
        while len(self.columns) > _COLUMNS_KEPT:
            self.columns.popitem(last=False)


def _goes_on(before: Wanted, wanted: Wanted) -> bool:
    """Whether more layers are all that is new: a pass that is stopped goes on layer by layer."""
    more = before.rows < wanted.rows and not wanted.whole and wanted.words is None
    same = (before.next_id, before.top, before.edits) == (wanted.next_id, wanted.top, wanted.edits)
    return more and same


def _continued(model: Decoder, stream: Tensor, before: Reading, wanted: Wanted) -> Work:
    new = yield from read(model, stream[before.wanted.rows :], wanted)
    rows = {name: np.concatenate((getattr(before, name), getattr(new, name))) for name in _ROW_FIELDS}
    none = _tracked(new.words[:0], wanted.rows)
    return Reading(wanted, **rows, **none)


def read(model: Decoder, stream: Tensor, wanted: Wanted) -> Work:
    """Boundaries ``[rows, d_model]`` of one position under the lens, in slices of a few milliseconds.

    Where the last boundary is among them its logits are those of the pass, bit by bit, if the pass gave logits at that
    position alone. The tokens followed: the five most probable of the last row there is, the next one, the ``words``.
    """
    last = model.unembedded(stream[None, -1:])[0].float()  # [1, d_vocab], as a pass computes it
    yield
    logits = yield from _logits(model, stream[:-1], last)
    words = _words(logits, wanted)
    final = last[0].log_softmax(-1) if wanted.whole else None
    parts: list[dict[str, Tensor]] = []
    step = max(1, _CELLS // logits.shape[1])
    for first in range(0, len(logits), step):
        parts.append(_figures(logits[first : first + step], final, words, wanted))
        yield
    host = to_host({name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    return _reading(wanted, host, words)


def _logits(model: Decoder, stream: Tensor, last: Tensor) -> Generator[None, None, Tensor]:
    """``[rows, d_model]`` to ``[rows + 1, d_vocab]`` with the last row as given, a part of the vocabulary a slice."""
    rows, vocabulary = len(stream), last.shape[1]
    logits = last.new_empty(rows + 1, vocabulary)
    logits[rows] = last[0]
    normed = model.ln_final.recompute(stream)
    step = max(1024, _PRODUCTS // max(1, stream.numel()))
    for first in range(0, vocabulary if rows else 0, step):
        end = min(first + step, vocabulary)
        logits[:rows, first:end] = model.unembedded_part(normed, first, end)
        yield
    return logits


def _words(logits: Tensor, wanted: Wanted) -> Array:
    """Ids of the tokens to follow, the most probable of the last row first."""
    if wanted.words is None:
        return np.zeros(0, np.int64)
    best = to_host({"ids": ordered_top(logits[-1:], _FOLLOWED)[1][0]})["ids"]
    following = [wanted.next_id] if wanted.next_id >= 0 else []
    return np.array(list(dict.fromkeys([*best.tolist(), *following, *wanted.words])), np.int64)


def _figures(logits: Tensor, final: Tensor | None, words: Array, wanted: Wanted) -> dict[str, Tensor]:
    """The fields of a Reading for some rows ``[rows, d_vocab]``; those of the words as ``[rows, words]``."""
    top, ids = ordered_top(logits, wanted.top)
    asked = [*words.tolist(), *([wanted.next_id] if wanted.next_id >= 0 else [])]
    scores, ranks = _ranked(logits, asked)
    largest = top[:, :1]
    shifted = logits - largest  # small figures keep more of their digits
    total = shifted.logsumexp(-1)  # [rows]
    probability = (scores - largest - total[:, None]).exp()
    rows, count = len(logits), len(words)
    known = len(asked) > count
    return {
        "ids": ids,
        "logits": top,
        "probabilities": (top - largest - total[:, None]).exp(),
        "entropy": entropy(shifted, total),
        "divergence": total.new_full((rows,), torch.nan) if final is None else divergence(final, shifted, total),
        "next_probability": probability[:, count] if known else total.new_full((rows,), torch.nan),
        "next_rank": ranks[:, count] if known else ids.new_full((rows,), -1),
        "word_probability": probability[:, :count],
        "word_rank": ranks[:, :count],
    }


def entropy(logits: Tensor, total: Tensor) -> Tensor:
    """-Σ p · ln p in nats of ``[rows, d_vocab]``, with ``total`` = logsumexp ``[rows]``."""
    p = (logits - total[:, None]).exp_()
    return (total - torch.linalg.vecdot(p, logits)).clamp_min(0)


def divergence(final: Tensor, logits: Tensor, total: Tensor) -> Tensor:
    """KL(final ‖ row) = Σ p_final · (ln p_final - ln p_row) in nats; ``final`` are log-probabilities ``[d_vocab]``.

    In this order as in Belrose et al., "Eliciting latent predictions with the tuned lens" (2023).
    """
    p = final.exp()
    return (torch.dot(p, final) - logits @ p + total).clamp_min(0)


def ordered_top(logits: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """The largest ``[rows, top]`` with their ids, by falling logit; of equal ones the lower id first."""
    values, ids = logits.topk(min(top, logits.shape[1]), dim=-1)
    ids, order = ids.sort(dim=-1)
    values = values.gather(-1, order)
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values, ids.gather(-1, order)


def _ranked(logits: Tensor, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Logits ``[rows, ids]`` of some tokens, and how many tokens come before each: larger, or equal with a lower id."""
    scores = logits[:, ids]
    ranks = [
        (logits > scores[:, [index]]).sum(-1) + (logits[:, :id] == scores[:, [index]]).sum(-1)
        for index, id in enumerate(ids)
    ]
    return scores, torch.stack(ranks, -1) if ranks else logits.new_zeros(len(logits), 0, dtype=torch.int64)


def _reading(wanted: Wanted, host: dict[str, Array], words: Array) -> Reading:
    tracked = {name: np.ascontiguousarray(host.pop(name).T) for name in ("word_probability", "word_rank")}
    return Reading(wanted, **host, words=words, **tracked)


def _tracked(words: Array, rows: int) -> dict[str, Array]:
    shape = (len(words), rows)
    return {"words": words, "word_probability": np.zeros(shape, np.float32), "word_rank": np.zeros(shape, np.int64)}
