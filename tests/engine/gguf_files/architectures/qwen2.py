"""qwen2 (Qwen2, Qwen2.5). Sources: ``conversion/qwen.py``, ``src/models/qwen2.cpp``.

Tensors: names only; half-split rope, nothing permuted.
Implied: as llama's blocks (RMS before each part, SwiGLU with silu); biases on Q, K and V, none on O; no sliding window;
no ``rope.dimension_count`` and no ``vocab_size``: the whole head, the tokens.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State

ARCHITECTURE = "qwen2"
MODEL_TYPES = ("qwen2",)


def metadata(config: Config) -> Metadata:
    return text_model(config)


def tensors(config: Config, state: State) -> State:
    return state


def lost(config: Config) -> list[str]:
    return [*unlike(config, hidden_act="silu"), *lost_rope(config), *lost_window(config)]
