"""Every stage between q · k and the values, of every family, beside what transformers' own attention is given.

Its attention function is listened to: queries and keys after rope, norms and temperature, values, mask and scale. The
products are then made in float64 by plain torch.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from transformers.models.falcon.modeling_falcon import build_alibi_tensor

import engine
from engine import questions as ask
from engine.attention_stages import StageRows
from engine.config import AttentionSpec
from engine.errors import EngineError
from engine.loading import Loaded
from tests.engine.families.anatomy import anatomy_of
from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.reference import reference
from tests.engine.families.test_recompute import _read, _starts

STAGES = get_args(ask.AttentionStage)
TOLERANCE = 2e-4  # of the largest figure


@dataclass(frozen=True)
class Truth:
    """One layer's stages ``[n_heads, n, n]`` in float64, and which keys a query sees ``[n, n]``."""

    stages: dict[str, Tensor]
    seen: Tensor


def _truth(oracle: Oracle, ids: Tensor) -> list[Truth]:
    calls: list[dict[str, Any]] = []
    oracle.forget_length()
    with _listening(oracle, calls), torch.inference_mode():
        patterns = oracle.model(input_ids=ids, use_cache=False, output_attentions=True).attentions
    assert len(calls) == len(patterns)
    return [_layer(oracle, layer, call, patterns[layer][0].double()) for layer, call in enumerate(calls)]


@contextmanager
def _listening(oracle: Oracle, calls: list[dict[str, Any]]) -> Iterator[None]:
    module = _module(oracle)
    plain = module.eager_attention_forward

    def listened(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor, **more: Any) -> Any:
        calls.append({"q": query[0], "k": key[0], "v": value[0], "mask": attention_mask, **more})
        return plain(module, query, key, value, attention_mask, **more)

    module.eager_attention_forward = listened
    try:
        yield
    finally:
        module.eager_attention_forward = plain


