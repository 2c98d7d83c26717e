"""Hook points: the table, the order, the shapes; values and edits against forward hooks on transformers' modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from engine.cache import KVCache
from engine.errors import EngineError, HookError
from engine.hooks import HookPoint, hook_table, layer_stages
from tests.engine.conftest import Pair

IDS = torch.randint(3, 96, (2, 11), generator=torch.Generator().manual_seed(2))
ONE = IDS[:1]
DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool, "float64": torch.float64}


def _look(tensor: Tensor, point: HookPoint) -> None:
    """A hook that asks for a tensor and leaves it."""


def _forward_names(pair: Pair) -> list[str]:
    return [name for name in pair.loaded.model.hook_points if not name.startswith("sampler.")]


def _seen(pair: Pair, names: list[str], ids: Tensor = IDS, cache: KVCache | None = None) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def keep(tensor: Tensor, point: HookPoint) -> None:
        assert point.name not in seen, f"{point.name} fired twice"
        seen[point.name] = tensor.clone()

    with pair.loaded.model.hooks(dict.fromkeys(names, keep)):
        pair.loaded.model(ids, cache)
    return seen


@pytest.fixture(scope="module")
def everything(tiny: Pair) -> dict[str, Tensor]:
    """Every tensor of one prefill of a batch of two."""
    return _seen(tiny, _forward_names(tiny))


# -- the table -------------------------------------------------------------------------------------------------------

LAYER = [
    "hook_resid_pre",
    "ln1.hook_scale",
    "ln1.hook_normalized",
    "attn.hook_q",
    "attn.hook_k",
    "attn.hook_v",
    "attn.hook_rot_q",
    "attn.hook_rot_k",
    "kv.hook_append",
    "kv.hook_k",
    "kv.hook_v",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "attn.hook_z",
    "attn.hook_result",
    "hook_attn_out",
    "hook_resid_mid",
    "ln2.hook_scale",
    "ln2.hook_normalized",
    "mlp.hook_pre",
    "mlp.hook_pre_linear",
    "mlp.hook_post",
    "hook_mlp_out",
    "hook_resid_post",
]


def test_the_names_are_transformer_lens_names(tiny: Pair) -> None:
    names = [
        "hook_tokens",
        "hook_embed",
        "hook_embed_scaled",
        "rotary_emb.global.hook_cos",
        "rotary_emb.global.hook_sin",
    ]
    names += [f"blocks.{layer}.{name}" for layer in range(3) for name in LAYER]
    names += ["ln_final.hook_scale", "ln_final.hook_normalized", "hook_logits", "hook_logits_final"]
    assert _forward_names(tiny) == names
    assert list(hook_table(tiny.loaded.config)) == list(tiny.loaded.model.hook_points)


def test_every_row_says_what_it_is(tiny: Pair) -> None:
    for name, info in tiny.loaded.model.hook_points.items():
        assert info.name == name
        assert info.meaning
        assert info.dtype in {"activation", *DTYPES}
        assert info.layer == (int(name.split(".")[1]) if name.startswith("blocks.") else None)


def test_stages_end_at_points_in_order(tiny: Pair) -> None:
    stages = "norm 1|q k v|rope|cache|scores|softmax|mix|attention out|add 1|norm 2|gate up|activation|mlp out|add 2"
    assert layer_stages(tiny.loaded.config, 1) == tuple(stages.split("|"))
    told = [info.stage for info in tiny.loaded.model.hook_points.values() if info.stage and info.layer is None]
    assert told == ["embed", "final norm", "logits", "sampling"]


# -- order, shapes, types --------------------------------------------------------------------------------------------


def test_each_point_fires_once_in_the_order_of_the_table(tiny: Pair, everything: dict[str, Tensor]) -> None:
    assert list(everything) == _forward_names(tiny)


def _sizes(n_keys: int, n_pos: int, batch: int) -> dict[str, int]:
    return {
        "batch": batch,
        "pos": n_pos,
        "key": n_keys,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_head": 8,
        "d_model": 32,
        "d_mlp": 48,
        "d_vocab": 96,
        "d_rotary": 8,
    }


def _check_shapes(pair: Pair, seen: dict[str, Tensor], sizes: dict[str, int]) -> None:
    for name, tensor in seen.items():
        info = pair.loaded.model.hook_points[name]
        assert list(tensor.shape) == [sizes[s] if s in sizes else int(s) for s in info.shape], name
        assert tensor.dtype == DTYPES.get(info.dtype, pair.loaded.dtype), name


def test_shapes_and_types_are_those_declared(tiny: Pair, everything: dict[str, Tensor]) -> None:
    _check_shapes(tiny, everything, _sizes(n_keys=11, n_pos=11, batch=2))


@pytest.mark.parametrize("more", [1, 3])
def test_shapes_in_decode_and_in_a_chunk(tiny: Pair, more: int) -> None:
    cache = KVCache(tiny.loaded.config)
    tiny.loaded.model(ONE[:, :5], cache)
    seen = _seen(tiny, _forward_names(tiny), ONE[:, 5 : 5 + more], cache)
    _check_shapes(tiny, seen, _sizes(n_keys=5 + more, n_pos=more, batch=1))
    size = 2 * more * 2 * 8 * 4  # K and V, positions, heads, d_head, bytes
    assert seen["blocks.1.kv.hook_append"].tolist() == [5, more, size]


def test_lazy_points_are_formed_only_when_asked_for(tiny: Pair) -> None:
    """In prefill an observer (which asks for nothing) of a lazy point sees nothing; a hook beside it makes it fire."""
    points, model = tiny.loaded.model.points, tiny.loaded.model
    lazy = [name for name, info in model.hook_points.items() if info.lazy]
    assert {name.rsplit("hook_", 1)[1] for name in lazy} == {"attn_scores", "pattern", "result"}
    seen: list[str] = []
    detach = [points[name].observe(lambda tensor, name=name: seen.append(name)) for name in lazy]
    try:
        model(IDS)
        assert seen == []
        with model.hooks({"blocks.1.attn.hook_pattern": _look}):
            model(IDS)
        assert seen == ["blocks.1.attn.hook_attn_scores", "blocks.1.attn.hook_pattern"]
        seen.clear()
        model(IDS[:, :1])  # a single query is computed explicitly, so its row is there for free
        assert "blocks.2.attn.hook_pattern" in seen
        assert "blocks.2.attn.hook_result" not in seen
    finally:
        for undo in detach:
            undo()


# -- values ----------------------------------------------------------------------------------------------------------


class Oracle:
    """What forward hooks on transformers' modules see: ``seen[name]`` = output, ``seen[name + ' in']`` = input."""

    def __init__(self, model: Any, edits: dict[str, Callable[[Tensor], Tensor]] | None = None) -> None:
        self.seen: dict[str, Tensor] = {}
        modules = dict(model.named_modules())
        handles = [module.register_forward_hook(self._keep(name)) for name, module in modules.items() if name]
        for name, edit in (edits or {}).items():
            handles.append(modules[name].register_forward_hook(lambda m, i, out, edit=edit: self._edited(out, edit)))
        try:
            with torch.inference_mode():
                self.out = model(IDS, output_attentions=True, output_hidden_states=True, use_cache=True)
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, name: str) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple, output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                self.seen[f"{name} in"] = inputs[0]
            self.seen[name] = output[0] if isinstance(output, tuple) else output

        return hook

    @staticmethod
    def _edited(output: Any, edit: Callable[[Tensor], Tensor]) -> Any:
        if isinstance(output, tuple):
            return (edit(output[0]), *output[1:])
        return edit(output)


