"""A SentencePiece BPE vocabulary (pieces with scores, bytes as <0x41>) as a tokenizer of the ``tokenizers`` library.

SentencePiece joins the two neighbours whose union scores best and needs no merge rules; the library wants them. So
every split of a piece into two pieces becomes a rule, the best pieces first, the longer left half first. That takes
about 2 seconds for Gemma's 256 thousand pieces; a stored tokenizer.json would take as long to read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, normalizers

from engine.errors import TokenizerError
from engine.spelling import Spelling

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # of SentencePiece and tokenizer.ggml.token_type
LONGEST_PIECE = 1024  # characters; SentencePiece itself stops at 16 unless told otherwise
_JOINED = frozenset({NORMAL, USER_DEFINED, UNUSED})  # pieces that merging may make


@dataclass(frozen=True)
class Vocabulary:
    """Pieces by id with their ``kinds`` and ``scores`` (higher is joined first); ``unknown`` is an id.

    ``scores`` None means that the earlier piece is joined first. ``prefixed``: a space is put before a text, and
    before what follows a special token.
    """

    pieces: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] | None
    unknown: int | None
    prefixed: bool


def build(vocabulary: Vocabulary) -> tuple[tokenizers.Tokenizer, Spelling]:
    """The tokenizer without its special tokens, and how it spells. Raises TokenizerError for a damaged piece."""
    numbers = {piece: number for number, piece in enumerate(vocabulary.pieces)}
    unknown = None if vocabulary.unknown is None else vocabulary.pieces[vocabulary.unknown]
    rules = merges(numbers, _joined_first_to_last(vocabulary))
    model = models.BPE(vocab=numbers, merges=rules, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    backend = tokenizers.Tokenizer(model)
    prefix = [normalizers.Prepend("▁")] if vocabulary.prefixed else []
    backend.normalizer = normalizers.Sequence([*prefix, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if vocabulary.prefixed else []
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return backend, Spelling("sentencepiece", strip=int(vocabulary.prefixed))


def merges(numbers: Mapping[str, int], pieces: Sequence[str]) -> list[tuple[str, str]]:
    """The rules that make ``pieces``, in their order, out of halves that are in the vocabulary."""
    return [
        (left, right)
        for piece in pieces
        for cut in range(len(piece) - 1, 0, -1)
        if (left := piece[:cut]) in numbers and (right := piece[cut:]) in numbers
    ]


def _joined_first_to_last(vocabulary: Vocabulary) -> list[str]:
    pieces, scores = vocabulary.pieces, vocabulary.scores
    joined = [number for number, kind in enumerate(vocabulary.kinds) if kind in _JOINED]
    for number in joined:
        # a comparison with NaN is false
        if len(pieces[number]) > LONGEST_PIECE or not (scores is None or abs(scores[number]) < float("inf")):
            raise TokenizerError(f"The vocabulary's token {number} is damaged; fetch the model again.")
    if scores is not None:
        joined.sort(key=scores.__getitem__, reverse=True)  # stable: the earlier of two equal ones stays first
    return [pieces[number] for number in joined]
