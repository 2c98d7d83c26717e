"""granitemoe (also granitemoeshared). Sources: ``GraniteMoeModel`` in ``conversion/granite.py``,
``src/models/granite.cpp``.

Tensors: as granite; ``input_linear`` (E, 2I, h) split into ``ffn_gate_exps`` and ``ffn_up_exps``, ``output_linear``
is ``ffn_down_exps``, ``router.layer`` ``ffn_gate_inp``; ``shared_mlp`` likewise -> ``ffn_*_shexp``.
Implied: as granite; every layer has experts of width ``feed_forward_length``; softmax of the chosen logits (equal
to softmax over all, renormalised); the shared MLP of width ``expert_shared_feed_forward_length`` is added ungated.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.architectures import granite
from tests.engine.gguf_files.keys import Metadata
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import split_rows

ARCHITECTURE = "granitemoe"
MODEL_TYPES = ("granitemoe", "granitemoeshared")
# input_linear of -> names of its two halves
HALVES = {
    "block_sparse_moe.input_linear.weight": ("mlp.experts.gate_proj.weight", "mlp.experts.up_proj.weight"),
    "shared_mlp.input_linear.weight": ("mlp.shared_expert.gate_proj.weight", "mlp.shared_expert.up_proj.weight"),
}


def metadata(config: Config) -> Metadata:
    shared = config.get("shared_intermediate_size")
    return granite.metadata(config) | ({"expert_shared_feed_forward_length": shared} if shared else {})


def tensors(config: Config, state: State) -> State:
    result: State = {}
    for name, values in granite.tensors(config, state).items():
        whole = next((whole for whole in HALVES if name.endswith(whole)), None)
        if whole is None:
            result[name] = values
        else:
            result |= {
                name.replace(whole, half): part for half, part in zip(HALVES[whole], split_rows(values), strict=True)
            }
    return result


def extra(config: Config) -> dict[str, np.ndarray]:
    return granite.extra(config)


def lost(config: Config) -> list[str]:
    return granite.lost(config)
