"""Breakpoints on a model: observers that measure what the tests ask for while a pass goes by.

An observer never makes a lazy tensor be formed, and a breakpoint that is off has none. Where a number decides whether
the pass stops here it must leave the device at once; of NaN and infinity on a GPU only at the end of the pass, all
layers together, so that watching for them, which is on from the start, makes no pass wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from engine.breakpoints import Breakpoint, Found, Test, TestKind, beyond
from engine.config import MoESpec
from engine.frames import Where
from engine.gate import Gate, Holds
from engine.hooks import LAST_STAGE, HookPoint
from engine.meter import BREAK
from engine.reach import SCORED_AT_ONCE
from engine.routing import entropy, even
from engine.sampling_stages import best
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

Undo = Callable[[], None]


def attach(session: Session, breakpoints: Sequence[Breakpoint], holds: Holds) -> list[Undo]:
    """Look out for these on the session's model; call the results to stop. Those that the model has no place for hold
    never, and nothing is attached for them."""
    assert session.gate is not None, "breakpoints come from a gate"
    undo: list[Undo] = []
    stages: list[Look] = []
    for each in breakpoints:
        looks = [
            Look(session, session.gate, test, f"{BREAK}{each.number}", partial(holds, each, index))
            for index, test in enumerate(each.tests)
        ]
        if all(look.fits for look in looks):
            stages += [look for look in looks if look.test.kind == "stage"]
            undo += [detach for look in looks for detach in _ATTACH[look.test.kind](look)]
    return undo + _stages(session.gate, stages)


@dataclass(frozen=True)
class Look:
    """One test of one breakpoint on one run. ``holds`` is told what was found."""

    session: Session
    gate: Gate
    test: Test
    part: str
    holds: Callable[[Found], None]

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Those that are looked at, of those that have what the test is about."""
        specs = self.session.loaded.config.layers
        asked = range(len(specs)) if self.test.layer is None else (self.test.layer,)
        return tuple(layer for layer in asked if 0 <= layer < len(specs) and self._has(specs[layer]))

    @property
    def fits(self) -> bool:
        """Whether the model has a place where the test can hold."""
        if self.test.kind == "stage":
            return any(True for _ in self.stages())
        return bool(self.layers)

    def _has(self, spec: Any) -> bool:
        if self.test.kind == "attention":
            return 0 <= self.test.head < spec.attention.n_heads
        if self.test.kind in ("expert", "router entropy"):
            return isinstance(spec.mlp, MoESpec) and 0 <= self.test.expert < spec.mlp.n_experts
        return True

    def stages(self) -> Iterator[HookPoint]:
        """The points that end a stage that a test of the kind "stage" names."""
        wanted, layer = self.test.stage or LAST_STAGE, self.test.layer
        for point in self.session.loaded.model.points.values():
            if point.info.stage == wanted and (layer is None or point.layer == layer):
                yield point

    def observe(self, name: str, observer: Callable[[Tensor], None]) -> Undo:
        return self.session.loaded.model.points[name].observe(observer, self.part)

    @property
    def where(self) -> Where:
        """The pass under way: what it reads is [start, end)."""
        return self.gate.where

    def found(self, sentence: str, position: int, layer: int | None = None, head: int | None = None) -> None:
        self.holds(Found(sentence, (position, layer, head)))

    def token_text(self, token: int) -> str:
        """ "token 262 “ the”"; without a tokenizer the number alone."""
        if self.session.loaded.tokenizer is None:
            return f"token {token}"
        text = self.session.vocabulary_piece(token).text
        return f"token {token} “{''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)}”"

    def means(self, token: int) -> bool:
        """Whether the test's token or text is this one."""
        if self.test.token is not None:
            return token == self.test.token
        return bool(self.test.text) and self.test.text in self.session.vocabulary_piece(token).text


def _largest(look: Look, layer: int, figures: Tensor, what: str, unit: str = "") -> None:
    """Of ``figures`` [pos], one for each position of the pass, the largest against the limit. ``what`` is the sentence,
    with places for the comparison, the layer and the position."""
    host = to_host({"figures": figures})["figures"]
    if (host > look.test.limit).any():  # never of NaN, for which there is a watch of its own
        at = int(np.nanargmax(host))
        position = look.where.start + at
        sentence = what.format(beyond(float(host[at]), ">", look.test.limit, unit), layer, position)
        look.found(sentence, position, layer)


