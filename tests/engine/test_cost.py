"""The cost sheet against the engine: its parameters, its cache's tensors, its operations as torch counts them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from engine.amounts import bytes_text, count_text, flops_text
from engine.cache import KVCache
from engine.checkpoint.catalog import catalog, entry
from engine.checkpoint.counts import component_parameters, parameters
from engine.checkpoint.inventory import inventory
from engine.checkpoint.roles import COMPONENTS
from engine.config import AttentionSpec, LatentAttentionSpec, ModelConfig
from engine.cost import cost, cost_rows, kept, pairs
from engine.errors import ContextError, EngineError
from engine.families import read_config
from engine.model.decoder import Decoder
from engine.model.mask import visible
from tests.engine.families.variants import VARIANTS

KINDS = ("llama-default", "gpt2-default", "mistral-default", "gemma2-default", "mixtral-default", "olmoe-default")
SOME = [name for name in KINDS if name in VARIANTS]
SOME += [name for name in VARIANTS if name.split("-")[0] in ("deepseek_v2", "gpt_oss", "llama4", "falcon", "qwen2_moe")]
PROMPT = 24  # beyond the windows and chunks of the tiny models


def config_of(name: str) -> ModelConfig:
    """A variant's config, as transformers writes it."""
    variant = VARIANTS[name]
    written = AutoConfig.for_model(variant.family, **json.loads(json.dumps(variant.config))).to_json_string(False)
    return read_config(json.loads(written))


