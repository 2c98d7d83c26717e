"""The sampling defaults of model folders and GGUF files, against transformers' own reading of the same file."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from engine.checkpoint.gguf_file import GGUFFile
from engine.errors import ConfigError
from engine.generation_defaults import from_metadata, read_generation_defaults
from engine.settings import Sampling

# what published models say
LLAMA_3 = {
    "bos_token_id": 128000,
    "do_sample": True,
    "eos_token_id": [128001, 128008, 128009],
    "temperature": 0.6,
    "top_p": 0.9,
    "transformers_version": "4.42.3",
}
QWEN_2_5 = {
    "do_sample": True,
    "repetition_penalty": 1.05,
    "temperature": 0.7,
    "top_p": 0.8,
    "top_k": 20,
    "eos_token_id": [151645, 151643],
}
PUBLISHED = {
    "llama 3": (LLAMA_3, Sampling(temperature=0.6, top_p=0.9)),
    "qwen 2.5": (QWEN_2_5, Sampling(temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05)),
    "smollm2": ({"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}, None),
    "greedy": ({"do_sample": False, "temperature": 0.6}, Sampling(greedy=True, temperature=0.6)),
    "not asked to sample": ({"temperature": 0.6, "top_k": None}, Sampling(greedy=True, temperature=0.6)),
    "sampled plainly": ({"do_sample": True}, Sampling()),
    "all": (
        {"do_sample": True, "min_p": 0.05, "typical_p": 0.9, "num_beams": 1, "bad_words_ids": None},
        Sampling(min_p=0.05, typical_p=0.9),
    ),
}


def folder_with(folder: Path, content: Any) -> Path:
    (folder / "generation_config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_folder_says_how_to_sample(tmp_path: Path, name: str) -> None:
    content, expected = PUBLISHED[name]
    assert read_generation_defaults(folder_with(tmp_path, content)) == expected


@pytest.mark.parametrize("name", ["llama 3", "qwen 2.5", "all", "greedy"])
def test_transformers_reads_the_same_numbers(tmp_path: Path, name: str) -> None:
    ours = read_generation_defaults(folder_with(tmp_path, PUBLISHED[name][0]))
    theirs = GenerationConfig.from_pretrained(tmp_path)
    assert ours is not None
    assert ours.greedy is not bool(theirs.do_sample)
    for field in ("temperature", "top_p", "min_p", "typical_p", "repetition_penalty"):
        stated = getattr(theirs, field)
        assert getattr(ours, field) == (stated if stated is not None else getattr(Sampling(), field))


def test_a_folder_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert read_generation_defaults(tmp_path) is None


BAD = {
    "a text": ({"temperature": "hot"}, "temperature = 'hot'"),
    "a truth value": ({"top_k": True}, "top_k = True"),
    "below the range": ({"top_p": -0.5}, "top_p = -0.5"),
    "above the range": ({"top_p": 1.5}, "top_p = 1.5"),
    "half a token": ({"top_k": 1.5}, "top_k = 1.5"),
    "a negative count": ({"top_k": -1}, "top_k = -1"),
    "no number": ('{"min_p": NaN}', "min_p = nan"),
    "an infinite one": ('{"temperature": Infinity}', "temperature = inf"),
    "a huge one": ('{"temperature": 1' + "0" * 400 + "}", "temperature = a huge number"),
    "a list": ({"repetition_penalty": [1.0]}, "repetition_penalty"),
    "a word for do_sample": ({"do_sample": "yes"}, "do_sample = 'yes'"),
    "beams": ({"num_beams": 4}, "num_beams = 4"),
    "contrastive search": ({"penalty_alpha": 0.6}, "penalty_alpha = 0.6"),
    "forbidden words": ({"bad_words_ids": [[1]]}, "bad_words_ids"),
    "a list for a table": ("[]", "generation_config.json"),
    "no JSON": ("{", "generation_config.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_odd_value_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, named = BAD[name]
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as refusal:
        read_generation_defaults(folder_with(tmp_path, content))
    assert named in str(refusal.value)


JSON_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})
NAMES = ["do_sample", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "num_beams"]


@settings(deadline=None, max_examples=200)
@given(content=st.dictionaries(st.sampled_from(NAMES), JSON_VALUES))
def test_any_values_give_settings_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    folder = folder_with(tmp_path_factory.getbasetemp(), content)
    said = {name for name, value in content.items() if value is not None and name != "num_beams"}
    with suppress(ConfigError):
        assert (read_generation_defaults(folder) is None) is (not said)


def test_a_gguf_file_says_how_to_sample(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_sampling_temp(0.7)
    writer.add_sampling_top_k(20)
    writer.add_sampling_top_p(0.95)
    writer.add_sampling_min_p(0.05)
    writer.add_sampling_penalty_repeat(1.05)
    writer.add_tensor("output_norm.weight", np.zeros(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUFFile(path) as file:
        found = from_metadata(file.metadata)
    assert found == Sampling(temperature=0.7, top_k=20, top_p=0.95, min_p=0.05, repetition_penalty=1.05)


def test_a_gguf_file_may_say_nothing_or_keep_all() -> None:
    assert from_metadata({"general.architecture": "llama"}) is None
    assert from_metadata({"general.sampling.temp": 0.0, "general.sampling.top_k": -1}) == Sampling(temperature=0)
    assert from_metadata({"general.sampling.mirostat": 0}) is None


BAD_GGUF = {
    "temp": "hot",
    "top_p": 0.0,
    "top_k": [1],
    "min_p": -1.0,
    "mirostat": 2,
    "xtc_probability": 0.5,
    "sequence": "kpt",
    "penalty_last_n": 64,
}


@pytest.mark.parametrize("key", BAD_GGUF)
def test_an_odd_value_of_a_gguf_file_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^The GGUF file says general\.sampling\.{key} = [^\n]+$"):
        from_metadata({f"general.sampling.{key}": BAD_GGUF[key]})
