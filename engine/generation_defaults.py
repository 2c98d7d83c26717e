"""How a model's makers sample from it: ``generation_config.json`` of a folder, ``general.sampling.*`` of a GGUF file.

The names are those of transformers' ``GenerationConfig`` and of llama.cpp's ``general.sampling``. What a file does not
say is off. Transformers would cut to 50 tokens where ``top_k`` is absent; that is its own default, not the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.checkpoint.json_file import read_json
from engine.errors import ConfigError
from engine.settings import SAMPLING_RANGES, Sampling


@dataclass(frozen=True)
class _Dialect:
    """``fields``: our name by the file's. ``neutral``: what is not supported, with the values that do nothing."""

    file: str
    fields: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]


_FOLDER = _Dialect(
    "generation_config.json",
    {name: name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty")},
    {
        "num_beams": (1,),
        "num_beam_groups": (1,),
        "penalty_alpha": (0,),
        "epsilon_cutoff": (0,),
        "eta_cutoff": (0,),
        "top_h": (),
        "no_repeat_ngram_size": (0,),
        "encoder_repetition_penalty": (1,),
        "encoder_no_repeat_ngram_size": (0,),
        "guidance_scale": (1,),
        "sequence_bias": (),
        "bad_words_ids": ([],),
        "suppress_tokens": ([],),
        "begin_suppress_tokens": ([],),
    },
)
_GGUF = _Dialect(
    "The GGUF file",
    {
        "general.sampling.temp": "temperature",
        "general.sampling.top_k": "top_k",
        "general.sampling.top_p": "top_p",
        "general.sampling.min_p": "min_p",
        "general.sampling.penalty_repeat": "repetition_penalty",
    },
    {
        "general.sampling.sequence": (),
        "general.sampling.xtc_probability": (0,),
        "general.sampling.mirostat": (0,),
        "general.sampling.penalty_last_n": (-1,),
    },
)


def read_generation_defaults(folder: str | Path) -> Sampling | None:
    """The defaults of a model folder, None where it says nothing about sampling. Raises ConfigError, SourceError.

    Without ``do_sample`` the most probable token is taken, as in transformers; the other values are kept for a user
    who turns sampling on.
    """
    path = Path(folder) / _FOLDER.file
    if not path.is_file():
        return None
    values = {name: value for name, value in read_json(path).items() if value is not None}
    samples = values.get("do_sample")
    if samples is not None and not isinstance(samples, bool):
        raise _refused(_FOLDER, "do_sample", samples, "it must be true or false")
    chosen = _chosen(_FOLDER, values)
    return None if samples is None and not chosen else Sampling(greedy=not samples, **chosen)


def from_metadata(metadata: Mapping[str, Any]) -> Sampling | None:
    """The defaults of a GGUF file by full key, None where it says nothing about sampling. Raises ConfigError."""
    values = {name: value for name, value in metadata.items() if name in _GGUF.fields or name in _GGUF.neutral}
    if isinstance(values.get("general.sampling.top_k"), int):  # llama.cpp: 0 and less keep all
        values["general.sampling.top_k"] = max(0, values["general.sampling.top_k"])
    chosen = _chosen(_GGUF, values)
    if not chosen:
        return None
    # stored as float32, where 0.7 is 0.699999988
    rounded: dict[str, Any] = {
        name: value if name == "top_k" else float(f"{value:.7g}") for name, value in chosen.items()
    }
    return Sampling(**rounded)


def _chosen(dialect: _Dialect, values: Mapping[str, Any]) -> dict[str, Any]:
    for name, harmless in dialect.neutral.items():
        if name in values and values[name] not in harmless:
            raise _refused(dialect, name, values[name], "it is not supported")
    return {ours: _number(dialect, name, values[name], ours) for name, ours in dialect.fields.items() if name in values}


def _number(dialect: _Dialect, name: str, value: Any, ours: str) -> float:
    least, most = SAMPLING_RANGES[ours]
    # a comparison with NaN is false
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise _refused(dialect, name, value, f"a number between {least} and {most} is needed")
    if ours != "top_k":
        return float(value)
    if value != int(value):
        raise _refused(dialect, name, value, "a whole number is needed")
    return int(value)


def _refused(dialect: _Dialect, name: str, value: Any, reason: str) -> ConfigError:
    shown = "a huge number" if isinstance(value, int) and abs(value) >= 10**40 else repr(value)[:40]
    return ConfigError(f"{dialect.file} says {name} = {shown}, but {reason}; correct or remove it.")
