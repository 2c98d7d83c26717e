"""A tokenizer from the files of a model folder: tokenizer.json, and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers

from engine.errors import TokenizerError
from engine.spelling import Spelling, spelling_of
from engine.tokenizer import Extras, backend_call, read_table, read_text
from engine.tokenizer_llama_model import read_llama_model
from engine.tokenizer_vocabulary_files import read_vocabulary_files

VOCABULARY_FILES = ("vocab.json", "merges.txt")
OTHER_FILES = ("spiece.model", *VOCABULARY_FILES, "vocab.txt", "tekken.json")


def read_folder(folder: Path) -> tuple[tokenizers.Tokenizer, Spelling, Extras] | None:
    """The parts of a Tokenizer, or None where the folder has no tokenizer file. Raises TokenizerError."""
    config = {**read_table(folder / "special_tokens_map.json"), **read_table(folder / "tokenizer_config.json")}
    if not (folder / "tokenizer.json").is_file() and (folder / "tokenizer.model").is_file():
        model, named, prefix = read_llama_model(folder, config)
        extras = _extras(folder, model, {**named, **config})
        return model, spelling_of(model.decoder), replace(extras, prefix=prefix)
    backend = _backend(folder, config)
    return None if backend is None else (backend, spelling_of(backend.decoder), _extras(folder, backend, config))


def _backend(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer | None:
    """From tokenizer.json, else from vocab.json and merges.txt."""
    path = folder / "tokenizer.json"
    if path.is_file():
        text = read_text(path)
        backend = backend_call("be read from tokenizer.json", lambda: tokenizers.Tokenizer.from_str(text))
        backend.no_truncation()
        backend.no_padding()
        return backend
    if all((folder / name).is_file() for name in VOCABULARY_FILES):
        return read_vocabulary_files(folder, config)
    others = [name for name in OTHER_FILES if (folder / name).is_file()]
    if others:
        raise TokenizerError(
            f"The folder has {others[0]} but no tokenizer.json, which is the kind that can be read; "
            "convert it with transformers' save_pretrained."
        )
    return None


def _extras(folder: Path, backend: tokenizers.Tokenizer, config: Mapping[str, Any]) -> Extras:
    named = {name: content for name in _NAMED if (content := _content(config.get(name))) is not None}
    bos = backend.token_to_id(named["bos_token"]) if "bos_token" in named else None
    eos = [backend.token_to_id(named["eos_token"])] if "eos_token" in named else []
    listed = read_table(folder / "generation_config.json").get("eos_token_id")
    eos += listed if isinstance(listed, list) else [listed]
    ids = tuple(dict.fromkeys(i for i in eos if isinstance(i, int) and not isinstance(i, bool) and i >= 0))
    return Extras(bos_id=bos, eos_ids=ids, chat_template=_chat_template(folder, config), named=named)


_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def _content(value: Any) -> str | None:
    """A special token: its text, or a table with its text."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) else None


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """chat_template.jinja wins; a config has one template, or a list of named ones."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return read_text(path)
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    if found is not None and not isinstance(found, str):
        raise TokenizerError("The chat_template of tokenizer_config.json is neither a text nor a list of named ones.")
    return found
