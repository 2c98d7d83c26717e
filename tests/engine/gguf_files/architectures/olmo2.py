"""olmo2 (OLMo 2 and OLMo 3). Sources: ``Olmo2Model`` in ``conversion/olmo.py``, ``src/models/olmo2.cpp``.

Tensors: names only: ``post_attention_norm`` and ``post_ffw_norm`` norm the OUTPUT of attention and MLP, nothing
norms their input; ``attn_q_norm`` (heads · d_head) and ``attn_k_norm`` norm the whole projected vector. Never tied.
Implied: RMS with the weight multiplied in float32; SwiGLU with silu; half-split rope. OLMo 3 has
``attention.sliding_window`` and ``attention.sliding_window_pattern`` (one flag per layer, true slides; absent:
every 4th layer is full); sliding layers use the plain rope with the same base, ``rope.scaling.*`` is for full
layers only.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State

ARCHITECTURE = "olmo2"
MODEL_TYPES = ("olmo2", "olmo3")


def metadata(config: Config) -> Metadata:
    found = text_model(config)
    if "sliding_window" in config:
        found["attention.sliding_window"] = config["sliding_window"]
        found["attention.sliding_window_pattern"] = [kind == "sliding_attention" for kind in config["layer_types"]]
    return found


def tensors(config: Config, state: State) -> State:
    return state


def lost(config: Config) -> list[str]:
    return [*unlike(config, hidden_act="silu", attention_bias=False), *lost_rope(config)]
