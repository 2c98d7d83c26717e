"""GPTBigCode (StarCoder, SantaCoder): GPT-2 whose query heads share one key/value head, or have one each.

Facts: transformers ``configuration_gpt_bigcode.py`` and ``modeling_gpt_bigcode.py``; GGUF architecture ``starcoder``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import ModelConfig
from engine.dialect import layer_count
from engine.families import ReadTensor, gpt2
from engine.fields import Fields
from engine.gguf_dialect import gguf_values as common_values
from engine.naming import Stored, grouped_qkv

MODEL_TYPES = ("gpt_bigcode",)
GGUF_ARCHITECTURES = ("starcoder",)

# what an absent key means in transformers' GPTBigCodeConfig
DEFAULTS: dict[str, Any] = gpt2.DEFAULTS | {"activation_function": "gelu_pytorch_tanh", "multi_query": True}

NAMES = gpt2.LINEAR_NAMES | {"qkv": Stored("attn.c_attn", regroup=grouped_qkv)}
GGUF_NAMES = gpt2.GGUF_NAMES
canonical = gpt2.canonical
ignored = gpt2.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of a gpt_bigcode config.json."""
    one_key = {"n_kv_heads": 1} if fields.flag("multi_query") else {}
    return gpt2.decoder(fields, [gpt2.attention(fields, **one_key)] * layer_count(fields, "n_layer"))


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; only multi-query models can be converted."""
    return common_values(metadata, read, "gpt_bigcode", gpt2.GGUF_KEYS)
