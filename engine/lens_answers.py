"""Answers about the logit lens: a window of positions, or everything about one; recomputed from the recorded stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import questions as ask
from engine.errors import EngineError
from engine.frames import Lens, LensColumn, Piece
from engine.gate import Answering
from engine.lens import Reading, Wanted

if TYPE_CHECKING:
    from engine.session import Session

_PARTIAL_SECONDS = 0.1  # between two answers that are not whole yet
_MOST_COLUMNS = 128
_MOST_TOP = 64
_MOST_WORDS = 16


def lens(session: Session, question: ask.AskLens) -> Answering:
    """A window of positions, the newest first; what is read so far in between. EngineError for a bad window."""
    start, end = _window(session, question)
    shown = -_PARTIAL_SECONDS  # the first column is shown at once
    for position in reversed(range(start, end)):
        yield from _read(session, position, follow=False)
        if time.monotonic() - shown > _PARTIAL_SECONDS:
            shown = time.monotonic()
            yield _lens(session, start, end)
    return _lens(session, start, end)


def lens_column(session: Session, question: ask.AskLensColumn) -> Answering:
    """One position, with tokens followed over depth. Raises EngineError for a token that is not in the vocabulary."""
    _check_column(session, question)
    kept = session.lens
    kept.words, kept.top = question.words, max(kept.top, question.top)
    position = max(0, n_shown(session) - 1) if question.position is None else question.position
    yield from _read(session, position, follow=True)
    rows = _wanted(session, position, follow=True).rows
    reading = kept.columns.get(position) if rows else None
    return _nothing(session, position) if reading is None else _column(session, position, reading, question.top)


def _window(session: Session, question: ask.AskLens) -> tuple[int, int]:
    """Positions [start, end) of those that are there to be read."""
    if not 1 <= question.count <= _MOST_COLUMNS:
        raise EngineError(f"{question.count} positions were asked for at once; 1 to {_MOST_COLUMNS} can be shown.")
    if question.start is not None and question.start < 0:
        raise EngineError(f"Position {question.start} does not exist; positions count from 0.")
    n = n_shown(session)
    start = max(0, n - question.count) if question.start is None else min(question.start, n)
    return start, min(start + question.count, n)


def _check_column(session: Session, question: ask.AskLensColumn) -> None:
    if not 1 <= question.top <= _MOST_TOP:
        raise EngineError(f"The {question.top} most probable tokens were asked for; 1 to {_MOST_TOP} can be shown.")
    if len(question.words) > _MOST_WORDS:
        raise EngineError(f"{len(question.words)} tokens were to be followed over depth; {_MOST_WORDS} can be.")
    known = session.loaded.config.d_vocab
    wrong = [word for word in question.words if not 0 <= word < known]
    if wrong:
        raise EngineError(f"The token id {wrong[0]} is not in this model's vocabulary of {known:,}.")


def _read(session: Session, position: int, *, follow: bool) -> Iterator[None]:
    """Read a column, as far as the pass has come; yields between slices of the work."""
    wanted = _wanted(session, position, follow=follow)
    if wanted.rows:
        yield from session.lens.reading(wanted, lambda: session.trace.column(position), session.loaded.model)


def _wanted(session: Session, position: int, *, follow: bool) -> Wanted:
    """A new column is read with what the user follows, whoever wants it: the other who does shares the work."""
    kept, total = session.lens, session.loaded.config.n_layers + 1
    n = n_shown(session)
    rows = sum(1 for reach in session.trace.reach if reach > position) if position < n else 0
    reading = kept.columns.get(position)
    new = position == n - 1 and rows == total and (reading is None or not reading.wanted.whole)
    next_id = _token(session, position + 1)
    words, edits = kept.words if follow or new else None, len(session.trace.edits(position))
    return Wanted(position, rows, rows == total, next_id, kept.top, words, edits)


def n_shown(session: Session) -> int:
    """Positions that are read; those of a pass under way only while it is stopped: else it is ahead of its readings."""
    moving = session.gate is not None and session.gate.where.state == "running"
    return session.cache.length if moving else session.n_read


def _token(session: Session, position: int) -> int:
    """The id at a position of the text; -1 where there is none yet."""
    index = position - len(session.prompt)
    if index < 0:
        return session.prompt[position]
    return session.output[index] if index < len(session.output) else -1


def _lens(session: Session, start: int, end: int) -> Lens:
    """What is read by now of positions [start, end)."""
    rows, count = session.loaded.config.n_layers + 1, end - start
    ids = np.full((rows, count), -1, np.int64)
    figures: dict[str, Any] = {name: np.full((rows, count), np.nan, np.float32) for name in _FIGURES}
    next_rank, settled = np.full((rows, count), -1, np.int64), np.full(count, -1, np.int64)
    for column in range(count):
        reading = session.lens.columns.get(start + column)
        if reading is None:
            continue
        known = reading.wanted.rows
        ids[:known, column], next_rank[:known, column] = reading.ids[:, 0], reading.next_rank
        for name, figure in figures.items():
            values = getattr(reading, name)
            figure[:known, column] = values[:, 0] if values.ndim == 2 else values
        settled[column] = reading.settled()
    next_ids = np.array([_token(session, position + 1) for position in range(start, end)], np.int64)
    pieces = pieces_of(session, {*ids.flatten().tolist(), *next_ids.tolist()} - {-1})
    n_total = n_shown(session)
    return Lens(start, n_total, ids, **figures, next_ids=next_ids, next_rank=next_rank, settled=settled, pieces=pieces)


_FIGURES = ("probabilities", "next_probability", "entropy", "divergence")


def _column(session: Session, position: int, reading: Reading, top: int) -> LensColumn:
    ids = reading.ids[:, :top]
    shown = {*ids.flatten().tolist(), *reading.words.tolist()}
    return LensColumn(
        position=position,
        rows_total=session.loaded.config.n_layers + 1,
        ids=ids,
        logits=reading.logits[:, :top],
        probabilities=reading.probabilities[:, :top],
        entropy=reading.entropy,
        divergence=reading.divergence,
        next_id=reading.wanted.next_id,
        next_probability=reading.next_probability,
        next_rank=reading.next_rank,
        words=reading.words,
        word_probability=reading.word_probability,
        word_rank=reading.word_rank,
        settled=reading.settled(),
        pieces=pieces_of(session, {*shown, reading.wanted.next_id} - {-1}),
    )


def _nothing(session: Session, position: int) -> LensColumn:
    """Of a position that no layer has read."""
    figures, ids = np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int64)
    row, whole = np.zeros(0, np.float32), np.zeros(0, np.int64)
    total = session.loaded.config.n_layers + 1
    return LensColumn(
        position, total, ids, figures, figures, row, row, -1, row, whole, whole, figures, ids, -1, (), source=""
    )


def pieces_of(session: Session, ids: Iterable[int]) -> tuple[Piece, ...]:
    """These tokens by themselves, by rising id."""
    return tuple(map(session.vocabulary_piece, sorted(ids)))
