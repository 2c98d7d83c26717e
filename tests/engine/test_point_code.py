"""The code that is shown for each hook point, run: it gives what the pass gave, for every family and variant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attention_stages import StageRows
from engine.cache import KVCache
from engine.config import LatentAttentionSpec, ModelConfig
from engine.families import read_config
from engine.model.decoder import Decoder
from engine.model.mask import alibi_bias
from engine.model.rope import inverse_frequencies
from engine.point_code import SAMPLING_CODE
from engine.point_table import ANY_EXPERT, attention_stages, full_name, layer_points, outer_points
from engine.sampling import choose
from engine.sampling_draw import draw_number
from engine.sampling_stages import STAGES, Context
from engine.settings import Sampling
from engine.trace import Trace
from tests.engine.families.variants import VARIANTS

PREFILL = 40  # beyond windows, chunks and original contexts


def config_of(name: str) -> ModelConfig:
    return read_config({"model_type": VARIANTS[name].family, **VARIANTS[name].config})


def random_model(config: ModelConfig) -> Decoder:
    """Every parameter random: defaults of 0 and 1 would hide errors."""
    torch.manual_seed(3)
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.25)
    return model.eval().requires_grad_(False)


Passed = tuple[int, int, dict[str, Tensor], list[tuple[Tensor, ...]]]


def passes(model: Decoder) -> list[Passed]:
    """A prefill and a decode step: start, end, every point's tensor, what each layer had stored before."""
    return recorded_passes(model)[0]


def recorded_passes(model: Decoder) -> tuple[list[Passed], Trace, KVCache]:
    """The same, as a session records them."""
    config, seen = model.config, {}
    cache, trace = KVCache(config), Trace(config, torch.float32, torch.device("cpu"))
    detach = trace.attach(model.points)
    ids = torch.randint(3, config.d_vocab - 10, (1, PREFILL + 1), generator=torch.Generator().manual_seed(7))
    hooks = {name: lambda tensor, point: seen.__setitem__(point.name, tensor.clone()) for name in model.hook_points}
    made = []
    for start, end in ((0, PREFILL), (PREFILL, PREFILL + 1)):
        before = [tuple(part.clone() for part in cache.parts(layer)) for layer in range(config.n_layers)]
        seen.clear()
        trace.begin_pass(start, end)
        with model.hooks(hooks):
            model(ids[:, start:end], cache)
        trace.end_pass()
        made.append((start, end, dict(seen), before))
    for undo in detach:
        undo()
    return made, trace, cache


def close(found: Tensor, tensor: Tensor) -> bool:
    """Equal but for rounding, which follows the largest figures that were added up."""
    finite = tensor[torch.isfinite(tensor)] if tensor.is_floating_point() else tensor
    largest = float(finite.abs().max()) if finite.numel() else 1.0
    return torch.allclose(found, tensor, rtol=1e-4, atol=2e-5 * max(largest, 1.0))


def target_of(code: str) -> str:
    """The name that the last statement gives something to."""
    return code.splitlines()[-1].partition("=")[0].split("+")[0].split("[")[0].strip()


class Names(dict):
    """What the statements may use, as they have it after the points before."""

    def given(self, code: str, what: str) -> Tensor:
        """What statements give with these names, which they leave as they are."""
        inner = Names(self)
        with torch.inference_mode():
            exec(compile(code, what, "exec"), inner)
        return inner[target_of(code)]

    def take(self, code: str, tensor: Tensor, what: str) -> None:
        """Run the statements of a point; they must give its tensor, with which what follows goes on."""
        target = target_of(code)
        with torch.inference_mode():
            exec(compile(code, what, "exec"), self)
        found = self[target]
        assert found.shape == tensor.shape, (what, code, found.shape, tensor.shape)
        assert close(found.to(tensor.dtype), tensor), (what, code)
        self[target] = tensor


def outer_names(model: Decoder, tensors: dict[str, Tensor], start: int, end: int) -> Names:
    names = Names(torch=torch, F=F, input_ids=tensors["hook_tokens"], W_E=model.embed.weight, ln_final=model.ln_final)
    names["positions"] = torch.arange(start, end)
    names["W_U"] = model.embed.weight if model.unembed is None else model.unembed.weight
    if model.config.learned_positions:
        names["W_pos"] = model.pos_embed.weight
    return names


