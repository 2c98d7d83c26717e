"""llama (Llama 1 to 3.x, SmolLM2, Mistral, Mixtral). Sources: ``conversion/llama.py``, ``src/models/llama.cpp``.

Tensors: rows of Q and K, weights and biases, permuted so that rotary pairs are neighbours; ``rope_freqs`` holds the
divisors of llama3 scaling; experts stacked (E, out, in): w1 ``ffn_gate_exps``, w3 ``ffn_up_exps``, w2
``ffn_down_exps``. Old Mixtral files: ``blk.N.ffn_gate.E.weight`` per expert (``old_experts``;
``LLM_TENSOR_FFN_GATE_EXP``).
Implied: RMS norms before each part; SwiGLU with silu; scale 1/√d_head; llama3 scaling is only ``rope_freqs``; no
sliding window (Mistral 0.1's is lost); with ``expert_count`` every layer has experts of width
``feed_forward_length``, softmax over all, the chosen renormalised. Biases of Q, K, V, O and of the MLP where their
tensors are.
"""

from __future__ import annotations

import numpy as np

from tests.engine.gguf_files.keys import Metadata, head_dim, llama3_divisors, lost_rope, lost_window, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.transforms import stack_experts, with_interleaved_rotary

ARCHITECTURE = "llama"
MODEL_TYPES = ("llama", "mistral", "mixtral")
OLD_EXPERTS = True


def metadata(config: Config) -> Metadata:
    return text_model(config) | {"vocab_size": config["vocab_size"], "rope.dimension_count": head_dim(config)}


def tensors(config: Config, state: State) -> State:
    return stack_experts(with_interleaved_rotary(config, state), "layers.{number}.feed_forward.experts.{part}.weight")


def extra(config: Config) -> dict[str, np.ndarray]:
    return llama3_divisors(config)


def lost(config: Config) -> list[str]:
    held = ("default", "linear", "yarn", "llama3")
    return [*unlike(config, hidden_act="silu"), *lost_rope(config, held), *lost_window(config)]
