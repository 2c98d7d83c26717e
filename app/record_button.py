"""The record in the status bar: what it takes of its limit; pressed, the limit and what lies beyond it are chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from PySide6.QtCore import QEvent, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QInputDialog, QMenu, QToolButton

from app.engine_words import said
from app.record_sizes import offered, size_of, use_text
from engine.amounts import bytes_text
from engine.frames import RecordUse
from engine.settings import Record


class RecordButton(QToolButton):
    """``chosen`` tells another setting, ``failed`` the sentence about a size that is none."""

    chosen = Signal(object)  # a Record
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.record, self.use = Record(), RecordUse()
        self.setAutoRaise(True)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMenu(QMenu(self))
        self.menu().setToolTipsVisible(True)
        self.menu().aboutToShow.connect(self._fill)
        self._say()

    def show_record(self, record: Record) -> None:
        """The setting that holds now."""
        if record != self.record:
            self.record = record
            self._say()

    def show_use(self, use: RecordUse) -> None:
        """What the record of the run takes."""
        if use != self.use:
            self.use = use
            self._say()

    def open(self) -> None:
        """The menu, with its first row chosen for whoever goes on with the keyboard."""
        self._fill()
        above = self.mapToGlobal(self.rect().topLeft())
        self.menu().popup(QPoint(above.x(), above.y() - self.menu().sizeHint().height()))
        self.menu().setActiveAction(self.menu().actions()[1])

    def _say(self) -> None:
        words = use_text(self.record, self.use, self.tr)
        if words == self.text().rstrip():
            return
        self.setText(words + "\u00a0\u00a0")  # room for the mark of the menu
        self.setAccessibleName(self.tr("Memory of the record: {0}").format(words))
        self.setToolTip(self._tip())
        self.setMinimumWidth(max(self.minimumWidth(), self.sizeHint().width()))  # what lies beside it stays still

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self.setMinimumWidth(self.sizeHint().width())

    def _tip(self) -> str:
        each = self.use.bytes_per_token
        rows = [
            self.tr(
                "The record of a run: the residual stream of every token. All else is computed from it when asked."
            ),
            self.tr("Tokens and how they were chosen are never dropped."),
            *([self.tr("A token takes {0}.").format(bytes_text(each))] if each else []),
            *([said(self.use.trouble, self.tr)] if self.use.trouble else []),
            self.tr("Press to choose how much memory it may take."),
        ]
        return "\n".join(rows)

    # ---- the menu ------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        menu = self.menu()
        menu.clear()
        menu.addSection(self.tr("Memory for the record"))
        sizes = sorted({*offered(), self.record.memory})
        limits = {bytes_text(size): replace(self.record, memory=size) for size in sizes}
        self._add_choices(menu, limits)
        menu.addAction(self.tr("Other…"), self.ask_size)
        menu.addSection(self.tr("Beyond it, the oldest tokens' streams"))
        beyond = {
            self.tr("Keep on disk, in a temporary file"): replace(self.record, beyond="disk"),
            self.tr("Drop, compute again when asked (takes longer)"): replace(self.record, beyond="drop"),
        }
        self._add_choices(menu, beyond)

    def _add_choices(self, menu: QMenu, choices: dict[str, Record]) -> None:
        group = QActionGroup(menu)
        for text, record in choices.items():
            action: QAction = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(record == self.record)
            action.triggered.connect(partial(self._choose, record))
            group.addAction(action)

    def _choose(self, record: Record, checked: bool = True) -> None:
        if record != self.record:
            self.show_record(record)
            self.chosen.emit(record)

    def ask_size(self) -> None:
        """Any other size."""
        text, given = QInputDialog.getText(
            self,
            self.tr("Memory for the record"),
            self.tr("A size like 512MB or 1.5GB:"),
            text=bytes_text(self.record.memory),
        )
        if given:
            self.take_size(text)

    def take_size(self, text: str) -> None:
        """A size that was typed."""
        try:
            size = size_of(text)
        except ValueError as error:
            self.failed.emit(
                self.tr("The limit of the record stays at {0}: {1}.").format(bytes_text(self.record.memory), error)
            )
            return
        self._choose(replace(self.record, memory=size))
