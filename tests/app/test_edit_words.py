"""Edits in words, and words read as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import edit_words as words
from engine.edits import Edit
from engine.errors import EngineError
from engine.frames import ModelFrame


def tr(text: str) -> str:
    return text


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> ModelFrame:
    import engine

    return engine.load(tiny_model, device="cpu").model_frame()


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("", ()), ("3", (3,)), ("0, 4-6", (0, 4, 5, 6)), (" 4–6;0 ", (4, 5, 6, 0)), ("2,2,1-3", (2, 1, 3)), (",", ())],
)
def test_numbers_are_read(text: str, numbers: tuple[int, ...]) -> None:
    assert words.read_numbers(text, "heads", tr) == numbers


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "6-4", "4-", "0-999999999", "9" * 40, "١", "1 2"])
def test_what_is_no_number_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(EngineError, match="heads"):
        words.read_numbers(text, "heads", tr)


@pytest.mark.parametrize(
    ("text", "span"), [("", None), ("5", (5, 6)), ("5-8", (5, 9)), ("5–", (5, None)), (" 0 - 0 ", (0, 1))]
)
def test_spans_are_read_and_written(text: str, span: tuple[int, int | None] | None) -> None:
    assert words.read_span(text, "positions", tr) == span
    assert words.read_span(words.span_text(span), "positions", tr) == span


@pytest.mark.parametrize("text", ["8-5", "-3", "a", "1-2-3", "1,2"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="positions"):
        words.read_span(text, "positions", tr)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("−2", -2.0), ("1,5", 1.5), ("1e-3", 1e-3)])
def test_values_are_read(text: str, value: float) -> None:
    assert words.read_number(text, "value", tr) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "half", "1e999"])
def test_what_is_no_finite_value_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="value"):
        words.read_number(text, "value", tr)


def test_ranges_are_short() -> None:
    assert words.ranges((6, 4, 5, 0, 9, 8)) == "0, 4–6, 8–9"
    assert words.ranges(()) == ""


@pytest.mark.parametrize(
    ("edit", "text", "scope"),
    [
        (
            Edit("zero", "attn.hook_z", layers=(3,), heads=(2,)),
            "layer 3 · head 2 · z: zero",
            "every position · every pass from now",
        ),
        (
            Edit("scale", "hook_resid_post", layers=(0, 1, 2), positions=(4, 7), value=-0.5, step=3),
            "layers 0–2 · resid_post: scale by −0.5",
            "positions 4–6 · only pass 3",
        ),
        (
            Edit("clamp", "mlp.hook_post", layers=(1,), entries=(17,), positions=(4, 5), high=2.0),
            "layer 1 · neuron 17: clamp to −∞ … 2",
            "position 4 · every pass from now",
        ),
        (
            Edit("knock out", words.SCORES, layers=(1,), heads=(0,), positions=(5, 6), keys=(0, 1)),
            "layer 1 · head 0 · query 5 → key 0–1: knocked out",
            "every pass from now",
        ),
        (
            Edit("add", "hook_resid_pre", layers=(1,), value=3.0, sources=(4, 2)),
            "layer 1 · resid_pre: add 3 × (position 4 − position 2)",
            "every position · every pass from now",
        ),
        (
            Edit("force", words.CHOICE, layers=(1,), entries=(4, 5)),
            "layer 1 · experts 4–5: forced",
            "every position · every pass from now",
        ),
        (Edit("ban", words.LOGITS, entries=(9,), name="no cats"), "no cats", "every position · every pass from now"),
        (
            Edit("bias", words.LOGITS, entries=(9,), value=2.0),
            "token 9: bias 2",
            "every position · every pass from now",
        ),
    ],
)
def test_an_edit_in_words(edit: Edit, text: str, scope: str) -> None:
    assert words.edit_text(edit, tr) == text
    assert words.scope_text(edit, tr) == scope


@pytest.mark.parametrize(
    ("values", "past"),
    [
        ({}, ""),
        ({"positions": (2, None)}, ""),
        ({"positions": (2, 5)}, ""),
        ({"positions": (2, 4)}, "read already"),
        ({"step": 1}, ""),
        ({"step": 0}, "that pass is over"),
    ],
)
def test_what_lies_behind_the_run_is_told(values: dict, past: str) -> None:
    """One pass has read four positions."""
    assert words.past_text(Edit("zero", "attn.hook_z", layers=(0,), **values), 4, 1, tr).startswith(past)
    assert words.past_text(Edit("zero", "attn.hook_z", layers=(0,), **values), 0, 0, tr) == ""


def test_every_point_of_a_target_passes_the_engines_own_check(model: ModelFrame, tiny_model: Path) -> None:
    """What the form offers is what the engine takes."""
    import engine
    from engine.edit_checks import check

    config = engine.load(tiny_model, device="cpu").model.config
    seen = set()
    for target in words.possible_targets(model):
        for point in words.points_of(target, model, 1):
            for kind in words.kinds_of(target, model, 1, point):
                layers = (1,) if words.in_layers(model, point) else ()
                made = Edit(
                    kind,
                    point,
                    layers=layers,
                    keys=(0,) if target.keys else (),
                    entries=(1,) if target.entries in ("tokens", "experts") else (),
                    sources=_sources(model, kind, point),
                    token=_token(model, kind, point),
                )
                check([made], config)
                seen.add(target.key)
    assert seen == {"heads", "stream", "neurons", "edge", "tokens", "point"}


def _sources(model: ModelFrame, kind: str, point: str) -> tuple[int, ...]:
    elsewhere = words.can_read_elsewhere(model, 1, point)
    return {"copy": (0,), "add": (1, 0) if elsewhere else ()}.get(kind, ())


def _token(model: ModelFrame, kind: str, point: str) -> int | None:
    return 3 if kind == "add" and not words.can_read_elsewhere(model, 1, point) else None


def test_what_the_engine_only_shows_is_not_offered(model: ModelFrame) -> None:
    offered = {name for target in words.possible_targets(model) for name in words.points_of(target, model, 0)}
    assert not {"kv.hook_append", "hook_tokens", "sampler.hook_probs", "sampler.hook_token"} & offered
    assert {"attn.hook_q", "ln1.hook_normalized", "hook_embed", "ln_final.hook_normalized"} <= offered


def test_a_model_without_experts_offers_none(model: ModelFrame) -> None:
    assert "experts" not in {target.key for target in words.possible_targets(model)}


def test_stages_lead_to_their_points(model: ModelFrame) -> None:
    found = {stage: words.point_at(model, 1, stage) for stage in model.layers[1].stages}
    assert found["mix"] == "attn.hook_z"
    assert found["add 2"] == "hook_resid_post"
    assert found["cache"] == "kv.hook_k"
    assert words.point_at(model, 1, "hook_resid_mid") == "hook_resid_mid"
    assert words.point_at(model, 1, "") == "hook_resid_post"
    assert words.point_at(model, None, "logits") == "hook_logits_final"
    assert words.point_at(model, None, "sampling") == "hook_logits_final"
    assert all(found.values())