@pytest.fixture(params=VARIANTS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return config_of(request.param)


# -- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_are_those_of_the_decoder(config: ModelConfig) -> None:
    with torch.device("meta"):
        decoder = Decoder(config)
    counted = component_parameters(config)
    assert sum(counted.values()) == sum(parameter.numel() for parameter in decoder.parameters())
    assert set(counted) <= set(COMPONENTS)
    sheet = cost(config, positions=8, weight_dtype="bfloat16")
    assert sheet.weight_bytes == 2 * sheet.parameters == 2 * parameters(config)


def test_components_and_active_are_those_of_the_files() -> None:
    found, known = inventory("demo"), entry("demo")
    assert known is not None
    assert component_parameters(known.config) == {part.name: part.parameters for part in found.components}
    assert cost(known.config, positions=1).active == found.active


# -- the cache -------------------------------------------------------------------------------------------------------


def read(config: ModelConfig, *passes: int, dtype: torch.dtype = torch.float32) -> KVCache:
    """The engine's own cache after passes over so many positions."""
    cache = KVCache(config, dtype=dtype)
    for count in passes:
        for index, layer in enumerate(config.layers):
            parts = [torch.zeros(1, part.heads, count, part.width, dtype=dtype) for part in layer.attention.cached]
            cache.append(index, *parts)
        cache.commit(count)
    return cache


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("positions", [1, 2, 9, 40, 255, 256, 257, 300, 1024, 1025, 1500, 4095, 4096])
def test_cache_bytes_are_those_of_its_tensors(name: str, positions: int) -> None:
    config = replace(config_of(name), n_ctx=4096)
    cache = read(config, *([positions - 1] if positions > 1 else []), 1)
    sheet = cost(config, positions=positions)
    assert sheet.cache_per_position == cache.bytes_per_token
    assert sheet.cache_kept == cache.bytes_now == cache.bytes_after(positions)
    assert sheet.cache_allocated == cache.bytes_allocated
    stored = [part for layer in range(config.n_layers) for part in cache.parts(layer)]
    assert sheet.cache_kept == sum(part.nbytes for part in stored)


def test_the_cache_may_have_a_type_of_its_own() -> None:
    config = config_of("llama-default")
    sheet = cost(config, positions=40, weight_dtype="float32", cache_dtype="bfloat16")
    assert sheet.cache_kept == read(config, 40, dtype=torch.bfloat16).bytes_now
    assert sheet.cache_per_position * 2 == cost(config, positions=40).cache_per_position


def test_a_latent_is_short_and_a_window_lets_go() -> None:
    small, full = entry("deepseek-v2-lite"), entry("qwen1.5-moe")
    assert small is not None
    assert full is not None
    assert cost(small.config, positions=4096, weight_dtype="bfloat16").cache_per_position == 2 * 27 * (512 + 64)
    assert cost(full.config, positions=4096, weight_dtype="bfloat16").cache_per_position == 2 * 24 * 2 * 16 * 128
    mistral = entry("mistral-7b")
    assert mistral is not None
    long, longer = (cost(mistral.config, positions=n).cache_kept for n in (8192, 32768))
    assert long == longer == cost(mistral.config, positions=4095).cache_per_position * 4095


# -- operations ------------------------------------------------------------------------------------------------------


def counted(decoder: Decoder, cache: KVCache, count: int) -> dict[str, dict[str, int]]:
    """torch's own count of one pass, by module ("Global": all of them) and operation."""
    counter = FlopCounterMode(display=False)
    with counter:
        decoder(torch.randint(3, decoder.config.d_vocab, (1, count)), cache, logits="last")
    return {
        module: {str(operation): int(flops) for operation, flops in operations.items()}
        for module, operations in counter.get_flop_counts().items()
    }


def in_attention(flops: dict[str, dict[str, int]], config: ModelConfig) -> int:
    """What of a prefill's operations is scores and mixing; where scores are formed they are products of batches."""
    count = 0
    for index, layer in enumerate(config.layers):
        spec = layer.attention
        formed = isinstance(spec, AttentionSpec) and (spec.sinks or spec.alibi or spec.softcap is not None)
        for operation, number in flops[f"Decoder.blocks.{index}.attn"].items():
            count += number if "scaled_dot_product" in operation or (formed and "bmm" in operation) else 0
    return count


def random_decoder(config: ModelConfig) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(0, 0.2)
    return decoder.eval()


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_of_a_step_are_those_that_torch_counts(name: str) -> None:
    """All of them: projections, scores and mixing of the keys that are seen, MLPs or chosen experts, unembedding."""
    config = config_of(name)
    decoder, cache = random_decoder(config), KVCache(config)
    for positions in (1, 2, PROMPT):
        if positions - cache.length > 1:
            decoder(torch.full((1, positions - cache.length - 1), 3), cache)
        assert sum(counted(decoder, cache, 1)["Global"].values()) == cost(config, positions=positions).decode.total


@pytest.mark.parametrize("name", VARIANTS)
def test_operations_of_a_prefill_are_those_that_torch_counts(name: str) -> None:
    """But attention's, whose kernels compute pairs that are masked; these are counted by the engine's own mask."""
    config = config_of(name)
    decoder = random_decoder(config)
    flops = counted(decoder, KVCache(config), PROMPT)
    rest = sum(flops["Global"].values()) - in_attention(flops, config)
    sheet = cost(config, positions=PROMPT).prefill
    assert sheet.total - sheet.attention == rest
    assert sheet.attention == sum(_products(layer.attention) * _seen(layer.attention) for layer in config.layers)


def _products(spec: AttentionSpec | LatentAttentionSpec) -> int:
    """Operations of one query with one key and its value, over all heads."""
    value = spec.d_value if isinstance(spec, LatentAttentionSpec) else spec.d_head
    return spec.n_heads * (2 * spec.d_head + 2 * value)


def _seen(spec: AttentionSpec | LatentAttentionSpec) -> int:
    """Pairs of a query and a key that it sees, in a prefill."""
    return int(visible(spec, 0, PROMPT, PROMPT, torch.device("cpu")).sum())


@pytest.mark.parametrize("positions", [1, 7, 8, 9, 24, 100])
@pytest.mark.parametrize("reach", [{}, {"window": 8}, {"chunk": 8}, {"window": 500}])
def test_pairs_are_counted_without_going_through_them(positions: int, reach: dict[str, Any]) -> None:
    spec = AttentionSpec(n_heads=1, n_kv_heads=1, d_head=2, scale=1.0, rope=None, **reach)
    each = [query + 1 - spec.first_seen(query) for query in range(positions)]
    assert pairs(spec, positions) == sum(each)
    assert kept(spec, positions) == positions - min(positions, spec.first_seen(positions))


def test_a_token_costs_two_operations_for_each_active_parameter() -> None:
    """Kaplan et al. 2020: but for attention over the text, and tables that are only looked up."""
    for known in catalog():
        sheet = cost(known.config, positions=1)
        maps = sheet.decode.total - sheet.decode.attention
        read_once = sheet.decode_read / 4 - sheet.cache_per_position / 4
        assert maps / 2 == pytest.approx(read_once, rel=0.01), known.name


def test_what_a_step_reads() -> None:
    gpt2 = entry("gpt2")
    assert gpt2 is not None
    sheet = cost(gpt2.config, positions=100)
    assert sheet.decode_read == 4 * (124_439_808 - 1023 * 768) + 100 * 2 * 12 * 768 * 4
    assert 0.4 < sheet.intensity < 0.6  # one multiplication and addition for four bytes


# -- asked for what there is not -------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", [0, -1, 129, 10**12])
def test_positions_beyond_the_context_are_refused(positions: int) -> None:
    with pytest.raises(ContextError, match="room for 128"):
        cost(config_of("llama-default"), positions=positions)


def test_unknown_types_are_refused() -> None:
    with pytest.raises(EngineError, match="'int3' is not known"):
        cost(config_of("llama-default"), positions=1, weight_dtype="int3")


# -- in words --------------------------------------------------------------------------------------------------------


def test_rows_tell_it_in_words() -> None:
    known = entry("qwen3-30b-a3b")
    assert known is not None
    rows = cost_rows(cost(known.config, positions=4096, weight_dtype="bfloat16"))
    assert rows["parameters"] == "30,532,122,624"
    assert rows["active per token"] == "3,353,032,704"
    assert rows["weights"] == "61.1 GB in bfloat16"
    assert rows["cache of 4,096 positions"].startswith("403 MB, in buffers of 805 MB")
    dense = cost_rows(cost(config_of("llama-default"), positions=8))
    assert "active per token" not in dense
    assert all(label and value for label, value in dense.items())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bytes_text(0), "0 B"),
        (bytes_text(999), "999 B"),
        (bytes_text(999_499), "999 kB"),
        (bytes_text(999_600), "1 MB"),
        (bytes_text(2.684e12), "2.68 TB"),
        (bytes_text(2.684e16), "26,840 TB"),
        (count_text(134_515_008), "135M"),
        (count_text(999_885_952), "1B"),
        (flops_text(1.45e12), "1.45 TFLOP"),
    ],
)
def test_amounts_have_three_figures(text: str, said: str) -> None:
    assert text == said


def test_without_torch() -> None:
    code = (
        "from engine.checkpoint.catalog import entry; from engine.cost import cost; "
        "from engine.checkpoint.fits import fits, processor; import engine.checkpoint.found, sys; "
        "known = entry('gpt2'); cost(known.config, positions=9); fits(known.config, known.parameters, 9, processor()); "
        "print({'torch', 'PySide6', 'app', 'http', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
