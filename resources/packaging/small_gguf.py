"""A whole model in one small GGUF file, with a tokenizer and a chat template: random weights, for opening only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

WIDTH, HEADS, MLP, LAYERS, CONTEXT = 32, 4, 64, 2, 256
LETTERS = [*map(chr, range(33, 127)), "Ġ", "Ċ", "th"]  # byte-level: characters, and one pair of them
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"


def write_small_gguf(path: Path) -> Path:
    """A llama of two layers, 25 kB or so."""
    writer = GGUFWriter(path, "llama")
    _write_facts(writer)
    _write_tokenizer(writer)
    for name, shape in _shapes().items():
        writer.add_tensor(name, _values(name, shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_facts(writer: GGUFWriter) -> None:
    writer.add_name("small")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(LETTERS))


def _write_tokenizer(writer: GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(LETTERS)
    writer.add_token_types([TokenType.NORMAL] * len(LETTERS))
    writer.add_token_merges(["t h"])
    writer.add_chat_template(TEMPLATE)


def _shapes() -> dict[str, tuple[int, ...]]:
    """In numpy's order: rows are outputs."""
    square, inner, outer = (WIDTH, WIDTH), (MLP, WIDTH), (WIDTH, MLP)
    layer: dict[str, tuple[int, ...]] = {f"attn_{part}": square for part in ("q", "k", "v", "output")}
    layer |= {"ffn_gate": inner, "ffn_up": inner, "ffn_down": outer, "attn_norm": (WIDTH,), "ffn_norm": (WIDTH,)}
    top: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(LETTERS), WIDTH), "output_norm.weight": (WIDTH,)}
    return top | {f"blk.{n}.{part}.weight": shape for n in range(LAYERS) for part, shape in layer.items()}


def _values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) == 1:
        return np.ones(shape, np.float32)
    return np.random.default_rng(len(name)).normal(0, 0.2, shape).astype(np.float32)
