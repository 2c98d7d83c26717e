"""The KV cache: growth, commit, rollback, truncation, bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import engine
from engine.cache import KVCache
from engine.config import ModelConfig
from engine.errors import ContextError
from engine.families import read_config
from tests.engine.conftest import Pair

CONFIG: ModelConfig = read_config(
    {
        "model_type": "llama",
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 6,
        "num_hidden_layers": 3,
        "max_position_embeddings": 1000,
    }
)
PER_LAYER = 2 * 2 * 6 * 4  # K and V, n_kv_heads, d_head, bytes


def _rows(n: int, seed: int = 0, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, n, 6, generator=generator), torch.randn(batch, 2, n, 6, generator=generator)


def _read(cache: KVCache, n: int, seed: int) -> None:
    for layer in range(3):
        cache.append(layer, *_rows(n, seed + layer))
    cache.commit(n)


def test_append_gives_everything_of_the_layer_and_commit_moves_on() -> None:
    cache = KVCache(CONFIG)
    _read(cache, 5, seed=10)
    keys, values = cache.append(1, *_rows(2, seed=20))
    assert (cache.length, cache.lengths) == (5, [5, 7, 5])
    assert torch.equal(keys, torch.cat((_rows(5, 11)[0], _rows(2, 20)[0]), dim=2))
    assert torch.equal(values, torch.cat((_rows(5, 11)[1], _rows(2, 20)[1]), dim=2))
    assert torch.equal(cache.keys(1), keys)
    assert torch.equal(cache.values(1), values)
    assert cache.keys(0).shape == (1, 2, 5, 6)


def test_rollback_forgets_an_unfinished_pass() -> None:
    cache = KVCache(CONFIG)
    _read(cache, 5, seed=10)
    cache.append(0, *_rows(4, seed=20))
    cache.rollback()
    assert (cache.length, cache.lengths, cache.bytes_now) == (5, [5, 5, 5], 15 * PER_LAYER)
    _read(cache, 1, seed=30)
    assert torch.equal(cache.keys(0), torch.cat((_rows(5, 10)[0], _rows(1, 30)[0]), dim=2))


def test_truncate_keeps_the_first() -> None:
    cache = KVCache(CONFIG)
    _read(cache, 9, seed=10)
    cache.truncate(4)
    assert (cache.length, cache.lengths) == (4, [4, 4, 4])
    assert torch.equal(cache.values(2), _rows(9, 12)[1][:, :, :4])
    cache.truncate(0)
    assert cache.bytes_now == 0


@pytest.mark.parametrize("length", [-1, 10])
def test_truncate_cannot_lengthen(length: int) -> None:
    cache = KVCache(CONFIG)
    _read(cache, 9, seed=10)
    with pytest.raises(ContextError, match=f"9 positions.*{length}"):
        cache.truncate(length)
    assert cache.length == 9


def test_growth_keeps_what_is_there_also_in_the_middle_of_a_pass() -> None:
    cache = KVCache(CONFIG)
    kept: list[list[Tensor]] = [[], [], []]
    for step in range(70):
        for layer in range(3):
            keys, values = _rows(14, seed=3 * step + layer)
            kept[layer].append(keys)
            cache.append(layer, keys, values)
        cache.commit(14)
    assert cache.length == 980
    for layer in range(3):
        assert torch.equal(cache.keys(layer), torch.cat(kept[layer], dim=2))


def test_the_context_is_the_end() -> None:
    cache = KVCache(CONFIG)
    _read(cache, 999, seed=0)
    with pytest.raises(ContextError, match=r"1001 positions.*1000"):
        cache.append(0, *_rows(2))
    assert cache.lengths == [999] * 3
    _read(cache, 1, seed=1)
    assert cache.bytes_allocated == 1000 * 3 * PER_LAYER  # never a buffer beyond the context
    with pytest.raises(ContextError):
        cache.append(0, *_rows(1))


def test_bytes_and_shapes() -> None:
    cache = KVCache(CONFIG, batch=2, dtype=torch.bfloat16)
    assert (cache.bytes_now, cache.bytes_allocated) == (0, 0)
    assert cache.keys(0).shape == (2, 2, 0, 6)
    for layer in range(2):
        cache.append(layer, *(x.bfloat16() for x in _rows(10, batch=2)))
    per_position = 2 * 2 * 2 * 6 * 2  # batch, K and V, n_kv_heads, d_head, bytes
    assert [cache.layer_bytes(layer) for layer in range(3)] == [per_position] * 3
    assert cache.bytes_per_token == 3 * per_position
    assert cache.bytes_now == 20 * per_position  # two of three layers have the ten positions of this pass
    assert cache.bytes_allocated == 256 * 2 * per_position
    assert cache.shapes == [(2, 2, 10, 6), (2, 2, 10, 6), (2, 2, 0, 6)]
    assert cache.keys(0).dtype == torch.bfloat16


def test_the_real_bytes_per_token(smollm2: engine.Loaded) -> None:
    assert KVCache(smollm2.config).bytes_per_token == 2 * 3 * 64 * 4 * 30


IDS = torch.randint(3, 96, (1, 30), generator=torch.Generator().manual_seed(3))


def test_what_is_cached_equals_transformers(tiny: Pair) -> None:
    cache = KVCache(tiny.loaded.config)
    for part in IDS.tensor_split([9, 10, 11], dim=1):
        tiny.loaded.model(part, cache)
    with torch.inference_mode():
        layers = tiny.oracle(IDS, use_cache=True).past_key_values.layers
    for layer in range(3):
        torch.testing.assert_close(cache.keys(layer), layers[layer].keys, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(cache.values(layer), layers[layer].values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["blocks.0.kv.hook_append", "blocks.1.hook_attn_out", "blocks.2.hook_resid_post"])
def test_a_pass_that_breaks_off_leaves_no_trace(name: str, tiny: Pair) -> None:
    def fail(tensor: Tensor, point: object) -> None:
        raise ZeroDivisionError

    cache = KVCache(tiny.loaded.config)
    tiny.loaded.model(IDS[:, :9], cache)
    with pytest.raises(ZeroDivisionError), tiny.loaded.model.hooks({name: fail}):
        tiny.loaded.model(IDS[:, 9:15], cache)
    assert cache.length == 9
    after = tiny.loaded.model(IDS[:, 9:12], cache)
    torch.testing.assert_close(after, tiny.loaded.model(IDS[:, :12])[:, 9:], rtol=1e-5, atol=2e-5)
    assert cache.lengths == [12] * 3


def test_a_truncated_cache_goes_on_as_if_the_rest_had_never_been(tiny: Pair) -> None:
    cache = KVCache(tiny.loaded.config)
    tiny.loaded.model(IDS, cache)
    cache.truncate(9)
    after = tiny.loaded.model(IDS[:, 20:25], cache)
    expected = tiny.loaded.model(torch.cat((IDS[:, :9], IDS[:, 20:25]), dim=1))[:, 9:]
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=2e-5)


def test_a_pass_beyond_the_context_is_refused_before_it_begins(tiny: Pair) -> None:
    cache = KVCache(tiny.loaded.config)
    tiny.loaded.model(torch.ones(1, 510, dtype=torch.int64), cache)
    with pytest.raises(ContextError, match=r"513 positions.*512"):
        tiny.loaded.model(IDS[:, :3], cache)
    assert (cache.length, cache.lengths) == (510, [510] * 3)
    with pytest.raises(ContextError):
        tiny.loaded.model(torch.ones(1, 513, dtype=torch.int64))


@pytest.mark.parametrize("shape", [(1, 0), (4,), (1, 2, 3)])
def test_ids_of_a_wrong_shape(tiny: Pair, shape: tuple[int, ...]) -> None:
    with pytest.raises(ContextError, match="batch, pos"):
        tiny.loaded.model(torch.ones(shape, dtype=torch.int64))


_SLIDES = replace(CONFIG.layers[0], attention=replace(CONFIG.layers[0].attention, window=5))
_CHUNKED = replace(CONFIG.layers[0], attention=replace(CONFIG.layers[0].attention, chunk=400))
MIXED = replace(CONFIG, layers=(_SLIDES, _CHUNKED, CONFIG.layers[0]))


@pytest.mark.parametrize("passes", [(7,), (7, 1), (390, 10), (399, 1, 1), (800, 1), (3, 900, 1)])
def test_the_last_pass_can_be_taken_back_after_its_end(passes: tuple[int, ...]) -> None:
    """What a window or a chunk let go of with it is seen again: a pass is cancelled before its token is drawn too."""
    cache, twin = KVCache(MIXED), KVCache(MIXED)
    for number, count in enumerate(passes[:-1]):
        _read(cache, count, seed=number)
        _read(twin, count, seed=number)
    _read(cache, passes[-1], seed=98)
    cache.truncate(sum(passes[:-1]))
    assert (cache.firsts, cache.lengths, cache.bytes_now) == (twin.firsts, twin.lengths, twin.bytes_now)
    for layer in range(3):
        assert torch.equal(cache.keys(layer), twin.keys(layer))
        assert torch.equal(cache.values(layer), twin.values(layer))


def test_only_the_last_pass_can_be_taken_back() -> None:
    cache = KVCache(MIXED)
    for number in range(3):
        _read(cache, 7, seed=number)
    for length in (7, 15):
        with pytest.raises(ContextError, match=r"Layer 0 keeps positions from 17 on"):
            cache.truncate(length)
    cache.truncate(14)
    with pytest.raises(ContextError, match=r"Layer 0 keeps positions from 10 on"):
        cache.truncate(7)


@pytest.mark.parametrize("passes", [(7,), (7, 1), (390, 10), (399, 1, 1), (800, 1), (3, 900, 1, 1, 1)])
@pytest.mark.parametrize("cut", [0, 1, 3, 396])
def test_what_is_cut_off_comes_back_and_what_is_gone_is_said(passes: tuple[int, ...], cut: int) -> None:
    cache, whole, n = KVCache(MIXED), KVCache(MIXED), sum(passes)
    for number, count in enumerate(passes):
        _read(cache, count, seed=number)
        _read(whole, count, seed=number)
    length = max(0, n - cut)
    tail, gone = cache.tail(length, n), cache.missing(length)
    first, last = tail.split((length + n) // 2)
    assert (first.end, first.bytes + last.bytes) == (last.start, tail.bytes)
    assert cache.length == n
    cache.cut(length)
    assert cache.missing() == gone
    assert cache.lengths == [length] * 3
    for layer, spec in enumerate(MIXED.layers):
        needed = min(length, spec.attention.first_seen(length))
        assert cache.firsts[layer] == gone.get(layer, (0, needed))[1]
    for part in (first, last):
        cache.extend(part)
    assert (cache.length, cache.lengths) == (n, [n] * 3)
    for layer, (start, end) in cache.missing().items():
        cache.fill(
            layer, tuple(part[:, :, start - whole.firsts[layer] :][:, :, : end - start] for part in whole.parts(layer))
        )
    assert cache.missing() == {}
    assert (cache.firsts, cache.bytes_now) == (whole.firsts, whole.bytes_now)
    for layer in range(3):
        assert all(map(torch.equal, cache.parts(layer), whole.parts(layer)))
    _read(cache, 2, seed=77)
    _read(whole, 2, seed=77)
    assert all(map(torch.equal, cache.parts(1), whole.parts(1)))


def test_layers_that_forget_hold_again_what_they_held() -> None:
    cache = KVCache(MIXED)
    _read(cache, 30, seed=0)
    for number in range(1, 20):
        _read(cache, 1, seed=number)
    before = [[part.clone() for part in cache.parts(layer)] for layer in range(2)]
    with cache.windows_kept():
        cache.cut(10)
        _read(cache, 3, seed=50)
        cache.cut(10)
    for layer in range(2):
        assert all(map(torch.equal, cache.parts(layer), before[layer]))
    assert cache.lengths == [49, 49, 10]  # the others are the caller's
