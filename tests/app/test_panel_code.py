"""The PyTorch that every panel shows at the depth of code, run on real tensors: it gives what the panel shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import gguf
import numpy as np
import pytest
import torch
from torch import Tensor

import engine
from app.depth_texts import code_text, named_points, panel_text, read_texts
from app.panels import PANELS
from app.pass_words import stage_points
from engine import breakpoints
from engine import questions as ask
from engine.checkpoint.inventory import inventory
from engine.edits import Edit
from engine.frames import ModelFrame
from engine.gate import Gate
from engine.loading import Loaded
from engine.model.decoder import Decoder
from engine.point_table import ANY_EXPERT, full_name
from engine.sampling_draw import draw_number
from tests.app.test_pass_map import variant
from tests.engine.test_point_code import Names, check_layer, config_of, outer_names, random_model, target_of
from tests.real import FILE

KINDS = (
    "llama-default",  # two query heads to a KV head
    "deepseek_v3-default",  # latent attention, groups of experts
    "gemma2-default",  # scores and logits are capped, a window
    "falcon-rw",  # ALiBi
    "falcon-7b",  # one KV head, side by side with the MLP
    "llama4_text-default",  # queries grow, chunks
    "gpt_oss-default",  # sinks
    "qwen2_moe-default",  # shared experts
)
PROMPT = torch.randint(3, 40, (24,), generator=torch.Generator().manual_seed(2)).tolist()


@dataclass(frozen=True)
class Ran:
    """A prompt that was read: what the panels are told, and per layer the names that statements may use."""

    session: engine.Session
    frame: ModelFrame
    tensors: dict[str, Tensor]
    names: tuple[Names, ...]

    def code(self, panel: str, mode: str, layer: int) -> str:
        return panel_text(panel, mode, "code", self.frame, layer)

    def named(self, panel: str, mode: str, layer: int) -> Names:
        """The names after the statements that a panel shows."""
        inner = Names(self.names[layer])
        with torch.inference_mode():
            exec(compile(self.code(panel, mode, layer), panel, "exec"), inner)
        return inner


@pytest.fixture(scope="module", params=KINDS)
def ran(request: pytest.FixtureRequest) -> Ran:
    config = config_of(request.param)
    model = random_model(config)
    loaded = Loaded(config, None, model, "made", "", "", 1, 1, 0.0, torch.device("cpu"), torch.float32)
    session = engine.Session(loaded, engine.Sampling(temperature=1.0, seed=5))
    next(session.generate(PROMPT, 1))
    tensors = passed(model)
    return Ran(session, variant(request.param), tensors, tuple(names_of_layers(model, tensors)))


def passed(model: Decoder) -> dict[str, Tensor]:
    """What every point of a pass over the prompt has."""
    seen: dict[str, Tensor] = {}
    points = [name for name in model.hook_points if not name.startswith("sampler.")]
    with model.hooks({name: lambda tensor, point: seen.__setitem__(point.name, tensor.clone()) for name in points}):
        model(torch.tensor([PROMPT]), engine.KVCache(model.config))
    return seen


def names_of_layers(model: Decoder, tensors: dict[str, Tensor]) -> Iterator[Names]:
    """What statements may use after a layer; ``x`` is what entered it."""
    names, nothing = outer_names(model, tensors, 0, len(PROMPT)), engine.KVCache(model.config)
    for layer in range(model.config.n_layers):
        names["x"] = names["resid_post"] if layer else tensors["hook_embed_scaled"]
        check_layer(model, layer, names, tensors, tuple(nothing.parts(layer)), len(PROMPT))
        yield Names(names, x=names["resid_pre"])


def close(found: Any, shown: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(shown), rtol=2e-4, atol=2e-4)


def layers(ran: Ran) -> range:
    return range(ran.frame.n_layers)


@pytest.mark.parametrize("stage", get_args(ask.AttentionStage))
def test_the_attention_panel(ran: Ran, stage: Any) -> None:
    """Of every head the map."""
    for layer in layers(ran):
        code = ran.code("attention", stage, layer)
        found = ran.named("attention", stage, layer)[target_of(code)][0]
        for head in range(ran.frame.layers[layer].n_heads):
            shown = ran.session.answer(ask.AskAttentionMap(layer, head, len(PROMPT), stage)).map
            close(found[head].masked_fill(found[head].isinf(), 0.0), shown)


def test_the_panels_that_show_points(ran: Ran) -> None:
    """What their points are, and the statements of every stage of the pass together."""
    checked = set()
    for row in read_texts().panels:
        for layer in layers(ran) if row.points and row.panel not in ("sampling", "lens") else ():
            told = named_points(ran.frame, layer, row.points)
            names = ran.named(row.panel, row.mode, layer) if told else Names()
            for point in told:
                close(names[target_of(point.code)], ran.tensors[full_name(layer, point.name)])
                checked.add(row.panel)
    assert {"layers", "cache"} <= checked


def test_the_statements_of_every_stage_of_the_pass(ran: Ran) -> None:
    for layer in layers(ran):
        for stage in ran.frame.layers[layer].stages:
            told = [point for point in stage_points(ran.frame.layers[layer].points, stage) if point.kind != "event"]
            told = [point for point in told if not point.name.startswith(ANY_EXPERT)]
            names = Names(ran.names[layer])
            with torch.inference_mode():
                exec(compile(code_text(told), stage, "exec"), names)
            for point in told:
                close(names[target_of(point.code)], ran.tensors[full_name(layer, point.name)])


def test_the_lens_panel(ran: Ran) -> None:
    """Behind every layer, of the last position."""
    column = ran.session.answer(ask.AskLensColumn(len(PROMPT) - 1, 5))
    for layer in layers(ran):
        logits = ran.named("lens", "", layer)["logits_final"][0, -1]
        close(logits.topk(5).values, column.logits[layer + 1])


def test_the_residual_panel(ran: Ran) -> None:
    shown = ran.session.answer(ask.AskResidualNorms(len(PROMPT)))
    for layer in layers(ran):
        stream, attention, mlp = ran.named("residual", "", layer)["norms"]
        close(stream[0], shown.norms[layer])
        close(attention[0], shown.delta_attention[layer])
        close(mlp[0], shown.delta_mlp[layer])


def test_the_token_strip(ran: Ran) -> None:
    shown = ran.session.answer(ask.AskSurprise(0, len(PROMPT))).surprise
    names = Names(ran.names[-1], logits_final=ran.tensors["hook_logits_final"], tokens=ran.tensors["hook_tokens"])
    for p in range(1, len(PROMPT)):
        names["p"] = p
        exec(ran.code("strip", "", 0), names)
        close(names["surprise"], shown[p])


def test_the_sampling_panel(ran: Ran) -> None:
    """With nothing cut, the token that the run chose."""
    logits, position = ran.tensors["hook_logits_final"][0, -1], len(PROMPT)
    names = Names(torch=torch, logits=logits, seed=ran.session.sampling.seed, position=position)
    names["draw_number"] = draw_number
    exec(ran.code("sampling", "", 0), names)
    assert int(names["token"]) == ran.session.output[0]


def test_the_edits_panel(ran: Ran) -> None:
    """Half of an edit that sets to zero, by the engine and by the statement."""
    model, point, strength = ran.session.loaded.model, full_name(0, "hook_attn_out"), 0.5
    edited = engine.Session(ran.session.loaded)
    edited.set_edits([Edit("zero", "hook_attn_out", layers=(0,), strength=strength)])
    kept: list[Tensor] = []
    with model.hooks({"hook_logits": lambda tensor, _: kept.append(tensor[0, -1].clone())}):
        next(edited.generate(PROMPT, 1))
        names = Names(model=model, point=point, strength=strength, edited=torch.zeros_like, ids=torch.tensor([PROMPT]))
        names["cache"] = engine.KVCache(model.config)
        exec(ran.code("edits", "", 0), names)
    close(kept[1], kept[0])
    with pytest.raises(AssertionError):
        close(kept[1], ran.tensors["hook_logits"][0, -1])


def test_the_branches_panel(ran: Ran) -> None:
    session = engine.Session(ran.session.loaded)
    list(session.generate(PROMPT, 3))
    names = Names(session=session, position=len(PROMPT) + 1, token=7)
    exec(ran.code("branches", "", 0), names)
    assert (session.output[1:], session.branch_number) == ([7], 1)


def test_the_breakpoints_panel(ran: Ran) -> None:
    gate = Gate()
    exec(ran.code("breakpoints", "", 0), {"gate": gate, **vars(breakpoints)})
    gate.work_off()
    assert gate.hits == {1: 0}


def test_the_tensors_panel_and_the_models_panel(
    smollm2_gguf: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes in files of both formats; the statement opens the file that it names."""
    code = panel_text("tensors", "", "code", None, 0)
    for source in (smollm2_gguf, tiny_model):
        for entry in inventory(source).entries:
            names: dict[str, Any] = {"weight": torch.empty(entry.shape, device="meta"), "bits": bits(entry.dtype)}
            exec(code, names)
            assert names["size"] == entry.size
    monkeypatch.chdir(smollm2_gguf.parent)
    opened: dict[str, Any] = {"engine": engine}
    exec(panel_text("models", "", "code", None, 0), opened)
    assert opened["loaded"].config.n_layers == 30


def bits(dtype: str) -> float:
    """Of one number of a type, by the format's own table."""
    numbers, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[dtype]]
    return 8 * size / numbers


def test_no_panel_is_left_out() -> None:
    """Each that has code is run above."""
    run = {"attention", "strip", "residual", "lens", "sampling", "edits", "branches"}
    run |= {"breakpoints", "tensors", "models"}
    with_points = {row.panel for row in read_texts().panels if row.points}
    silent = {"activations", "glossary", "notes"}
    assert {panel.key for panel in PANELS} == run | with_points | silent
    assert FILE in panel_text("models", "", "code", None, 0)
