"""Tokens that a user names: by number, or by text, which the worker's tokenizer is asked for."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication

from app.run import Run, written
from engine.errors import EngineError
from engine.frames import ModelFrame, TokenFound

_QUOTES = '“”"'
_MOST_DIGITS = 9


def tr(text: str) -> str:
    return QCoreApplication.translate("tokens", text)


class Unasked(EngineError):  # noqa: N818
    """The tokenizer has not been asked for ``text`` yet."""

    def __init__(self, text: str) -> None:
        super().__init__(tr("The model's tokenizer is asked for “{0}”.").format(text[:40]))
        self.text = text


class TokenTexts:
    """What is known of the texts of a model's tokens: those of the run, and those that were asked for."""

    def __init__(self, run: Callable[[], Run]) -> None:
        self._run = run
        self._model: ModelFrame | None = None  # that ``_ids`` are of
        self._ids: dict[str, int] = {}

    def id(self, text: str) -> int:
        """The id of a token by its number, or by its text; a number in quotation marks is a text.

        Raises EngineError, a sentence, where there is no such token, and Unasked where only the tokenizer knows.
        """
        model, bare = self._run().model, text.strip(_QUOTES)
        if bare == text and text.isascii() and text.isdigit():
            if model is not None and len(text) <= _MOST_DIGITS and int(text) < model.d_vocab:
                return int(text)
            raise EngineError(tr("The vocabulary of this model has no token {0}.").format(text[:20]))
        if not bare:
            raise EngineError(tr("Which token is meant is not said; type its text or its number."))
        if model is not self._model:
            self._model, self._ids = model, {}
        typed = bare.replace("␣", " ")
        found = self._ids.get(typed, self._seen(bare))
        if found is None:
            raise Unasked(typed)
        return found

    def take(self, answer: TokenFound) -> None:
        """What the tokenizer says."""
        if answer.id is not None:
            self._ids[answer.text] = answer.id

    def _seen(self, bare: str) -> int | None:
        """Among the tokens that have come up in the run, as they are or as they are written."""
        run = self._run()
        known = (*run.pieces, *(piece for step in run.steps for piece in step.candidates))
        raw = bare.encode("utf-8", "replace")
        return next((piece.id for piece in known if bare == written(piece) or raw == piece.raw), None)
