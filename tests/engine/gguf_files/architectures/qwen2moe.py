"""qwen2moe. Sources: ``Qwen2MoeModel`` in ``conversion/qwen.py``, ``src/models/qwen2moe.cpp``.

Tensors: experts stacked (E, out, in); ``shared_expert_gate`` -> ``ffn_gate_inp_shexp`` (1, h), in older files (h).
Implied: attention as qwen2; every layer has experts (dense layers have no place in the file); softmax over all, the
chosen are NOT renormalised; the shared expert is multiplied by sigmoid(ffn_gate_inp_shexp · x). Old files lack
``expert_feed_forward_length`` (then feed_forward_length / expert_used_count) and
``expert_shared_feed_forward_length`` (then feed_forward_length). Not tied.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import stack_experts

ARCHITECTURE = "qwen2moe"
MODEL_TYPES = ("qwen2_moe",)


def metadata(config: Config) -> Metadata:
    return text_model(config) | {
        "expert_feed_forward_length": config["moe_intermediate_size"],
        "expert_shared_feed_forward_length": config["shared_expert_intermediate_size"],
    }


def tensors(config: Config, state: State) -> State:
    return stack_experts(state)


def lost(config: Config) -> list[str]:
    found = unlike(config, hidden_act="silu", norm_topk_prob=False, mlp_only_layers=[], decoder_sparse_step=1)
    return [*found, *lost_rope(config), *lost_window(config)]
