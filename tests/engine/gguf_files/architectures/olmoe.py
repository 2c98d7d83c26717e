"""olmoe. Sources: ``OlmoeModel`` in ``conversion/olmo.py``, ``src/models/olmoe.cpp``.

Tensors: experts stacked (E, out, in); ``attn_q_norm`` and ``attn_k_norm`` norm the whole projected vector.
Implied: RMS before each part, ``layer_norm_rms_epsilon`` always 1e-5; half-split rope; every layer has experts, of
width ``feed_forward_length`` each; softmax over all, the chosen NOT renormalised; no clamp of Q, K, V (clip_qkv is
lost). Never tied.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import stack_experts

ARCHITECTURE = "olmoe"
MODEL_TYPES = ("olmoe",)


def metadata(config: Config) -> Metadata:
    return text_model(config) | {"attention.layer_norm_rms_epsilon": 1e-5}


def tensors(config: Config, state: State) -> State:
    return stack_experts(state)


def lost(config: Config) -> list[str]:
    implied = {"hidden_act": "silu", "norm_topk_prob": False, "clip_qkv": None, "rms_norm_eps": 1e-5}
    return [*unlike(config, **implied), *lost_rope(config)]
