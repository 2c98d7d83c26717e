"""The presenter's page: which panels the audience sees, freeze and black, the time, notes that nobody else sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from PySide6.QtCore import QMimeData, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QDockWidget,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.commands import bare
from app.presenter_notes import MOST_LETTERS
from app.widgets.flow import FlowLayout

BUTTONS = ("show_audience", "freeze_audience", "black_screen")
SAVE_AFTER_MS = 500  # of the last letter of a note


class PresenterPage(QDockWidget):
    """Stands beside everything in the presenter's window. ``panels``: title by key."""

    panels_chosen = Signal(tuple)  # keys, in the order of the panels
    note_written = Signal(str)
    screen_asked = Signal()  # the next one, for the audience
    readable_chosen = Signal(bool)  # whether panels have a shape in which the audience can read them

    def __init__(
        self,
        actions: Mapping[str, QAction],
        panels: Iterable[tuple[str, str]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.setWindowTitle(self.tr("Presenter"))
        self.setObjectName("presenter")
        self.setAllowedAreas(Qt.DockWidgetArea.LeftDockWidgetArea | Qt.DockWidgetArea.RightDockWidgetArea)
        self._now, self._since = now, now()
        self._unsent = False  # something is written that nobody was told of yet
        self.boxes = {key: QCheckBox(title) for key, title in panels}
        self.state, self.legible, self.heading = QLabel(), QLabel(), QLabel()
        self.note = NoteText()
        self.clock = QPushButton()
        self.screen_button = QPushButton(self.tr("Other screen"))
        self.readable = QCheckBox(self.tr("Letters large enough for the back row"))
        self._second = QTimer(self, interval=1000)
        self._second.timeout.connect(self._show_time)
        self._pause = QTimer(self, interval=SAVE_AFTER_MS, singleShot=True)
        self._pause.timeout.connect(self.write)
        self._arrange([actions[name] for name in BUTTONS])

    def show_state(self, sentence: str, legible: str) -> None:
        """What the audience sees now; what of it is too small to be read."""
        self.state.setText(sentence)
        self.legible.setText(legible)
        self.legible.setVisible(bool(legible))

    def show_chosen(self, keys: Iterable[str]) -> None:
        chosen = set(keys)
        for key, box in self.boxes.items():
            box.blockSignals(True)
            box.setChecked(key in chosen)
            box.blockSignals(False)

    def show_readable(self, readable: bool) -> None:
        self.readable.blockSignals(True)
        self.readable.setChecked(readable)
        self.readable.blockSignals(False)

    def show_note(self, heading: str, note: str) -> None:
        """The note of another run: what was written about the one before is sent first."""
        self.write()
        self.heading.setText(heading)
        self.note.blockSignals(True)
        self.note.setPlainText(note)
        self.note.blockSignals(False)

    def write(self) -> None:
        """Send what was written, if anything was."""
        self._pause.stop()
        if self._unsent:
            self._unsent = False
            self.note_written.emit(self.note.toPlainText())

    def start_clock(self) -> None:
        """From nought again."""
        self._since = self._now()
        self._show_time()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._show_time()
        self._second.start()

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        super().hideEvent(event)
        self._second.stop()
        self.write()

    def _show_time(self) -> None:
        minutes, seconds = divmod(int(self._now() - self._since), 60)
        self.clock.setText(self.tr("{0} min {1} s").format(minutes, f"{seconds:02d}"))

    def _written(self) -> None:
        self._unsent = True
        self._pause.start()

    def _choose(self) -> None:
        self.panels_chosen.emit(tuple(key for key, box in self.boxes.items() if box.isChecked()))

    def _arrange(self, actions: list[QAction]) -> None:
        page = QWidget()
        page.setAutoFillBackground(True)  # nothing behind it is seen through it
        column = QVBoxLayout(page)
        for label in (self.state, self.legible, self.heading):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.clock.setToolTip(self.tr("Time since the audience's window was opened; press to start anew"))
        self.clock.setAccessibleName(self.tr("Time of the presentation"))
        self.clock.clicked.connect(self.start_clock)
        self.screen_button.clicked.connect(self.screen_asked)
        self.readable.toggled.connect(self.readable_chosen)
        self.readable.setToolTip(
            self.tr("Panels that the audience sees have its shape here too; where there is no room for it, they scroll")
        )
        self.note.setAccessibleName(self.tr("Notes for the presenter"))
        self.note.setPlaceholderText(self.tr("Notes that only you see, kept for each prompt"))
        self.note.setTabChangesFocus(True)
        self.note.textChanged.connect(self._written)
        column.addWidget(_flow([*map(_button, actions), self.screen_button, self.clock]))
        column.addWidget(self.state)
        column.addWidget(self.legible)
        column.addWidget(QLabel(self.tr("The audience sees")))
        column.addWidget(_flow(list(self.boxes.values())))
        column.addWidget(self.readable)
        column.addWidget(self.heading)
        column.addWidget(self.note, 1)
        for box in self.boxes.values():
            box.toggled.connect(self._choose)
        self.setWidget(page)


class NoteText(QPlainTextEdit):
    """Takes as many letters as a note keeps: what is more is not seen for a while, and then lost."""

    def insertFromMimeData(self, source: QMimeData) -> None:  # noqa: N802
        cursor = self.textCursor()
        room = MOST_LETTERS - len(self.toPlainText()) + cursor.selectionEnd() - cursor.selectionStart()
        self.insertPlainText(source.text()[: max(0, room)])

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        full = len(self.toPlainText()) >= MOST_LETTERS and not self.textCursor().hasSelection()
        if not (full and event.text() and event.text().isprintable()):
            super().keyPressEvent(event)


def _button(action: QAction) -> QToolButton:
    button = QToolButton()
    button.setDefaultAction(action)
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
    button.setAccessibleName(bare(action.text()))
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button


def _flow(widgets: list[QWidget]) -> QWidget:
    holder = QWidget()
    flow = FlowLayout(holder)
    for widget in widgets:
        flow.addWidget(widget)
    return holder
