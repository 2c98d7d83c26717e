"""olmo (1). Sources: ``OlmoModel`` in ``conversion/olmo.py``, ``src/models/olmo.cpp``.

Tensors: rows of Q and K permuted as in llama. No norm tensors at all.
Implied: LayerNorm without weight and bias before each part and at the end (``attention.layer_norm_epsilon`` always
1e-5); ``attention.clamp_kqv`` present: Q, K and V are clamped to ±it before rope; SwiGLU with silu; no biases. Tied
unless ``output`` is there.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import with_interleaved_rotary

ARCHITECTURE = "olmo"
MODEL_TYPES = ("olmo",)


def metadata(config: Config) -> Metadata:
    clip = config.get("clip_qkv")
    clamp = {} if clip is None else {"attention.clamp_kqv": float(clip)}
    return text_model(config) | {"attention.layer_norm_epsilon": 1e-5} | clamp


def tensors(config: Config, state: State) -> State:
    return with_interleaved_rotary(config, state)


def lost(config: Config) -> list[str]:
    return [*unlike(config, hidden_act="silu"), *lost_rope(config)]
