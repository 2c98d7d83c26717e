"""Whether a model fits: the rule that loading goes by, the longest context, the disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

import engine
from engine.checkpoint import fits as fits_file
from engine.checkpoint import memory
from engine.checkpoint.catalog import CatalogEntry, catalog, entry
from engine.checkpoint.download import SPARE
from engine.checkpoint.fits import DTYPES, Device, accelerators, disk, fits, free_disk, largest_context, processor
from engine.checkpoint.room import CACHED_POSITIONS, ITEMSIZES, room
from engine.cost import cost
from engine.errors import EngineError, MemoryShortage
from engine.loading import DTYPES as LOADED_IN
from engine.loading import choose_dtype
from engine.reach import SCORED_AT_ONCE


def device(free: int, name: str = "cpu") -> Device:
    return Device(name, "the CPU" if name == "cpu" else "a GPU", free, 2 * free)


@pytest.fixture
def llama() -> CatalogEntry:
    known = entry("llama-3.2-1b")
    assert known is not None
    return known


def test_the_parts_add_up_and_are_said(llama: CatalogEntry) -> None:
    fit = fits(llama.config, llama.parameters, 4096, device(10**10), "bfloat16")
    assert fit.weights == 2 * 1_235_814_400
    assert fit.cache == 4096 * 2 * 8 * 64 * 16 * 2 == cost(llama.config, positions=4096).cache_kept // 2
    assert fit.needed == fit.weights + fit.cache + fit.working
    assert fit.working > 64 * 2**20 + 4096 * 2048 * 17 * 2  # with the residual stream that a run records
    assert fit.sentence == (
        "It fits: it needs 3.43 GB and 10 GB are free on the CPU "
        f"(2.47 GB weights in bfloat16, 134 MB cache for 4,096 positions, {fit.working / 1e6:.0f} MB to work in)."
    )


def test_three_verdicts(llama: CatalogEntry) -> None:
    needed = fits(llama.config, llama.parameters, 4096, device(1)).needed
    verdicts = {free: fits(llama.config, llama.parameters, 4096, device(free)) for free in (needed - 1, needed)}
    assert [fit.verdict for fit in verdicts.values()] == ["does not fit", "tight"]
    assert verdicts[needed - 1].sentence.startswith("It does not fit: it needs ")
    assert verdicts[needed].sentence.startswith("It fits, but barely: ")
    assert fits(llama.config, llama.parameters, 4096, device(int(needed / 0.85) + 1)).verdict == "fits"
    assert fits(llama.config, llama.parameters, 4096, device(int(needed / 0.85) - 1)).verdict == "tight"


def test_auto_is_what_loading_takes(llama: CatalogEntry) -> None:
    for name in ("cpu", "cuda:0", "mps"):
        chosen = fits(llama.config, llama.parameters, 1, device(1, name)).dtype
        assert choose_dtype("auto", torch.device(name)) == LOADED_IN[chosen]
    assert {name: kind.itemsize for name, kind in LOADED_IN.items()} == ITEMSIZES
    assert set(DTYPES) < set(ITEMSIZES)
    with pytest.raises(EngineError, match="'int8' is not known; choose auto or one of float32"):
        fits(llama.config, llama.parameters, 1, device(1), "int8")


@pytest.mark.parametrize("name", ["demo", "smollm2", "gemma-3-270m", "deepseek-v2-lite", "gpt-oss-20b"])
def test_the_rule_is_that_of_loading(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading refuses exactly where a run of CACHED_POSITIONS does not fit."""
    known = entry(name)
    assert known is not None
    for dtype in DTYPES:
        needed = fits(known.config, known.parameters, CACHED_POSITIONS, device(1), dtype).needed
        asked = known.config, known.parameters, torch.device("cpu"), LOADED_IN[dtype]
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=needed: free)
        memory.check_memory(*asked)
        monkeypatch.setattr(memory, "free_bytes", lambda device, free=needed - 1: free)
        with pytest.raises(MemoryShortage, match=f"weights in {dtype}"):
            memory.check_memory(*asked)


