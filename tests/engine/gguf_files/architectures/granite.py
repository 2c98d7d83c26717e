"""granite. Sources: ``GraniteModel`` in ``conversion/granite.py``, ``src/models/granite.cpp``.

Tensors: as llama (Q and K permuted, ``rope_freqs`` for llama3 scaling).
Implied: as llama's blocks. ``attention.scale`` replaces 1/√d_head; ``embedding_scale`` multiplies the embedding,
``residual_scale`` the output of each part before it is added, and the logits are DIVIDED by ``logit_scale``. A
multiplier of 0 is not written. No ``attention.key_length``: head_dim of a config is ignored.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, llama3_divisors, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import with_interleaved_rotary

ARCHITECTURE = "granite"
MODEL_TYPES = ("granite",)
SCALES = {
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
}


def metadata(config: Config) -> Metadata:
    found = text_model({**config, "head_dim": None})
    found["vocab_size"] = config["vocab_size"]
    found["rope.dimension_count"] = config["hidden_size"] // config["num_attention_heads"]
    return found | {key: float(config[field]) for key, field in SCALES.items() if config.get(field)}


def tensors(config: Config, state: State) -> State:
    return with_interleaved_rotary(config, state)


def extra(config: Config) -> dict[str, np.ndarray]:
    return llama3_divisors(config)


def lost(config: Config) -> list[str]:
    found = unlike(config, hidden_act="silu", head_dim=config["hidden_size"] // config["num_attention_heads"])
    return found + lost_rope(config, ("default", "linear", "yarn", "llama3"))
