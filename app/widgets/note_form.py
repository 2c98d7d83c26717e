"""Where a note is written: what it is about, its text, and the buttons that keep it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QCheckBox, QLabel, QPlainTextEdit, QPushButton, QWidget

from app.notes import LONGEST_TEXT
from app.theme import Theme
from app.widgets.flow import FlowLayout
from app.widgets.line_breaks import break_long_words
from app.widgets.pages import fill

LINES = 3  # of text that are seen without scrolling
_MARGIN = 8  # pixels at the sides of a sentence, as of the buttons


class NoteForm(QWidget):
    """``kept``: the text shall be kept as a note (a new one, or the one that is changed). ``bookmarked``: a bookmark is
    wanted there, or no more. ``left``: nothing shall be kept."""

    kept = Signal()
    bookmarked = Signal()
    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._changing = False  # a note that is there already, in place of a new one
        self._full = ""  # why there is no room for another one
        self.axes = {name: QCheckBox() for name in ("token", "layer", "head")}
        self.field, self.refusal = NoteField(), QLabel()
        self.refusal.setTextFormat(Qt.TextFormat.PlainText)
        self.refusal.setWordWrap(True)
        self.refusal.setContentsMargins(_MARGIN, 0, _MARGIN, 0)
        self.keep, self.bookmark = QPushButton(), QPushButton(self.tr("Bookmark here"))
        self.leave = QPushButton(self.tr("Cancel"))
        self.keep.clicked.connect(self.kept)
        self.bookmark.clicked.connect(self.bookmarked)
        self.leave.clicked.connect(self.left)
        self.field.textChanged.connect(self._fit)
        self.field.submitted.connect(self._submit)
        self.axes["layer"].toggled.connect(self._fit)
        for box in self.axes.values():
            box.setChecked(True)
            box.setToolTip(self.tr("Whether the note is about this, too"))
        self.bookmark.setToolTip(self.tr("Mark the pinned token, layer and head, or no more"))
        above, below = QWidget(), QWidget()
        for bar, parts in ((above, self.axes.values()), (below, (self.keep, self.leave, self.bookmark))):
            flow = FlowLayout(bar)
            for part in parts:
                flow.addWidget(part)
        fill(self, above, self.field, self.refusal, below)
        self.show_new()

    def show_place(self, words: dict[str, str]) -> None:
        """What is pinned now, by axis; "" where there is nothing."""
        for name, box in self.axes.items():
            box.setText(words[name])
            box.setAccessibleName(self.tr("About {0}").format(words[name]))
            box.setVisible(bool(words[name]))

    def show_new(self) -> None:
        """An empty form."""
        self.field.clear()
        self._name_buttons(changing=False)

    def show_text(self, text: str) -> None:
        """The text of one that is there already; its place stays."""
        self._name_buttons(changing=True)
        self.field.setPlainText(text)
        self.field.selectAll()
        self.field.setFocus()

    def show_full(self, why: str) -> None:
        """Why no other one can be kept, a sentence; "" where it can."""
        self._full = why
        self._fit()

    def restyle(self, theme: Theme) -> None:
        self.field.setFixedHeight(round(self.field.fontMetrics().lineSpacing() * (LINES + 0.8)))

    def _name_buttons(self, *, changing: bool) -> None:
        self.keep.setText(self.tr("Keep the text") if changing else self.tr("Add note"))
        self.leave.setVisible(changing)
        for part in (*self.axes.values(), self.bookmark):
            part.setEnabled(not changing)
        self._changing = changing
        self._fit()

    def _fit(self) -> None:
        """A new note needs words, and no more than are kept; a head belongs to a layer."""
        letters = len(self.field.toPlainText().strip())
        too_long = self.tr("{0} letters; a note has up to {1}: shorten it.").format(f"{letters:,}", f"{LONGEST_TEXT:,}")
        why = too_long if letters > LONGEST_TEXT else "" if self._changing else self._full
        self.refusal.setText(why)
        self.refusal.setVisible(bool(why))
        self.field.setAccessibleDescription(why)
        self.keep.setEnabled(not why and (self._changing or letters > 0))
        self.axes["head"].setEnabled(self.axes["layer"].isChecked() and not self._changing)

    def _submit(self) -> None:
        if self.keep.isEnabled():
            self.kept.emit()


class NoteField(QPlainTextEdit):
    """``submitted``: Return with Ctrl; alone it is a new line."""

    submitted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setTabChangesFocus(True)
        break_long_words(self)
        self.setPlaceholderText(self.tr("A note about what is pinned"))
        self.setAccessibleName(self.tr("Text of the note"))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.submitted.emit()
        else:
            super().keyPressEvent(event)