@pytest.fixture(scope="module")
def oracle(tiny: Pair) -> Oracle:
    return Oracle(tiny.oracle)


def _close(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5, msg=lambda text: f"{name}: {text}")


def _heads(x: Tensor, n: int) -> Tensor:
    return x.view(*x.shape[:2], n, -1)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_values_are_those_of_transformers_modules(
    layer: int, everything: dict[str, Tensor], oracle: Oracle, tiny: Pair
) -> None:
    theirs, module = oracle.seen, tiny.oracle.model.layers[layer]
    prefix = f"model.layers.{layer}."
    ours = {name: everything[f"blocks.{layer}.{name}"] for name in LAYER}
    keys, values = (oracle.out.past_key_values.layers[layer].keys, oracle.out.past_key_values.layers[layer].values)
    expected = {
        "hook_resid_pre": oracle.out.hidden_states[layer],
        "attn.hook_q": _heads(theirs[prefix + "self_attn.q_proj"], 4),
        "attn.hook_k": _heads(theirs[prefix + "self_attn.k_proj"], 2),
        "attn.hook_v": _heads(theirs[prefix + "self_attn.v_proj"], 2),
        "attn.hook_rot_k": keys.transpose(1, 2),
        "kv.hook_k": keys.transpose(1, 2),
        "kv.hook_v": values.transpose(1, 2),
        "attn.hook_pattern": oracle.out.attentions[layer],
        "attn.hook_z": _heads(theirs[prefix + "self_attn.o_proj in"], 4),
        "hook_attn_out": theirs[prefix + "self_attn.o_proj"],
        "hook_resid_mid": theirs[prefix + "post_attention_layernorm in"],
        "mlp.hook_pre": theirs[prefix + "mlp.gate_proj"],
        "mlp.hook_pre_linear": theirs[prefix + "mlp.up_proj"],
        "mlp.hook_post": theirs[prefix + "mlp.down_proj in"],
        "hook_mlp_out": theirs[prefix + "mlp"],
        "hook_resid_post": theirs[prefix.removesuffix(".")],
    }
    for name, value in expected.items():
        _close(ours[name], value, name)
    _close(ours["ln1.hook_normalized"] * module.input_layernorm.weight, theirs[prefix + "input_layernorm"])
    _close(ours["ln2.hook_normalized"] * module.post_attention_layernorm.weight, theirs[prefix + "mlp in"])


