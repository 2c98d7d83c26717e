"""Llama 1 to 3.x and everything that kept its shape: SmolLM2, Vicuna, Yi, TinyLlama, ...

Facts: transformers ``configuration_llama.py`` and ``modeling_llama.py``; GGUF architecture ``llama``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.config import AttentionSpec, Fields, LayerSpec, MLPSpec, ModelConfig, NormSpec, RopeSpec, rope_spec
from engine.errors import ConfigError
from engine.families import ReadTensor, Slot

MODEL_TYPES = ("llama",)
GGUF_ARCHITECTURES = ("llama",)

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


def config(values: Mapping[str, Any], defaults: Mapping[str, Any] = DEFAULTS) -> ModelConfig:
    """The specs of a llama config.json. Raises ConfigError naming the field at fault."""
    fields = Fields(values, defaults)
    attention = _attention(fields)
    rope = rope_spec(fields, dim=attention.d_head)
    divisors = values.get("rope_divisors", ())  # only GGUF has them: see gguf_values
    if divisors:
        rope = _with_divisors(rope, divisors)
    norm = NormSpec("rms", fields.number("rms_norm_eps"))
    mlp = MLPSpec(fields.integer("intermediate_size"), fields.text("hidden_act"), bias=fields.flag("mlp_bias"))
    layer = LayerSpec(attention, mlp, norm1=norm, norm2=norm)
    bos = fields.token_ids("bos_token_id")
    return ModelConfig(
        family=fields.text("model_type"),
        d_model=fields.integer("hidden_size"),
        d_vocab=fields.integer("vocab_size"),
        n_ctx=_context(rope),
        layers=(layer,) * _layer_count(fields),
        ropes={"global": rope},
        final_norm=norm,
        tied=fields.flag("tie_word_embeddings"),
        bos_token_id=bos[0] if bos else None,
        eos_token_ids=fields.token_ids("eos_token_id"),
    )


def _context(rope: RopeSpec) -> int:
    """Dynamic scaling leaves the trained context as it is in the config and reaches ``factor`` times as far."""
    return int(rope.n_ctx * rope.factor) if rope.scaling == "dynamic" else rope.n_ctx


def _layer_count(fields: Fields) -> int:
    count = fields.integer("num_hidden_layers")
    if count > 10_000:
        raise ConfigError(f"The config says num_hidden_layers = {count}; no model has that many layers.")
    return count


def _attention(fields: Fields) -> AttentionSpec:
    n_heads = fields.integer("num_attention_heads")
    n_kv_heads = fields.integer("num_key_value_heads") if fields.get("num_key_value_heads") is not None else n_heads
    if n_heads % n_kv_heads:
        raise ConfigError(f"The config has {n_heads} query heads for {n_kv_heads} key/value heads: not a multiple.")
    d_model = fields.integer("hidden_size")
    if fields.get("head_dim") is None and d_model % n_heads:
        raise ConfigError(f"The config has no head_dim and {d_model} does not divide into {n_heads} heads.")
    d_head = fields.integer("head_dim") if fields.get("head_dim") is not None else d_model // n_heads
    if d_head % 2:
        raise ConfigError(f"The head size {d_head} is odd; rotary positions need an even one.")
    bias = fields.flag("attention_bias")
    return AttentionSpec(n_heads, n_kv_heads, d_head, d_head**-0.5, "global", qkv_bias=bias, out_bias=bias)


def slots(config: ModelConfig) -> dict[str, Slot]:
    """Where each tensor of a safetensors checkpoint goes; Q, K, V and gate, up are fused by rows."""
    names = {
        "embed": "model.embed_tokens",
        "final_norm": "model.norm",
        "unembed": "lm_head",
        "layer": "model.layers.{}.",
        "norm1": "input_layernorm",
        "norm2": "post_attention_layernorm",
        "q": "self_attn.q_proj",
        "k": "self_attn.k_proj",
        "v": "self_attn.v_proj",
        "out": "self_attn.o_proj",
        "gate": "mlp.gate_proj",
        "up": "mlp.up_proj",
        "down": "mlp.down_proj",
    }
    return _slots(config, names, permuted=False)


def ignored(name: str) -> bool:
    """Old files carry rotary tables, tied files a second copy of the embedding."""
    return name.endswith("rotary_emb.inv_freq") or name in ("lm_head.weight", "output.weight", "rope_freqs.weight")


def _slots(config: ModelConfig, names: Mapping[str, str], *, permuted: bool) -> dict[str, Slot]:
    found = {
        f"{names['embed']}.weight": Slot("embed.weight", (config.d_vocab, config.d_model)),
        f"{names['final_norm']}.weight": Slot("ln_final.weight", (config.d_model,)),
    }
    if not config.tied:
        found[f"{names['unembed']}.weight"] = Slot("unembed.weight", (config.d_vocab, config.d_model))
    for index, layer in enumerate(config.layers):
        prefix, block = names["layer"].format(index), f"blocks.{index}"
        for norm, target in (("norm1", "ln1"), ("norm2", "ln2")):
            found[f"{prefix}{names[norm]}.weight"] = Slot(f"{block}.{target}.weight", (config.d_model,))
        for part in _projections(config.d_model, layer):
            found.update(part.slots(prefix, block, names, permuted))
    return found


class _Projection:
    """A linear map of the file and the rows it fills of the decoder's (fused) linear map."""

    def __init__(self, part: str, target: str, d_out: int, d_in: int, start: int, total: int, bias: bool, heads: int):
        self.part, self.target, self.d_out, self.d_in = part, target, d_out, d_in
        self.rows = None if d_out == total else (start, start + d_out)
        self.bias, self.heads = bias, heads

    def slots(self, prefix: str, block: str, names: Mapping[str, str], permuted: bool) -> dict[str, Slot]:
        heads = self.heads if permuted else 0
        file, parameter = prefix + names[self.part], f"{block}.{self.target}"
        found = {f"{file}.weight": Slot(f"{parameter}.weight", (self.d_out, self.d_in), self.rows, heads)}
        if self.bias:
            found[f"{file}.bias"] = Slot(f"{parameter}.bias", (self.d_out,), self.rows, heads)
        return found