# -- a stage or a layer ------------------------------------------------------------------------------------------


def _stages(gate: Gate, looks: list[Look]) -> list[Undo]:
    """The gate itself tells where it comes by: a stage may be visited without its tensor being formed."""
    by_point: dict[HookPoint, list[Look]] = {}
    for look in looks:
        for point in look.stages():
            by_point.setdefault(point, []).append(look)
    for point, found in by_point.items():
        point.stop_at(partial(_arrived, gate, found))
    return [partial(_give_back, gate, point) for point in by_point]


def _arrived(gate: Gate, looks: list[Look], point: HookPoint) -> None:
    layer, what = point.layer, point.info.stage
    for look in looks:
        sentence = f"{what} is computed" if layer is None else f"{what} of layer {layer} is computed"
        look.found(sentence, _last(look), layer)
    gate.arrive(point)


def _give_back(gate: Gate, point: HookPoint) -> None:
    if point.gate is not None:  # else the session has taken its gate away
        point.stop_at(gate.arrive)


def _last(look: Look) -> int:
    """The last position that the pass reads."""
    return look.where.end - 1


# -- what is chosen ----------------------------------------------------------------------------------------------


def _token(look: Look) -> Iterator[Undo]:
    yield look.observe("sampler.hook_token", partial(_check_token, look))


def _check_token(look: Look, token: Tensor) -> None:
    id = int(to_host({"token": token})["token"][0])
    if 0 <= id < look.session.loaded.config.d_vocab and look.means(id):  # else the choice itself says what is wrong
        look.found(f"{look.token_text(id)} is chosen", _last(look))


def _chosen(check: Callable[[Look, int, Tensor], None], look: Look) -> Iterator[Undo]:
    """``check`` gets the chosen token and the logits ``[d_vocab]`` it was chosen from."""
    newest: list[Tensor] = []  # none where the pass had come by when this was attached

    def keep(logits: Tensor) -> None:
        newest[:] = [logits[0, -1].float()]

    def chosen(token: Tensor) -> None:
        id = int(to_host({"token": token})["token"][0])
        for logits in newest:
            if 0 <= id < len(logits):
                check(look, id, logits)
        newest.clear()

    yield look.observe("hook_logits_final", keep)
    yield look.observe("sampler.hook_token", chosen)


def _check_best(look: Look, token: int, logits: Tensor) -> None:
    first = int(to_host({"best": best(logits)})["best"][0])
    if first != token:
        sentence = f"{look.token_text(token)} is chosen, and {look.token_text(first)} is the most probable"
        look.found(sentence, _last(look))


def _check_entropy(look: Look, token: int, logits: Tensor) -> None:
    nats = float(to_host({"entropy": entropy(logits.softmax(0))})["entropy"])
    if nats > look.test.limit:
        look.found(f"entropy {beyond(nats, '>', look.test.limit, 'nats')}", _last(look))


# -- the residual stream -----------------------------------------------------------------------------------------


def _norm(look: Look) -> Iterator[Undo]:
    for layer in look.layers:
        yield look.observe(f"blocks.{layer}.hook_resid_post", partial(_check_norm, look, layer))


def _check_norm(look: Look, layer: int, stream: Tensor) -> None:
    norms = torch.linalg.vector_norm(stream[0].float(), dim=-1)
    _largest(look, layer, norms, "norm {} after layer {} at position {}")


def _lens(look: Look) -> Iterator[Undo]:
    """One row per boundary: what the last norm and the unembedding choose of the last position."""
    before: dict[str, int] = {}

    def start(stream: Tensor) -> None:
        before["choice"] = _first_choice(look, stream)

    def check(layer: int, stream: Tensor) -> None:
        then, now = before.get("choice"), _first_choice(look, stream)
        before["choice"] = now
        if then is not None and now != then:
            sentence = f"the lens changes from {look.token_text(then)} to {look.token_text(now)} after layer {layer}"
            look.found(sentence, _last(look), layer)

    yield look.observe(f"blocks.{look.layers[0]}.hook_resid_pre", start)
    for layer in look.layers:
        yield look.observe(f"blocks.{layer}.hook_resid_post", partial(check, layer))


