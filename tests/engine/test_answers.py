"""Every answer against transformers: after prefill, after decode, and inside a pass that has stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

import engine
from engine import questions as ask
from engine.errors import EngineError
from engine.frames import AttentionGrid, CacheVectors, ResidualNorms
from tests.engine.conftest import Pair
from tests.engine.run_files import questions
from tests.engine.runner import Run

N_PROMPT, N_NEW = 300, 30  # two of the record's buffers of 128 and a part of the third
PROMPT = torch.randint(3, 96, (N_PROMPT,), generator=torch.Generator().manual_seed(4)).tolist()
N = N_PROMPT + N_NEW - 1  # positions read: the newest token has not been


@dataclass(frozen=True)
class Truth:
    """What transformers holds of the same ids, as numpy: patterns, stream, what was added, keys, values."""

    patterns: np.ndarray  # [layer, head, query, key]
    stream: np.ndarray  # [boundary, position, d_model]
    attention: np.ndarray  # [layer, position, d_model]
    mlp: np.ndarray
    keys: np.ndarray  # [layer, kv_head, position, d_head]
    values: np.ndarray


def _keeper(kept: list[torch.Tensor]) -> Any:
    """A forward hook that keeps the output ``[pos, d_model]`` of a batch of one."""
    return lambda module, inputs, output: kept.append(
        (output[0] if isinstance(output, tuple) else output).flatten(0, -2)
    )


def truth_of(pair: Pair, ids: list[int]) -> Truth:
    added: dict[str, list[torch.Tensor]] = {"o_proj": [], "mlp": [], "layer": []}
    handles = []
    for layer in pair.oracle.model.layers:
        for name, module in (("o_proj", layer.self_attn.o_proj), ("mlp", layer.mlp), ("layer", layer)):
            handles.append(module.register_forward_hook(_keeper(added[name])))
    with torch.inference_mode():
        out = pair.oracle(torch.tensor([ids]), output_attentions=True, output_hidden_states=True, use_cache=True)
    for handle in handles:
        handle.remove()
    stream = torch.stack([out.hidden_states[0][0], *added["layer"]])  # their last hidden state is normed
    cached = out.past_key_values.layers
    return Truth(
        torch.stack(out.attentions)[:, 0].numpy(),
        stream.numpy(),
        torch.stack(added["o_proj"]).numpy(),
        torch.stack(added["mlp"]).numpy(),
        torch.stack([layer.keys[0] for layer in cached]).numpy(),
        torch.stack([layer.values[0] for layer in cached]).numpy(),
    )


@pytest.fixture(scope="module")
def session(tiny: Pair) -> engine.Session:
    """A run of 300 positions read at once and 29 one by one, with one layer's maps watched from the start."""
    session = engine.Session(tiny.loaded)
    for step in session.generate(PROMPT, N_NEW):
        if step.index < 5:
            session.answer(ask.AskAttentionGrid(1, most=1024))
            session.answer(ask.AskAttentionGrid(2, most=64))
    return session


@pytest.fixture(scope="module")
def truth(tiny: Pair, session: engine.Session) -> Truth:
    return truth_of(tiny, (session.prompt + session.output)[:N])


def _close(ours: Any, theirs: Any, atol: float = 2e-5) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=atol)


def _pooled(values: np.ndarray, block: int, axes: tuple[int, ...]) -> np.ndarray:
    """Maximum over blocks along the axes; the last block of an axis may be a part of one."""
    for axis in axes:
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], block), axis=axis)
    return values


# -- attention -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_attention_of_all_heads(session: engine.Session, truth: Truth, layer: int) -> None:
    answer = session.answer(ask.AskAttentionGrid(layer, most=1024))
    assert (answer.layer, answer.n, answer.n_total, answer.block) == (layer, N, N, 1)
    assert answer.maps.dtype == np.float32
    _close(answer.maps, truth.patterns[layer], atol=1e-5)
    assert answer.source == ("captured + recomputed" if layer == 1 else "recomputed")


