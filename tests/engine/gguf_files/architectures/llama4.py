"""llama4 (text). Sources: ``Llama4Model`` in ``conversion/llama.py``, ``src/models/llama4.cpp``.

Tensors: Q and K are not permuted (transformers' rope already takes neighbouring pairs); ``experts.gate_up_proj``
(E, h, 2I) transposed and split into ``ffn_gate_exps`` and ``ffn_up_exps`` (E, I, h), ``down_proj`` transposed to
(E, h, I); ``shared_expert`` -> ``ffn_*_shexp``. ``feed_forward_length`` is ``intermediate_size_mlp`` (dense layers),
``expert_feed_forward_length`` the experts' and the shared expert's width. ``rope_freqs`` as in llama.
Implied: layers (i + 1) % 4 != 0 have rope and attend within chunks of 8192 (query and key in the same chunk), every 4th
has no rope and attends to all; layers with rope norm Q and K without weights after rope (RMS with the model's epsilon)
unless there are 128 experts (Maverick); layers without rope scale the query by
1 + 0.1·log(1 + floor((position + 1) / 8192)); layers (i + 1) % ``interleave_moe_layer_step`` == 0 have experts; the
sigmoid of the chosen logits multiplies the expert's INPUT, nothing is renormalised, the shared expert is added ungated.
``attention.sliding_window`` 0 (MobileLLM): all layers full, with rope, no temperature.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, head_dim, llama3_divisors, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import split_rows, transposed

ARCHITECTURE = "llama4"
MODEL_TYPES = ("llama4", "llama4_text")


def metadata(config: Config) -> Metadata:
    found = text_model(config) | {
        "vocab_size": config["vocab_size"],
        "rope.dimension_count": head_dim(config),
        "feed_forward_length": config["intermediate_size_mlp"],
        "interleave_moe_layer_step": config["interleave_moe_layer_step"],
        "expert_feed_forward_length": config["intermediate_size"],
    }
    kinds = set(config.get("layer_types") or ())
    return found | ({"attention.sliding_window": 0} if kinds == {"full_attention"} else {})


def tensors(config: Config, state: State) -> State:
    result: State = {}
    for name, values in state.items():
        if name.endswith("experts.gate_up_proj"):
            base = name.removesuffix("gate_up_proj")
            gate, up = split_rows(transposed(values))
            result |= {f"{base}gate_proj.weight": gate, f"{base}up_proj.weight": up}
        elif name.endswith("experts.down_proj"):
            result[f"{name}.weight"] = transposed(values)
        else:
            result[name] = values
    return result


def extra(config: Config) -> dict[str, np.ndarray]:
    return llama3_divisors(config)


def lost(config: Config) -> list[str]:
    layers, step = config["num_hidden_layers"], config["interleave_moe_layer_step"]
    found = unlike(
        config,
        hidden_act="silu",
        attention_chunk_size=8192,
        floor_scale=8192,
        attn_scale=0.1,
        no_rope_layers=[int((i + 1) % 4 != 0) for i in range(layers)],
        layer_types=["full_attention" if (i + 1) % 4 == 0 else "chunked_attention" for i in range(layers)],
        moe_layers=list(range(step - 1, layers, step)),
        use_qk_norm=config["num_local_experts"] != 128,
        attn_temperature_tuning=True,
    )
    return found + lost_rope(config, ("default", "linear", "yarn", "llama3"))
