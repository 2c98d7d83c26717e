"""What transformers computes at the places of our hook points, by forward hooks on its modules.

Tensors come in our shapes and under our names. Where a place is free in an inessential way (the order of chosen
experts, the order of a rotated key's entries) both sides are brought into one form by ``in_one_form``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tests.engine.families.anatomy import Anatomy, anatomy_of
from tests.engine.families.oracle import Oracle

Record = dict[str, Tensor]


def reference(oracle: Oracle, ids: Tensor) -> Record:
    """Every comparable tensor of one prefill of ``ids`` [batch, pos], by the name of our hook point."""
    return _of_its_prompt(oracle) if ids is oracle.ids else _reference(oracle, ids)


@lru_cache(maxsize=8)
def _of_its_prompt(oracle: Oracle) -> Record:
    return _reference(oracle, oracle.ids)


def _reference(oracle: Oracle, ids: Tensor) -> Record:
    oracle.forget_length()
    seen: Record = {}
    cache = DynamicCache()  # without a config: no layer forgets what left its window
    with _recording(oracle.model, seen), torch.inference_mode():
        out = oracle.model(input_ids=ids, past_key_values=cache, use_cache=True, output_attentions=True)
    return _Reader(oracle, seen, cache, out).read()


def in_one_form(record: Mapping[str, Tensor], oracle: Oracle) -> Record:
    """The same tensors, with what is free in their order fixed."""
    anatomy = anatomy_of(oracle.variant.family, oracle.variant.id)
    fixed = dict(record)
    for name, tensor in record.items():
        if name.endswith(("hook_rot_k", "hook_k_normed")) and anatomy.interleaved_rope:
            fixed[name] = tensor.sort(-1).values
        if name.endswith("hook_expert_indices"):
            order = tensor.argsort(-1)
            weights = name.replace("indices", "weights")
            fixed[name] = tensor.gather(-1, order).to(torch.int64)
            if weights in record:
                fixed[weights] = record[weights].gather(-1, order)
    return fixed


@contextmanager
def _recording(model: Any, seen: Record) -> Iterator[None]:
    """Keep inputs (" in") and outputs (" 0", " 1", ...) of every module; copies, for some are changed in place."""

    def before(name: str) -> Any:
        def hook(module: Any, args: tuple, kwargs: dict) -> None:
            given = args[0] if args else kwargs.get("hidden_states")
            if isinstance(given, Tensor):
                seen[f"{name} in"] = given.clone()

        return hook

    def after(name: str) -> Any:
        def hook(module: Any, args: tuple, output: Any) -> None:
            for index, part in enumerate(output if isinstance(output, tuple) else (output,)):
                if isinstance(part, Tensor):
                    seen[f"{name} {index}"] = part.clone()

        return hook

    named = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_pre_hook(before(name), with_kwargs=True) for name, module in named]
    handles += [module.register_forward_hook(after(name)) for name, module in named]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Reader:
    """Turns what modules saw into our names and shapes."""

    def __init__(self, oracle: Oracle, seen: Record, cache: Any, out: Any) -> None:
        self.anatomy: Anatomy = anatomy_of(oracle.variant.family, oracle.variant.id)
        self.config = oracle.model.config.get_text_config()
        self.modules = dict(oracle.model.named_modules())
        self.seen, self.cache, self.out = seen, cache, out
        self.batch, self.pos = out.logits.shape[:2]
        self.n_heads = self.config.num_attention_heads
        self.residual_multiplier = getattr(self.config, "residual_multiplier", 1.0)
        self.record: Record = {}

    def read(self) -> Record:
        self._input()
        for layer in range(self.config.num_hidden_layers):
            self._layer(layer, f"blocks.{layer}.", f"{self.anatomy.layers}.{layer}.")
        self._normalized("ln_final.hook_normalized", self.anatomy.final_norm)
        self._put("hook_logits", self.seen[f"{self.anatomy.unembed} 0"])
        self._put("hook_logits_final", self.out.logits)
        return self.record

    def _put(self, name: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            self.record[name] = tensor

    def _rows(self, tensor: Tensor) -> Tensor:
        """[batch, pos, ...] of a tensor that may have batch and pos in one axis."""
        return tensor.reshape(self.batch, self.pos, -1)

    def _heads(self, tensor: Tensor, n_heads: int) -> Tensor:
        return tensor.reshape(self.batch, self.pos, n_heads, -1)

    def _input(self) -> None:
        if "Scaled" not in type(self.modules[self.anatomy.embed]).__name__:
            self._put("hook_embed", self.seen[f"{self.anatomy.embed} 0"])
        if self.anatomy.positions is not None:
            self._put("hook_pos_embed", self.seen[f"{self.anatomy.positions} 0"])  # [1, pos, d_model]
        self._put("hook_embed_scaled", self.seen[f"{self.anatomy.layers}.0 in"])

    def _layer(self, layer: int, ours: str, theirs: str) -> None:
        part = self.anatomy
        self._put(f"{ours}hook_resid_pre", self.seen[f"{theirs.rstrip('.')} in"])
        self._normalized(f"{ours}ln1.hook_normalized", part.norm1 and theirs + part.norm1)
        (self._latent if part.latent else self._projections)(layer, ours, theirs)
        if self.out.attentions[layer] is not None:
            self._put(f"{ours}attn.hook_pattern", self.out.attentions[layer])
        self._put(f"{ours}attn.hook_z", self._heads(self.seen[f"{theirs}{part.out} in"], self.n_heads))
        added = self.seen[f"{theirs}{part.post1 or part.attention} 0"]
        self._normalized(f"{ours}ln1_post.hook_normalized", part.post1 and theirs + part.post1)
        self._put(f"{ours}hook_attn_out", added * self.residual_multiplier)
        if part.mid is not None:
            self._put(f"{ours}hook_resid_mid", self.seen[f"{theirs}{part.mid} in"])
        self._normalized(f"{ours}ln2.hook_normalized", part.norm2 and theirs + part.norm2)
        (self._experts if f"{theirs}{part.router} 0" in self.seen else self._dense)(ours, theirs)
        self._normalized(f"{ours}ln2_post.hook_normalized", part.post2 and theirs + part.post2)
        self._put(f"{ours}hook_mlp_out", self._written(theirs) * self.residual_multiplier)
        self._put(f"{ours}hook_resid_post", self.seen[f"{theirs.rstrip('.')} 0"])

    def _normalized(self, ours: str, module: str | None) -> None:
        """What a norm gives before its weight and bias."""
        if module is None:
            return
        norm, after = self.modules[module], self.seen[f"{module} 0"]
        weight, bias = getattr(norm, "weight", None), getattr(norm, "bias", None)
        if bias is not None:
            after = after - bias
        if weight is not None:
            after = after / (weight + 1 if type(norm).__name__.startswith("Gemma") else weight)
        self._put(ours, after)

    def _projections(self, layer: int, ours: str, theirs: str) -> None:
        q, k, v = self._split(theirs)
        clip = getattr(self.config, "clip_qkv", None)
        normed = f"{theirs}{self.anatomy.attention}.q_norm 0" in self.seen
        if clip is not None:
            v = v.clamp(-clip, clip)
            q, k = (q, k) if normed else (q.clamp(-clip, clip), k.clamp(-clip, clip))
        self._put(f"{ours}attn.hook_q", q)
        self._put(f"{ours}attn.hook_k", k)
        self._put(f"{ours}attn.hook_v", v)
        if normed and clip is None:
            self._put(f"{ours}attn.hook_q_normed", self._normed(f"{theirs}{self.anatomy.attention}.q_norm 0", q))
            self._put(f"{ours}attn.hook_k_normed", self._normed(f"{theirs}{self.anatomy.attention}.k_norm 0", k))
        self._rotated(layer, ours, theirs, k.shape[2])

    def _rotated(self, layer: int, ours: str, theirs: str, n_kv_heads: int) -> None:
        """Keys after rope: the cached ones, or what the norm after rope is given (its last call is for keys)."""
        norm = f"{theirs}{self.anatomy.attention}.qk_norm"
        if f"{norm} 0" in self.seen:
            self._put(f"{ours}attn.hook_rot_k", self.seen[f"{norm} in"])
            self._put(f"{ours}attn.hook_k_normed", self.seen[f"{norm} 0"])
        elif self._rotates(layer):
            keys = self.cache.layers[layer].keys.transpose(1, 2)
            self._put(f"{ours}attn.hook_rot_k", keys[:, :, :: keys.shape[2] // n_kv_heads])  # Falcon stores copies

    def _rotates(self, layer: int) -> bool:
        """Whether the layer has rope; without it there is no rotated key."""
        if self.anatomy.positions is not None or getattr(self.config, "alibi", False):
            return False
        return bool((getattr(self.config, "no_rope_layers", None) or {layer: 1})[layer])

    def _normed(self, name: str, like: Tensor) -> Tensor:
        """A per-head norm's output, which stands before or after the heads' transposition."""
        tensor = self.seen[name]
        if tensor.dim() == 4 and tensor.shape[1] != self.pos:
            tensor = tensor.transpose(1, 2)
        return tensor.reshape(like.shape)

    def _split(self, theirs: str) -> tuple[Tensor, Tensor, Tensor]:
        part = self.anatomy
        keys = self._n_kv_heads(theirs)
        if part.fused is None:
            q, k, v = (self.seen[f"{theirs}{name} 0"] for name in (part.q, part.k, part.v))
            return self._heads(q, self.n_heads), self._heads(k, keys), self._heads(v, keys)
        fused = self.seen[f"{theirs}{part.qkv} 0"]
        d_head = fused.shape[-1] // (self.n_heads + 2 * keys)
        if part.fused == "plain":
            q, k, v = fused.split([self.n_heads * d_head, keys * d_head, keys * d_head], dim=-1)
            return self._heads(q, self.n_heads), self._heads(k, keys), self._heads(v, keys)
        groups = fused.reshape(self.batch, self.pos, keys, -1, d_head)
        return groups[..., :-2, :].flatten(2, 3), groups[..., -2, :], groups[..., -1, :]

    def _n_kv_heads(self, theirs: str) -> int:
        """Falcon's config says one thing and its classes another; the classes are right."""
        attention = self.modules[f"{theirs}{self.anatomy.attention}"]
        if hasattr(attention, "new_decoder_architecture"):
            return attention.num_kv_heads
        if hasattr(attention, "kv_heads"):
            return attention.kv_heads
        return getattr(self.config, "num_key_value_heads", None) or self.n_heads

    def _latent(self, layer: int, ours: str, theirs: str) -> None:
        stored = self.cache.layers[layer]
        self._put(f"{ours}attn.hook_kv_latent", stored.keys[:, 0])
        self._put(f"{ours}attn.hook_rot_k", stored.values.transpose(1, 2))
        self._put(f"{ours}attn.hook_q_latent", self.seen.get(f"{theirs}self_attn.q_a_layernorm 0"))
        last = "q_proj" if self.config.q_lora_rank is None else "q_b_proj"
        queries = self._heads(self.seen[f"{theirs}self_attn.{last} 0"], self.n_heads)
        self._put(f"{ours}attn.hook_q_nope", queries[..., : self.config.qk_nope_head_dim])
        expanded = self._heads(self.seen[f"{theirs}self_attn.kv_b_proj 0"], self.n_heads)
        k_nope, v = expanded.split([self.config.qk_nope_head_dim, self.config.v_head_dim], dim=-1)
        self._put(f"{ours}attn.hook_k_nope", k_nope)
        self._put(f"{ours}attn.hook_v", v)

    def _dense(self, ours: str, theirs: str) -> None:
        part = self.anatomy
        up: Tensor | None
        if part.gate_up is not None:
            gate, up = self.seen[f"{theirs}{part.gate_up} 0"].chunk(2, dim=-1)
        else:
            gate = self.seen[f"{theirs}{part.gate} 0"]
            up = None if part.up is None else self.seen[f"{theirs}{part.up} 0"]
        self._put(f"{ours}mlp.hook_pre", gate)
        self._put(f"{ours}mlp.hook_pre_linear", up)
        self._put(f"{ours}mlp.hook_post", self.seen[f"{theirs}{part.down} in"])

    def _experts(self, ours: str, theirs: str) -> None:
        logits, weights, indices = self._routing(f"{theirs}{self.anatomy.router}")
        self._put(f"{ours}mlp.hook_router_logits", self._rows(logits))
        self._put(f"{ours}mlp.hook_expert_indices", self._rows(indices))
        self._put(f"{ours}mlp.hook_expert_weights", self._rows(weights))
        shared = self._shared(theirs)
        if self.anatomy.shared_is_beside or shared is None:
            routed = self._rows(self.seen[f"{theirs}{self.anatomy.mlp} 0"])
        else:
            routed = self._rows(self.seen[f"{theirs}{self.anatomy.mlp} 0"]) - shared
        self._put(f"{ours}mlp.hook_shared_gate", self._shared_gate(theirs))
        self._put(f"{ours}mlp.hook_shared_out", shared)
        self._put(f"{ours}mlp.hook_routed_out", routed)

    def _routing(self, router: str) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of all experts, the weights that are used and the chosen experts."""
        if f"{router} 2" in self.seen:
            return self.seen[f"{router} 0"], self.seen[f"{router} 1"], self.seen[f"{router} 2"]
        scores, logits = self.seen[f"{router} 0"], self.seen[f"{router} 1"]
        indices = logits.topk(self.config.num_experts_per_tok, dim=-1).indices
        return logits, scores.gather(-1, indices), indices

    def _shared(self, theirs: str) -> Tensor | None:
        """What the shared expert adds, after its gate."""
        if self.anatomy.shared is None or f"{theirs}{self.anatomy.shared} 0" not in self.seen:
            return None
        shared = self._rows(self.seen[f"{theirs}{self.anatomy.shared} 0"])
        gate = self._shared_gate(theirs)
        return shared if gate is None else shared * gate

    def _shared_gate(self, theirs: str) -> Tensor | None:
        """What the shared expert is multiplied by."""
        if self.anatomy.shared_gate is None:
            return None
        return self._rows(self.seen[f"{theirs}{self.anatomy.shared_gate} 0"]).sigmoid()

    def _written(self, theirs: str) -> Tensor:
        """What the MLP or the experts add, before the residual multiplier."""
        if self.anatomy.post2 is not None:
            return self.seen[f"{theirs}{self.anatomy.post2} 0"]
        written = self._rows(self.seen[f"{theirs}{self.anatomy.mlp} 0"])
        shared = self._shared(theirs) if self.anatomy.shared_is_beside else None
        return written if shared is None else written + shared
