"""gpt-oss. Sources: ``GptOssModel`` in ``conversion/gpt_oss.py``, ``src/models/openai-moe.cpp``.

Tensors: ``gate_up_proj`` (E, h, 2I) transposed and de-interleaved: even rows ``ffn_gate_exps``, odd rows
``ffn_up_exps`` (E, I, h); its bias (E, 2I) likewise; ``down_proj`` transposed to (E, h, I). Published MXFP4 blocks
keep their values and exponents but change the order of the nibbles (values j and j + 16 of a group share a byte).
Sinks are ``attn_sinks.weight`` (heads). ``post_attention_norm`` is the norm BEFORE the experts (there is no
``ffn_norm``).
Implied: RMS before each part; biases on Q, K, V, O, the router and the experts; the sink is one more logit of the
softmax and has no value; even layers (0, 2, ...) slide over ``attention.sliding_window``, odd ones attend to all;
softmax over the chosen logits only; experts: gate clamped to at most 7, up to ±7, (up + 1) · gate · sigmoid(1.702 ·
gate); half-split rope, the same in all layers; yarn's ramp ends are NOT rounded (truncate false; llama.cpp itself
rounds). Never tied.
"""

from __future__ import annotations

from tests.engine.gguf_files.keys import Metadata, lost_rope, text_model, unlike
from tests.engine.gguf_files.model_folder import Config, State
from tests.engine.gguf_files.raw_tensor import mxfp4_from_safetensors
from tests.engine.gguf_files.transforms import transposed

ARCHITECTURE = "gpt-oss"
MODEL_TYPES = ("gpt_oss",)


def metadata(config: Config) -> Metadata:
    return text_model(config) | {
        "attention.sliding_window": config["sliding_window"],
        "expert_feed_forward_length": config["intermediate_size"],
    }


def tensors(config: Config, state: State) -> State:
    result: State = {}
    for name, values in state.items():
        if "_proj_blocks" in name:
            scales = state[name.replace("_blocks", "_scales")]
            result |= _experts(name.removesuffix("_blocks"), (values, scales))
        elif ".experts." not in name:
            result[f"{name}.weight" if name.endswith("sinks") else name] = values
        elif name.endswith("_bias"):
            result |= _halves(name.removesuffix("_bias"), "bias", values, values[:, ::2], values[:, 1::2])
        elif not name.endswith("_scales"):
            result |= _experts(name, (transposed(values),))
    return result


def _experts(name: str, parts: tuple) -> State:
    """``parts``: the (E, out, in) values, or MXFP4's blocks and scales of the same rows."""
    whole, even, odd = (tuple(part[:, rows] for part in parts) for rows in _ROWS)
    stored = [which[0] if len(which) == 1 else mxfp4_from_safetensors(*which) for which in (whole, even, odd)]
    return _halves(name, "weight", *stored)


_ROWS = (slice(None), slice(0, None, 2), slice(1, None, 2))


def _halves(name: str, ending: str, whole, even, odd) -> State:
    if name.endswith("down_proj"):
        return {f"{name}.{ending}": whole}
    base = name.removesuffix("gate_up_proj")
    return {f"{base}gate_proj.{ending}": even, f"{base}up_proj.{ending}": odd}


def lost(config: Config) -> list[str]:
    layers = range(config["num_hidden_layers"])
    found = unlike(
        config,
        attention_bias=True,
        swiglu_limit=7.0,
        swiglu_alpha=1.702,
        layer_types=["full_attention" if i % 2 else "sliding_attention" for i in layers],
    )
    return found + lost_rope(config, ("default", "linear", "yarn"), truncates=False)
