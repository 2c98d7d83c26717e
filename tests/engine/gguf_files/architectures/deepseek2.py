"""deepseek2 (DeepSeek V2, V3, R1, Moonlight). Sources: ``DeepseekV2Model`` in ``conversion/deepseek.py``,
``src/models/deepseek2.cpp``, ``build_moe_ffn`` in ``src/llama-graph.cpp``.

Tensors: ``kv_b_proj`` split per head into ``attn_k_b`` (heads, kv_lora_rank, qk_nope: TRANSPOSED) and ``attn_v_b``
(heads, v_head_dim, kv_lora_rank). Old form (before the absorbed attention): ``attn_kv_b`` whole. Nothing is
permuted: rotary pairs are neighbours, as in the checkpoint. Experts stacked; ``shared_experts`` -> ``ffn_*_shexp``;
``e_score_correction_bias`` -> ``exp_probs_b.bias``. Layers of multi-token prediction are skipped.
Metadata: new form ``head_count_kv`` 1, ``key_length`` kv_lora_rank + qk_rope, ``value_length`` kv_lora_rank, and
the true sizes in ``key_length_mla`` (qk_nope + qk_rope) and ``value_length_mla``; old form ``head_count_kv`` as
head_count, ``key_length`` qk_nope + qk_rope, ``value_length`` v_head_dim, no ``*_mla``. qk_rope is
``rope.dimension_count``. ``q_lora_rank`` absent: ``attn_q`` instead of ``attn_q_a``, ``attn_q_a_norm``,
``attn_q_b``. ``rope.scaling.yarn_log_multiplier`` is 0.1 · mscale_all_dim.
Implied: layers below ``leading_dense_block_count`` are dense; ``expert_gating_func`` absent (old V2 files):
softmax; softmax: groups are ranked by their best expert (V2; llama.cpp takes the sum of two here too), sigmoid: by
the sum of the best two and with ``exp_probs_b`` (V3); groups only if ``expert_group_count`` > 1 (V2's topk_method
is not held);
``expert_weights_norm`` absent: not renormalised; ``expert_weights_scale`` absent: 1; the shared experts are one MLP
of width expert_shared_count · expert_feed_forward_length, added ungated. mscale equals mscale_all_dim, so cosines
are not scaled and the attention scale is 1/√key_length_mla · (1 + yarn_log_multiplier · ln factor)². Norms of the
latent vectors have epsilon 1e-6.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import GATING, Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters
from tests.engine.gguf_files.transforms import renamed, stack_experts, transposed

ARCHITECTURE = "deepseek2"
MODEL_TYPES = ("deepseek_v2", "deepseek_v3")
# what the published config.json says and transformers' config classes do not know
SCORING = {"deepseek_v2": "softmax", "deepseek_v3": "sigmoid"}


def metadata(config: Config) -> Metadata:
    latent, rotary = config["kv_lora_rank"], config["qk_rope_head_dim"]
    return _common(config) | {
        "attention.head_count_kv": 1,
        "attention.key_length": latent + rotary,
        "attention.value_length": latent,
        "attention.key_length_mla": config["qk_nope_head_dim"] + rotary,
        "attention.value_length_mla": config["v_head_dim"],
    }


def old_form(config: Config) -> Metadata:
    """The keys of files that hold ``attn_kv_b``."""
    return _common(config) | {
        "attention.head_count_kv": config["num_attention_heads"],
        "attention.key_length": config["qk_nope_head_dim"] + config["qk_rope_head_dim"],
        "attention.value_length": config["v_head_dim"],
    }


def _common(config: Config) -> Metadata:
    scoring = config.get("scoring_func") or SCORING[config["model_type"]]
    found = text_model(config) | {
        "leading_dense_block_count": config["first_k_dense_replace"],
        "vocab_size": config["vocab_size"],
        "attention.kv_lora_rank": config["kv_lora_rank"],
        "expert_feed_forward_length": config["moe_intermediate_size"],
        "expert_count": config["n_routed_experts"],
        "expert_shared_count": config.get("n_shared_experts") or 0,
        "expert_gating_func": GATING[scoring],
        "rope.dimension_count": config["qk_rope_head_dim"],
    }
    return found | _optional(config)


def _optional(config: Config) -> Metadata:
    all_dims = rope_parameters(config).get("mscale_all_dim")
    found: Metadata = {
        "attention.q_lora_rank": config.get("q_lora_rank"),
        "expert_weights_scale": config.get("routed_scaling_factor"),
        "expert_weights_norm": config.get("norm_topk_prob") or None,
        "rope.scaling.yarn_log_multiplier": None if all_dims is None else 0.1 * all_dims,
    }
    return {key: value for key, value in found.items() if value is not None}


def tensors(config: Config, state: State) -> State:
    return _split_kv_b(config, old_tensors(config, state))


def old_tensors(config: Config, state: State) -> State:
    """``kv_b_proj`` stays whole."""
    layers = config["num_hidden_layers"]
    kept = {
        name: values
        for name, values in state.items()
        if not (name.startswith("model.layers.") and int(name.split(".")[2]) >= layers)
        and not (name == "lm_head.weight" and config.get("tie_word_embeddings"))
    }
    return stack_experts(renamed(kept, [("e_score_correction_bias", "e_score_correction.bias")]))


def _split_kv_b(config: Config, state: State) -> State:
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    result: State = {}
    for name, values in state.items():
        if name.endswith("kv_b_proj.weight"):
            by_head = values.reshape(config["num_attention_heads"], nope + value, -1)
            result[name.replace("kv_b_proj", "k_b_proj")] = transposed(by_head[:, :nope])
            result[name.replace("kv_b_proj", "v_b_proj")] = np.ascontiguousarray(by_head[:, nope:])
        else:
            result[name] = values
    return result


def lost(config: Config) -> list[str]:
    rope = rope_parameters(config)
    groups = config["model_type"] == "deepseek_v2" and (config.get("n_group") or 1) > 1
    method = {"topk_method": "group_limited_greedy"} if groups else {}
    return [
        *unlike(config, hidden_act="silu", rope_interleave=True, attention_bias=False, **method),
        *lost_rope(config),
        *([f"mscale {rope['mscale']}"] if rope.get("mscale") != rope.get("mscale_all_dim") else []),
    ]
