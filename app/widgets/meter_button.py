"""The meter in the status bar: what watching costs, in one line; a click opens the table."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtWidgets import QSizePolicy, QToolButton

WIDE = 210  # widths of "0": a narrower window gets the short text


class MeterButton(QToolButton):
    """Keeps the room it once needed, as a StillLabel does: the bar is not laid out again with every figure."""

    def __init__(self) -> None:
        self._room = QSize(0, 0)
        super().__init__()
        self._texts = ("", "")
        self.setAutoRaise(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(self.tr("What watching costs"))
        self.setVisible(False)

    def show_texts(self, whole: str, short: str, help_text: str) -> None:
        """``whole`` where there is room for it."""
        if (whole, short) != self._texts:
            self._texts = (whole, short)
            self.setAccessibleDescription(whole)
            self.setToolTip(f"{whole}\n{help_text}")
            self.choose()
            self.setVisible(bool(whole))

    def choose(self) -> None:
        """The text that fits the window as it is now."""
        wide = self.window().width() >= WIDE * self.fontMetrics().horizontalAdvance("0")
        text = self._texts[0 if wide else 1]
        if text != self.text():
            self.setText(text)

    def sizeHint(self) -> QSize:  # noqa: N802
        self._room = self._room.expandedTo(super().sizeHint())
        return self._room

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._room = QSize(0, 0)
            self.updateGeometry()