def attention_names(model: Decoder, layer: int, before: tuple[Tensor, ...], end: int) -> dict[str, Any]:
    spec, attn = model.config.layers[layer].attention, model.layers[layer].attn
    names: dict[str, Any] = {"W_O": attn.out.weight, "b_O": attn.out.bias}
    if isinstance(spec, LatentAttentionSpec):
        names |= {"W_UQ": attn.q.weight, "W_DKV": attn.kv_down.weight, "b_DKV": attn.kv_down.bias}
        names |= {"W_UK": attn.k_up, "W_UV": attn.v_up, "cached": before[0][:, 0]}
        if spec.d_q_latent is not None:
            names |= {"W_DQ": attn.q_down.weight, "b_DQ": attn.q_down.bias}
        kept = before[0].shape[2]
    else:
        sizes = [heads * spec.d_head for heads in (spec.n_heads, spec.n_kv_heads, spec.n_kv_heads)]
        biases = [None] * 3 if attn.qkv.bias is None else attn.qkv.bias.split(sizes)
        for which, weight, bias in zip("QKV", attn.qkv.weight.split(sizes), biases, strict=True):
            names |= {f"W_{which}": weight, f"b_{which}": bias}
        names |= {"cached_keys": before[0].transpose(1, 2), "cached_values": before[1].transpose(1, 2)}
        names |= {"sinks": attn.sinks}
        kept = before[0].shape[2]
        if spec.alibi:
            names["slopes"] = alibi_bias(spec.n_heads, 1, 1, torch.zeros(1).bfloat16())[:, 0, 0]
    parts = {"q_norm", "k_norm", "q_latent_norm", "kv_latent_norm"}
    names |= {part: getattr(attn, part) for part in parts if hasattr(attn, part)}
    names["kept"] = kept
    return names


def mlp_names(model: Decoder, layer: int) -> dict[str, Any]:
    block = model.layers[layer]
    mlp = block.mlp
    if hasattr(mlp, "router"):
        experts = mlp.experts
        gate, up = experts.gate_up.chunk(2, dim=1)
        biases = (None, None) if experts.gate_up_bias is None else experts.gate_up_bias.chunk(2, dim=1)
        names = {"W_gate": gate, "W_up": up, "W_down": experts.down, "b_gate": biases[0], "b_up": biases[1]}
        names |= {"b_down": experts.down_bias, "W_router": mlp.router.map.weight, "b_router": mlp.router.map.bias}
        names |= {"choice_bias": mlp.router.choice_bias, "expert": lambda e, rows: experts(rows, int(e))}
        names |= {"shared": getattr(mlp, "shared", None)}
        return names | ({"W_shared_gate": mlp.shared_gate.weight} if hasattr(mlp, "shared_gate") else {})
    if hasattr(mlp, "up"):
        return {"W_up": mlp.up.weight, "b_up": mlp.up.bias, "W_down": mlp.down.weight, "b_down": mlp.down.bias}
    gate, up = mlp.gate_up.weight.chunk(2)
    gate_bias, up_bias = (None, None) if mlp.gate_up.bias is None else mlp.gate_up.bias.chunk(2)
    names = {"W_gate": gate, "W_up": up, "b_gate": gate_bias, "b_up": up_bias}
    return names | {"W_down": mlp.down.weight, "b_down": mlp.down.bias}


def check_layer(model: Decoder, layer: int, names: Names, tensors: dict[str, Tensor], before: Any, end: int) -> None:
    block, spec = model.layers[layer], model.config.layers[layer]
    names.update(attention_names(model, layer, before, end), **mlp_names(model, layer))
    names.update({norm: getattr(block, norm) for norm in ("ln1", "ln2", "ln1_post", "ln2_post")})
    rope = spec.attention.rope
    if rope is not None:
        names.update({what: tensors[f"rotary_emb.{rope}.hook_{what}"] for what in ("cos", "sin")})
    new = len(names["positions"])
    names["key_positions"] = torch.arange(end - new - names["kept"], end)
    for point in layer_points(model.config, layer):
        what = full_name(layer, point.name)
        if point.kind == "event":
            compile(point.code, what, "exec")
        elif point.name.startswith(ANY_EXPERT):
            check_experts(names, layer, point.name, point.code, tensors)
        else:
            names.take(point.code, tensors[what], what)


def check_experts(names: Names, layer: int, point: str, code: str, tensors: dict[str, Tensor]) -> None:
    """The point of every expert that was chosen, each with the points before it as its own."""
    seen = 0
    for e in names["expert_indices"].unique().tolist():
        what = full_name(layer, point.replace("*", str(e)))
        inner = Names(names, e=e)
        for variable, leaf in (("gate", "hook_pre"), ("up", "hook_pre_linear"), ("post", "hook_post")):
            inner[variable] = tensors[full_name(layer, f"mlp.experts.{e}.{leaf}")]
        inner.take(code, tensors[what], what)
        seen += 1
    assert seen, "somebody chose an expert"


