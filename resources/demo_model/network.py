"""The network as it is trained: Mixtral's arithmetic with stacked experts, the two losses of its router, and a save.

The engine reads what is saved here with code of its own; ``tests/resources`` compares both with ``transformers``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """About 7 M parameters, of which a token uses 2.7 M."""

    n_layers: int = 6
    d_model: int = 192
    n_heads: int = 6
    n_kv_heads: int = 2
    d_head: int = 32
    n_experts: int = 8
    d_expert: int = 192
    top_k: int = 2
    d_vocab: int = 4096
    n_ctx: int = 512
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5


def _matrix(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) * shape[-1] ** -0.5)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, the halves of a head rotated against each other."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = _matrix(shape.n_heads * shape.d_head, shape.d_model)
        self.k = _matrix(shape.n_kv_heads * shape.d_head, shape.d_model)
        self.v = _matrix(shape.n_kv_heads * shape.d_head, shape.d_model)
        self.o = nn.Parameter(torch.zeros(shape.d_model, shape.n_heads * shape.d_head))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """``[batch, pos, d_model]`` to the same."""
        batch, pos, _ = x.shape
        q, k, v = (
            F.linear(x, weight).view(batch, pos, -1, self.shape.d_head).transpose(1, 2)
            for weight in (self.q, self.k, self.v)
        )
        z = F.scaled_dot_product_attention(
            _turned(q, cos, sin), _turned(k, cos, sin), v, is_causal=True, enable_gqa=True
        )
        return F.linear(z.transpose(1, 2).flatten(2), self.o)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Experts(nn.Module):
    """A router and its experts. Positions are sorted by expert, so that each expert is three plain products."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.router = nn.Parameter(torch.randn(shape.n_experts, shape.d_model) * 0.02)
        self.gate = _matrix(shape.n_experts, shape.d_expert, shape.d_model)
        self.up = _matrix(shape.n_experts, shape.d_expert, shape.d_model)
        self.down = nn.Parameter(torch.zeros(shape.n_experts, shape.d_model, shape.d_expert))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[rows, d_model]`` to the same, the balance loss N · Σ f_i · s̄_i (1 when even), and the z-loss."""
        with torch.autocast("cpu", enabled=False):
            logits = F.linear(x.float(), self.router)
        scores = logits.softmax(-1)
        weights, ids = scores.topk(self.shape.top_k, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        order = ids.flatten().argsort()
        counts = ids.flatten().bincount(minlength=self.shape.n_experts)
        parts = x[order // self.shape.top_k].split(counts.tolist())
        # unbind, not an index for each: its gradient is one stack instead of a whole zeroed stack per expert
        weighed = zip(parts, self.gate.unbind(), self.up.unbind(), self.down.unbind(), strict=True)
        out = torch.cat([_gated(*part_and_weights) for part_and_weights in weighed])
        out = out[order.argsort()].view(*ids.shape, -1)  # [rows, top_k, d_model]
        balance = self.shape.n_experts * (counts / ids.numel() * scores.mean(0)).sum()
        return (out * weights[..., None].to(out.dtype)).sum(1), balance, logits.logsumexp(-1).square().mean()


def _gated(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


class Network(nn.Module):
    """Blocks of attention and experts, each behind an RMS norm; the embedding is also the unembedding.

    While it is trained, the share ``dropout`` of what attention and experts add is left out: there are few tales.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.embed = nn.Parameter(torch.randn(shape.d_vocab, shape.d_model) * 0.05)
        self.norm1 = nn.ParameterList(nn.Parameter(torch.ones(shape.d_model)) for _ in range(shape.n_layers))
        self.norm2 = nn.ParameterList(nn.Parameter(torch.ones(shape.d_model)) for _ in range(shape.n_layers))
        self.attention = nn.ModuleList(Attention(shape) for _ in range(shape.n_layers))
        self.experts = nn.ModuleList(Experts(shape) for _ in range(shape.n_layers))
        self.final_norm = nn.Parameter(torch.ones(shape.d_model))
        halves = torch.arange(0, shape.d_head, 2) / shape.d_head
        turns = torch.arange(shape.n_ctx)[:, None] * shape.rope_theta**-halves
        self.register_buffer("cos", turns.cos(), persistent=False)
        self.register_buffer("sin", turns.sin(), persistent=False)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[batch, pos]`` to what the unembedding reads, ``[batch, pos, d_model]``, and the router's two losses."""
        x, balance, z = F.embedding(ids, self.embed), [], []
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        for norm1, attention, norm2, experts in zip(self.norm1, self.attention, self.norm2, self.experts, strict=True):
            x = x + self._dropped(attention(self._norm(x, norm1), cos, sin))
            out, *losses = experts(self._norm(x, norm2).flatten(0, 1))
            x = x + self._dropped(out.view_as(x))
            balance.append(losses[0])
            z.append(losses[1])
        return self._norm(x, self.final_norm), torch.stack(balance).mean(), torch.stack(z).mean()

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], weight, self.shape.norm_eps)


def _named(network: Network) -> dict[str, Tensor]:
    """The weights under the names of a mixtral checkpoint."""
    named: dict[str, Tensor] = {
        "model.embed_tokens.weight": network.embed,
        "model.norm.weight": network.final_norm,
    }
    for layer in range(network.shape.n_layers):
        prefix, attention = f"model.layers.{layer}.", network.attention[layer]
        experts = cast(Experts, network.experts[layer])
        named |= {f"{prefix}self_attn.{part}_proj.weight": getattr(attention, part) for part in "qkvo"}
        named[f"{prefix}input_layernorm.weight"] = network.norm1[layer]
        named[f"{prefix}post_attention_layernorm.weight"] = network.norm2[layer]
        named[f"{prefix}block_sparse_moe.gate.weight"] = experts.router
        for name, part in (("w1", experts.gate), ("w2", experts.down), ("w3", experts.up)):
            for expert in range(network.shape.n_experts):
                named[f"{prefix}block_sparse_moe.experts.{expert}.{name}.weight"] = part[expert]
    return named


def export(network: Network, folder: Path, end_id: int) -> None:
    """An ordinary mixtral folder in bfloat16; the tokenizer is written beside it by ``train.py``."""
    weights = {name: tensor.detach().to(torch.bfloat16).contiguous() for name, tensor in _named(network).items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    shape = network.shape
    config = {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "vocab_size": shape.d_vocab,
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_expert,
        "num_hidden_layers": shape.n_layers,
        "num_attention_heads": shape.n_heads,
        "num_key_value_heads": shape.n_kv_heads,
        "head_dim": shape.d_head,
        "num_local_experts": shape.n_experts,
        "num_experts_per_tok": shape.top_k,
        "max_position_embeddings": shape.n_ctx,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "sliding_window": None,
        "bos_token_id": None,
        "eos_token_id": end_id,
        "torch_dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    sampling = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "eos_token_id": end_id}
    (folder / "generation_config.json").write_text(json.dumps(sampling, indent=2) + "\n")
