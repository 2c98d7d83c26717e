"""A field that takes the next key that is pressed, whatever it calls elsewhere."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QKeySequenceEdit, QLineEdit

from app.keys import portable

_LEFT_ALONE = (Qt.Key.Key_Escape, Qt.Key.Key_Tab, Qt.Key.Key_Backtab, Qt.Key.Key_Return, Qt.Key.Key_Enter)


class KeyField(QKeySequenceEdit):
    """``entered``: Return was pressed. Esc and Tab do what they do everywhere, so that nobody is caught in it."""

    entered = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setMaximumSequenceLength(1)
        self.setClearButtonEnabled(True)
        self.keySequenceChanged.connect(self._ask)
        self.editingFinished.connect(self._ask)
        self._ask()

    def set_name(self, name: str) -> None:
        """What a screen reader calls it; the keyboard is in a field inside it."""
        for part in (self, self._field()):
            part.setAccessibleName(name)

    def _field(self) -> QLineEdit:
        """Qt's own, inside it."""
        field = self.findChild(QLineEdit)
        assert field is not None, "Qt makes it with this one"
        return field

    def _ask(self) -> None:
        """Qt puts its own words there with every key."""
        self._field().setPlaceholderText(self.tr("Press the new key"))

    @property
    def key(self) -> str:
        """As ``portable`` writes it, "" for none yet."""
        return portable(self.keySequence().toString(QKeySequence.SequenceFormat.PortableText))

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.key() in _LEFT_ALONE and not _changed(event):
            return self._left_alone(event)
        return super().event(event)

    def _left_alone(self, event: QKeyEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride:
            event.ignore()  # Esc closes the page
            return False
        if event.type() == QEvent.Type.KeyPress and event.key() in (Qt.Key.Key_Tab, Qt.Key.Key_Backtab):
            return self.focusNextPrevChild(event.key() == Qt.Key.Key_Tab)
        if event.type() == QEvent.Type.KeyPress and event.key() != Qt.Key.Key_Escape:
            self.entered.emit()
        return True


def _changed(event: QKeyEvent) -> bool:
    """Whether the key is another one by Ctrl, Alt or Meta."""
    return bool(event.modifiers() & ~(Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier))