@pytest.mark.parametrize("name", VARIANTS)
def test_the_code_of_every_point_gives_what_the_pass_gave(name: str) -> None:
    model = random_model(config_of(name))
    config = model.config
    around, behind = outer_points(config)
    for start, end, tensors, before in passes(model):
        names = outer_names(model, tensors, start, end)
        for point in around:
            if point.name.startswith("rotary_emb."):
                rope = config.ropes[point.name.split(".")[1]]
                names["inverse_frequencies"] = inverse_frequencies(rope, end)
            names.take(point.code, tensors[point.name], point.name)
        for layer in range(config.n_layers):
            check_layer(model, layer, names, tensors, before[layer], end)
            names["x"] = names["resid_post"]
        for point in behind:
            if not point.name.startswith("sampler."):
                names.take(point.code, tensors[point.name], point.name)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_code_of_every_stage_of_attention_gives_what_its_map_shows(name: str) -> None:
    model = random_model(config_of(name))
    made, trace, cache = recorded_passes(model)
    for start, end, tensors, before in made:
        names = outer_names(model, tensors, start, end)
        names["x"] = tensors["hook_embed_scaled"]
        for layer in range(model.config.n_layers):
            check_layer(model, layer, names, tensors, before[layer], end)
            names["x"] = names["resid_post"]
            for stage in attention_stages(model.config, layer):
                reader = StageRows(model, trace, cache, layer, stage.stage)
                list(reader.prepare(start, end))
                shown = reader.rows(start, end)[None, ..., int(names["key_positions"][0]) :]
                found = names.given(stage.code, name)
                assert found.shape == shown.shape, (layer, stage)
                assert close(found.masked_fill(found.isinf(), 0.0), shown), (layer, stage)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_point_is_without_code_formula_or_meaning(name: str) -> None:
    config = config_of(name)
    points = [*sum(outer_points(config), ())]
    for layer in range(config.n_layers):
        points += layer_points(config, layer)
    assert all(point.code and point.formula and point.meaning for point in points), [
        point.name for point in points if not (point.code and point.formula and point.meaning)
    ]


# -- sampling ----------------------------------------------------------------------------------------------------

SETTINGS = Sampling(
    temperature=0.7,
    top_k=40,
    top_p=0.8,
    min_p=0.05,
    typical_p=0.9,
    repetition_penalty=1.3,
    presence_penalty=0.4,
    frequency_penalty=0.2,
    seed=11,
)
PROMPT, OUTPUT = [3, 5, 8], [5, 9, 9, 2]


def sampling_names(logits: Tensor) -> Names:
    settings = {name: getattr(SETTINGS, name) for name in Sampling.__dataclass_fields__}
    names = Names(torch=torch, prompt=PROMPT, output=OUTPUT, logits=logits.clone(), draw_number=draw_number)
    names.update(settings, position=21)
    return names


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_code_of_a_sampling_stage_does_what_the_stage_does(stage: Any) -> None:
    logits = torch.randn(200, generator=torch.Generator().manual_seed(5)) * 2
    names = sampling_names(logits)
    exec(SAMPLING_CODE[stage.name], names)
    expected = stage.apply(logits, Context(SETTINGS, PROMPT, OUTPUT))
    if stage.name == "greedy":
        assert bool(expected[names["token"]])
        assert int(expected.sum()) == 1
    elif stage.cuts:
        assert 0 < int(expected.sum()) < 200
        assert torch.equal(torch.isfinite(names["logits"]), expected)
    else:
        assert not torch.equal(expected, logits)
        assert torch.allclose(names["logits"], expected, atol=1e-6)


def test_the_code_of_the_sampler_points_gives_what_they_gave() -> None:
    logits = torch.randn(200, generator=torch.Generator().manual_seed(6)) * 2
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda tensor: seen.setdefault(name, tensor.clone())

    points = {
        name: keep(name)
        for name in (
            "hook_penalised", "hook_tempered", "hook_topk_mask", "hook_topp_mask", "hook_minp_mask",
            "hook_typicalp_mask", "hook_probs", "hook_token",
        )
    }  # fmt: skip
    choice = choose(logits, prompt=PROMPT, output=OUTPUT, position=21, settings=SETTINGS, points=points)
    assert choice.token_id() == int(seen["hook_token"])
    names = sampling_names(logits)
    sampler = [point for point in outer_points(config_of("llama-default"))[1] if point.name.startswith("sampler.")]
    assert [point.name.removeprefix("sampler.") for point in sampler] == list(points)
    for point in sampler:
        exec(point.code, names)
        told = seen[point.name.removeprefix("sampler.")]
        variable = {"bool": "keep", "int64": "token"}.get(point.dtype, "probs" if "probs" in point.name else "logits")
        assert np.allclose(np.asarray(names[variable]), told.numpy().squeeze(), atol=1e-6), point.name
        if variable == "keep":
            names["logits"] = names["logits"].masked_fill(~names["keep"], -torch.inf)
