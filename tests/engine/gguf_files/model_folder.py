"""A model folder as the converter sees it: the config with its class's defaults, tensors by the names of the decoder.

Facts: ``conversion/base.py`` of llama.cpp (``load_hparams``, ``filter_tensors``, ``dequant_model``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoConfig

Config = dict[str, Any]
State = dict[str, np.ndarray]

SKIPPED_ENDINGS = (".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias")
SKIPPED_PARTS = ("rotary_emb.inv_freq", "vision", "multi_modal_projector")


def read_config(folder: Path) -> Config:
    """The parsed config.json with the defaults of its class; a multimodal one has its text fields on top."""
    config = AutoConfig.from_pretrained(folder).to_dict()
    return {**config, **config["text_config"]} if config.get("text_config") else config


def read_state(folder: Path) -> State:
    """Every tensor of the decoder: float32, or uint8 where the folder holds packed blocks."""
    stored: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        stored |= load_file(path)
    state = {}
    for name, tensor in stored.items():
        if _is_decoders(name) and not name.endswith("_scale_inv"):
            state[name.replace("language_model.", "")] = _numbers(tensor, stored.get(f"{name}_scale_inv"))
    return state


def rope_parameters(config: Config) -> dict[str, Any]:
    """The rope of the full-attention layers: the converter describes no other, but for its base."""
    parameters: dict[str, Any] = config.get("rope_parameters") or {}
    return parameters.get("full_attention", parameters)


def _is_decoders(name: str) -> bool:
    return not name.endswith(SKIPPED_ENDINGS) and not any(part in name for part in SKIPPED_PARTS)


def _numbers(tensor: torch.Tensor, inverse_scale: torch.Tensor | None) -> np.ndarray:
    if tensor.dtype == torch.uint8:
        return tensor.numpy()
    values = tensor.float().numpy()
    if inverse_scale is None:
        return values
    scales = inverse_scale.float().numpy().repeat(128, 0).repeat(128, 1)  # DeepSeek V3: one scale per 128 x 128 block
    return values * scales[: values.shape[0], : values.shape[1]]
