"""What is told at each depth: nothing is missing for any family, and the files are checked when they are read."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import resources
from app.depth import DEPTHS, USUAL, depth_names, following, known
from app.depth_texts import (
    PANELS,
    SAMPLING,
    STAGES,
    code_text,
    formulas_text,
    panel_term,
    panel_text,
    read_texts,
    sampling_term,
    sampling_text,
    stage_term,
    story_of,
)
from app.glossary import FILE, glossary
from app.panels import PANELS as ALL_PANELS
from app.pass_words import stage_points
from app.term_rows import TextsError
from app.widgets.pass_rows import AFTER, BEFORE, TOKEN
from engine.point_table import of_any_expert
from engine.questions import AttentionStage
from engine.sampling_stages import STAGES as SAMPLING_STAGES
from tests.app.test_pass_map import variant
from tests.engine.families.variants import VARIANTS

SILENT = ("glossary", "notes")  # panels that explain, or hold, what people write


def test_the_depths_follow_each_other_in_a_ring() -> None:
    assert DEPTHS == ("story", "numbers", "formula", "code")
    assert [following(depth) for depth in DEPTHS] == ["numbers", "formula", "code", "story"]
    assert known("code") == "code"
    assert known("deep") == known("") == USUAL == "numbers"
    assert list(depth_names(str)) == list(DEPTHS)


# -- stages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_every_stage_of_every_family_has_all_depths(name: str) -> None:
    model = variant(name)
    around = (*model.points_before, *model.points_behind)
    places = [(None, stage, around) for stage in (*BEFORE, *AFTER)]
    for layer, facts in enumerate(model.layers):
        places += [(layer, stage, facts.points) for stage in facts.stages]
        assert story_of(model, layer, "")
    for layer, stage, points in places:
        told = stage_points(points, stage)
        assert story_of(model, layer, stage), (layer, stage)
        assert stage_term(model, layer, stage) in glossary().terms
        assert formulas_text(told, str), (layer, stage)
        assert ast.parse(code_text(told)).body, (layer, stage)
    assert story_of(model, None, TOKEN)


def test_stories_know_how_a_layer_is_built() -> None:
    parallel, usual = variant("gpt_neox-parallel"), variant("llama-default")
    assert "side by side" in story_of(parallel, 0, "")
    assert "side by side" not in story_of(usual, 0, "")
    assert "as it entered the layer" in story_of(parallel, 0, "norm 2")
    assert "together" in story_of(parallel, 0, "add 2")
    assert "before attention reads" in story_of(parallel, 0, "norm 1"), "the MLP has a norm of its own"
    assert "attention and the MLP read" in story_of(variant("falcon-7b"), 0, "norm 1"), "one norm feeds both"
    assert "at a common size" in story_of(variant("gemma2-default"), 0, "attention out")
    assert "at a common size" not in story_of(usual, 0, "attention out")
    latent = variant("deepseek_v3-default")
    assert "turned key" in story_of(latent, 0, "cache")
    assert "keys and values" in story_of(usual, 0, "cache")
    assert "experts" in story_of(variant("mixtral-default"), 0, "norm 2")
    assert story_of(variant("mixtral-default"), 0, "add 2").startswith("What the experts have found")
    assert story_of(usual, 0, "add 2").startswith("What the MLP has found")
    assert stage_term(usual, 0, "rope") == "rope"
    assert story_of(usual, 0, "no such stage") == ""


def test_stories_say_where_the_position_comes_in() -> None:
    def told(name: str) -> list[str]:
        return [story_of(variant(name), None, "embed"), story_of(variant(name), 0, "scores")]

    usual = told("llama-default")
    learned, alibi = told("gpt2-default"), told("falcon-rw")
    assert "for the token's position" in learned[0]
    assert learned[1] == usual[1]
    assert "the farther back a key is, the lower its score" in alibi[1]
    assert alibi[0] == usual[0]
    assert "position" not in usual[0]
    assert "lower" not in usual[1]
    assert stage_term(variant("falcon-rw"), 0, "scores") == "alibi"


def test_statements_that_several_points_begin_with_are_told_once() -> None:
    model = variant("llama-default")
    told = code_text(stage_points(model.layers[0].points, "q k v"))
    assert told.count("x = ln1_hat * ln1.weight") == 1
    assert [line.split(" =")[0] for line in told.splitlines()] == ["x", "q", "k", "v"]


# -- panels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama-default", "gpt_neox-parallel", "mixtral-default", "deepseek_v3-default"])
def test_every_panel_has_all_depths(name: str) -> None:
    model = variant(name)
    layer = model.n_layers - 1
    experts = "experts" if model.layers[layer].n_experts else "neurons"
    modes = {"experts": [experts], "strip": ["", *(["experts"] if experts == "experts" else [])]}
    modes["attention"] = list(AttentionStage.__args__)
    for panel in ALL_PANELS:
        for mode in modes.get(panel.key, [""]) if panel.key not in SILENT else ():
            assert panel_text(panel.key, mode, "story", model, layer), panel.key
            assert panel_text(panel.key, mode, "numbers", model, layer) == ""
            assert panel_term(panel.key, mode) in glossary().terms
            if panel.key == "activations":  # its own view tells the formula and the code of the picked point
                continue
            assert panel_text(panel.key, mode, "formula", model, layer), (panel.key, mode)
            assert ast.parse(panel_text(panel.key, mode, "code", model, layer)).body, (panel.key, mode)


def test_formulas_and_code_of_a_panel_are_those_of_the_layer() -> None:
    capped, plain = variant("gemma2-default"), variant("llama-default")
    assert "tanh" in panel_text("attention", "pattern", "code", capped, 0)
    assert "tanh" not in panel_text("attention", "pattern", "code", plain, 0)
    assert "tanh" in panel_text("attention", "pattern", "formula", capped, 0)
    latent = panel_text("cache", "", "code", variant("deepseek_v3-default"), 0)
    assert latent.startswith("stored = ")
    assert "stored" not in panel_text("cache", "", "code", plain, 0)


def test_the_formulas_of_attention_s_stages_are_those_of_the_layer() -> None:
    def told(name: str, stage: str, layer: int = 0) -> str:
        return panel_text("attention", stage, "formula", variant(name), layer)

    assert told("llama-default", "contribution") == "‖a[h, p, j] · v[⌊h / 2⌋, j]‖ = a[h, p, j] · ‖v[⌊h / 2⌋, j]‖"
    assert "‖v[j]‖" in told("falcon-7b", "contribution"), "all heads read one KV head"
    assert "‖v[h, j]‖" in told("gpt2-default", "contribution")
    assert told("llama-default", "masked").endswith("s[p, j] = −∞,  j > p")
    assert told("gemma2-default", "masked").endswith("j > p ∨ j ≤ p − 12")
    assert told("gemma2-default", "scaled") == "s[p, j] = 3 · tanh((q[p] · k[j]) · scale / 3)"
    assert "⌊j / 16⌋ ≠ ⌊p / 16⌋" in told("llama4_text-default", "masked")
    assert "slope[h] · j" in told("falcon-rw", "scaled")


def test_the_formulas_of_the_router_can_be_read_in_a_row() -> None:
    def told(name: str) -> list[str]:
        model = variant(name)
        return panel_text("experts", "experts", "formula", model, model.n_layers - 1).splitlines()

    assert told("mixtral-default") == ["ℓ = W_router x", "s = softmax(ℓ)", "r = s", "E = top-3 r", "w = s[E] / Σ s[E]"]
    chosen_by_logits = told("gpt_oss-default")
    assert chosen_by_logits[2:] == ["r = ℓ", "E = top-3 r", "w = softmax(ℓ[E])"]
    biased = told("deepseek_v3-default")
    assert biased[1:3] == ["s = σ(ℓ)", "r = s + b, but −∞ outside the best 2 of 4 groups"]
    assert biased[-1] == "w = 1.7 · s[E] / (Σ s[E] + ε)"


@pytest.mark.parametrize("name", VARIANTS)
def test_every_formula_that_a_panel_shows_says_what_it_gives(name: str) -> None:
    model = variant(name)
    for row in read_texts().panels:
        for layer in range(model.n_layers):
            for line in panel_text(row.panel, row.mode, "formula", model, layer).splitlines() if row.points else ():
                assert " = " in line or line == row.formula, (row.panel, line)


def test_without_a_model_a_panel_still_has_its_story() -> None:
    assert panel_text("attention", "pattern", "story", None, 0)
    assert panel_text("attention", "pattern", "code", None, 0) == ""
    assert panel_text("tensors", "", "code", None, 0)
    assert panel_text("no such panel", "", "story", None, 0) == ""


def test_every_point_that_a_panel_names_exists_in_some_family() -> None:
    known_points = set()
    for name in VARIANTS:
        model = variant(name)
        known_points |= {point.name for point in (*model.points_before, *model.points_behind)}
        known_points |= {of_any_expert(point.name) for layer in model.layers for point in layer.points}
    named = {point for row in read_texts().panels for point in row.points}
    assert named <= known_points


# -- sampling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [stage.name for stage in SAMPLING_STAGES])
def test_every_stage_of_sampling_has_all_depths(stage: str) -> None:
    told = {depth: sampling_text(stage, depth) for depth in DEPTHS}
    assert all(told.values())
    assert told["story"] == told["numbers"]
    assert len({told["story"], told["formula"], told["code"]}) == 3
    ast.parse(told["code"])
    assert sampling_term(stage) in glossary().terms


# -- damaged files -------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the data files, which may be damaged."""
    for name in (STAGES, PANELS, SAMPLING, FILE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(resources.path(name).read_bytes())
    monkeypatch.setattr(resources, "path", lambda name: tmp_path / name)
    glossary.cache_clear()
    yield tmp_path
    glossary.cache_clear()


def change(file: Path, **fields: Any) -> None:
    rows = json.loads(file.read_text())
    rows[0].update(fields)
    file.write_text(json.dumps(rows))


def test_the_files_as_they_are_can_be_read(files: Path) -> None:
    assert len(read_texts().stages) > 25


@pytest.mark.parametrize("name", [STAGES, PANELS, SAMPLING])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"[3]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_list_is_refused_with_a_sentence(files: Path, name: str, content: bytes) -> None:
    (files / name).write_bytes(content)
    with pytest.raises(TextsError, match=f"resources/{name} .* install Fluoroscope again"):
        read_texts()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"story": ""}, "story of"),
        ({"story": 3}, "story of"),
        ({"story": "x" * 100_000}, "story of"),
        ({"points": "attn.hook_z"}, "points of"),
        ({"points": [1]}, "points of"),
        ({"term": "nonsense"}, "'nonsense' is not in the glossary"),
    ],
)
def test_a_field_that_makes_no_sense_is_named(files: Path, fields: dict[str, Any], why: str) -> None:
    change(files / PANELS, **fields)
    with pytest.raises(TextsError, match=why):
        read_texts()


def test_a_missing_file_is_told(files: Path) -> None:
    (files / STAGES).unlink()
    with pytest.raises(TextsError, match="cannot be read"):
        read_texts()
