"""What every hook point promises, for every family: sums, names, order, shapes, types."""

from __future__ import annotations

import re
from functools import partial

import torch
from torch import Tensor

from engine.hooks import hook_table
from engine.loading import Loaded
from tests.engine.families.compare import apart, logits_of, observed
from tests.engine.families.oracle import Oracle

DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool, "float64": torch.float64}


def _names(loaded: Loaded) -> list[str]:
    """Points of the forward pass; the sampler's fire in a session."""
    return [name for name in loaded.model.hook_points if not name.startswith("sampler.")]


def _reached(loaded: Loaded, ids: Tensor) -> list[str]:
    """Points of a pass over ``ids``: an expert that no position chose does nothing."""
    seen = observed(loaded, ids, [name for name in _names(loaded) if name.endswith("hook_expert_indices")])
    chosen = {
        name.replace("hook_expert_indices", f"experts.{i}.") for name in seen for i in seen[name].unique().tolist()
    }
    return [name for name in _names(loaded) if ".experts." not in name or re.sub(r"hook_\w+$", "", name) in chosen]


def _all(loaded: Loaded, ids: Tensor) -> dict[str, Tensor]:
    return observed(loaded, ids, _names(loaded))


def test_what_is_added_to_the_stream_is_what_the_points_show(oracle: Oracle, loaded: Loaded) -> None:
    seen = _all(loaded, oracle.ids)
    assert torch.equal(seen["hook_embed_scaled"], seen["blocks.0.hook_resid_pre"])
    for layer in range(loaded.config.n_layers):
        pre, attention, mlp, post = (
            seen[f"blocks.{layer}.{name}"]
            for name in ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "hook_resid_post")
        )
        assert apart(pre + attention + mlp, post) <= 1e-5
        if f"blocks.{layer}.hook_resid_mid" in seen:
            assert apart(pre + attention, seen[f"blocks.{layer}.hook_resid_mid"]) <= 1e-5
        if layer:
            assert torch.equal(pre, seen[f"blocks.{layer - 1}.hook_resid_post"])


def test_rows_of_a_pattern_sum_to_one_less_the_sink(oracle: Oracle, loaded: Loaded) -> None:
    seen = _all(loaded, oracle.ids)
    for layer in range(loaded.config.n_layers):
        rows = seen[f"blocks.{layer}.attn.hook_pattern"].sum(-1)
        sink = seen.get(f"blocks.{layer}.attn.hook_sink")
        assert (sink is not None) == (oracle.variant.family == "gpt_oss")
        left = torch.ones_like(rows) if sink is None else 1 - sink.reshape(rows.shape)
        assert apart(rows, left) <= 1e-5
        assert sink is None or float(sink.min()) > 0


def test_a_pattern_looks_where_the_layer_may(oracle: Oracle, loaded: Loaded) -> None:
    """Never ahead; and where transformers' pattern is zero, ours is."""
    seen = _all(loaded, oracle.ids)
    oracle.forget_length()
    with torch.inference_mode():
        theirs = oracle.model(input_ids=oracle.ids, use_cache=False, output_attentions=True).attentions
    for layer, expected in enumerate(theirs):
        assert torch.equal(seen[f"blocks.{layer}.attn.hook_pattern"] == 0, expected == 0)


def test_names_that_fire_are_the_declared_table_in_its_order(oracle: Oracle, loaded: Loaded) -> None:
    assert list(hook_table(loaded.config)) == list(loaded.model.hook_points)
    assert list(_all(loaded, oracle.ids)) == _reached(loaded, oracle.ids)


def _note(seen: set[str], name: str, tensor: Tensor) -> None:
    seen.add(name)


def test_points_that_are_not_lazy_are_formed_unasked(oracle: Oracle, loaded: Loaded) -> None:
    seen: set[str] = set()
    points = loaded.model.points
    detach = [points[name].observe(partial(_note, seen, name)) for name in _names(loaded)]
    try:
        logits_of(loaded, oracle.ids)
    finally:
        for undo in detach:
            undo()
    unlazy = {name for name in _reached(loaded, oracle.ids) if not loaded.model.hook_points[name].lazy}
    assert unlazy - seen == set()


def test_shapes_are_those_of_the_declared_symbols(oracle: Oracle, loaded: Loaded) -> None:
    """A symbol means one size: in the whole model for the first ones, within one module for the others."""
    batch, pos = oracle.ids.shape
    whole = {"batch": batch, "pos": pos, "key": pos}
    whole |= {"d_model": loaded.config.d_model, "d_vocab": loaded.config.d_vocab}
    whole |= {"n_heads": oracle.model.config.get_text_config().num_attention_heads}
    sizes: dict[tuple[str, str], int] = {}
    for name, tensor in _all(loaded, oracle.ids).items():
        info, module = loaded.model.hook_points[name], re.sub(r"hook_\w+$", "", name)
        assert len(info.shape) == tensor.dim(), name
        for symbol, size in zip(info.shape, tensor.shape, strict=True):
            known = whole.get(symbol, int(symbol) if symbol.isdigit() else sizes.setdefault((module, symbol), size))
            assert size == known, f"{name}: {symbol} is {size}, not {known}"
        assert tensor.dtype == DTYPES.get(info.dtype, loaded.dtype), name
