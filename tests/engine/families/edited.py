"""Transformers' models with the same interventions, made by forward hooks on their modules and nothing of ours."""

from __future__ import annotations

from collections import defaultdict, namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

import torch
from torch import Tensor

from tests.engine.families.anatomy import anatomy_of
from tests.engine.families.oracle import Oracle

Place = Literal["z", "pre", "attention", "neurons", "post", "scores", "pattern", "choice", "logits"]
_TopK = namedtuple("_TopK", ("values", "indices"))


@dataclass
class At:
    """Where a model stands: positions [start, end) of pass ``step`` in a layer; ``past`` [1, positions, ...] is what
    earlier passes left at this place."""

    step: int
    start: int
    end: int
    layer: int
    past: Tensor | None = None

    def rows(self, start: int, end: int | None = None) -> slice:
        """Those of positions [start, end) in this pass."""
        stop = self.end if end is None else min(end, self.end)
        return slice(max(0, start - self.start), max(0, stop - self.start))

    def value(self, x: Tensor, position: int) -> Tensor:
        """What stands at a position, [1, 1, ...]: of this pass, or an earlier one."""
        if position >= self.start:
            return x[:, position - self.start, None].clone()
        assert self.past is not None
        return self.past[:, position, None]

    def all(self, x: Tensor) -> Tensor:
        """What stands at all positions so far."""
        return x if self.past is None else torch.cat((self.past, x), dim=1)


Change = Callable[[Tensor, At], Tensor]


@dataclass
class Edited:
    """An oracle whose passes are changed at one place of some layers; ``change`` may write into its tensor."""

    oracle: Oracle
    place: Place
    layers: tuple[int, ...]
    change: Change
    _at: At = field(default_factory=lambda: At(-1, 0, 0, 0))
    _left: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    _inside: int | None = None  # the layer whose attention, or MLP, is under way
    _cache: Any = None

    def read(self, ids: Tensor) -> Tensor:
        """Logits ``[d_vocab]`` behind ``ids`` [1, pos], which follow those that were read before."""
        self._at = At(self._at.step + 1, self._at.end, self._at.end + ids.shape[1], 0)
        with self._hooked():
            run = self.oracle.run(ids, self._cache, use_cache=True)
        self._cache = run.cache
        return run.logits[0, -1]

    # -- hooks -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        handles = list(self._attached())
        softmax, topk = torch.nn.functional.softmax, torch.topk

        def chosen(x: Tensor, k: int, *args: Any, **options: Any) -> Any:
            return self._chosen(topk, x, k, *args, **options)

        def weighed(x: Tensor, *args: Any, **options: Any) -> Tensor:
            return self._weighed(softmax, x, *args, **options)

        try:
            with (
                mock.patch.object(torch.nn.functional, "softmax", weighed),
                mock.patch.object(torch, "topk", chosen),
                mock.patch.object(Tensor, "topk", chosen),
            ):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def _attached(self) -> Iterator[Any]:
        part = anatomy_of(self.oracle.variant.family, self.oracle.variant.id)
        modules = dict(self.oracle.model.named_modules())
        if self.place == "logits":
            yield self.oracle.model.register_forward_hook(self._logits)
            return
        for layer in self.layers:
            of = {
                "z": part.out,
                "neurons": part.down,
                "attention": part.out,
                "scores": part.attention,
                "pattern": part.attention,
                "choice": part.mlp,
            }.get(self.place)
            module = modules[f"{part.layers}.{layer}" + ("" if of is None else f".{of}")]
            if self.place in ("z", "neurons", "pre"):
                yield module.register_forward_pre_hook(self._before(layer), with_kwargs=True)
            elif self.place in ("attention", "post"):
                yield module.register_forward_hook(self._behind(layer))
            else:
                yield module.register_forward_pre_hook(lambda *_, layer=layer: self._enter(layer))
                yield module.register_forward_hook(lambda *_: self._enter(None))

    def _enter(self, layer: int | None) -> None:
        self._inside = layer

    def _changed(self, layer: int, x: Tensor) -> Tensor:
        past = self._left[layer]
        changed = self.change(x.clone(), self._place(layer, torch.cat(past, dim=1) if past else None))
        past.append(changed.clone())
        return changed

    def _place(self, layer: int, past: Tensor | None = None) -> At:
        return At(self._at.step, self._at.start, self._at.end, layer, past)

    def _before(self, layer: int) -> Callable[..., Any]:
        def hook(module: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
            x = args[0] if args else kwargs["hidden_states"]
            flat = x.reshape(1, self._at.end - self._at.start, -1)
            if self.place == "z":
                heads = flat.unflatten(-1, (self.oracle.model.config.get_text_config().num_attention_heads, -1))
                changed = self._changed(layer, heads).flatten(2)
            else:
                changed = self._changed(layer, flat)
            changed = changed.reshape(x.shape)
            return ((changed, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": changed})

        return hook

    def _behind(self, layer: int) -> Callable[..., Any]:
        def hook(module: Any, args: tuple, output: Any) -> Any:
            x = output[0] if isinstance(output, tuple) else output
            changed = self._changed(layer, x.reshape(1, self._at.end - self._at.start, -1)).reshape(x.shape)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    def _logits(self, module: Any, args: tuple, output: Any) -> Any:
        output.logits = self.change(output.logits.clone(), self._place(0))
        return output

    # -- what modules do in functions --------------------------------------------------------------------------------

    def _weighed(self, softmax: Callable[..., Tensor], x: Tensor, *args: Any, **options: Any) -> Tensor:
        """``change`` gets [1, n_heads, pos, key] with the keys from position 0 on: those that are gone are -inf, 0."""
        if self._inside is None or self.place not in ("scores", "pattern"):
            return softmax(x, *args, **options)
        at = self._place(self._inside)
        if self.place == "scores":
            return softmax(self._over_all_keys(x, at, float("-inf")), *args, **options)
        return self._over_all_keys(softmax(x, *args, **options), at, 0.0)

    def _over_all_keys(self, x: Tensor, at: At, nothing: float) -> Tensor:
        """Sinks stand behind the last key."""
        sinks = self.oracle.variant.family == "gpt_oss"
        keys = x[..., :-1] if sinks else x
        gone = at.end - keys.shape[-1]
        padded = torch.cat((keys.new_full((*keys.shape[:3], max(0, gone)), nothing), keys), dim=-1)
        changed = self.change(padded, at)[..., max(0, gone) :]
        return torch.cat((changed, x[..., -1:]), dim=-1) if sinks else changed

    def _chosen(self, topk: Callable[..., Any], x: Tensor, k: int, *args: Any, **options: Any) -> Any:
        """Experts are chosen by what ``change`` makes of the scores [pos, n_experts]; they keep their own."""
        if self._inside is None or self.place != "choice" or x.shape[-1] != self._n_experts():
            return topk(x, k, *args, **options)
        indices = topk(self.change(x.clone(), self._place(self._inside)), k, *args, **options).indices
        return _TopK(x.gather(-1, indices), indices)

    def _n_experts(self) -> int:
        config = self.oracle.model.config.get_text_config()
        names = ("n_routed_experts", "num_local_experts", "num_experts")
        return next(getattr(config, name) for name in names if getattr(config, name, None))
