"""smollm3. Sources: ``SmolLM3Model`` in ``conversion/llama.py``, ``src/models/smollm3.cpp``, ``src/llama-model.cpp``.

Tensors: as llama (Q and K permuted, also in layers without rope, where it changes nothing).
Implied: as llama; every 4th layer, (i + 1) % 4 == 0, has no rope (``n_no_rope_layer_step`` 4); no sliding window.
Usually tied.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, head_dim, llama3_divisors, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import with_interleaved_rotary

ARCHITECTURE = "smollm3"
MODEL_TYPES = ("smollm3",)


def metadata(config: Config) -> Metadata:
    return text_model(config) | {"vocab_size": config["vocab_size"], "rope.dimension_count": head_dim(config)}


def tensors(config: Config, state: State) -> State:
    return with_interleaved_rotary(config, state)


def extra(config: Config) -> dict[str, np.ndarray]:
    return llama3_divisors(config)


def lost(config: Config) -> list[str]:
    implied = [int((i + 1) % 4 != 0) for i in range(config["num_hidden_layers"])]
    held = ("default", "linear", "yarn", "llama3")
    return [
        *unlike(config, hidden_act="silu", no_rope_layers=implied),
        *lost_rope(config, held),
        *lost_window(config),
    ]