@pytest.mark.parametrize(("most", "block"), [(329, 1), (328, 2), (128, 4), (64, 8), (63, 8), (8, 64)])
def test_a_reduced_map_is_the_maximum_of_its_squares(
    session: engine.Session, truth: Truth, most: int, block: int
) -> None:
    answer = session.answer(ask.AskAttentionGrid(2, most=most))
    assert answer.block == block
    assert answer.maps.shape[1] <= most
    _close(answer.maps, _pooled(truth.patterns[2], block, (1, 2)), atol=1e-5)
    one = session.answer(ask.AskAttentionMap(2, 3, most=most))
    assert (one.layer, one.head, one.n, one.block) == (2, 3, N, block)
    np.testing.assert_allclose(one.map, answer.maps[3], rtol=0, atol=1e-6)  # of one head: other shapes, other rounding


@pytest.mark.parametrize("position", [0, 1, 127, 128, 255, 256, N_PROMPT - 1, N_PROMPT, N - 1, None])
def test_an_attention_row(session: engine.Session, truth: Truth, position: int | None) -> None:
    for layer in range(3):
        answer = session.answer(ask.AskAttentionRow(layer, position))
        at = N - 1 if position is None else position
        assert (answer.position, answer.rows.shape) == (at, (4, at + 1))
        _close(answer.rows, truth.patterns[layer][:, at, : at + 1], atol=1e-5)


def test_the_newest_row_of_a_watched_layer_is_the_one_of_the_pass(tiny: Pair) -> None:
    session, rows = engine.Session(tiny.loaded), []
    keep = {"blocks.1.attn.hook_pattern": lambda tensor, point: rows.append(tensor[0, :, 0].clone())}
    for step in session.generate(PROMPT[:20], 6):
        answer = session.answer(ask.AskAttentionRow(1, None))
        if step.index >= 2:
            assert answer.source == "captured"
            np.testing.assert_array_equal(answer.rows, rows[-1].numpy())
        session.answer(ask.AskAttentionGrid(1))
        if step.index == 1:
            hooked = tiny.loaded.model.hooks(keep)
            hooked.__enter__()
    hooked.__exit__(None, None, None)
    assert len(rows) == 4


def test_recomputed_equals_what_the_pass_computed(tiny: Pair) -> None:
    """The same stage functions from the recorded stream: bit-equal to the pattern of a prefill that formed it."""
    seen = {}
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]
    session = engine.Session(tiny.loaded)
    with tiny.loaded.model.hooks(dict.fromkeys(names, lambda tensor, point: seen.update({point.layer: tensor[0]}))):
        next(session.generate(PROMPT[:60], 1))
    for layer in range(3):
        answer = session.answer(ask.AskAttentionGrid(layer))
        np.testing.assert_allclose(answer.maps, seen[layer].numpy(), rtol=0, atol=1e-6)


def test_watching_more_layers_than_are_kept_changes_no_answer(session: engine.Session, truth: Truth) -> None:
    for most in (16, 1024, 32):
        for layer in range(3):
            answer = session.answer(ask.AskAttentionGrid(layer, most=most))
            _close(answer.maps, _pooled(truth.patterns[layer], answer.block, (1, 2)), atol=1e-5)


