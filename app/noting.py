"""Notes and bookmarks: the commands about them, and what becomes of them with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from app.asking import ask_where_last
from app.export import atomically
from app.layouts import Workspace
from app.note_words import as_csv, as_text, full_text, place_text
from app.notes import Note, at, branch_of, from_marks, present, sound, to_marks
from app.notices import OpenedFrame
from app.panels.notes import NotesPanel
from app.panels.panel import Context
from app.preferences import Preferences
from app.provenance import facts_of_window
from engine.frames import BackFrame, EndFrame, ModelFrame, Piece, RunFrame, StepFrame, SwitchedFrame, TreeFrame
from engine.run_file_facts import MOST_MARKS, Mark

_MOVES = (ModelFrame, RunFrame, StepFrame, BackFrame, SwitchedFrame, TreeFrame, EndFrame)


class Marking(Protocol):
    """What is needed of the worker."""

    def set_marks(self, notes: tuple[Mark, ...], bookmarks: tuple[Mark, ...]) -> None: ...


class Noting(QObject):
    """Public methods without an argument are the commands of their names.

    ``changed``: other commands are possible; ``said``: a line for the status bar; ``failed``: one sentence.
    """

    changed = Signal()
    said = Signal(str)
    failed = Signal(str)

    def __init__(
        self,
        context: Context,
        worker: Marking,
        workspace: Workspace,
        preferences: Preferences,
        switch: Callable[[int], None],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._context, self._worker, self._workspace = context, worker, workspace
        self._preferences, self._switch, self._window = preferences, switch, window
        self._arriving: OpenedFrame | None = None
        self._restored: tuple[Note, ...] = ()  # notes of the last session
        self._prompt: tuple[Piece, ...] = ()
        self._awaited: int | None = None  # the number of one whose branch is on its way
        self._last: int | None = None  # the one that was gone to last
        dock = workspace.docks.get(NotesPanel.key)
        self._panel = dock.panel if dock is not None and isinstance(dock.panel, NotesPanel) else None
        if self._panel is not None:
            self._panel.jump_asked.connect(self.jump)
            self._panel.bookmark_asked.connect(self.bookmark)
            self._panel.copy_asked.connect(self._copy)
            self._panel.save_asked.connect(self._save)
        context.notes.changed.connect(self._tell)

    # ---- commands ------------------------------------------------------------------------------------------------

    def bookmark(self) -> None:
        """Mark the pinned token, layer and head, or no more."""
        notes, run = self._context.notes, self._context.run
        here = at(run, self._context.cursor.pinned)
        there = [n.number for n in notes if n.bookmark and n.place == here.place and present(n, run)]
        words = place_text(here, self.tr)
        if there:
            notes.remove(there)
            self.said.emit(self.tr("no bookmark any more at {0}").format(words))
        elif notes.add(replace(here, bookmark=True)) is None:
            self.failed.emit(full_text(len(notes), self.tr))
        else:
            self.said.emit(self.tr("bookmark at {0}").format(words))

    def show_marks(self) -> None:
        """The list, and the place to write one."""
        self._workspace.bring_up(NotesPanel.key)
        if self._panel is not None:
            self._panel.begin()

    def next_mark(self) -> None:
        """Go to the note or bookmark after the pinned place."""
        self._step(1)

    def previous_mark(self) -> None:
        """Go to the one before."""
        self._step(-1)

    # ---- going there -----------------------------------------------------------------------------------------------

    def jump(self, number: int) -> None:
        """Pin the place of a note; where another branch has it, stand on that branch first."""
        note, run = self._context.notes.find(number), self._context.run
        if note is None:
            return
        if present(note, run):
            self._pin(note)
        elif (branch := branch_of(note, run)) is not None:
            self._awaited = number
            self._switch(branch)
        else:
            self.failed.emit(self.tr("This run has no {0}.").format(place_text(note, self.tr)))

    def _pin(self, note: Note) -> None:
        names = ("position", "layer", "head")
        where = {name: axis for name, axis in zip(names, note.place, strict=True) if axis is not None}
        self._context.cursor.pin(**where)
        self._last = note.number
        if self._panel is not None:
            self._panel.show_one(note.number)
        text = " ".join(note.text.split())
        self.said.emit(": ".join(filter(None, (place_text(note, self.tr), text))))

    def _step(self, direction: int) -> None:
        run, here = self._context.run, at(self._context.run, self._context.cursor.pinned)
        known = [note for note in self._context.notes if present(note, run)]
        last = next((note for note in known if note.number == self._last and _agrees(note, here)), None)
        now = here.order[:3] if last is None else last.order
        ahead = [note for note in known if _compared(note.order[: len(now)], now) == direction]
        if ahead:
            self._pin(ahead[0] if direction > 0 else ahead[-1])
        else:
            self.said.emit(self.tr("no note further on") if direction > 0 else self.tr("no note further back"))

    # ---- the run -------------------------------------------------------------------------------------------------

    def follow(self, frame: object) -> None:
        """The run is another one, has more tokens, or was taken elsewhere."""
        notes, run = self._context.notes, self._context.run
        if isinstance(frame, OpenedFrame):
            self._arriving = frame
        elif isinstance(frame, ModelFrame) and self._arriving is None:
            notes.put_away(notes.notes)
            if self._restored:
                notes.take(self._restored)
                self._restored = ()
        elif isinstance(frame, RunFrame):
            self._begin(frame)
        if not isinstance(frame, _MOVES) or not len(notes):
            return
        notes.look_up(run)
        if not isinstance(frame, StepFrame) or any((n.position or 0) >= run.n_tokens - 1 for n in notes):
            self._tell()
        if isinstance(frame, SwitchedFrame) and self._awaited is not None:
            awaited, self._awaited = notes.find(self._awaited), None
            if awaited is not None and present(awaited, run):
                self._pin(awaited)

    def _begin(self, frame: RunFrame) -> None:
        """A file has notes of its own; those on tokens of another prompt are put away."""
        notes, arriving = self._context.notes, self._arriving
        same = [piece.id for piece in frame.prompt] == [piece.id for piece in self._prompt]
        self._arriving, self._prompt, self._awaited, self._last = None, frame.prompt, None, None
        if arriving is not None:
            notes.take(from_marks(arriving.notes, arriving.bookmarks))
        elif not same:
            gone = [note for note in notes if note.position is not None or note.once]
            notes.put_away(gone)
            if gone:
                words = self.tr("{0} notes on other tokens were put away; Undo brings them back")
                self.said.emit(words.format(len(gone)))

    def _tell(self) -> None:
        self._worker.set_marks(*to_marks(self._context.notes, self._context.run))
        self.changed.emit()

    # ---- taking along ----------------------------------------------------------------------------------------------

    def restore(self, notes: tuple[Note, ...]) -> None:
        """Those of the last session, with its model, which is just coming; what no place has is left out."""
        places = [note for note in notes if all(axis is None or axis >= 0 for axis in note.place)]
        self._restored = tuple(replace(note, text=sound(note.text)) for note in places[:MOST_MARKS])

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(as_text(self._context.notes, facts_of_window(self._context), self.tr))
        self.said.emit(self.tr("copied all notes"))

    def _save(self) -> None:
        title, kinds = self.tr("Save all notes"), {".txt": self.tr("Text"), ".csv": self.tr("Table")}
        path = ask_where_last(self._preferences, self._window, title, "notes.txt", kinds)
        if path is not None:
            self.save(path)

    def save(self, path: Path) -> None:
        """All of them: .csv as a table, every other name as text."""
        notes, facts = self._context.notes, facts_of_window(self._context)
        text = as_csv(notes, facts) if path.suffix.lower() == ".csv" else as_text(notes, facts, self.tr)
        try:
            atomically(path, text.encode())
        except OSError as error:
            self.failed.emit(self.tr("The file {0} could not be written: {1}.").format(path, error.strerror or error))
        else:
            self.said.emit(self.tr("saved the notes as {0}").format(path.name))


def _compared(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """1 where it comes after the other, -1 before, 0 at the same place."""
    return (one > other) - (one < other)


def _agrees(note: Note, here: Note) -> bool:
    """Whether one looks at the place of the note."""
    return all(axis is None or axis == pinned for axis, pinned in zip(note.place, here.place, strict=True))
