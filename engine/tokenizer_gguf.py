"""A tokenizer rebuilt from the metadata of a GGUF file.

The keys are those of github.com/ggml-org/ggml docs/gguf.md under ``tokenizer.``. Two kinds are read: ``gpt2``
(byte-level BPE, whose split is named by ``tokenizer.ggml.pre``) and ``llama`` (SentencePiece BPE).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from engine.errors import TokenizerError
from engine.pre_tokenizers import BOS_BY_DEFAULT, IGNORE_MERGES, PRE_TOKENIZERS
from engine.spelling import Spelling
from engine.tokenizer import Extras, backend_call

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type
LARGEST_VOCABULARY = 2**22
LONGEST_PIECE = 1024  # characters; SentencePiece itself stops at 16 unless told otherwise


@dataclass(frozen=True)
class Metadata:
    """The metadata with every value checked where it is read."""

    values: Mapping[str, Any]

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.values.get(f"tokenizer.{key}", default)
        if value is not default and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise TokenizerError(
                f"The GGUF file's tokenizer.{key} is a {type(value).__name__} where {kind.__name__} is needed; "
                "fetch the file again."
            )
        return value

    def listed(self, key: str, kind: type, length: int | None = None) -> list[Any]:
        values: Any = self.values.get(f"tokenizer.{key}")
        values = values.tolist() if hasattr(values, "tolist") else values
        if not isinstance(values, (list, tuple)) or not all(isinstance(value, kind) for value in values):
            raise TokenizerError(f"The GGUF file has no tokenizer.{key} that is a list of {kind.__name__}.")
        if len(values) > LARGEST_VOCABULARY or (length is not None and len(values) != length):
            raise TokenizerError(f"The GGUF file's tokenizer.{key} has {len(values)} entries, which does not fit.")
        return list(values)

    def token_id(self, name: str, n: int) -> int | None:
        value = self.get(f"ggml.{name}_token_id", int)
        if value is not None and not 0 <= value < n:
            raise TokenizerError(f"The GGUF file's {name} token has the id {value}, but there are only {n} tokens.")
        return value


def read_gguf(values: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, Spelling, Extras]:
    """The parts of a Tokenizer. Raises TokenizerError."""
    metadata = Metadata(values)
    model = metadata.get("ggml.model", str)
    if model not in _READERS:
        raise TokenizerError(
            f"The GGUF file's tokenizer model is {model!r}, which is not supported; gpt2 and llama are."
        )
    tokens = metadata.listed("ggml.tokens", str)
    if not tokens:
        raise TokenizerError("The GGUF file's tokenizer has no tokens.")
    backend, spelling, adds_bos = _READERS[model](metadata, tokens)
    _add_special(backend, tokens, _types(metadata, len(tokens)))
    return backend, spelling, _extras(metadata, tokens, adds_bos)


def _types(metadata: Metadata, n: int) -> list[int]:
    if "tokenizer.ggml.token_type" not in metadata.values:
        return [NORMAL] * n
    return metadata.listed("ggml.token_type", int, n)


def _add_special(backend: tokenizers.Tokenizer, tokens: list[str], types: list[int]) -> None:
    """Control tokens are never cut; user-defined ones neither, but they are text."""
    named = list(zip(tokens, types, strict=True))
    control = [AddedToken(token, normalized=False, special=True) for token, kind in named if kind == CONTROL and token]
    plain = [AddedToken(token, normalized=False) for token, kind in named if kind == USER_DEFINED and token]
    backend_call("take its special tokens", lambda: (backend.add_special_tokens(control), backend.add_tokens(plain)))


def _extras(metadata: Metadata, tokens: list[str], adds_bos: bool) -> Extras:
    n = len(tokens)
    ids = {name: metadata.token_id(name, n) for name in ("bos", "eos", "eot", "eom", "unknown", "padding")}
    ends = [ids[name] for name in ("eos", "eot", "eom")]
    named = {_TEMPLATE_NAMES[name]: tokens[i] for name, i in ids.items() if i is not None and name in _TEMPLATE_NAMES}
    return Extras(
        bos_id=ids["bos"],
        eos_ids=tuple(dict.fromkeys(i for i in ends if i is not None)),
        prefix=_around(metadata, "add_bos_token", adds_bos, ids["bos"]),
        suffix=_around(metadata, "add_eos_token", False, ids["eos"]),
        chat_template=metadata.get("chat_template", str),
        named=named,
    )


_TEMPLATE_NAMES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def _around(metadata: Metadata, key: str, default: bool, token: int | None) -> tuple[int, ...]:
    return (token,) if metadata.get(f"ggml.{key}", bool, default) and token is not None else ()


Parts = tuple[tokenizers.Tokenizer, Spelling, bool]


def _byte_level(metadata: Metadata, tokens: list[str]) -> Parts:
    pre = metadata.get("ggml.pre", str)
    if pre not in PRE_TOKENIZERS:
        named = f"is {pre!r}, which is not known" if pre is not None else "is missing"
        raise TokenizerError(
            f"The GGUF file's tokenizer.ggml.pre {named}, so text would be cut wrongly; use a safetensors folder "
            "of the model."
        )
    merges = [_halves(merge) for merge in metadata.listed("ggml.merges", str)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    backend = backend_call(
        "be built from the GGUF file",
        lambda: tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre in IGNORE_MERGES)),
    )
    splits = [pre_tokenizers.Split(Regex(split), "isolated") for split in PRE_TOKENIZERS[pre]]
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_only])
    backend.decoder = decoders.ByteLevel()
    return backend, Spelling("byte-level"), pre in BOS_BY_DEFAULT


def _halves(merge: str) -> tuple[str, str]:
    """The two parts of a merge rule; the first may itself begin with a space."""
    cut = merge.find(" ", 1)
    if cut < 0:
        raise TokenizerError(f"The GGUF file's merge {merge[:40]!r} has no two parts; fetch the file again.")
    return merge[:cut], merge[cut + 1 :]


def _sentencepiece(metadata: Metadata, tokens: list[str]) -> Parts:
    scores = metadata.listed("ggml.scores", float, len(tokens))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    unknown = metadata.token_id("unknown", len(tokens))
    merges = _merges(vocabulary, scores, _types(metadata, len(tokens)))
    model = backend_call(
        "be built from the GGUF file",
        lambda: models.BPE(
            vocab=vocabulary,
            merges=merges,
            unk_token=None if unknown is None else tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        ),
    )
    prefixed = metadata.get("ggml.add_space_prefix", bool, True)
    backend = tokenizers.Tokenizer(model)
    marks = [normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), *marks] if prefixed else marks)
    strip = [decoders.Strip(" ", 1, 0)] if prefixed else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend, Spelling("sentencepiece", strip=int(prefixed)), True


def _merges(vocabulary: Mapping[str, int], scores: list[float], types: list[int]) -> list[tuple[str, str]]:
    """SentencePiece joins the two neighbours whose union scores best: every split of a piece is a merge rule."""
    ranked = []
    for piece, number in vocabulary.items():
        if types[number] not in (NORMAL, USER_DEFINED, UNUSED):
            continue
        if len(piece) > LONGEST_PIECE or not math.isfinite(scores[number]):
            raise TokenizerError(f"The GGUF file's token {number} is damaged; fetch the file again.")
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-scores[number], vocabulary[left], vocabulary[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


_READERS: dict[str, Callable[[Metadata, list[str]], Parts]] = {"gpt2": _byte_level, "llama": _sentencepiece}
