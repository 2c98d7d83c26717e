"""Text to token ids and back, the pieces with their bytes for the token strip, and the chat template."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from engine.chat import render
from engine.errors import TokenizerError
from engine.frames import Piece
from engine.spelling import Spelling

LARGEST_FILE = 256 * 2**20  # bytes; the largest published tokenizer.json has about 35 million
LONGEST_TEXT = 8_000_000  # characters
LARGEST_ID = 2**31


@dataclass(frozen=True)
class Extras:
    """What a tokenizer knows besides its vocabulary.

    ``prefix`` and ``suffix`` are the ids put around a text where the vocabulary's own template does not do it;
    ``named`` are special tokens by the name chat templates use (``bos_token``, ``eos_token``, ...).
    """

    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    chat_template: str | None = None
    named: Mapping[str, str] = field(default_factory=dict)


class Tokenizer:
    """A vocabulary with everything around it.

    A model may have more rows than ``n_vocab`` (padding); their ids have no text, so they decode to nothing.
    """

    def __init__(self, backend: tokenizers.Tokenizer, spelling: Spelling, extras: Extras) -> None:
        self._backend = backend
        self._spelling = spelling
        self._extras = extras
        added = backend.get_added_tokens_decoder()
        self.special_ids = frozenset(i for i, token in added.items() if token.special)
        self.bos_id = extras.bos_id
        self.eos_ids = extras.eos_ids

    @classmethod
    def from_folder(cls, path: str | Path) -> Tokenizer | None:
        """From ``tokenizer.json`` and the files beside it; None where the folder has no tokenizer at all.

        Raises TokenizerError where the files are malformed, too large or of a kind that is not supported.
        """
        from engine.tokenizer_folder import read_folder

        found = read_folder(Path(path))
        return None if found is None else cls(*found)

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """From the metadata of a GGUF file, by full key (``tokenizer.ggml.tokens``: list[str], ...).

        Raises TokenizerError where keys are missing or wrong, and for a model or ``pre`` that is not supported.
        """
        from engine.tokenizer_gguf import read_gguf

        return cls(*read_gguf(metadata))

    @cached_property
    def n_vocab(self) -> int:
        """The largest id plus one. Asking every token takes a third of a second for Gemma's 262 thousand."""
        return max(self._backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def has_chat_template(self) -> bool:
        return self._extras.chat_template is not None

    def encode(self, text: str, special: bool = True) -> list[int]:
        """The ids of a text, with what the model adds around it (a begin-of-sequence token) if ``special``.

        Special tokens that are written out in the text become their ids either way.
        Raises TokenizerError for what is not Unicode text, and beyond LONGEST_TEXT characters.
        """
        _check_text(text)
        ids = backend_call("encode this text", lambda: self._backend.encode(text, add_special_tokens=special).ids)
        return [*self._extras.prefix, *ids, *self._extras.suffix] if special else ids

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD. Raises TokenizerError for what is not an id."""
        checked = [_checked_id(token) for token in ids]
        decode = self._backend.decode
        return backend_call("decode these ids", lambda: decode(checked, skip_special_tokens=skip_special))

    def piece(self, token: int, start: int = 0, *, first: bool = False) -> Piece:
        """One id as a piece at byte ``start``; ``first`` where it opens a text, as some lose a space there."""
        token = _checked_id(token)
        spelled = self._backend.id_to_token(token)
        raw = b"" if spelled is None else self._spelling.raw(spelled, first)
        text = raw.decode("utf-8", "replace")
        return Piece(token, text, raw, start, start + len(raw), token in self.special_ids)

    def pieces(self, ids: Iterable[int]) -> tuple[Piece, ...]:
        """All pieces of a sequence; their bytes in a row are the bytes of its text."""
        stream = PieceStream(self)
        return tuple(stream.add(token) for token in ids)

    def token_of(self, text: str) -> int:
        """The one token whose text this is. Raises TokenizerError where there is none."""
        ids = self.encode(text, special=False)
        wanted = text.encode()
        if len(ids) == 1 and self.piece(ids[0]).raw == wanted:
            return ids[0]
        found = next((i for i in range(self.n_vocab) if self.piece(i).raw == wanted), None) if wanted else None
        if found is None:
            raise TokenizerError(
                f"{text!r:.60} is {len(ids)} tokens to this model, and one is needed{self._named(ids)}; type a shorter "
                "text, or with a space before it."
            )
        return found

    def _named(self, ids: Sequence[int]) -> str:
        """The first tokens of a text: " (they are “ze”, “bra”)"."""
        names = [f"“{self.vocabulary_text(token)}”" for token in ids[:_MOST_NAMED]]
        more = ["…"] if len(ids) > _MOST_NAMED else []
        return f" (they are {', '.join([*names, *more])})" if len(ids) > 1 else ""

    def vocabulary_text(self, token: int) -> str:
        """A short name of an id: its text, its bytes in hexadecimal where they are no text, or its number."""
        piece = self.piece(token)
        if not piece.raw:
            return f"#{token}"
        text = piece.text if "\ufffd" not in piece.text else " ".join(f"{byte:02X}" for byte in piece.raw)
        return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"

    def chat(self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = True) -> str:
        """A conversation as the model was trained to read it; encode it with ``special=False``.

        ``messages`` are tables with ``role`` and ``content``. Raises TokenizerError without a template, and where it
        refuses the messages or misbehaves.
        """
        if self._extras.chat_template is None:
            raise TokenizerError("This model has no chat template; turn the chat template off.")
        variables: dict[str, Any] = {**self._extras.named, "tools": None, "documents": None}
        variables["add_generation_prompt"] = add_generation_prompt
        return render(self._extras.chat_template, messages, variables)


_SHORT = 32  # characters
_MOST_NAMED = 8  # tokens, in an error


class PieceStream:
    """The pieces of a sequence that grows: one token costs the same however long it is."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._end = 0
        self._first = True

    def add(self, token: int) -> Piece:
        """The piece of the next token."""
        piece = self._tokenizer.piece(token, self._end, first=self._first)
        self._end, self._first = piece.end, False
        return piece

    def go_back(self, last: Piece) -> None:
        """Stand behind a piece that was given before: the ones after it are no part of the sequence any more."""
        self._end = last.end


def backend_call(task: str, work: Any) -> Any:
    """Run ``work`` of the ``tokenizers`` library; whatever it raises, a Rust panic too, becomes a TokenizerError."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit, TokenizerError):
        raise
    except BaseException as error:  # a panic is no Exception
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TokenizerError(f"The tokenizer cannot {task} ({reason}); its files may be damaged.") from error


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise TokenizerError(f"Only text can be encoded, not a {type(text).__name__}.")
    if len(text) > LONGEST_TEXT:
        raise TokenizerError(f"The text has {len(text)} characters; at most {LONGEST_TEXT} are encoded at once.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"The text holds half of a surrogate pair at character {error.start}, which is no Unicode; take it out."
        ) from error


def _checked_id(token: object) -> int:
    if isinstance(token, bool) or not hasattr(token, "__index__"):
        raise TokenizerError(f"{token!r} is not a token id; whole numbers are.")
    number = token.__index__()
    if not 0 <= number < LARGEST_ID:
        raise TokenizerError(f"{number} is not a token id; ids lie between 0 and {LARGEST_ID - 1}.")
    return number


def read_json(path: Path) -> Any:
    """A JSON file of at most LARGEST_FILE bytes. Raises TokenizerError."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{path.name} is not valid JSON ({error}); fetch the model again.") from error


def read_table(path: Path) -> dict[str, Any]:
    """A JSON table; an empty one where there is no such file. Raises TokenizerError."""
    if not path.is_file():
        return {}
    values = read_json(path)
    if not isinstance(values, dict):
        raise TokenizerError(f"{path.name} holds {json.dumps(values)[:40]} where a table is needed; fetch it again.")
    return values


def read_text(path: Path) -> str:
    """A UTF-8 file of at most LARGEST_FILE bytes. Raises TokenizerError."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise TokenizerError(f"{path.name} has {size} bytes; at most {LARGEST_FILE} are read.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TokenizerError(f"{path.name} cannot be read ({error}); fetch the model again.") from error
