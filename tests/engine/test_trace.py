"""The record: what it holds after each kind of pass, over its buffers' edges, and what it forgets."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.hooks import HookPoints
from engine.recompute import logits_at
from engine.trace import Trace
from tests.engine.conftest import Pair
from tests.engine.patterns import pattern_rows

CPU = torch.device("cpu")
SPANS = [(0, 100), (100, 101), (101, 130), (130, 131), (131, 400)]  # over the edges of buffers of 128


def _boundary(position: int, boundary: int, d_model: int) -> Tensor:
    return torch.full((d_model,), 1000.0 * boundary + position)


def _fire(points: HookPoints, start: int, end: int, d_model: int, layers: int = 3) -> None:
    """A made-up pass: boundary b at position p is 1000 b + p everywhere, attention adds p, the MLP 2 p."""

    def rows(boundary: int) -> Tensor:
        return torch.stack([_boundary(p, boundary, d_model) for p in range(start, end)])[None]

    positions = torch.arange(start, end, dtype=torch.float32)[None, :, None].expand(1, -1, d_model)
    for layer in range(layers):
        points[f"blocks.{layer}.hook_resid_pre"](rows(layer))
        points[f"blocks.{layer}.hook_attn_out"](positions)
        points[f"blocks.{layer}.hook_mlp_out"](2 * positions)
        points[f"blocks.{layer}.hook_resid_post"](rows(layer + 1))


@pytest.fixture
def recorded(tiny: Pair) -> tuple[Trace, HookPoints]:
    config = tiny.loaded.config
    trace, points = Trace(config, torch.float32, CPU), HookPoints(config)
    trace.attach(points)
    for start, end in SPANS:
        trace.begin_pass(start, end)
        _fire(points, start, end, config.d_model)
        trace.end_pass()
    return trace, points


@pytest.mark.parametrize(("start", "end"), [(0, 400), (127, 129), (128, 256), (5, 6), (255, 257), (399, 400), (7, 7)])
def test_the_stream_comes_back(recorded: tuple[Trace, HookPoints], start: int, end: int) -> None:
    trace, _ = recorded
    for boundary in range(4):
        expected = torch.arange(start, end, dtype=torch.float32)[:, None] + 1000.0 * boundary
        assert torch.equal(trace.residual(boundary, start, end), expected.expand(-1, 32))
        for position in range(start, end, 50):
            assert float(trace.norm(boundary, position)) == pytest.approx((1000 * boundary + position) * 32**0.5)


def test_the_table_of_norms(recorded: tuple[Trace, HookPoints]) -> None:
    """Rows: four boundaries, what attention added in three layers, what the MLP did; 0 where a row does not reach."""
    trace, points = recorded
    positions = torch.arange(400.0) * 32**0.5
    streams = [positions + 1000 * boundary * 32**0.5 for boundary in range(4)]
    expected = torch.stack([*streams, *[positions] * 3, *[2 * positions] * 3])
    torch.testing.assert_close(trace.norm_table(), expected)
    assert float(trace.delta_norm(0, 2, 130)) == pytest.approx(float(positions[130]))
    assert float(trace.delta_norm(1, 0, 130)) == pytest.approx(2 * float(positions[130]))
    trace.begin_pass(400, 402)
    points["blocks.0.hook_resid_pre"](torch.ones(1, 2, 32))
    table = trace.norm_table()
    assert table.shape == (10, 402)
    torch.testing.assert_close(table[0, 400:], torch.full((2,), 32**0.5))
    assert (table[1:, 400:] == 0).all()
    torch.testing.assert_close(table[:, :400], expected)


def test_a_column_and_the_spans(recorded: tuple[Trace, HookPoints]) -> None:
    trace, _ = recorded
    assert trace.spans == SPANS
    for position, end in ((0, 100), (99, 100), (100, 101), (129, 130), (130, 131), (399, 400)):
        assert trace.span_end(position) == end
        expected = torch.stack([_boundary(position, boundary, 32) for boundary in range(4)])
        assert torch.equal(trace.column(position), expected)
    assert trace.column(400).shape == (0, 32)


def test_truncate_forgets_and_a_new_pass_writes_over(recorded: tuple[Trace, HookPoints]) -> None:
    trace, points = recorded
    trace.truncate(130)
    assert trace.reach == [130] * 4
    assert (trace.reach_attention, trace.reach_mlp) == ([130] * 3, [130] * 3)
    assert trace.spans == SPANS[:3]
    trace.begin_pass(130, 132)
    points["blocks.0.hook_resid_pre"](torch.full((1, 2, 32), -1.0))
    assert (trace.reach, trace.span_end(131)) == ([132, 130, 130, 130], 132)
    assert (trace.residual(0, 130, 132) == -1).all()
    assert trace.residual(0, 129, 130)[0, 0] == 129
    assert trace.column(131).shape == (1, 32)


def test_a_pass_that_begins_again_forgets_the_one_that_did_not_end(recorded: tuple[Trace, HookPoints]) -> None:
    trace, points = recorded
    trace.begin_pass(400, 410)
    points["blocks.0.hook_resid_pre"](torch.zeros(1, 10, 32))
    trace.begin_pass(400, 401)
    assert trace.reach == [400] * 4


def test_detached_it_records_no_more(tiny: Pair) -> None:
    trace, points = Trace(tiny.loaded.config, torch.float32, CPU), HookPoints(tiny.loaded.config)
    detach = trace.attach(points)
    assert points["blocks.0.hook_resid_pre"].active
    for undo in detach:
        undo()
    assert not any(point.active for point in points.values())


def test_it_asks_for_nothing_to_be_formed(tiny: Pair) -> None:
    trace, points = Trace(tiny.loaded.config, torch.float32, CPU), HookPoints(tiny.loaded.config)
    trace.attach(points)
    assert not any(point.wanted for point in points.values())


def test_recomputed_logits_and_patterns_from_a_recorded_pass(tiny: Pair) -> None:
    from engine.cache import KVCache

    model, trace = tiny.loaded.model, Trace(tiny.loaded.config, torch.float32, CPU)
    cache, detach = KVCache(tiny.loaded.config), trace.attach(tiny.loaded.model.points)
    ids = torch.randint(3, 96, (1, 150), generator=torch.Generator().manual_seed(6))
    trace.begin_pass(0, 150)
    logits = model(ids, cache)
    trace.end_pass()
    for undo in detach:
        undo()
    with torch.inference_mode():
        patterns = tiny.oracle(ids, output_attentions=True).attentions
        for layer in range(3):
            rows = pattern_rows(model, trace, cache, layer, 120, 140)
            torch.testing.assert_close(rows, patterns[layer][0, :, 120:140, :140], rtol=0, atol=1e-5)
    for position in (0, 127, 128, 149):
        torch.testing.assert_close(logits_at(model, trace, position), logits[0, position], rtol=0, atol=1e-5)
