"""Tiny random transformers models, saved to a folder: the oracle and the input of the engine's tests.

Weights have std 0.2: at 0.02 a wrong rope scaling hides below the tolerance, above 0.3 float32 noise grows. Norm
weights and biases are random too, because their defaults (1 and 0) hide errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

DEFAULTS: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny_llama(folder: Path, *, seed: int = 0, shard_size: str | None = None, **overrides: Any) -> LlamaForCausalLM:
    """A tiny Llama in float32 and eval mode, saved with save_pretrained into ``folder``.

    ``overrides`` are fields of LlamaConfig; ``shard_size`` ("20KB") splits the weights over several files.
    """
    model = LlamaForCausalLM(LlamaConfig(**{**DEFAULTS, **overrides}))
    return randomised(model, folder, seed=seed, shard_size=shard_size)


def randomised(model: PreTrainedModel, folder: Path, *, seed: int = 0, shard_size: str | None = None) -> Any:
    """``model`` in float32 and eval mode with every parameter drawn anew, saved into ``folder``."""
    generator = torch.Generator().manual_seed(seed)
    model = model.float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.normal_(centre, 0.2, generator=generator)
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.save_pretrained(folder, **({} if shard_size is None else {"max_shard_size": shard_size}))
    return model
