"""The stages of a layer's attention, rows of queries at a time: q · k, scaled, masked, softmax, times value.

Everything is computed by the family's own stage functions from the recorded stream and the cached keys; no hooks fire.
Before the mask a query has a product with every key that its pass had, later ones too: a pass over several positions
multiplies them all. A layer that has let go of keys makes them again.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.cache import KVCache
from engine.errors import EngineError
from engine.layer_replay import layer_edits, layer_tensors, stored_part
from engine.model.decoder import Decoder
from engine.model.scores import products
from engine.questions import AttentionStage
from engine.trace import Trace

_KEYS_PER_SLICE = 512
_BEFORE_MASK = ("products", "scaled")


class StageRows:
    """Rows of one stage of one layer, of one head or (None) of all. ``prepare`` first, then ``rows``.

    The keys that are read are gathered once, so that a long map does not make or copy them for every slice.
    """

    def __init__(
        self, model: Decoder, trace: Trace, cache: KVCache, layer: int, stage: AttentionStage, head: int | None = None
    ) -> None:
        self._model, self._trace, self._cache = model, trace, cache
        self._layer, self._stage, self._head = layer, stage, head
        self._block = model.layers[layer]
        self._first = self._end = 0  # keys [first, end) are gathered
        self._keys: list[Tensor] = []  # [1, 1 | n_kv_heads, key, d]
        self._norms: list[Tensor] = []  # of the values that they come with: [1 | n_heads, key]
        self.n_heads = self._block.spec.attention.n_heads if head is None else 1

    def alike_until(self, start: int, end: int) -> int:
        """Up to where queries from ``start`` on can be computed together: rope turns them by the same table, and no
        hook has changed some of them only."""
        stop = self._trace.span(start)[1]
        alike = self._kind(start, stop)
        while stop < end and alike is not None and self._kind(stop, self._trace.span(stop)[1]) == alike:
            stop = self._trace.span(stop)[1]
        return min(stop, end)

    def _kind(self, start: int, end: int) -> int | None:
        """What the pass over [start, end) turns its queries by; None where hooks have changed it."""
        if layer_edits(self._model, self._trace, self._layer, start):
            return None
        name = self._block.spec.attention.rope
        return 0 if name is None else self._model.ropes[name].spec.regime(end)

    def sight(self, start: int, end: int) -> Tensor:
        """For each of the queries [start, end): the first key that it has a figure with, and one past the last one;
        int64 ``[end - start, 2]``."""
        first_seen = self._block.spec.attention.first_seen
        if self._stage not in _BEFORE_MASK:
            queries = torch.arange(start, end)
            return torch.stack((first_seen(queries), queries + 1), dim=1)
        spans = [self._trace.span(query) for query in range(start, end)]
        return torch.tensor([(first_seen(first), last) for first, last in spans], dtype=torch.int64).view(-1, 2)

    def prepare(self, start: int, end: int) -> Iterator[None]:
        """Gather the keys that the queries [start, end) need; yields between slices of work."""
        sight = self.sight(start, end)
        first, last = int(sight[:, 0].min()), int(sight[:, 1].max())
        if not self._keys or first < self._first or first > self._end:
            self._first = self._end = first
            self._keys, self._norms = [], []
        while self._end < last:
            self._gather(min(last, self._end + _KEYS_PER_SLICE))
            yield
        if len(self._keys) > 1:
            self._keys = [torch.cat(self._keys, dim=2)]
            self._norms = [torch.cat(self._norms, dim=1)] if self._norms else []

    def _gather(self, end: int) -> None:
        attn = self._block.attn
        weighed = self._stage == "contribution"
        parts = tuple(self._stored(part, end) for part in range(len(attn.spec.cached) if weighed else 1))
        self._keys.append(attn.head_part(parts[0], self._head))
        if weighed:
            self._norms.append(attn.value_norms(parts, self._head))
        self._end = end

    def _stored(self, part: int, end: int) -> Tensor:
        return stored_part(self._model, self._trace, self._cache, self._layer, part, self._end, end)

    @torch.inference_mode()
    def rows(self, start: int, end: int) -> Tensor:
        """Figures of the queries [start, end), ``[1 | n_heads, end - start, one past the last key]``; 0 where a query
        has no figure with a key. They must be prepared, and alike."""
        if layer_edits(self._model, self._trace, self._layer, start):
            return self._repeated(start, end)
        sight = self.sight(start, end)
        first, last = int(sight[:, 0].min()), int(sight[:, 1].max())
        block, model = self._block, self._model
        x = block.attention_input(self._trace.residual(self._layer, start, end)[None])
        turn = model.turn(self._layer, start, end, self._trace.span_end(start), x)
        q = block.attn.queries(x, turn, start, self._head)
        keys = self._keys[0][:, :, first - self._first : last - self._first]
        figures = _STAGES[self._stage](self, q, keys, start, first)[0]
        return F.pad(figures, (first, 0))

    def _repeated(self, start: int, end: int) -> Tensor:
        """The same of a pass that hooks have changed: its own forward code once more."""
        point = _REPEATED.get(self._stage)
        if point is None:
            raise EngineError(
                f"Hooks changed layer {self._layer} in the pass that read position {start}, and what its attention "
                "made before the mask is not recorded; choose the masked scores or a later stage."
            )
        name, first = f"blocks.{self._layer}.attn.{point}", self._block.spec.attention.first_seen(start)
        figures = layer_tensors(self._model, self._trace, self._cache, self._layer, [name], start, end)[name][0]
        figures = figures if self._head is None else figures[self._head : self._head + 1]
        if self._stage == "masked":
            figures = self._seen(figures[None], start, first)[0]
        if self._stage == "contribution":
            figures = self._weighed(figures, first)
        return F.pad(figures, (first, 0))

    # -- one function per stage: queries [1, pos, heads, d], keys [1, kv heads, key, d] to [1, heads, pos, key] -------

    def _products(self, q: Tensor, keys: Tensor, start: int, first: int) -> Tensor:
        return self._seen(products(q, keys, 1.0), start, first)

    def _scaled(self, q: Tensor, keys: Tensor, start: int, first: int) -> Tensor:
        return self._seen(self._block.attn.scaled(q, keys, first, self._head), start, first)

    def _pattern(self, q: Tensor, keys: Tensor, start: int, first: int) -> Tensor:
        return self._block.attn.softmax(self._block.attn.scores(q, keys, start, self._head), self._head)

    def _contribution(self, q: Tensor, keys: Tensor, start: int, first: int) -> Tensor:
        return self._weighed(self._pattern(q, keys, start, first), first)

    def _weighed(self, pattern: Tensor, first: int) -> Tensor:
        """‖weight · value‖ = weight · ‖value‖, since no weight is negative."""
        norms = self._norms[0][:, first - self._first : first - self._first + pattern.shape[-1]]
        return pattern.float() * norms[:, None]

    def _seen(self, scores: Tensor, start: int, first: int) -> Tensor:
        """0 where a query has no figure with a key."""
        sight = self.sight(start, start + scores.shape[2]).to(scores.device)
        keys = torch.arange(first, first + scores.shape[3], device=scores.device)
        return scores.masked_fill_((keys < sight[:, :1]) | (keys >= sight[:, 1:]), 0.0)


_STAGES = {
    "products": StageRows._products,
    "scaled": StageRows._scaled,
    "masked": StageRows._scaled,  # what it sees differs
    "pattern": StageRows._pattern,
    "contribution": StageRows._contribution,
}
_REPEATED = {"masked": "hook_attn_scores", "pattern": "hook_pattern", "contribution": "hook_pattern"}