def _projections(d_model: int, layer: LayerSpec) -> list[_Projection]:
    a, m = layer.attention, layer.mlp
    d_q, d_kv = a.n_heads * a.d_head, a.n_kv_heads * a.d_head
    d_qkv = d_q + 2 * d_kv
    return [
        _Projection("q", "attn.qkv", d_q, d_model, 0, d_qkv, a.qkv_bias, a.n_heads),
        _Projection("k", "attn.qkv", d_kv, d_model, d_q, d_qkv, a.qkv_bias, a.n_kv_heads),
        _Projection("v", "attn.qkv", d_kv, d_model, d_q + d_kv, d_qkv, a.qkv_bias, 0),
        _Projection("out", "attn.out", d_model, d_q, 0, d_model, a.out_bias, 0),
        _Projection("gate", "mlp.gate_up", m.d_mlp, d_model, 0, 2 * m.d_mlp, m.bias, 0),
        _Projection("up", "mlp.gate_up", m.d_mlp, d_model, m.d_mlp, 2 * m.d_mlp, m.bias, 0),
        _Projection("down", "mlp.down", d_model, m.d_mlp, 0, d_model, m.bias, 0),
    ]


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json. ``read(name)`` gives a small tensor of the file, or None.

    Llama-3 rope scaling is not in the metadata: its divisors are the tensor ``rope_freqs.weight``.
    """
    if metadata.get("llama.expert_count"):
        raise ConfigError("This GGUF file is a mixture of experts (Mixtral); that family is not supported yet.")
    values: dict[str, Any] = {"model_type": "llama", "hidden_act": "silu"}
    for key, name in _GGUF_KEYS.items():
        if f"llama.{key}" in metadata:
            values[name] = metadata[f"llama.{key}"]
    values.setdefault("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ())))
    values["rope_scaling"] = _gguf_rope_scaling(metadata)
    values["tie_word_embeddings"] = read("output.weight") is None
    divisors = read("rope_freqs.weight")
    if divisors:
        values["rope_divisors"] = divisors
    for role in ("bos", "eos"):
        values[f"{role}_token_id"] = metadata.get(f"tokenizer.ggml.{role}_token_id")
    return values


_GGUF_KEYS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}

_GGUF_ROPE_SCALING = {"none": "default", "linear": "linear", "yarn": "yarn"}


def _gguf_rope_scaling(metadata: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = metadata.get("llama.rope.scaling.type", "none")
    if kind not in _GGUF_ROPE_SCALING:
        raise ConfigError(f"The GGUF file's rope scaling {kind!r} is not supported.")
    scaling = {"rope_type": _GGUF_ROPE_SCALING[kind]}
    for key, name in _GGUF_ROPE_KEYS.items():
        if f"llama.rope.scaling.{key}" in metadata:
            scaling[name] = metadata[f"llama.rope.scaling.{key}"]
    return scaling


_GGUF_ROPE_KEYS = {
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "attn_factor": "attention_factor",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}


def _with_divisors(rope: RopeSpec, divisors: tuple[float, ...]) -> RopeSpec:
    if len(divisors) != rope.dim // 2:
        raise ConfigError(f"The file has {len(divisors)} rope divisors; a head of {rope.dim} needs {rope.dim // 2}.")
    return replace(rope, divisors=divisors)


def gguf_slots(config: ModelConfig) -> dict[str, Slot]:
    """Where each tensor of a GGUF file goes; the converter interleaved the rotary rows of Q and K."""
    names = {
        "embed": "token_embd",
        "final_norm": "output_norm",
        "unembed": "output",
        "layer": "blk.{}.",
        "norm1": "attn_norm",
        "norm2": "ffn_norm",
        "q": "attn_q",
        "k": "attn_k",
        "v": "attn_v",
        "out": "attn_output",
        "gate": "ffn_gate",
        "up": "ffn_up",
        "down": "ffn_down",
    }
    return _slots(config, names, permuted=True)
