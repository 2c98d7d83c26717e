"""OLMo 2: norms of what attention and MLP give, none before them; queries and keys normalised over all heads.

Facts: transformers ``configuration_olmo2.py``, ``modeling_olmo2.py``; GGUF architecture ``olmo2``, OLMo 3's too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.config import AttentionSpec, LayerSpec, ModelConfig, NormSpec
from engine.dialect import LLAMA_NAMES, attention, gated_mlp, layer_count, model_config, rms_norm
from engine.families import ReadTensor, llama, olmo
from engine.fields import Fields
from engine.gguf_dialect import GGUF_NAMES as COMMON_GGUF_NAMES
from engine.gguf_dialect import gguf_values as common_values
from engine.rope_fields import rope_spec

MODEL_TYPES = ("olmo2",)
GGUF_ARCHITECTURES = ("olmo2",)

# what an absent key means in transformers' Olmo2Config
DEFAULTS: dict[str, Any] = olmo.DEFAULTS | {"rms_norm_eps": 1e-5}

NAMES = LLAMA_NAMES | {"norm1_post": "post_attention_layernorm", "norm2_post": "post_feedforward_layernorm"}
GGUF_NAMES = COMMON_GGUF_NAMES | {"norm1_post": "post_attention_norm", "norm2_post": "post_ffw_norm"}
ignored = llama.ignored


def config(fields: Fields) -> ModelConfig:
    """The specs of an olmo2 config.json."""
    heads = normed_attention(fields)
    ropes = {"global": rope_spec(fields, dim=heads.d_head, precision="promoted")}
    return model_config(fields, [layer(fields, heads)] * layer_count(fields), ropes, norm(fields))


def norm(fields: Fields) -> NormSpec:
    """Multiplied with its weight in float32, cast back afterwards."""
    return rms_norm(fields, weight_first=True)


def normed_attention(fields: Fields, **more: Any) -> AttentionSpec:
    return attention(fields, qk_norm=norm(fields), qk_norm_over="all", **more)


def layer(fields: Fields, heads: AttentionSpec) -> LayerSpec:
    return LayerSpec(heads, gated_mlp(fields, bias=None), norm1_post=norm(fields), norm2_post=norm(fields))


def gguf_values(metadata: Mapping[str, Any], read: ReadTensor) -> dict[str, Any]:
    """GGUF metadata in the dialect of config.json; a window means OLMo 3."""
    if "olmo2.attention.sliding_window" not in metadata:
        return common_values(metadata, read, "olmo2")
    values = common_values(metadata, read, "olmo3", {"attention.sliding_window": "sliding_window"})
    base = values["rope_theta"]
    full = {"rope_type": "default", "rope_theta": base, **values.pop("rope_scaling", {})}
    sliding = {"rope_type": "default", "rope_theta": metadata.get("olmo2.rope.freq_base_swa", base)}
    values["rope_parameters"] = {"full_attention": full, "sliding_attention": sliding}
    slides = metadata.get("olmo2.attention.sliding_window_pattern")
    if isinstance(slides, (list, tuple)):
        values["layer_types"] = ["sliding_attention" if each else "full_attention" for each in slides]
    return values