def test_values_at_the_ends(everything: dict[str, Tensor], oracle: Oracle, tiny: Pair) -> None:
    assert torch.equal(everything["hook_tokens"], IDS)
    _close(everything["hook_embed"], oracle.seen["model.embed_tokens"])
    _close(everything["hook_embed_scaled"], everything["blocks.0.hook_resid_pre"])
    _close(everything["ln_final.hook_normalized"] * tiny.oracle.model.norm.weight, oracle.seen["model.norm"])
    _close(everything["hook_logits"], oracle.out.logits)
    _close(everything["hook_logits_final"], oracle.out.logits)
    for name, table in zip(
        ("cos", "sin"), tiny.oracle.model.rotary_emb(IDS.float(), torch.arange(11)[None]), strict=True
    ):
        _close(everything[f"rotary_emb.global.hook_{name}"], table[0])


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_invariants_of_a_layer(layer: int, everything: dict[str, Tensor]) -> None:
    at = {name: everything[f"blocks.{layer}.{name}"] for name in LAYER}
    assert torch.equal(at["hook_resid_pre"] + at["hook_attn_out"], at["hook_resid_mid"])
    assert torch.equal(at["hook_resid_mid"] + at["hook_mlp_out"], at["hook_resid_post"])
    _close(at["attn.hook_pattern"].sum(-1), torch.ones(2, 4, 11))
    masked = torch.ones(11, 11).triu(1).bool()
    assert (at["attn.hook_attn_scores"][..., masked] == float("-inf")).all()
    assert at["attn.hook_attn_scores"][..., ~masked].isfinite().all()
    assert (at["attn.hook_pattern"][..., masked] == 0).all()
    _close(at["attn.hook_attn_scores"].softmax(-1), at["attn.hook_pattern"])
    keys = at["attn.hook_rot_k"].repeat_interleave(2, dim=2)  # query head h reads key/value head h // 2
    scores = torch.einsum("bqhd,bkhd->bhqk", at["attn.hook_rot_q"], keys) * 8**-0.5
    _close(scores.masked_fill(masked, float("-inf")), at["attn.hook_attn_scores"])
    _close(at["attn.hook_result"].sum(2), at["hook_attn_out"])
    for norm, stream in (("ln1", "hook_resid_pre"), ("ln2", "hook_resid_mid")):
        scale = at[stream].pow(2).mean(-1, keepdim=True).add(1e-6).sqrt()
        _close(at[f"{norm}.hook_scale"], scale)
        _close(at[f"{norm}.hook_normalized"] * at[f"{norm}.hook_scale"], at[stream])


def test_looking_changes_nothing(tiny: Pair) -> None:
    """Points that form nothing extra leave the pass bit by bit as it was; lazy ones only change the kernel."""
    eager = [n for n in _forward_names(tiny) if not tiny.loaded.model.hook_points[n].lazy]
    plain = tiny.loaded.model(IDS)
    with tiny.loaded.model.hooks(dict.fromkeys(eager, _look)):
        assert torch.equal(tiny.loaded.model(IDS), plain)
    with tiny.loaded.model.hooks(dict.fromkeys(_forward_names(tiny), _look)):
        _close(tiny.loaded.model(IDS), plain)


# -- edits -----------------------------------------------------------------------------------------------------------


def _noise(like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(5))


def _edit(tensor: Tensor) -> Tensor:
    return tensor * 0.5 + _noise(tensor)


