"""Loading: folders in every form, devices and types, memory, cancel, and what is said when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file

import engine
from engine.checkpoint import memory
from engine.errors import (
    Cancelled,
    CheckpointError,
    ConfigError,
    EngineError,
    MemoryShortage,
    NetworkError,
    SourceError,
)
from engine.families import llama, read_config, slots_of
from engine.frames import ProgressFrame
from tests.engine.fake_hub import FakeHub
from tests.engine.tiny import tiny_llama

IDS = torch.arange(5, 65).view(2, 30)


def _agrees(folder: Path, model: Any, **options: Any) -> None:
    """A wrong weight moves these logits by more than 0.1; the order of float32 sums by less than 1e-4."""
    with torch.inference_mode():
        assert (engine.load(folder, **options).model(IDS) - model(IDS).logits).abs().max() < 1e-4


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"tie_word_embeddings": True},
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": 4, "head_dim": 16},
        {"num_key_value_heads": 1},
        {"shard_size": "20KB"},
    ],
)
def test_a_folder_computes_what_transformers_computes(tmp_path: Path, overrides: dict[str, Any]) -> None:
    _agrees(tmp_path, tiny_llama(tmp_path, **overrides))


def test_many_files_are_one_model(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path, shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    loaded = engine.load(tmp_path)
    assert loaded.parameters == sum(p.numel() for p in model.parameters())
    assert loaded.weight_bytes == 4 * loaded.parameters
    assert loaded.stored_as == "safetensors float32"


def _edit(file: Path, changes: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
    values = {key: value for key, value in json.loads(file.read_text()).items() if key not in drop}
    file.write_text(json.dumps(values | changes))


def test_the_older_dialect_of_the_config(tmp_path: Path) -> None:
    scaling = {"rope_type": "llama3", "rope_theta": 5000.0, "factor": 4.0, "low_freq_factor": 1.0}
    scaling |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    model = tiny_llama(tmp_path, rope_parameters=scaling)
    _agrees(tmp_path, model)
    older = {key: value for key, value in scaling.items() if key != "rope_theta"}
    changes = {"rope_theta": 5000.0, "rope_scaling": older, "torch_dtype": "float32"}
    _edit(tmp_path / "config.json", changes, drop=("rope_parameters", "dtype", "head_dim"))
    _agrees(tmp_path, model)


@pytest.mark.parametrize(("written", "ends"), [(7, (7,)), ([7, 9], (7, 9)), (None, (2,))])
def test_generation_config_says_what_ends_a_text(tmp_path: Path, written: Any, ends: tuple[int, ...]) -> None:
    tiny_llama(tmp_path)
    _edit(tmp_path / "generation_config.json", {"eos_token_id": written})
    assert engine.load(tmp_path).config.eos_token_ids == ends


def test_without_a_generation_config_the_config_says_it(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    assert engine.load(tmp_path).config.eos_token_ids == (2,)


def test_a_malformed_end_token_is_refused(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    _edit(tmp_path / "generation_config.json", {"eos_token_id": "end"})
    with pytest.raises(ConfigError, match="generation_config"):
        engine.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "dtype"), [("auto", torch.float32), ("bfloat16", torch.bfloat16), ("float64", torch.float64)]
)
def test_types(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    tiny_llama(tmp_path)
    loaded = engine.load(tmp_path, device="cpu", dtype=name)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {dtype}
    assert loaded.weight_bytes == sum(p.nbytes for p in loaded.model.parameters())
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_frame_tells_the_window(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "tiny")
    frame = engine.load(tmp_path / "tiny", dtype="bfloat16").model_frame()
    assert (frame.name, frame.n_layers, frame.kv_itemsize, frame.dtype) == ("tiny", 3, 2, "bfloat16")
    assert (frame.layers[0].n_heads, frame.layers[0].n_kv_heads, frame.layers[0].d_head) == (4, 2, 8)
    assert frame.layers[0].stages
    assert not frame.has_chat_template
    assert frame.seconds > 0


def test_unknown_devices_and_types(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    for options, words in (({"device": "abacus"}, "abacus"), ({"dtype": "float7"}, "float7")):
        with pytest.raises(EngineError, match=words):
            engine.load(tmp_path, **options)
    if not torch.cuda.is_available():
        with pytest.raises(EngineError, match="cannot be used on this computer"):
            engine.load(tmp_path, device="cuda")


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    frames: list[ProgressFrame] = []
    engine.load(tmp_path, progress=frames.append)
    assert frames[0].done == 0
    assert frames[-1].done == frames[-1].total > 0
    assert [frame.done for frame in frames] == sorted(frame.done for frame in frames)
    assert {frame.task for frame in frames} == {"load"}


def test_progress_can_cancel(tmp_path: Path) -> None:
    tiny_llama(tmp_path)

    def cancel(frame: ProgressFrame) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        engine.load(tmp_path, progress=cancel)


def test_too_little_memory_is_said_before_anything_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_llama(tmp_path)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 20_000_000)
    monkeypatch.setattr("engine.loading.fill", lambda *a, **k: pytest.fail("allocated"))
    with pytest.raises(MemoryShortage, match=r"needs 67\.\d MB on cpu .* 20 MB are free"):
        engine.load(tmp_path)


def test_tensors_that_the_model_does_not_know_are_named(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    assert engine.load(tmp_path).warnings == ()
    _rewritten(tmp_path, _add)
    (warning,) = engine.load(tmp_path).warnings
    assert "model.layers.0.self_attn.q_proj.bias" in warning


def _rewritten(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def _lose(tensors: dict[str, torch.Tensor]) -> None:
    for part in ("gate", "up"):
        del tensors[f"model.layers.1.mlp.{part}_proj.weight"]


def _reshape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(33)


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.0.self_attn.q_proj.bias"] = torch.ones(32)


def _integers(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] = torch.ones(32, dtype=torch.int8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_lose, r"lack the tensor model\.layers\.1\.mlp\.gate_proj\.weight and 1 more"),
        (_reshape, r"model\.norm\.weight has the shape \[33\]; the configuration needs \[32\]"),
        (_integers, r"model\.norm\.weight is stored as I8"),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, change: Any, words: str) -> None:
    tiny_llama(tmp_path)
    _rewritten(tmp_path, change)
    with pytest.raises(CheckpointError, match=words):
        engine.load(tmp_path)


def test_tensors_that_are_no_weights_are_passed_over(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path, tie_word_embeddings=True)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4), "lm_head.weight": torch.ones(96, 32)}
    _rewritten(tmp_path, lambda tensors: tensors.update(extra))
    _agrees(tmp_path, model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "mamba"}, "'mamba' is not supported"),
        ({"model_type": None}, "no model_type"),
        ({"hidden_act": "relu7"}, "relu7"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"rope_parameters": {"rope_type": "spiral", "rope_theta": 1.0}}, "'spiral'"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps"),
    ],
)
def test_a_config_of_an_unsupported_kind(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    tiny_llama(tmp_path)
    _edit(tmp_path / "config.json", changes)
    with pytest.raises(ConfigError, match=words):
        engine.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '"' + "x" * 2_000_000 + '"'])
def test_a_config_that_is_no_table(tmp_path: Path, text: str) -> None:
    tiny_llama(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json"):
        engine.load(tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    tiny_llama(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="no weights"):
        engine.load(tmp_path)


def test_a_catalog_name_is_not_downloaded_by_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="fluoroscope fetch smollm2"):
        engine.load("smollm2")


def test_a_catalog_name_that_was_fetched_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder counts from the moment its manifest is there."""
    folder = tmp_path / "HuggingFaceTB--SmolLM2-135M-Instruct" / "c0ffee"
    model = tiny_llama(folder)
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="not in the cache"):
        engine.load("smollm2")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    manifest = {"source": "HuggingFaceTB/SmolLM2-135M-Instruct", "model": ".", "files": sizes}
    (folder / "complete.json").write_text(json.dumps(manifest))
    _agrees("smollm2", model)  # type: ignore[arg-type]
    assert engine.load("smollm2").name == "SmolLM2-135M-Instruct"


