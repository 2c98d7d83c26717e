"""The decoder: tokens to logits, through blocks that a ModelConfig specifies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor, nn

from engine.cache import KVCache
from engine.config import ModelConfig
from engine.errors import ContextError
from engine.hooks import HookPoints, Listener, PointInfo
from engine.model.block import Block
from engine.model.linear import Linear, project
from engine.model.norm import Norm
from engine.model.rope import Rope, Turn


class Decoder(nn.Module):
    """A decoder-only transformer with a hook point at every named place of its pass."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.points = HookPoints(config)
        self.embed = nn.Embedding(config.d_vocab, config.d_model)
        self.layers = [Block(spec, config.d_model, self.points, layer) for layer, spec in enumerate(config.layers)]
        self.blocks = nn.ModuleList(self.layers)
        self.ln_final = Norm(config.final_norm, config.d_model, self.points, "ln_final")
        self.unembed = None if config.tied else Linear(config.d_model, config.d_vocab, bias=False)
        self.ropes = {name: Rope(name, spec, self.points) for name, spec in config.ropes.items()}
        if config.learned_positions:
            self.pos_embed = nn.Embedding(config.n_ctx, config.d_model)
            self.hook_pos_embed = self.points["hook_pos_embed"]
        self.hook_tokens = self.points["hook_tokens"]
        self.hook_embed = self.points["hook_embed"]
        self.hook_embed_scaled = self.points["hook_embed_scaled"]
        self.hook_logits = self.points["hook_logits"]
        self.hook_logits_final = self.points["hook_logits_final"]

    @property
    def hook_points(self) -> dict[str, PointInfo]:
        """Every hook point in the order of the pass: name to shape symbols, dtype, meaning."""
        return {name: point.info for name, point in self.points.items()}

    def hooks(self, hooks: Mapping[str, Listener]) -> AbstractContextManager[None]:
        """``with model.hooks({name: fn}):`` calls ``fn(tensor, point)`` at each named point of every pass inside.

        ``fn`` returns None, or a tensor of the same shape that the pass goes on with. A hook on scores or pattern
        makes its layer compute attention explicitly. Raises HookError for an unknown name or a wrong shape.
        """
        return self.points.attached(hooks)

    @torch.inference_mode()
    def forward(
        self, input_ids: Tensor, cache: KVCache | None = None, *, logits: Literal["all", "last"] = "all"
    ) -> Tensor:
        """Token ids ``[batch, pos]`` to logits ``[batch, pos, d_vocab]`` (``"last"``: ``[batch, 1, d_vocab]``).

        With a cache the ids follow the cached positions, and the cache grows by them when the pass is done.
        Raises ContextError for no ids, or more than the context holds.
        """
        start = 0 if cache is None else cache.length
        end = start + self._checked(input_ids, start)
        if cache is not None:
            cache.rollback()  # what a cancelled pass may have left
        x = self.embedded(input_ids, start)
        turns: dict[str | None, Turn | None] = {None: None}
        for name, rope in self.ropes.items():
            turns[name] = rope.ready(*rope.forward(start, end, x))
        for block in self.layers:
            x = block(x, turns[block.spec.attention.rope], cache)
        if cache is not None:
            cache.commit(end - start)
        return self.logits_of(x if logits == "all" else x[:, -1:])

    def unembedded(self, x: Tensor) -> Tensor:
        """Final norm, unembedding, scale and cap without hooks: ``[..., d_model]`` to ``[..., d_vocab]``."""
        return self._final(project(self.ln_final.recompute(x), self._unembedding()))

    def unembedded_part(self, normed: Tensor, first: int, end: int) -> Tensor:
        """Logits of the tokens [first, end) of what the final norm gave, without hooks: ``[..., end - first]``."""
        return self._final(project(normed, self._unembedding()[first:end]))

    def unembedding_row(self, token: int) -> Tensor:
        """What the final norm's result is multiplied with to give the token's logit: ``[d_model]``."""
        return self._unembedding()[token]

    def turn(self, layer: int, start: int, end: int, n_positions: int, like: Tensor) -> Turn | None:
        """How a layer turns positions [start, end) in a pass whose sequence was ``n_positions`` long; None: not."""
        rope = self.config.layers[layer].attention.rope
        return None if rope is None else self.ropes[rope].turn(start, end, n_positions, like)

    def _checked(self, input_ids: Tensor, start: int) -> int:
        if input_ids.dim() != 2 or input_ids.shape[1] == 0:
            raise ContextError(f"Token ids of shape {list(input_ids.shape)} were given; [batch, pos] is needed.")
        count = input_ids.shape[1]
        if start + count > self.config.n_ctx:
            raise ContextError(
                f"{start + count} positions do not fit into this model's context of {self.config.n_ctx}; "
                "shorten the text."
            )
        return count

    def embedded(self, input_ids: Tensor, start: int) -> Tensor:
        """What enters layer 0 of token ids ``[batch, pos]`` that stand from ``start`` on: ``[batch, pos, d_model]``."""
        x = self.hook_embed(self.embed(self.hook_tokens(input_ids)))
        if self.config.learned_positions:
            positions = torch.arange(start, start + input_ids.shape[1], device=input_ids.device)
            x = x + self.hook_pos_embed(self.pos_embed(positions)[None])
        return self.hook_embed_scaled(self._scaled(x))

    def _scaled(self, x: Tensor) -> Tensor:
        if self.config.embed_scale == 1:
            return x
        if self.config.embed_scale_rounded:
            return x * torch.tensor(self.config.embed_scale, dtype=x.dtype, device=x.device)
        return x * self.config.embed_scale

    def logits_of(self, x: Tensor) -> Tensor:
        """Final norm, unembedding, scale and cap with hooks: ``[batch, pos, d_model]`` to ``[batch, pos, d_vocab]``."""
        logits = self.hook_logits(project(self.ln_final(x), self._unembedding()))
        return self.hook_logits_final(self._final(logits))

    def _final(self, logits: Tensor) -> Tensor:
        """Divided and capped, where the model does that."""
        if self.config.logits_divisor != 1:
            logits = logits / self.config.logits_divisor
        cap = self.config.logits_softcap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _unembedding(self) -> Tensor:
        return self.embed.weight if self.unembed is None else self.unembed.weight
