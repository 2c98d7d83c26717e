"""Notes and bookmarks on tokens, layers and heads: what there is, where it is, one more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from app.note_words import full_text, kind_text, place_text, whereabouts
from app.notes import LONGEST_TEXT, Note, at, present, sound
from app.panels.panel import Context, Panel
from app.widgets.flow import FlowLayout
from app.widgets.note_form import NoteForm
from app.widgets.note_table import NoteTable, Row
from app.widgets.pages import Pages, fill


class NotesPanel(Panel):
    """What is done here is done to ``context.notes``. ``jump_asked``: the number of one whose place is to be seen;
    ``bookmark_asked``: a bookmark at what is pinned, or no more; ``save_asked``: all of them as a file."""

    key = "notes"
    stands_alone = True
    of_a_run = False
    jump_asked = Signal(int)
    bookmark_asked = Signal()
    copy_asked = Signal()
    save_asked = Signal()

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._changed: int | None = None  # the number of the one whose text is in the form
        self.table, self.form = NoteTable(context.theme), NoteForm()
        self.buttons = {what: QPushButton(text) for what, text in self._texts().items()}
        self._pages = Pages(self._make_list())
        fill(self, self._pages, self.form).setStretch(0, 1)
        self._connect()
        self.restyle()
        self.show_run()

    def _texts(self) -> dict[str, str]:
        return {
            "go": self.tr("Go to"),
            "change": self.tr("Change"),
            "delete": self.tr("Delete"),
            "undo": self.tr("Undo"),
            "copy": self.tr("Copy all"),
            "save": self.tr("Save all…"),
        }

    def _make_list(self) -> QWidget:
        content, bar = QWidget(), QWidget()
        flow = FlowLayout(bar)
        tips = {
            "go": self.tr("Pin the place of the picked one (Enter, or a double click)"),
            "change": self.tr("Change the text of the picked one"),
            "delete": self.tr("Delete what is picked (Delete)"),
            "undo": self.tr("Take back the last change of notes and bookmarks"),
            "copy": self.tr("Copy all notes and bookmarks as text"),
            "save": self.tr("Save all notes and bookmarks as text or CSV"),
        }
        for what, button in self.buttons.items():
            button.setToolTip(tips[what])
            button.setAccessibleName(tips[what])
            flow.addWidget(button)
        fill(content, self.table, bar).setStretch(0, 1)
        return content

    def _connect(self) -> None:
        self.table.chosen.connect(self.jump_asked)
        self.table.removed.connect(self._delete)
        self.table.moved.connect(self._fit_buttons)
        self.form.kept.connect(self._keep)
        self.form.left.connect(self._leave)
        self.form.bookmarked.connect(self.bookmark_asked)
        self.buttons["go"].clicked.connect(self._go)
        self.buttons["change"].clicked.connect(self._change)
        self.buttons["delete"].clicked.connect(self._delete)
        self.buttons["undo"].clicked.connect(self.context.notes.undo)
        self.buttons["copy"].clicked.connect(self.copy_asked)
        self.buttons["save"].clicked.connect(self.save_asked)
        self.context.notes.changed.connect(self._show_notes)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Notes")

    def caption(self) -> str:
        bookmarks = sum(note.bookmark for note in self.context.notes)
        if not len(self.context.notes):
            return ""
        return self.tr("notes: {0}, bookmarks: {1}").format(len(self.context.notes) - bookmarks, bookmarks)

    def show_run(self) -> None:
        self._show_notes()
        self.show_cursor()

    def show_cursor(self) -> None:
        """What a new one would be about."""
        run, look = self.context.run, self.context.cursor.pinned
        here = at(run, look)
        token = "" if here.position is None else place_text(replace(here, layer=None, head=None), self.tr)
        layer, head = self.tr("layer {0}").format(look.layer), self.tr("head {0}").format(look.head)
        known = run.model is not None
        self.form.show_place({"token": token, "layer": layer if known else "", "head": head if known else ""})
        self.form.bookmark.setEnabled(here.position is not None and self._changed is None)

    def undo(self) -> bool:
        """Leave the form."""
        changing = self._changed is not None
        if changing:
            self._leave()
        return changing

    def restyle(self) -> None:
        self.table.restyle(self.context.theme)
        self.form.restyle(self.context.theme)

    def values(self) -> dict[str, np.ndarray]:
        """Of each in its order: ``positions``, ``layers``, ``heads`` int64 (-1: all of that axis), ``bookmarks`` and
        ``present`` (the run as it is shown has the place) bool, ``texts``."""
        notes, run = tuple(self.context.notes), self.context.run
        places = np.array([[-1 if axis is None else axis for axis in n.place] for n in notes], np.int64).reshape(-1, 3)
        return {
            "positions": places[:, 0],
            "layers": places[:, 1],
            "heads": places[:, 2],
            "bookmarks": np.array([note.bookmark for note in notes], bool),
            "present": np.array([present(note, run) for note in notes], bool),
            "texts": np.array([note.text for note in notes], np.str_),
        }

    # --- what the user does -----------------------------------------------------------------------------------

    def begin(self) -> None:
        """To the list, or where a note is written while there is none."""
        (self.form.field if self._pages.empty else self.table).setFocus()
        self.table.pick_current()

    def show_one(self, number: int) -> None:
        """Pick it in the list."""
        self.table.pick((number,), number)

    def _keep(self) -> None:
        text, notes = sound(self.form.field.toPlainText().strip()), self.context.notes
        if self._changed is not None:
            notes.change(self._changed, text=text)
        elif (made := notes.add(replace(self._here(), text=text))) is not None:
            self.show_one(made.number)
        self._leave()

    def _here(self) -> Note:
        wanted = {name: box.isChecked() for name, box in self.form.axes.items()}
        return at(self.context.run, self.context.cursor.pinned, **wanted)

    def _leave(self) -> None:
        self._changed = None
        self.form.show_new()
        self.show_cursor()

    def _go(self) -> None:
        if self.table.picked:
            self.jump_asked.emit(self.table.picked[0])

    def _change(self) -> None:
        picked = self.table.picked
        note = self.context.notes.find(picked[0]) if picked else None
        if note is not None:
            self._changed = note.number
            self.form.show_text(note.text)

    def _delete(self) -> None:
        self.context.notes.remove(self.table.picked)
        self.table.setFocus()

    # --- what is shown ----------------------------------------------------------------------------------------

    def _show_notes(self) -> None:
        notes = self.context.notes
        nothing = not len(notes) and not notes.can_undo
        self._pages.say(self._invitation() if nothing else "")
        self.table.show_rows([self._row(note) for note in notes])
        if self._changed is not None and notes.find(self._changed) is None:
            self._leave()
        full = full_text(len(notes), self.tr)
        self.form.show_full(full)
        self.form.field.setReadOnly(bool(full) and self._changed is None)
        self._fit_buttons()
        self.caption_changed.emit()

    def _row(self, note: Note) -> Row:
        place, absent = place_text(note, self.tr), whereabouts(note, self.context.run, self.tr)
        return Row(note.number, note.bookmark, kind_text(note, self.tr), place, note.text, absent)

    def _invitation(self) -> str:
        return self.tr(
            "No notes yet. A note is about the pinned token, layer or head, up to {0} letters; a bookmark marks them. "
            "Both are kept in the file of the run."
        ).format(LONGEST_TEXT)

    def _fit_buttons(self) -> None:
        """What is possible with what is picked."""
        picked = self.table.picked
        for what in ("go", "change"):
            self.buttons[what].setEnabled(len(picked) == 1)
        self.buttons["delete"].setEnabled(bool(picked))
        self.buttons["undo"].setEnabled(self.context.notes.can_undo)
        for what in ("copy", "save"):
            self.buttons[what].setEnabled(len(self.context.notes) > 0)