def test_a_hub_id_is_fetched_and_then_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama(tmp_path / "source")
    files = {path.name: path.read_bytes() for path in (tmp_path / "source").iterdir()}
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    tasks: list[str] = []
    with FakeHub("org/tiny", files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        _agrees("org/tiny", model, progress=lambda frame: tasks.append(frame.task))  # type: ignore[arg-type]
    assert tasks[0] == "fetch"
    assert tasks[-1] == "load"
    assert engine.load("org/tiny").name == "org/tiny"
    with pytest.raises(NetworkError):
        engine.load("org/tiny@other")


def test_loading_holds_the_weights_once(tmp_path: Path) -> None:
    """Peak memory of a process that loads 40 M bfloat16 parameters as float32: 160 MB, not 160 + 80 or 2 · 160."""
    values = {"vocab_size": 32_000, "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 3}
    values |= {"model_type": "llama", "num_attention_heads": 8, "rms_norm_eps": 1e-6}  # type: ignore[dict-item]
    (tmp_path / "config.json").write_text(json.dumps(values))
    _save_zeros(tmp_path, values)
    tiny_llama(tmp_path / "tiny")
    code = f"""
import threading, time, psutil, engine
process, peak, loading = psutil.Process(), 0, True
def watch():
    global peak
    while loading:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.0005)
engine.load({str(tmp_path / "tiny")!r})
before = process.memory_info().rss
thread = threading.Thread(target=watch)
thread.start()
loaded = engine.load({str(tmp_path)!r})
loading = False
thread.join()
print(peak - before, loaded.weight_bytes)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, weights = map(int, run.stdout.split())
    assert weights > 150e6
    assert 0.9 * weights < grown < 1.1 * weights + 8e6


def _save_zeros(folder: Path, values: dict[str, Any]) -> None:
    slots = slots_of(llama, read_config(values), lambda name: False)
    save_file(
        {slot.name: torch.zeros(slot.shape, dtype=torch.bfloat16) for slot in slots},
        folder / "model.safetensors",
    )


def test_the_real_model_loads(smollm2_gguf: Path) -> None:
    loaded = engine.load(smollm2_gguf)
    assert (loaded.parameters, loaded.config.n_layers, loaded.stored_as) == (134_515_008, 30, "GGUF Q4_1")
    assert loaded.tokenizer is not None
    assert loaded.model_frame().has_chat_template
    probabilities = loaded.model(torch.tensor([[504, 3575, 282, 4649, 314]]))[0, -1].softmax(-1)
    assert probabilities[7042].item() == pytest.approx(0.77254, abs=1e-4)