def test_a_context_beyond_the_models_is_cut(llama: CatalogEntry) -> None:
    gpt2 = entry("gpt2")
    assert gpt2 is not None
    assert fits(gpt2.config, gpt2.parameters, 4096, device(10**10)).context == 1024


def test_the_largest_context_is_the_last_that_fits() -> None:
    for known in catalog():
        for free in (10**8, 10**10, 25 * 10**9, 10**13):
            place = device(free)
            largest = largest_context(known.config, known.parameters, place)
            if largest:
                assert fits(known.config, known.parameters, largest, place).verdict != "does not fit"
            if largest < known.config.n_ctx:
                assert fits(known.config, known.parameters, largest + 1, place).verdict == "does not fit"
            else:
                assert largest == known.config.n_ctx


def test_more_positions_never_take_less() -> None:
    known = entry("smollm2")
    assert known is not None
    config = replace(known.config, n_ctx=64)
    needed = [room(config, known.parameters, positions, 4).needed for positions in range(65)]
    assert needed == sorted(needed)
    assert len(set(needed[:33])) == 33


def test_scores_that_are_formed_take_room() -> None:
    """Sinks and caps have no kernel of their own: scores and pattern of some queries at a time lie in memory."""
    known = entry("smollm2")
    assert known is not None
    layers = tuple(replace(layer, attention=replace(layer.attention, softcap=50.0)) for layer in known.config.layers)
    plain, formed = (room(c, 1, 1000, 4).working for c in (known.config, replace(known.config, layers=layers)))
    heads, d_head, d_mlp = 9, 64, 1536
    narrow = 4 * d_mlp - (3 * heads + 4 * 3) * d_head  # by how much the MLP is the wider half without them
    assert formed - plain == max(0, 2 * SCORED_AT_ONCE * heads - narrow) * 4 * 1000


def test_what_a_run_really_takes_is_covered(smollm2) -> None:
    """The residual stream that is recorded and the cache's buffers, of a real run."""
    session = engine.Session(smollm2, sampling=engine.Sampling(greedy=True))
    list(session.generate("Once upon a time there was a", max_new_tokens=4))
    positions = session.cache.length
    found = room(smollm2.config, smollm2.parameters, positions, 4)
    recorded = (smollm2.config.n_layers + 1) * smollm2.config.d_model * 4 * positions
    assert found.weights == smollm2.weight_bytes
    assert found.cache == session.cache.bytes_now
    assert found.working > recorded + session.cache.bytes_allocated - session.cache.bytes_now


def test_the_processor_has_the_computers_memory() -> None:
    found = processor()
    assert (found.name, found.total) == ("cpu", psutil.virtual_memory().total)
    assert 0 < found.free <= found.total


def test_accelerators_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {found.name.partition(":")[0] for found in accelerators()}
    assert ("cuda" in names) == torch.cuda.is_available()
    assert ("mps" in names) == torch.backends.mps.is_available()


def test_a_gpu_that_cannot_be_asked_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(name="X", total_memory=8))
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    assert accelerators() == (Device("cuda:0", "X", 0, 8),)
    monkeypatch.setattr(torch.cuda, "get_device_properties", fail)
    assert accelerators() == ()


def test_a_download_needs_its_place_and_some_to_spare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_file, "free_disk", lambda folder: 10**9)
    assert disk(10**9 - SPARE, tmp_path).fits
    full = disk(10**9 - SPARE + 1, tmp_path)
    assert not full.fits
    assert full.sentence == (f"The disk is too full for the download: it takes 983 MB and 1 GB are free at {tmp_path}.")


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(free_disk(tmp_path), rel=0.2)
    (tmp_path / "file").write_text("")
    assert free_disk(tmp_path / "file" / "below") >= 0
    assert free_disk(Path("\0")) == 0
