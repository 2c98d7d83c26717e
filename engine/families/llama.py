"""Llama 1 to 3.x and everything that kept its shape: SmolLM2, Vicuna, Yi, TinyLlama, ...

Facts: transformers ``configuration_llama.py`` and ``modeling_llama.py``; GGUF architecture ``llama``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.config import LayerSpec, ModelConfig, RopeSpec
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config, rms_norm
from engine.errors import ConfigError
from engine.families import ReadTensor
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import PERMUTED
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("llama",)
GGUF_ARCHITECTURES = ("llama",)  # also Mistral and Mixtral

# what an absent key means in transformers' LlamaConfig
DEFAULTS: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

NAMES = LLAMA_NAMES
GGUF_NAMES = COMMON_GGUF_NAMES | PERMUTED


def config(fields: Fields) -> ModelConfig:
    """The specs of a llama config.json. Raises ConfigError naming the field at fault."""
    heads = attention(fields)
    rope = with_divisors(fields, rope_spec(fields, dim=heads.d_head))
    norm = rms_norm(fields)
    layer = LayerSpec(heads, gated_mlp(fields), norm1=norm, norm2=norm)
    return model_config(fields, [layer] * layer_count(fields), {"global": rope}, norm)


def with_divisors(fields: Fields, rope: RopeSpec) -> RopeSpec:
    """GGUF files store Llama-3 scaling as divisors of the frequencies."""
    divisors = fields.get("rope_divisors")
    if not divisors:
        return rope
    if len(divisors) != rope.dim // 2:
        raise ConfigError(f"The file has {len(divisors)} rope divisors; a head of {rope.dim} needs {rope.dim // 2}.")
    return replace(rope, divisors=tuple(divisors))


def ignored(name: str) -> bool:
    """Old files carry rotary tables, tied files a second copy of the embedding."""
    return name.endswith("rotary_emb.inv_freq") or name in ("lm_head.weight", "output.weight", "rope_freqs.weight")


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json."""
    if metadata.get("llama.expert_count"):
        return common_values(
            metadata, read, "mixtral", {"expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"}
        ) | {"sliding_window": None}
    return common_values(metadata, read, "llama") | gguf_biases(read) | {"hidden_act": "silu"}


def gguf_biases(read: ReadTensor) -> dict[str, bool]:
    """GGUF files say that there are biases by having them."""
    tensors = {"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_gate.bias"}
    return {field: read(tensor) is not None for field, tensor in tensors.items()}
