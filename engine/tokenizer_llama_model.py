"""A tokenizer from ``tokenizer.model`` alone, which many folders of Llama's and Mistral's first generations have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from engine.errors import TokenizerError
from engine.sentencepiece_file import read_sentencepiece
from engine.tokenizer import backend_call, read_table
from engine.tokenizer_sentencepiece import CONTROL, UNKNOWN, USER_DEFINED, Vocabulary, build
from engine.tokenizer_vocabulary_files import added_tokens

MODEL_TYPES = frozenset({"llama", "mistral", "mixtral"})  # where no class is named


def read_llama_model(
    folder: Path, config: Mapping[str, Any]
) -> tuple[tokenizers.Tokenizer, dict[str, str], tuple[int, ...]]:
    """The tokenizer, its special tokens by name, and the ids put before a text. Raises TokenizerError.

    ``config`` is the folder's tokenizer_config.json. Other classes than Llama's join pieces in another order.
    """
    model_type = read_table(folder / "config.json").get("model_type")
    named = config.get("tokenizer_class") or ("LlamaTokenizer" if model_type in MODEL_TYPES else model_type)
    if str(named).removesuffix("Fast") != "LlamaTokenizer":
        raise TokenizerError(
            f"The folder has tokenizer.model but no tokenizer.json, and its class {named} is not supported for that; "
            "convert it with transformers' save_pretrained."
        )
    file = read_sentencepiece(folder / "tokenizer.model")
    added = added_tokens(folder, config)
    backend, _ = backend_call("be built from tokenizer.model", lambda: build(_with(file.vocabulary, added)))
    _add(backend, file.vocabulary, list(added.values()))
    names = {f"{name}_token": file.vocabulary.pieces[i] for name, i in file.ids.items()}
    bos = (file.ids["bos"],) if config.get("add_bos_token", True) and "bos" in file.ids else ()
    return backend, names, bos


def _with(vocabulary: Vocabulary, added: Mapping[int, AddedToken]) -> Vocabulary:
    """Added tokens follow the pieces, without a gap; merging never makes them."""
    n = len(vocabulary.pieces)
    more = [added[i].content for i in sorted(added) if i >= n]
    if [i for i in sorted(added) if i >= n] != list(range(n, n + len(more))) or set(more) & set(vocabulary.pieces):
        raise TokenizerError("The added tokens of the folder leave ids out, or are in tokenizer.model already.")
    return replace(
        vocabulary,
        pieces=[*vocabulary.pieces, *more],
        kinds=[*vocabulary.kinds, *[CONTROL] * len(more)],
        scores=[*(vocabulary.scores or ()), *[0.0] * len(more)],
    )


def _add(backend: tokenizers.Tokenizer, vocabulary: Vocabulary, added: list[AddedToken]) -> None:
    """The special and the user-defined pieces, unless the folder's tables say more of them."""
    said = {token.content for token in added}
    own = [(piece, kind) for piece, kind in zip(vocabulary.pieces, vocabulary.kinds, strict=True) if piece not in said]
    special = [AddedToken(piece, normalized=False) for piece, kind in own if kind in (CONTROL, UNKNOWN)]
    plain = [AddedToken(piece, normalized=False) for piece, kind in own if kind == USER_DEFINED]
    special += [token for token in added if token.special]
    plain += [token for token in added if not token.special]
    backend_call("take its added tokens", lambda: (backend.add_special_tokens(special), backend.add_tokens(plain)))
