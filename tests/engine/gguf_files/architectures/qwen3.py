"""qwen3. Sources: ``conversion/qwen.py``, ``src/models/qwen3.cpp``.

Tensors: names only; ``attn_q_norm`` and ``attn_k_norm`` (d_head) are norms of each head.
Implied: as qwen2 without biases; RMS of each head of Q and K before half-split rope; head size in
``attention.key_length``; no sliding window.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State

ARCHITECTURE = "qwen3"
MODEL_TYPES = ("qwen3",)


def metadata(config: Config) -> Metadata:
    return text_model(config)


def tensors(config: Config, state: State) -> State:
    return state


def lost(config: Config) -> list[str]:
    return [*unlike(config, hidden_act="silu"), *lost_rope(config), *lost_window(config)]
