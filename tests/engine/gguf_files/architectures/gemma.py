"""gemma. Sources: ``GemmaModel`` in ``conversion/gemma.py``, ``src/models/gemma.cpp``.

Tensors: 1 is added to every norm's weight, so the file's norms are plain RMS. No ``output``: always tied.
Implied: embedding multiplied by √embedding_length; GeGLU with tanh gelu; scale 1/√key_length; half-split rope with base
10000 (no key); RMS before each part. In float32 norm weights lose their lowest bits by the added 1.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters

ARCHITECTURE = "gemma"
MODEL_TYPES = ("gemma",)
NORM_OFFSET = 1.0


def metadata(config: Config) -> Metadata:
    return {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
    }


def tensors(config: Config, state: State) -> State:
    return {name: values for name, values in state.items() if name != "lm_head.weight"}


def lost(config: Config) -> list[str]:
    theta = rope_parameters(config).get("rope_theta", 10000.0)
    return [*lost_rope(config, ("default",)), *unlike({"rope_theta": theta}, rope_theta=10000.0)]