def _layer(oracle: Oracle, layer: int, call: dict[str, Any], pattern: Tensor) -> Truth:
    q, k, v = (call[name].double() for name in "qkv")
    n_heads, n = q.shape[0], q.shape[1]
    k, v = (part.repeat_interleave(n_heads // part.shape[0], dim=0) for part in (k, v))
    products = q @ k.transpose(1, 2)
    scaled = products * _scale(oracle, layer, call, q.shape[-1])
    if call.get("softcap"):
        scaled = call["softcap"] * torch.tanh(scaled / call["softcap"])
    seen = call["mask"][0, 0, :n, :n] == 0 if call["mask"].dtype != torch.bool else call["mask"][0, 0, :n, :n]
    stages = {"products": products, "scaled": scaled, "masked": scaled, "pattern": pattern}
    stages["contribution"] = (pattern[..., None] * v[:, None]).norm(dim=-1)
    return Truth(stages, seen)


def _scale(oracle: Oracle, layer: int, call: dict[str, Any], d_head: int) -> float:
    if call.get("scaling") is not None:
        return float(call["scaling"])
    by_layer = getattr(oracle.model.config, "scale_attn_by_inverse_layer_idx", False)
    return 1 / math.sqrt(d_head) / (layer + 1 if by_layer else 1)


def _compare(rows: Tensor, truth: Truth, stage: str, heads: slice, span: tuple[int, int], sight: Tensor) -> None:
    """Figures of the queries of a pass are transformers' where a query has one, else 0."""
    (start, end), n = span, rows.shape[2]
    expected = truth.stages[stage][heads, start:end, :n]
    keys = torch.arange(n)
    has = (keys >= sight[:, :1]) & (keys < sight[:, 1:])
    if stage not in ("products", "scaled"):
        assert torch.equal(has, truth.seen[start:end, :n])
    assert (rows[:, ~has] == 0).all()
    largest = max(1.0, float(expected[:, has].abs().max()))
    assert float((rows.double() - expected)[:, has].abs().max()) <= TOLERANCE * largest, stage


def _module(oracle: Oracle) -> Any:
    """The module that its attention comes from."""
    anatomy = anatomy_of(oracle.variant.family, oracle.variant.id)
    attention = oracle.model.get_submodule(f"{anatomy.layers}.0.{anatomy.attention}")
    return sys.modules[type(attention).__module__]


def test_every_stage_is_transformers(oracle: Oracle, loaded: Loaded) -> None:
    """By what its attention function is given; where that is a method, by its projections."""
    by_function = hasattr(_module(oracle), "eager_attention_forward")
    (_check_by_function if by_function else _check_by_projections)(oracle, loaded)


def _check_by_function(oracle: Oracle, loaded: Loaded) -> None:
    """Pass by pass: before the mask also later keys of the pass; keys that a window let go of are made again."""
    ids, starts = oracle.ids[:1], _starts(oracle)
    trace, cache = _read(loaded, ids, starts)
    for layer, truth in enumerate(_truth(oracle, ids)):
        for stage in STAGES:
            for head in (None, loaded.config.layers[layer].attention.n_heads - 1):
                reader = StageRows(loaded.model, trace, cache, layer, stage, head)
                for span in zip(starts, [*starts[1:], ids.shape[1]], strict=True):
                    heads = slice(None) if head is None else slice(head, head + 1)
                    _compare(_rows(reader, *span), truth, stage, heads, span, reader.sight(*span).cpu())


def _rows(reader: StageRows, start: int, end: int) -> Tensor:
    for _ in reader.prepare(start, end):
        pass
    return reader.rows(start, end).cpu()


def _check_by_projections(oracle: Oracle, loaded: Loaded) -> None:
    """Falcon: its masked scores make transformers' pattern, and hang together with its projections."""
    ids = oracle.ids[:1]
    (trace, cache), n = _read(loaded, ids, [0]), oracle.ids.shape[1]
    record = reference(oracle, ids)
    for layer in range(loaded.config.n_layers):
        prefix, spec = f"blocks.{layer}.attn.", loaded.config.layers[layer].attention
        assert isinstance(spec, AttentionSpec)
        made = {stage: _rows(StageRows(loaded.model, trace, cache, layer, stage), 0, n) for stage in STAGES}
        later = torch.ones(n, n).triu(1).bool()
        _close(made["masked"].masked_fill(later, -math.inf).softmax(-1), record[f"{prefix}hook_pattern"][0])
        _close(made["scaled"].masked_fill(later, 0), made["masked"])
        bias = torch.zeros(spec.n_heads, n, n)
        if spec.alibi:
            q, k = record[f"{prefix}hook_q"][0], record[f"{prefix}hook_k"][0]
            k = k.repeat_interleave(spec.n_heads // spec.n_kv_heads, dim=1)
            _close(made["products"], torch.einsum("qhd,khd->hqk", q, k))
            bias = build_alibi_tensor(torch.ones(1, n), spec.n_heads, torch.float32).expand(-1, n, -1)
        _close(made["scaled"], (made["products"] + bias) * spec.scale)
        values = record[f"{prefix}hook_v"][0].repeat_interleave(spec.n_heads // spec.n_kv_heads, dim=1)
        weighed = record[f"{prefix}hook_pattern"][0][..., None] * values.transpose(0, 1)[:, None]
        _close(made["contribution"], weighed.norm(dim=-1))


def _close(ours: Tensor, theirs: Tensor) -> None:
    assert apart(ours, theirs) <= TOLERANCE * max(1.0, float(theirs.abs().max()))


def test_a_pass_that_hooks_changed_is_repeated_with_them(oracles: Oracles, engines: dict[str, Loaded]) -> None:
    """What the pass had is shown; what is not recorded of it is refused with a sentence."""
    oracle = oracles["llama-default"]
    loaded = engine.load(oracle.folder, device="cpu", dtype="float32")
    session, seen = engine.Session(loaded), {}
    names = ("blocks.1.attn.hook_attn_scores", "blocks.1.attn.hook_pattern")
    hooks = {names[0]: lambda tensor, point: tensor * 2, names[1]: lambda tensor, point: seen.update(pattern=tensor[0])}
    ids = oracle.ids[0, :12].tolist()
    with loaded.model.hooks(hooks):
        next(session.generate(ids, 1))
    shown = session.answer(ask.AskAttentionMap(1, 2)).map
    assert apart(torch.from_numpy(shown), seen["pattern"][2]) <= 1e-6
    plain = engine.Session(loaded)
    next(plain.generate(ids, 1))
    masked = [each.answer(ask.AskAttentionMap(1, 2, stage="masked")).map for each in (session, plain)]
    assert apart(torch.from_numpy(masked[0]), torch.from_numpy(masked[1]) * 2) <= 1e-5
    with pytest.raises(EngineError, match=r"Hooks changed layer 1 .* choose the masked scores or a later stage"):
        session.answer(ask.AskAttentionMap(1, 2, stage="products"))
    assert apart(*(torch.from_numpy(each.answer(ask.AskAttentionMap(0, 2)).map) for each in (session, plain))) == 0
