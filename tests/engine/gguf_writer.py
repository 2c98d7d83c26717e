"""Writes a transformers Llama as a GGUF file, as llama.cpp's converter does: names, permuted Q and K, metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from transformers import LlamaForCausalLM

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    """model.layers.0.self_attn.q_proj.weight -> blk.0.attn_q.weight"""
    ends = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if not name.startswith("model.layers."):
        return ends.get(name, "output.weight")
    _, _, layer, rest = name.split(".", 3)
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """The converter's order of rotary rows: j·d_head/2 + i goes to 2i + j."""
    half = values.shape[0] // heads // 2
    return values.reshape(heads, 2, half, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def write_gguf(
    path: Path,
    model: LlamaForCausalLM,
    kind: GGMLQuantizationType = GGMLQuantizationType.F32,
    *,
    architecture: str = "llama",
    metadata: dict[str, Any] | None = None,
    rope_freqs: np.ndarray | None = None,
    split: int = 0,
) -> Path:
    """Matrices are stored as ``kind``, vectors as F32. ``metadata`` adds or replaces keys (None leaves one out)."""
    writer = GGUFWriter(path, architecture, split_max_tensors=split)
    for key, value in (_metadata(model) | (metadata or {})).items():
        _add(writer, key, value)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for name, tensor in tensors(model).items():
        values = tensor.numpy()
        part = name.split(".")[-2]
        _add_tensor(writer, gguf_name(name), permuted(values, heads[part]) if part in heads else values, kind)
    if rope_freqs is not None:
        writer.add_tensor("rope_freqs.weight", rope_freqs.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    """The model's tensors without a second name for a tied embedding."""
    state = {name: tensor.detach().float() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray, kind: GGMLQuantizationType) -> None:
    if values.ndim == 1:
        kind = GGMLQuantizationType.F32
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        writer.add_tensor(name, values.astype(np.float32 if kind == GGMLQuantizationType.F32 else np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)


def as_stored(model: LlamaForCausalLM, kind: GGMLQuantizationType) -> None:
    """Put every matrix of ``model`` through the quantisation, so that it computes with what the file holds."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                stored = gguf.quants.quantize(parameter.numpy().copy(), kind)
                parameter.copy_(torch.from_numpy(gguf.quants.dequantize(stored, kind).copy()))


def _metadata(model: LlamaForCausalLM) -> dict[str, Any]:
    config = model.config
    return {
        "llama.vocab_size": config.vocab_size,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.block_count": config.num_hidden_layers,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "llama.rope.freq_base": float(config.rope_parameters["rope_theta"]),
        "llama.rope.dimension_count": config.head_dim,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": _vocabulary(config.vocab_size),
        "tokenizer.ggml.token_type": [3 if i < 3 else 1 for i in range(config.vocab_size)],
        "tokenizer.ggml.merges": ["i n", "a n"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _vocabulary(size: int) -> list[str]:
    """Three control tokens, printable characters, and two merged pairs."""
    return ["<|0|>", "<|1|>", "<|2|>", *(chr(33 + i) for i in range(size - 5)), "in", "an"]


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_string(key, value)
