"""GGUF files: what a writer put in comes out, and every kind of broken file is named at once."""

from __future__ import annotations

import random
import struct
import time
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import engine
from engine.checkpoint.gguf_file import GGUFFile, can_dequantise
from engine.checkpoint.gguf_header import read_header
from engine.checkpoint.weights import GGUFWeights, fill
from engine.errors import CheckpointError, ConfigError, EngineError, SourceError, TokenizerError
from engine.families import llama, read_config, slots_of
from engine.frames import ProgressFrame
from engine.model.decoder import Decoder
from tests.engine.gguf_writer import as_stored, write_gguf
from tests.engine.tiny import tiny_llama

IDS = torch.arange(5, 65).view(2, 30)


def _logits(model: LlamaForCausalLM) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_1])
def test_round_trip(tmp_path: Path, kind: Kind, tied: bool) -> None:
    model = tiny_llama(
        tmp_path / "folder",
        intermediate_size=64,
        head_dim=16,
        num_attention_heads=4,
        tie_word_embeddings=tied,
        max_position_embeddings=200,
    )
    path = write_gguf(tmp_path / "m.gguf", model, kind, metadata={"llama.attention.key_length": 16})
    as_stored(model, kind)
    loaded = engine.load(path)
    assert loaded.config.tied is tied
    assert loaded.config.n_ctx == 200
    assert loaded.stored_as == f"GGUF {kind.name}"
    assert (loaded.model(IDS) - _logits(model)).abs().max() < 1e-4


def test_biases_are_permuted_too(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "folder", attention_bias=True, mlp_bias=True)
    values = {"attention_bias": True, "mlp_bias": True}
    with GGUFFile(write_gguf(tmp_path / "m.gguf", model)) as file:
        config = read_config({**llama.gguf_values(file.metadata, file.small), **values})
        slots = slots_of(llama, config, file.tensors().__contains__, gguf=True)
        shapes = {name: tuple(p.shape) for name, p in Decoder(config).named_parameters()}
        state = fill(shapes, slots, GGUFWeights(file), torch.device("cpu"), torch.float32, lambda *report: None)
    folder = engine.load(tmp_path / "folder").model.state_dict()
    assert state.keys() == folder.keys()
    assert all(torch.equal(state[name], folder[name]) for name in state)


def test_llama3_rope_scaling_comes_from_rope_freqs(tmp_path: Path) -> None:
    rope: dict[str, Any] = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    model = tiny_llama(tmp_path / "folder", rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](model.config, torch.device("cpu"))
    plain = 1.0 / (10000.0 ** (torch.arange(0, 8, 2) / 8))
    divisors = (plain / scaled).numpy()
    assert divisors.max() > 2
    loaded = engine.load(write_gguf(tmp_path / "m.gguf", model, rope_freqs=divisors))
    assert (loaded.model(IDS) - _logits(model)).abs().max() < 1e-3
    without = engine.load(write_gguf(tmp_path / "without.gguf", model))
    assert (without.model(IDS) - _logits(model)).abs().max() > 0.1


def test_a_split_model_is_loaded_by_any_part(tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "folder")
    write_gguf(tmp_path / "m.gguf", model, split=10)
    found = sorted(tmp_path.glob("m-*-of-*.gguf"))
    assert len(found) == 3
    for part in found:
        assert (engine.load(part).model(IDS) - _logits(model)).abs().max() < 1e-4
    found[1].rename(tmp_path / "elsewhere.gguf")
    with pytest.raises(SourceError, match=f"3 parts and {found[1].name} is missing"):
        engine.load(found[0])
    found[1].write_bytes(found[2].read_bytes())
    with pytest.raises(CheckpointError, match="is not part 2 of 3"):
        engine.load(found[0])


def test_header_equals_the_reference_reader(tmp_path: Path) -> None:
    extra = {"x.flag": True, "x.numbers": [1, -2, 3], "x.reals": [0.5, 1.5], "x.texts": ["", "é", "日本"]}
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "f", intermediate_size=64), Kind.Q8_0, metadata=extra)
    header, reference = read_header(path), gguf.GGUFReader(path)
    fields = {n: f.contents() for n, f in reference.fields.items() if not n.startswith("GGUF.")}
    assert header.metadata == fields
    assert list(header.tensors) == [t.name for t in reference.tensors]
    with GGUFFile(path) as file:
        for tensor in reference.tensors:
            info = file.tensors()[tensor.name]
            assert (info.offset, info.size) == (tensor.data_offset, tensor.n_bytes)
            assert info.shape == tuple(reversed(tensor.shape.tolist()))
            expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            assert np.array_equal(file.read(tensor.name), expected)


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "MXFP4", "BF16"])
def test_rows_equal_the_whole(tmp_path: Path, kind: str) -> None:
    """Dequantising a slice of rows as one long row gives what the package gives for the whole tensor."""
    quantisation = Kind[kind]
    block, size = gguf.GGML_QUANT_SIZES[quantisation]
    rows, row_bytes = 40, 512 // block * size
    data = np.random.default_rng(0).integers(0, 60, (rows, row_bytes), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("w", data, raw_dtype=quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with np.errstate(all="ignore"), GGUFFile(tmp_path / "m.gguf") as file:
        whole = gguf.quants.dequantize(data, quantisation)
        assert np.array_equal(file.rows("w", 3, 33), whole[3:33], equal_nan=True)
        assert np.array_equal(file.read("w"), whole, equal_nan=True)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"))


def test_every_truncation_is_refused_at_once(sound: Path) -> None:
    whole = sound.read_bytes()
    began, lengths = time.monotonic(), range(0, len(whole) - 1, 97)
    for length in lengths:
        sound.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"truncated|too many|begin with|after the end"):
            read_header(sound)
    assert (time.monotonic() - began) / len(lengths) < 0.1


def test_damaged_headers_never_escape_as_another_error(sound: Path) -> None:
    whole, chance = sound.read_bytes(), random.Random(0)
    end = read_header(sound).tensors["token_embd.weight"].offset
    sentences: list[str] = []
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(end)] = chance.choice((0, 1, 255, chance.randrange(256)))
        sound.write_bytes(damaged)
        try:
            engine.load(sound)
        except EngineError as error:
            sentences.append(str(error))
    assert len(sentences) > 50
    assert not any("\n" in sentence or len(sentence) > 500 for sentence in sentences)


