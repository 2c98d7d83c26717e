"""Maps that grow while the sequence does, against pooling the whole pattern at once."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from engine.attention_maps import AttentionMaps
from engine.hooks import HookPoint, PointInfo


def _pattern(n: int, heads: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    masked = torch.ones(n, n).triu(1).bool()
    return torch.rand(heads, n, n, generator=generator).masked_fill(masked, float("-inf")).softmax(-1)


def _pooled(full: torch.Tensor, block: int) -> np.ndarray:
    cuts = np.arange(0, full.shape[1], block)
    return np.maximum.reduceat(np.maximum.reduceat(full.numpy(), cuts, axis=1), cuts, axis=2)


def _point() -> HookPoint:
    return HookPoint(PointInfo("blocks.0.attn.hook_pattern", 0, (), "activation", ""))


@settings(max_examples=150, deadline=None)
@given(
    parts=some.lists(some.integers(1, 40), min_size=1, max_size=8),
    most=some.integers(8, 60),
    head=some.sampled_from([None, 0, 2]),
)
def test_growing_by_parts_equals_pooling_at_once(parts: list[int], most: int, head: int | None) -> None:
    n = sum(parts)
    full = _pattern(n)
    maps = AttentionMaps(3, head, most, torch.device("cpu"))
    for part in parts:
        maps.add(full[:, maps.n : maps.n + part, : maps.n + part])
    assert maps.n == n
    assert maps.maps().shape[1] <= most
    assert n <= maps.block * most
    assert maps.block == 1 or n > maps.block // 2 * most, "no coarser than it must be"
    expected = full if head is None else full[head : head + 1]
    np.testing.assert_array_equal(maps.maps().numpy(), _pooled(expected, maps.block))


def test_following_takes_rows_that_continue_the_map() -> None:
    full, point = _pattern(6), _point()
    maps = AttentionMaps(3, None, 32, torch.device("cpu"))
    maps.add(full[:, :4, :4])
    ends = iter((5, 6))
    maps.follow(point, lambda: next(ends))
    assert not point.wanted, "a follower must not make the pass form what it would not"
    point(full[None, :, 4:5, :5])
    point(full[None, :, 5:6, :6])
    assert (maps.n, maps.captured) == (6, 2)
    np.testing.assert_array_equal(maps.maps().numpy(), full.numpy())
    np.testing.assert_array_equal(maps.row.numpy(), full[:, 5].numpy())


def test_a_row_after_a_gap_waits_for_those_before() -> None:
    full, point = _pattern(6), _point()
    maps = AttentionMaps(3, None, 32, torch.device("cpu"))
    ends = iter((5, 6))
    maps.follow(point, lambda: next(ends))
    point(full[None, :, 4:5, :5])
    assert (maps.n, maps.captured) == (0, 0)
    maps.add(full[:, :5, :5])
    point(full[None, :, 5:6, :6])
    assert (maps.n, maps.captured) == (6, 1)


def test_leaving_detaches_and_following_twice_counts_once() -> None:
    full, point = _pattern(2), _point()
    maps = AttentionMaps(3, None, 32, torch.device("cpu"))
    for _ in range(2):
        maps.follow(point, lambda: 1)
    point(full[None, :, :1, :1])
    assert maps.n == 1
    maps.leave()
    maps.leave()
    assert not point.active
    point(full[None, :, 1:, :2])
    assert maps.n == 1


def test_keys_that_a_layer_has_let_go_get_nothing() -> None:
    point = _point()
    maps = AttentionMaps(3, None, 32, torch.device("cpu"))
    maps.add(_pattern(4))
    maps.follow(point, lambda: 5)
    window = torch.full((1, 3, 1, 2), 0.5)  # only positions 3 and 4 are still stored
    point(window)
    assert maps.n == 5
    np.testing.assert_array_equal(maps.maps()[:, 4].numpy(), np.tile([0, 0, 0, 0.5, 0.5], (3, 1)).astype(np.float32))


def test_half_precision_rows_are_kept_as_they_are() -> None:
    full = _pattern(9).bfloat16()
    maps = AttentionMaps(3, None, 32, torch.device("cpu"))
    maps.add(full)
    np.testing.assert_array_equal(maps.maps().numpy(), full.float().numpy())