def _first_choice(look: Look, stream: Tensor) -> int:
    logits = look.session.loaded.model.unembedded(stream[:, -1:])[0, 0].float()
    return int(to_host({"best": best(logits)})["best"][0])


# -- routers -----------------------------------------------------------------------------------------------------


def _expert(look: Look) -> Iterator[Undo]:
    for layer in look.layers:
        yield look.observe(f"blocks.{layer}.mlp.hook_expert_indices", partial(_check_expert, look, layer))


def _check_expert(look: Look, layer: int, ids: Tensor) -> None:
    chosen = np.flatnonzero(to_host({"chosen": (ids[0] == look.test.expert).any(-1)})["chosen"])
    if len(chosen):
        position = look.where.start + int(chosen[0])
        more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
        look.found(f"layer {layer} chooses expert {look.test.expert} at position {position}{more}", position, layer)


def _router_entropy(look: Look) -> Iterator[Undo]:
    for layer in look.layers:
        yield look.observe(f"blocks.{layer}.mlp.hook_router_scores", partial(_check_router_entropy, look, layer))


def _check_router_entropy(look: Look, layer: int, scores: Tensor) -> None:
    _largest(look, layer, entropy(even(scores[0])), "router entropy {} in layer {} at position {}", "nats")


# -- attention ---------------------------------------------------------------------------------------------------


def _attention(look: Look) -> Iterator[Undo]:
    """The pattern where the pass forms it, else rows made of the pass's own queries and keys, of the one head."""
    (layer,) = look.layers
    watch, attn = _Attention(look, layer), look.session.loaded.model.layers[layer].attn
    prefix = f"blocks.{layer}."
    for index, name in enumerate(attn.query_points):
        yield look.observe(prefix + name, partial(watch.shown.__setitem__, index))
    yield look.observe(prefix + attn.key_point, partial(watch.shown.__setitem__, _KEYS))
    yield look.observe(f"{prefix}attn.hook_pattern", watch.formed)
    yield look.observe(f"{prefix}attn.hook_z", watch.mixed)


_KEYS = -1


class _Attention:
    """One head of one layer. ``shown``: what the queries of the pass are made of, by index, and the keys."""

    def __init__(self, look: Look, layer: int) -> None:
        self._look, self._layer = look, layer
        self._attn = look.session.loaded.model.layers[layer].attn
        self._head = look.test.head
        self.shown: dict[int, Tensor] = {}
        self._done = -1  # the pass whose pattern was formed
        self._means = cache(look.means)

    def formed(self, pattern: Tensor) -> None:
        """A pass over one position forms every pattern, and a hook makes it be formed."""
        self._done = self._look.gate.passes
        self._check(pattern[0, self._head], self._look.where.start)

    def mixed(self, z: Tensor) -> None:
        """The fused kernel has used a pattern that was never formed."""
        shown = dict(self.shown)
        self.shown.clear()
        wanted = {_KEYS, *range(len(self._attn.query_points))}
        if self._done == self._look.gate.passes or shown.keys() != wanted:  # attached in the middle of the layer
            return
        keys = self._attn.shown_keys(shown.pop(_KEYS), self._head)
        queries = self._attn.shown_queries(
            [shown[index] for index in sorted(shown)], self._look.where.start, self._head
        )
        self._in_rows(queries, keys)

    def _in_rows(self, queries: Tensor, keys: Tensor) -> None:
        """Some queries at a time with the keys that they see, until one gives enough."""
        attn, (start, end) = self._attn, (self._look.where.start, self._look.where.end)
        first_key = end - keys.shape[2]
        for row in range(start, end, SCORED_AT_ONCE):
            stop = min(row + SCORED_AT_ONCE, end)
            seen = slice(max(0, attn.spec.first_seen(row) - first_key), stop - first_key)
            scores = attn.scores(queries[:, row - start : stop - start], keys[:, :, seen], row, self._head)
            if self._check(attn.softmax(scores, self._head)[0, 0], row):
                return

    def _check(self, rows: Tensor, start: int) -> bool:
        """Rows ``[pos, key]`` of queries from ``start`` on; the last key is where the last query is."""
        end = start + rows.shape[0]
        first_key = end - rows.shape[1]
        keys = self._keys(first_key, end)
        first_seen = self._attn.spec.first_seen
        queries = [row for row in range(len(rows)) if first_seen(start + row) < start + row]
        if not keys or not queries:
            return False
        given = rows[queries][:, [key - first_key for key in keys]]
        most = to_host({"value": given.max(), "at": given.argmax()})
        value, (row, column) = float(most["value"]), divmod(int(most["at"]), len(keys))
        if not value >= self._look.test.limit:
            return False
        query, key = start + queries[row], keys[column]
        sentence = f"head {self._head} of layer {self._layer} gives {beyond(value, '≥', self._look.test.limit)}"
        self._look.found(f"{sentence} from position {query} to position {key}", query, self._layer, self._head)
        return True

    def _keys(self, first: int, end: int) -> list[int]:
        """The positions in [first, end) that are asked about."""
        test, session = self._look.test, self._look.session
        if test.key is not None:
            return [test.key] if first <= test.key < end else []
        ids = (session.prompt + session.output)[first:end]
        return [first + index for index, id in enumerate(ids) if self._means(id)]