# -- residual stream -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1024, 329, 100, 7, 1])
def test_residual_norms(session: engine.Session, truth: Truth, most: int) -> None:
    answer = session.answer(ask.AskResidualNorms(most=most))
    assert (answer.n, answer.block) == (N, -(-N // most))
    assert answer.norms.shape[1] <= most
    _close(answer.norms, _pooled(np.linalg.norm(truth.stream, axis=-1), answer.block, (1,)))
    _close(answer.delta_attention, _pooled(np.linalg.norm(truth.attention, axis=-1), answer.block, (1,)))
    _close(answer.delta_mlp, _pooled(np.linalg.norm(truth.mlp, axis=-1), answer.block, (1,)))
    assert (answer.reach.tolist(), answer.reach_mlp.tolist()) == ([N] * 4, [N] * 3)


@pytest.mark.parametrize("position", [0, 127, 128, N_PROMPT, None])
@pytest.mark.parametrize(("most", "block"), [(1024, 1), (32, 1), (16, 2), (5, 7), (1, 32)])
def test_residual_vectors(session: engine.Session, truth: Truth, position: int | None, most: int, block: int) -> None:
    answer = session.answer(ask.AskResidualVectors(position, most=most))
    full = truth.stream[:, N - 1 if position is None else position]
    assert (answer.block, answer.rows_total, answer.position) == (block, 4, N - 1 if position is None else position)
    for column in range(answer.vectors.shape[1]):
        part = full[:, column * block : (column + 1) * block]
        largest = np.take_along_axis(part, np.abs(part).argmax(1)[:, None], 1)[:, 0]
        _close(answer.vectors[:, column], largest)
    assert answer.vectors.shape == (4, -(-32 // block))


# -- cache -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 128, N_PROMPT, None])
def test_cache_vectors(session: engine.Session, truth: Truth, position: int | None) -> None:
    at = N - 1 if position is None else position
    for layer in range(3):
        answer = session.answer(ask.AskCacheVectors(layer, position))
        assert (answer.layer, answer.position) == (layer, at)
        _close(answer.keys, truth.keys[layer, :, at])
        _close(answer.values, truth.values[layer, :, at])


def test_cache_state(session: engine.Session) -> None:
    answer = session.answer(ask.AskCacheState())
    per_token = 2 * 2 * 8 * 4 * 3
    assert (answer.lengths.tolist(), answer.committed, answer.n_prompt) == ([N] * 3, N, N_PROMPT)
    assert (answer.bytes_per_token, answer.bytes_now) == (per_token, N * per_token)
    assert answer.bytes_allocated >= answer.bytes_now
    assert answer.growth.tolist() == [[n, n * per_token] for n in range(N_PROMPT, N + 1)]


# -- one exact figure ------------------------------------------------------------------------------------------------

QUANTITIES = {
    "pattern": (3, 4, N, N),
    "residual": (4, N, 32),
    "residual_norm": (4, N),
    "delta_attention_norm": (3, N),
    "delta_mlp_norm": (3, N),
    "key": (3, 2, N, 8),
    "value": (3, 2, N, 8),
}


def _full(truth: Truth, quantity: str) -> np.ndarray:
    return {
        "pattern": truth.patterns,
        "residual": truth.stream,
        "residual_norm": np.linalg.norm(truth.stream, axis=-1),
        "delta_attention_norm": np.linalg.norm(truth.attention, axis=-1),
        "delta_mlp_norm": np.linalg.norm(truth.mlp, axis=-1),
        "key": truth.keys,
        "value": truth.values,
    }[quantity]


@pytest.mark.parametrize("quantity", QUANTITIES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_an_exact_figure(session: engine.Session, truth: Truth, quantity: Any, data: some.DataObject) -> None:
    index = tuple(data.draw(some.integers(0, size - 1)) for size in QUANTITIES[quantity])
    answer = session.answer(ask.AskExactValue(quantity, index))
    assert (answer.quantity, answer.index) == (quantity, index)
    if quantity == "pattern" and index[3] > index[2]:
        assert answer.value is None  # masked: there is no such figure
    else:
        assert answer.value == pytest.approx(float(_full(truth, quantity)[index]), rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_what_is_not_there_has_no_figure(session: engine.Session, quantity: Any) -> None:
    """One past the end along each axis, and below zero, where Python would count from the end."""
    inside = tuple(0 for _ in QUANTITIES[quantity])
    assert session.answer(ask.AskExactValue(quantity, inside)).value is not None
    for axis, size in enumerate(QUANTITIES[quantity]):
        for wrong in (size, -1):
            index = (*inside[:axis], wrong, *inside[axis + 1 :])
            assert session.answer(ask.AskExactValue(quantity, index)).value is None, index


# -- inside a pass ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("armed", "prefill"), [("layer", True), ("token", False)])
def test_a_stop_inside_a_layer(tiny: Pair, armed: Any, prefill: bool) -> None:
    """Stopped after softmax of layer 1: layer 0 is there whole, layer 1 up to its pattern, layer 2 not at all."""
    prompt = PROMPT[:140]
    with Run(tiny.loaded, prompt, 4, arm=lambda gate: gate.step(armed)) as run:
        run.stopped()
        before, now = (0, 140) if prefill else (140, 141)
        while (where := run.step("stage")).stage != "softmax" or where.layer != 1:
            pass
        assert (where.start, where.end) == (before, now)
        truth = truth_of(tiny, (run.session.prompt + run.session.output)[:now])
        answer = lambda question: run.gate.ask(question).result(timeout=30)  # noqa: E731

        norms: ResidualNorms = answer(ask.AskResidualNorms())
        assert norms.n == now
        assert norms.reach.tolist() == [now, now, before, before]
        assert norms.reach_attention.tolist() == norms.reach_mlp.tolist() == [now, before, before]
        _close(norms.norms[:2], np.linalg.norm(truth.stream[:2], axis=-1))
        assert (norms.norms[2:, before:] == 0).all()

        grids: list[AttentionGrid] = [answer(ask.AskAttentionGrid(layer, most=256)) for layer in range(3)]
        assert [(grid.n, grid.n_total) for grid in grids] == [(now, now), (now, now), (before, now)]
        _close(grids[1].maps, truth.patterns[1], atol=1e-5)
        _close(grids[2].maps, truth.patterns[2][:, :before, :before], atol=1e-5)
        assert answer(ask.AskAttentionRow(2, None)).rows.shape == (4, 0)
        _close(answer(ask.AskAttentionRow(1, None)).rows, truth.patterns[1][:, -1], atol=1e-5)

        column = answer(ask.AskResidualVectors(None))
        assert (column.position, column.vectors.shape, column.rows_total) == (now - 1, (2, 32), 4)
        _close(column.vectors, truth.stream[:2, -1])

        cached: list[CacheVectors] = [answer(ask.AskCacheVectors(layer, None)) for layer in range(3)]
        assert [c.keys.shape for c in cached] == [(2, 8), (2, 8), (0, 8)]
        _close(cached[1].values, truth.values[1, :, -1])
        state = answer(ask.AskCacheState())
        assert (state.lengths.tolist(), state.committed) == ([now, now, before], before)

        figures = [answer(ask.AskExactValue("pattern", (layer, 0, now - 1, 0))).value for layer in range(3)]
        assert figures[:2] == pytest.approx([float(truth.patterns[layer, 0, -1, 0]) for layer in (0, 1)], abs=1e-5)
        assert figures[2] is None
        assert answer(ask.AskExactValue("residual", (2, now - 1, 0))).value is None
        assert answer(ask.AskExactValue("delta_mlp_norm", (1, now - 1))).value is None
        assert answer(ask.AskExactValue("key", (2, 0, now - 1, 0))).value is None
        run.finish()
        final = run.session.answer(ask.AskAttentionGrid(2, most=256))
        whole = truth_of(tiny, (run.session.prompt + run.session.output)[:143])
        _close(final.maps, whole.patterns[2], atol=1e-5)


def test_watched_maps_survive_a_cancel(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded, gate=engine.Gate())
    questions = [ask.AskAttentionGrid(layer) for layer in range(3)]
    for _ in session.generate(PROMPT[:50], 3):
        for question in questions:
            session.answer(question)
    for name in ("blocks.0.hook_resid_mid", "blocks.1.hook_resid_mid", "hook_logits"):
        cancelling = {name: lambda tensor, point: session.gate.cancel()}
        with tiny.loaded.model.hooks(cancelling), pytest.raises(engine.Cancelled):
            list(session.steps(1))
        assert [session.answer(question).n for question in questions] == [52] * 3
    list(session.steps(3))
    truth = truth_of(tiny, (session.prompt + session.output)[:55])
    for layer, question in enumerate(questions):
        _close(session.answer(question).maps, truth.patterns[layer], atol=1e-5)


def test_an_edit_between_layers_is_what_the_record_shows(tiny: Pair) -> None:
    session = engine.Session(tiny.loaded)
    with tiny.loaded.model.hooks({"blocks.2.hook_resid_pre": lambda tensor, point: tensor * 2}):
        next(session.generate(PROMPT[:10], 1))
    truth = truth_of(tiny, PROMPT[:10])
    _close(session.answer(ask.AskResidualVectors(3)).vectors[2], 2 * truth.stream[2, 3])


# -- questions that cannot be answered -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "match"),
    [
        (ask.AskAttentionGrid(3), "Layer 3 does not exist.*0 to 2"),
        (ask.AskAttentionRow(-1, None), "Layer -1"),
        (ask.AskCacheVectors(7, 0), "Layer 7"),
        (ask.AskAttentionMap(0, 4), "Head 4 does not exist.*0 to 3"),
        (ask.AskAttentionMap(0, -1), "Head -1"),
        (ask.AskAttentionRow(0, N + 1), f"Position {N + 1}"),
        (ask.AskResidualVectors(-1), "Position -1"),
    ],
)
def test_a_place_that_does_not_exist(session: engine.Session, question: Any, match: str) -> None:
    with pytest.raises(EngineError, match=match):
        session.answer(question)


def test_the_newest_token_is_not_read_yet(session: engine.Session) -> None:
    assert session.answer(ask.AskAttentionRow(0, N)).rows.shape == (4, 0)
    assert session.answer(ask.AskResidualVectors(N)).vectors.shape == (0, 32)
    assert session.answer(ask.AskCacheVectors(0, N)).keys.shape == (0, 8)


@pytest.mark.parametrize("most", [4, 1024])
def test_before_anything_has_run(tiny: Pair, most: int) -> None:
    session = engine.Session(tiny.loaded)
    assert session.answer(ask.AskResidualNorms(most)).norms.shape == (4, 0)
    assert session.answer(ask.AskResidualVectors(None, most)).vectors.shape[0] == 0
    assert session.answer(ask.AskAttentionGrid(1, most)).maps.shape == (4, 0, 0)
    assert session.answer(ask.AskAttentionMap(1, 2, most)).map.shape == (0, 0)
    assert session.answer(ask.AskAttentionRow(1, None)).rows.shape == (4, 0)
    assert session.answer(ask.AskCacheState()).bytes_now == 0
    assert session.answer(ask.AskCacheVectors(1, None)).keys.shape == (0, 8)
    assert session.answer(ask.AskExactValue("pattern", (0, 0, 0, 0))).value is None


def test_work_that_a_new_run_has_overtaken_says_nothing(tiny: Pair) -> None:
    """Nothing of two runs together, whatever was asked."""
    session, count = engine.Session(tiny.loaded), 0
    for question in questions(tiny.loaded, N_PROMPT):
        next(session.generate(PROMPT, 1))
        work = session.answering(question)
        try:
            next(work)
        except (StopIteration, EngineError):
            continue
        next(session.generate(PROMPT[:5], 1))
        with pytest.raises(engine.Cancelled):
            next(work)
        count += 1
    assert count > 10


def test_an_array_belongs_to_who_asked(session: engine.Session) -> None:
    """Frames are never written after they were handed over, and hold nothing of the engine's memory."""
    answers = [session.answer(ask.AskCacheVectors(0, 0)) for _ in range(2)]
    answers[0].keys[:] = 99
    assert (answers[1].keys != 99).all()
    assert (session.answer(ask.AskCacheVectors(0, 0)).keys != 99).all()
    grid = session.answer(ask.AskAttentionGrid(0))
    assert grid.maps.flags.c_contiguous
    assert grid.maps.flags.owndata


def test_the_real_model_shows_the_published_figures(smollm2: engine.Loaded) -> None:
    session = engine.Session(smollm2)
    next(session.generate("The capital of France is", 1))
    row = session.answer(ask.AskAttentionRow(3, None)).rows[4]
    assert row.tolist() == pytest.approx([0.96988, 0.00158, 0.00266, 0.00878, 0.01710], abs=2e-5)
    norms = session.answer(ask.AskResidualNorms()).norms[:2, -1]
    assert norms.tolist() == pytest.approx([2.601, 35.194], abs=2e-3)
    assert session.answer(ask.AskCacheVectors(0, None)).keys.shape == (3, 64)
