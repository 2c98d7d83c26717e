"""qwen3moe. Sources: ``Qwen3MoeModel`` in ``conversion/qwen.py``, ``src/models/qwen3moe.cpp``.

Tensors: experts stacked (E, out, in); ``attn_q_norm`` and ``attn_k_norm`` (d_head).
Implied: attention as qwen3; every layer has experts of width ``expert_feed_forward_length``; softmax over all, the
chosen ARE renormalised (transformers' class default is False, published files say True); no shared expert; no
window.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import stack_experts

ARCHITECTURE = "qwen3moe"
MODEL_TYPES = ("qwen3_moe",)


def metadata(config: Config) -> Metadata:
    return text_model(config) | {"expert_feed_forward_length": config["moe_intermediate_size"]}


def tensors(config: Config, state: State) -> State:
    return stack_experts(state)


def lost(config: Config) -> list[str]:
    found = unlike(config, hidden_act="silu", norm_topk_prob=True, mlp_only_layers=[], decoder_sparse_step=1)
    return [*found, *lost_rope(config), *lost_window(config)]
