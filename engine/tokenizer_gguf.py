"""A tokenizer rebuilt from the metadata of a GGUF file.

The keys are those of github.com/ggml-org/ggml docs/gguf.md under ``tokenizer.``. Two kinds are read: ``gpt2``
(byte-level BPE, whose split is named by ``tokenizer.ggml.pre``) and ``llama`` (SentencePiece BPE). What the file does
not say and the architecture's name implies is in ``SENTENCEPIECE_DIALECTS``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers

from engine.errors import TokenizerError
from engine.pre_tokenizers import BOS_BY_DEFAULT, COMPOSES, IGNORE_MERGES, PRE_TOKENIZERS, splitter
from engine.spelling import Spelling
from engine.tokenizer import Extras, backend_call
from engine.tokenizer_sentencepiece import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary, build

LARGEST_VOCABULARY = 2**22
# Tokens that end a turn or a message, by their text: most files name only the end of a text. The list is llama.cpp's.
TURN_ENDS = frozenset(
    (
        *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>"),
        *("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<EOT>"),
    )
)


@dataclass(frozen=True)
class Dialect:
    """What an architecture's SentencePiece vocabulary means beyond the metadata.

    ``prefixed``: the default of ``add_space_prefix``. ``scored``: pieces are joined by score, else in the order of
    their ids. ``keeps_space``: the special tokens that leave the white space after them; None means all.
    """

    prefixed: bool = True
    scored: bool = True
    keeps_space: frozenset[str] | None = None


_GEMMA = Dialect(prefixed=False, scored=False)
SENTENCEPIECE_DIALECTS = {
    "gemma": _GEMMA,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "phi3": Dialect(keeps_space=frozenset({"<unk>", "<s>", "<|endoftext|>"})),
}


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
        kinds = (int, float) if kind is float else kind
        if not isinstance(values, (list, tuple)) or not all(isinstance(value, kinds) for value in values):
            raise TokenizerError(f"The GGUF file has no tokenizer.{key} that is a list of {kind.__name__}.")
        if len(values) > LARGEST_VOCABULARY or (length is not None and len(values) != length):
            raise TokenizerError(f"The GGUF file's tokenizer.{key} has {len(values)} entries, which does not fit.")
        return list(values)

    def token_id(self, name: str, n: int) -> int | None:
        value = self.get(f"ggml.{name}_token_id", int)
        if value is not None and not 0 <= value < n:
            raise TokenizerError(f"The GGUF file's {name} token has the id {value}, but there are only {n} tokens.")
        return value

    @property
    def dialect(self) -> Dialect:
        architecture = self.values.get("general.architecture")
        return SENTENCEPIECE_DIALECTS.get(architecture, Dialect()) if isinstance(architecture, str) else Dialect()


@dataclass(frozen=True)
class Parts:
    """What one kind of vocabulary gives: ``whole`` are the user-defined tokens that text is searched for."""

    backend: tokenizers.Tokenizer
    spelling: Spelling
    adds_bos: bool
    whole: list[AddedToken]
    special: list[AddedToken]


def read_gguf(values: Mapping[str, Any]) -> tuple[tokenizers.Tokenizer, Spelling, Extras]:
    """The parts of a Tokenizer. Raises TokenizerError."""
    metadata = Metadata(values)
    model = metadata.get("ggml.model", str)
    if model not in _READERS:
        raise TokenizerError(
            f"The GGUF file's tokenizer model is {model!r}, which is not supported; gpt2 and llama are."
        )
    tokens = metadata.listed("ggml.tokens", str)
    kinds = _kinds(metadata, tokens)
    parts = _READERS[model](metadata, tokens, kinds)
    backend = parts.backend
    backend_call(
        "take its special tokens", lambda: (backend.add_special_tokens(parts.special), backend.add_tokens(parts.whole))
    )
    return backend, parts.spelling, _extras(metadata, tokens, kinds, parts.adds_bos)


def _kinds(metadata: Metadata, tokens: list[str]) -> list[int]:
    """The type of each token. Raises TokenizerError where there are no tokens, or one twice."""
    if not tokens:
        raise TokenizerError("The GGUF file's tokenizer has no tokens.")
    if len(set(tokens)) != len(tokens):
        token, count = Counter(tokens).most_common(1)[0]
        if token:
            raise TokenizerError(f"The GGUF file has the token {token[:40]!r} {count} times; fetch the file again.")
    if "tokenizer.ggml.token_type" not in metadata.values:
        return [NORMAL] * len(tokens)
    return metadata.listed("ggml.token_type", int, len(tokens))


def _added(tokens: list[str], kinds: list[int], wanted: int, dialect: Dialect | None = None) -> list[AddedToken]:
    """The tokens of one type; they stand for themselves, whatever the normalizer does."""
    keeps = dialect.keeps_space if dialect is not None else None
    return [
        AddedToken(
            token, normalized=False, special=wanted != USER_DEFINED, rstrip=keeps is not None and token not in keeps
        )
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == wanted and token
    ]


def _extras(metadata: Metadata, tokens: list[str], kinds: list[int], adds_bos: bool) -> Extras:
    n = len(tokens)
    ids = {name: metadata.token_id(name, n) for name in ("bos", "eos", "eot", "eom", "unknown", "padding")}
    ends = [ids["eos"], ids["eot"], ids["eom"], *_turn_ends(tokens, kinds)]
    named = {_TEMPLATE_NAMES[name]: tokens[i] for name, i in ids.items() if i is not None and name in _TEMPLATE_NAMES}
    return Extras(
        bos_id=ids["bos"],
        eos_ids=tuple(dict.fromkeys(i for i in ends if i is not None)),
        prefix=_around(metadata, "bos", adds_bos, ids["bos"]),
        suffix=_around(metadata, "eos", False, ids["eos"]),
        chat_template=metadata.get("chat_template", str),
        named=named,
    )


_TEMPLATE_NAMES = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def _turn_ends(tokens: list[str], kinds: list[int]) -> list[int]:
    """gpt-oss ends each of several messages of a turn with <|end|>, and the turn with <|return|> or <|call|>."""
    found = {token: i for i, token in enumerate(tokens) if token in TURN_ENDS and kinds[i] in (CONTROL, USER_DEFINED)}
    if {"<|return|>", "<|call|>"} <= found.keys():
        found.pop("<|end|>", None)
    return list(found.values())


def _around(metadata: Metadata, name: str, default: bool, token: int | None) -> tuple[int, ...]:
    """The id that is put before or after a text."""
    asked = metadata.get(f"ggml.add_{name}_token", bool)
    if asked and token is None:
        raise TokenizerError(f"The GGUF file says add_{name}_token but names no {name} token; fetch the file again.")
    return (token,) if token is not None and (default if asked is None else asked) else ()


def _byte_level(metadata: Metadata, tokens: list[str], kinds: list[int]) -> Parts:
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
    if pre in COMPOSES:
        backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = splitter(PRE_TOKENIZERS[pre])
    backend.decoder = decoders.ByteLevel()
    special = [*_added(tokens, kinds, CONTROL), *_added(tokens, kinds, UNKNOWN)]
    whole = _added(tokens, kinds, USER_DEFINED)
    return Parts(backend, Spelling("byte-level"), pre in BOS_BY_DEFAULT, whole, special)


def _halves(merge: str) -> tuple[str, str]:
    """The two parts of a merge rule; the first may itself begin with a space."""
    cut = merge.find(" ", 1)
    if cut < 0:
        raise TokenizerError(f"The GGUF file's merge {merge[:40]!r} has no two parts; fetch the file again.")
    return merge[:cut], merge[cut + 1 :]


def _sentencepiece(metadata: Metadata, tokens: list[str], kinds: list[int]) -> Parts:
    dialect = metadata.dialect
    scores = metadata.listed("ggml.scores", float, len(tokens)) if dialect.scored else None
    unknown = metadata.token_id("unknown", len(tokens))
    prefixed = metadata.get("ggml.add_space_prefix", bool, dialect.prefixed)
    pieces, spaces = _with_marks(tokens) if not dialect.scored else (tokens, frozenset[str]())
    vocabulary = Vocabulary(pieces, kinds, scores, unknown, prefixed)
    backend, spelling = backend_call("be built from the GGUF file", lambda: build(vocabulary))
    # runs of spaces are left to merging, as in the published tokenizer
    whole = [token for token in _added(tokens, kinds, USER_DEFINED, dialect) if token.content not in spaces]
    special = [*_added(tokens, kinds, CONTROL, dialect), *_added(tokens, kinds, UNKNOWN, dialect)]
    return Parts(backend, spelling, True, whole, special)


def _with_marks(tokens: list[str]) -> tuple[list[str], frozenset[str]]:
    """Gemma's runs of spaces are stored as real spaces; text has marks in their place when it is looked up."""
    known = set(tokens)
    spaces = frozenset(token for token in known if token and not token.strip(" ") and "▁" * len(token) not in known)
    return ["▁" * len(token) if token in spaces else token for token in tokens], spaces


_READERS: dict[str, Callable[[Metadata, list[str], list[int]], Parts]] = {
    "gpt2": _byte_level,
    "llama": _sentencepiece,
}