def _by_heads(n: int) -> Callable[[Tensor], Tensor]:
    return lambda flat: _edit(_heads(flat, n)).flatten(2)


EDITS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "hook_embed": ("model.embed_tokens", _edit),
    "hook_embed_scaled": ("model.embed_tokens", _edit),
    "blocks.0.hook_resid_pre": ("model.embed_tokens", _edit),
    "blocks.1.attn.hook_q": ("model.layers.1.self_attn.q_proj", _by_heads(4)),
    "blocks.1.attn.hook_k": ("model.layers.1.self_attn.k_proj", _by_heads(2)),
    "blocks.1.attn.hook_v": ("model.layers.1.self_attn.v_proj", _by_heads(2)),
    "blocks.1.hook_attn_out": ("model.layers.1.self_attn.o_proj", _edit),
    "blocks.1.mlp.hook_pre": ("model.layers.1.mlp.gate_proj", _edit),
    "blocks.1.mlp.hook_pre_linear": ("model.layers.1.mlp.up_proj", _edit),
    "blocks.1.hook_mlp_out": ("model.layers.1.mlp", _edit),
    "blocks.1.hook_resid_post": ("model.layers.1", _edit),
    "blocks.2.hook_resid_pre": ("model.layers.1", _edit),
    "hook_logits": ("lm_head", _edit),
    "hook_logits_final": ("lm_head", _edit),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_has_the_effect_it_has_in_transformers(name: str, tiny: Pair) -> None:
    module, edit = EDITS[name]
    plain = tiny.loaded.model(IDS)
    with tiny.loaded.model.hooks({name: lambda tensor, point: _edit(tensor)}):
        edited = tiny.loaded.model(IDS)
    assert (edited - plain).abs().max() > 0.1
    _close(edited, Oracle(tiny.oracle, {module: edit}).out.logits)


DOWNSTREAM = [
    "ln1.hook_scale",
    "ln1.hook_normalized",
    "attn.hook_rot_q",
    "attn.hook_rot_k",
    "kv.hook_k",
    "kv.hook_v",
    "attn.hook_attn_scores",
    "attn.hook_pattern",
    "attn.hook_z",
    "attn.hook_result",
    "hook_resid_mid",
    "ln2.hook_scale",
    "mlp.hook_post",
]


@pytest.mark.parametrize("name", DOWNSTREAM)
def test_a_replacement_goes_on_down_the_pass(name: str, tiny: Pair) -> None:
    """What comes before stays as it was, what comes after changes; doing it twice in a row applies both."""
    full, points = f"blocks.1.{name}", _forward_names(tiny)
    before, after = _seen(tiny, points), {}
    half = {full: lambda tensor, point: tensor * 0.5}
    with tiny.loaded.model.hooks(half):
        after = _seen(tiny, points)
    where = points.index(full)
    assert all(torch.equal(before[n], after[n]) for n in points[:where])
    assert torch.equal(after[full], before[full] * 0.5)
    assert not torch.allclose(after["hook_logits"], before["hook_logits"], atol=1e-3)
    with tiny.loaded.model.hooks(half), tiny.loaded.model.hooks(half):
        assert torch.equal(_seen(tiny, points[: where + 1])[full], before[full] * 0.25)


def test_an_ablated_head_writes_nothing(tiny: Pair) -> None:
    def ablate(tensor: Tensor, point: HookPoint) -> Tensor:
        tensor = tensor.clone()
        tensor[:, :, 2] = 0
        return tensor

    full = _seen(tiny, ["blocks.0.attn.hook_result", "blocks.0.hook_attn_out"])
    with tiny.loaded.model.hooks({"blocks.0.attn.hook_z": ablate}):
        without = _seen(tiny, ["blocks.0.hook_attn_out"])
    expected = full["blocks.0.hook_attn_out"] - full["blocks.0.attn.hook_result"][:, :, 2]
    _close(without["blocks.0.hook_attn_out"], expected)


def test_a_replacement_takes_the_type_of_what_it_replaces(tiny: Pair) -> None:
    with tiny.loaded.model.hooks({"blocks.1.hook_resid_mid": lambda tensor, point: tensor.double()}):
        assert tiny.loaded.model(IDS).dtype == torch.float32


