"""gemma3 (text). Sources: ``Gemma3Model`` in ``conversion/gemma.py``, ``src/models/gemma3.cpp``,
``conversion/base.py``.

Tensors: 1 added to every norm's weight, ``attn_q_norm`` and ``attn_k_norm`` too; norms named as in gemma2. The text
model of a multimodal file only. Usually tied; an ``output`` is allowed.
Implied: as gemma2 without attention softcap (``final_logit_softcapping`` only if present); layers (i + 1) % 6 != 0
slide over ``attention.sliding_window``, every 6th attends to all; no window key: all layers full. Full layers use
``rope.freq_base`` with ``rope.scaling.*`` (linear 8 in 4B and larger), sliding ones ``rope.freq_base_swa`` (absent,
as in older files: 10000) and never the scaling. RMS of each head of Q and K before half-split rope. Scale
1/√key_length, but 1/√(embedding_length / head_count) for 62 layers (27B).
"""

from __future__ import annotations

from tests.engine.gguf_files.architectures import gemma
from tests.engine.gguf_files.architectures.gemma2 import implied_scalar
from tests.engine.gguf_files.keys import Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State

ARCHITECTURE = "gemma3"
MODEL_TYPES = ("gemma3", "gemma3_text")
NORM_OFFSET = gemma.NORM_OFFSET
LAYERS_27B = 62


def metadata(config: Config) -> Metadata:
    found = text_model(config)
    if config.get("final_logit_softcapping"):
        found["final_logit_softcapping"] = config["final_logit_softcapping"]
    if config.get("sliding_window_pattern") != 1:
        found["attention.sliding_window"] = config["sliding_window"]
    return found


def tensors(config: Config, state: State) -> State:
    return state


def lost(config: Config) -> list[str]:
    layers = range(config["num_hidden_layers"])
    return [
        *lost_rope(config),
        *unlike(
            config,
            query_pre_attn_scalar=implied_scalar(config, LAYERS_27B),
            layer_types=["sliding_attention" if (i + 1) % 6 else "full_attention" for i in layers],
            attn_logit_softcapping=None,
        ),
    ]
