"""gemma2. Sources: ``Gemma2Model`` in ``conversion/gemma.py``, ``src/models/gemma2.cpp``.

Tensors: 1 added to every norm's weight; ``post_attention_layernorm`` -> ``post_attention_norm`` (of attention's
OUTPUT), ``pre_feedforward_layernorm`` -> ``ffn_norm``, ``post_feedforward_layernorm`` -> ``post_ffw_norm``. Always
tied.
Implied: as gemma (√embedding_length, tanh GeGLU, base 10000); even layers (0, 2, ...) slide over
``attention.sliding_window`` (absent: 4096), odd ones attend to all; scale 1/√key_length, but 1/√(embedding_length /
head_count) for 46 layers (27B), since query_pre_attn_scalar is not held; softcaps: ``attn_logit_softcapping`` after
the scale and before the mask (absent: 50), ``final_logit_softcapping`` (absent: 30).
"""

from __future__ import annotations

from tests.engine.gguf_files.architectures import gemma
from tests.engine.gguf_files.keys import Metadata, lost_rope, unlike
from tests.engine.gguf_files.model_folder import Config, State, rope_parameters

ARCHITECTURE = "gemma2"
MODEL_TYPES = ("gemma2",)
NORM_OFFSET = gemma.NORM_OFFSET
LAYERS_27B = 46


def metadata(config: Config) -> Metadata:
    caps = {key: config[key] for key in ("attn_logit_softcapping", "final_logit_softcapping") if config.get(key)}
    return gemma.metadata(config) | caps | {"attention.sliding_window": config["sliding_window"]}


def tensors(config: Config, state: State) -> State:
    return gemma.tensors(config, state)


def implied_scalar(config: Config, layers_27b: int) -> int:
    """The query_pre_attn_scalar that a reader implies."""
    whole = config["num_hidden_layers"] == layers_27b
    return config["hidden_size"] // config["num_attention_heads"] if whole else config["head_dim"]


def lost(config: Config) -> list[str]:
    theta = rope_parameters(config).get("rope_theta", 10000.0)
    layers = range(config["num_hidden_layers"])
    return [
        *lost_rope(config, ("default",)),
        *unlike({"rope_theta": theta}, rope_theta=10000.0),
        *unlike(
            config,
            query_pre_attn_scalar=implied_scalar(config, LAYERS_27B),
            layer_types=["full_attention" if i % 2 else "sliding_attention" for i in layers],
        ),
        *[f"{key} None" for key in ("attn_logit_softcapping", "final_logit_softcapping") if not config.get(key)],
    ]