# -- errors and detaching --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda tensor: tensor[:, :1], r"blocks.1.hook_resid_mid returned \[2, 1, 32\].*\[2, 11, 32\]"),
        (lambda tensor: tensor[0, 0, 0], "blocks.1.hook_resid_mid"),
        (lambda tensor: [1, 2], "returned list"),
        (lambda tensor: 0.0, "returned float"),
        (lambda tensor: np.zeros(tuple(tensor.shape)), "blocks.1.hook_resid_mid"),
    ],
)
def test_a_replacement_that_does_not_fit(tiny: Pair, wrong: Callable[[Tensor], Any], match: str) -> None:
    plain = tiny.loaded.model(IDS)
    hooks = {"blocks.1.hook_resid_mid": lambda tensor, point: wrong(tensor)}
    with pytest.raises(HookError, match=match), tiny.loaded.model.hooks(hooks):
        tiny.loaded.model(IDS)
    assert torch.equal(tiny.loaded.model(IDS), plain)


def test_an_unknown_name_attaches_nothing(tiny: Pair) -> None:
    known = tiny.loaded.model.points["hook_embed"]
    hooks = {"hook_embed": _look, "blocks.3.hook_resid_pre": _look}
    with pytest.raises(HookError, match=r"blocks\.3\.hook_resid_pre"), tiny.loaded.model.hooks(hooks):
        pass
    assert not known.active
    assert issubclass(HookError, EngineError)


def test_hooks_go_when_the_block_ends_and_when_it_raises(tiny: Pair) -> None:
    point = tiny.loaded.model.points["blocks.1.hook_resid_mid"]
    with tiny.loaded.model.hooks({point.name: _look}):
        assert point.active
    assert not point.active

    def fail(tensor: Tensor, point: HookPoint) -> None:
        raise ZeroDivisionError

    cache = KVCache(tiny.loaded.config)
    with pytest.raises(ZeroDivisionError), tiny.loaded.model.hooks({point.name: fail}):
        tiny.loaded.model(ONE, cache)
    assert not point.active
    assert cache.length == 0
    _close(tiny.loaded.model(ONE, cache), tiny.loaded.model(ONE))


def test_nested_hooks_run_in_the_order_they_came_and_leave_in_any(tiny: Pair) -> None:
    order: list[str] = []
    point = tiny.loaded.model.points["hook_embed"]
    outer = tiny.loaded.model.hooks({"hook_embed": lambda t, p: order.append("outer")})
    inner = tiny.loaded.model.hooks({"hook_embed": lambda t, p: order.append("inner")})
    outer.__enter__()
    inner.__enter__()
    tiny.loaded.model(IDS)
    outer.__exit__(None, None, None)
    tiny.loaded.model(IDS)
    inner.__exit__(None, None, None)
    tiny.loaded.model(IDS)
    assert order == ["outer", "inner", "inner"]
    assert not point.active


def test_one_function_may_listen_twice(tiny: Pair) -> None:
    point, calls = tiny.loaded.model.points["hook_embed"], []

    def count(tensor: Tensor, point: HookPoint) -> None:
        calls.append(point.name)

    first, second = point.listen(count), point.listen(count)
    tiny.loaded.model(IDS)
    first()
    tiny.loaded.model(IDS)
    second()
    tiny.loaded.model(IDS)
    assert calls == ["hook_embed"] * 3


# -- the sampler's points ----------------------------------------------------------------------------------------------


def test_sampler_points_fire_once_a_step_in_order(tiny: Pair) -> None:
    names = [name for name in tiny.loaded.model.hook_points if name.startswith("sampler.")]
    seen: list[tuple[str, Tensor]] = []
    session = engine.Session(tiny.loaded, engine.Sampling(temperature=0.7, top_k=20, top_p=0.9, seed=3))
    with tiny.loaded.model.hooks(dict.fromkeys(names, lambda tensor, point: seen.append((point.name, tensor.clone())))):
        steps = list(session.generate(ONE[0].tolist(), max_new_tokens=2))
    assert [name for name, _ in seen] == names * 2
    for (name, tensor), step in zip(seen, [step for step in steps for _ in names], strict=True):
        info = tiny.loaded.model.hook_points[name]
        assert list(tensor.shape) == ([96] if info.shape == ("d_vocab",) else [1])
        assert tensor.dtype == DTYPES[info.dtype]
        if name == "sampler.hook_token":
            assert tensor.item() == step.id
        if name == "sampler.hook_topk_mask":
            assert tensor.sum() == 20


def test_a_hook_may_choose_the_token(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    with tiny.loaded.model.hooks({"sampler.hook_token": lambda tensor, point: torch.tensor([55])}):
        assert [step.id for step in session.generate([5, 6], max_new_tokens=3)] == [55, 55, 55]
    assert session.output == [55, 55, 55]