# -- NaN and infinity --------------------------------------------------------------------------------------------


def _not_finite(look: Look) -> Iterator[Undo]:
    watch = _Finite(look)
    if look.test.layer is None:
        yield look.observe("hook_embed_scaled", partial(watch.see, None, "the embedding"))
        yield look.observe("hook_logits", partial(watch.see, None, "the logits"))
    for layer in look.layers:
        yield look.observe(f"blocks.{layer}.hook_resid_post", partial(watch.see, layer, f"what leaves layer {layer}"))
    yield look.observe("sampler.hook_token", watch.end)


class _Finite:
    """One small reduction for each place that is watched: a sum is finite only where all of its terms are."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._told = -1  # in which pass it was told last: what is not finite spreads to all that follows
        self._pass = -1
        self._seen: list[tuple[int | None, str, Tensor]] = []  # of this pass, where reading a number makes it wait

    def see(self, layer: int | None, what: str, tensor: Tensor) -> None:
        """``[1, pos, entries]`` of positions that end where the pass ends."""
        if _makes_wait(tensor):
            self._put_off(layer, what, _peaks(tensor))
        elif not math.isfinite(tensor.sum(dtype=torch.float32).numpy()):  # 20 to 100 times as fast there as peaks
            self._check(layer, what, to_host({"peaks": _peaks(tensor)})["peaks"])

    def _put_off(self, layer: int | None, what: str, peaks: Tensor) -> None:
        if self._pass != self._look.gate.passes:
            self._pass, self._seen = self._look.gate.passes, []
        self._seen.append((layer, what, peaks))

    def end(self, token: Tensor) -> None:
        """The pass has to wait for its token anyway."""
        seen, self._seen = self._seen, []
        host = to_host({str(index): peaks for index, (_, _, peaks) in enumerate(seen)})
        for (layer, what, _), peaks in zip(seen, host.values(), strict=True):
            self._check(layer, what, peaks)

    def _check(self, layer: int | None, what: str, peaks: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(peaks))
        if not len(bad) or self._told == self._look.gate.passes:
            return
        self._told = self._look.gate.passes
        kind = "NaN" if np.isnan(peaks[bad[0]]) else "infinity"
        where = self._look.where
        position = where.end - len(peaks) + int(bad[0])
        self._look.found(f"{kind} in {what} at position {position}", position, layer)


def _makes_wait(tensor: Tensor) -> bool:
    """Whether to read a number of it now would make the pass wait for its device."""
    return tensor.device.type != "cpu"


def _peaks(tensor: Tensor) -> Tensor:
    """The largest magnitude at each position, ``[pos]``; NaN where one entry is."""
    return torch.linalg.vector_norm(tensor[0], ord=math.inf, dim=-1)


_ATTACH: dict[TestKind, Callable[[Look], Iterator[Undo]]] = {
    "stage": lambda look: iter(()),  # by all together
    "token": _token,
    "entropy": partial(_chosen, _check_entropy),
    "not the best": partial(_chosen, _check_best),
    "lens": _lens,
    "attention": _attention,
    "expert": _expert,
    "router entropy": _router_entropy,
    "norm": _norm,
    "not finite": _not_finite,
}