def _patched(path: Path, at: int, data: bytes) -> Path:
    whole = bytearray(path.read_bytes())
    whole[at : at + len(data)] = data
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize(
    ("at", "data", "words"),
    [
        (0, b"GGML", "does not begin with the letters GGUF"),
        (4, struct.pack("<I", 1), "GGUF version 1"),
        (4, struct.pack("<I", 99), "GGUF version 99"),
        (4, struct.pack(">I", 3), "big-endian"),
        (8, struct.pack("<Q", 2**63), "too many for"),
        (16, struct.pack("<Q", 2**40), "too many for"),
        (24, struct.pack("<Q", 2**60), "claims 1152921504606846976 bytes"),
    ],
)
def test_a_broken_start_is_named(sound: Path, at: int, data: bytes, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=words):
        engine.load(_patched(sound, at, data))
    assert time.monotonic() - began < 1


def _tensor_type_at(path: Path, tensor: str) -> int:
    whole = path.read_bytes()
    name = struct.pack("<Q", len(tensor)) + tensor.encode()
    start = whole.index(name) + len(name)
    return start + 4 + 8 * struct.unpack_from("<I", whole, start)[0]


def test_an_unknown_quantisation(sound: Path) -> None:
    at = _tensor_type_at(sound, "blk.0.attn_q.weight")
    with pytest.raises(CheckpointError, match="quantisation of unknown number 999"):
        engine.load(_patched(sound, at, struct.pack("<I", 999)))


def test_a_type_that_is_no_weight(sound: Path) -> None:
    """Integers have no formula that makes weights of them."""
    assert not can_dequantise("I32")
    at = _tensor_type_at(sound, "blk.0.attn_q.weight")
    with pytest.raises(CheckpointError, match=r"attn_q\.weight is stored as I32"):
        engine.load(_patched(sound, at, struct.pack("<I", Kind.I32)))


@pytest.mark.parametrize(
    ("metadata", "kind", "words"),
    [
        ({"llama.block_count": None}, CheckpointError, "tensor blk"),
        ({"llama.block_count": 4}, CheckpointError, r"lack the tensor blk\.3\..* and 8 more"),
        ({"llama.embedding_length": 64}, CheckpointError, "has the shape"),
        ({"llama.vocab_size": 95}, CheckpointError, "has the shape"),
        ({"llama.attention.head_count": 5}, ConfigError, "not a multiple|divide"),
        ({"llama.attention.head_count": "four"}, ConfigError, "whole number"),
        ({"llama.rope.scaling.type": "by-parts"}, ConfigError, "rope scaling 'by-parts'"),
        ({"general.alignment": 3}, CheckpointError, "power of two"),
    ],
)
def test_metadata_that_does_not_fit(tmp_path: Path, metadata: dict[str, Any], kind: type, words: str) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"), metadata=metadata)
    with pytest.raises(kind, match=words):
        engine.load(path)


def test_an_unknown_architecture(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"), architecture="mamba")
    with pytest.raises(ConfigError, match=r"GGUF architecture 'mamba' is not supported; supported are .*llama"):
        engine.load(path)


@pytest.mark.parametrize("key", ["tokenizer.ggml.pre", "tokenizer.ggml.model"])
def test_an_unknown_tokenizer_is_refused_before_the_weights(tmp_path: Path, key: str) -> None:
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"), metadata={key: "martian"})
    frames: list[ProgressFrame] = []
    with pytest.raises(TokenizerError, match="martian"):
        engine.load(path, progress=frames.append)
    assert not frames


def test_ends_of_a_turn_end_the_text(tmp_path: Path) -> None:
    more = {"tokenizer.ggml.eot_token_id": 5, "tokenizer.ggml.eom_token_id": 2}
    path = write_gguf(tmp_path / "m.gguf", tiny_llama(tmp_path / "folder"), metadata=more)
    assert engine.load(path).config.eos_token_ids == (2, 5)


def test_the_real_file(smollm2_gguf: Path) -> None:
    began = time.monotonic()
    header = read_header(smollm2_gguf)
    assert time.monotonic() - began < 2
    assert len(header.metadata["tokenizer.ggml.tokens"]) == 49152
    assert len(header.tensors) == 272
    assert header.tensors["blk.3.attn_k.weight"].shape == (192, 576)
    with GGUFFile(smollm2_gguf) as file:
        assert file.stored_as == "GGUF Q4_1"
