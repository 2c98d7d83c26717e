"""gpt2. Sources: ``conversion/gpt2.py``, ``src/models/gpt2.cpp``.

Tensors: Conv1D weights transposed to (out, in); ``attn_qkv`` stays [q | k | v]; ``position_embd`` is always F32.
Implied: LayerNorm with biases before each part; learned positions, no rope; tanh gelu (``gelu_new``), not gated; scale
1/√d_head, not divided by the layer's number; every linear map has a bias; multi-head; tied unless ``output`` is there.
``feed_forward_length`` is always 4·embedding_length: another n_inner does not load in llama.cpp. No vocab_size.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import transposed

ARCHITECTURE = "gpt2"
MODEL_TYPES = ("gpt2",)
CONV1D = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def metadata(config: Config) -> Metadata:
    return {
        "block_count": config["n_layer"],
        "context_length": config.get("n_ctx") or config["n_positions"],
        "embedding_length": config["n_embd"],
        "feed_forward_length": 4 * config["n_embd"],
        "attention.head_count": config["n_head"],
        "attention.layer_norm_epsilon": config["layer_norm_epsilon"],
    }


def tensors(config: Config, state: State) -> State:
    return {name: transposed(values) if name.endswith(CONV1D) else values for name, values in state.items()}


def lost(config: Config) -> list[str]:
    return unlike(
        config,
        n_inner=4 * config["n_embd"],
        activation_function="gelu_new",
        scale_attn_weights=True,
        scale_attn_by_inverse_layer_idx=False,
    )
