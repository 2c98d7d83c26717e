"""Which key was pressed and what it did, in large letters over the window for a moment."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QLabel, QWidget

from app.theme import Theme
from app.widgets.over_page import OverPage

SHOWN_MS = 2000
LARGE = 1.4  # of the application's font
FROM_BELOW = 1.5  # heights of the echo


class KeyEcho(QLabel):
    """At the bottom of its parent, in the middle; it takes no mouse and no room."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAccessibleName(self.tr("Key that was pressed"))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SHOWN_MS)
        self._timer.timeout.connect(self.hide)
        self.hide()

    def say(self, key: str, deed: str) -> None:
        """ "F10", "Step layer". Either may be empty. Nothing is said over a page, whose lines it would hide."""
        self.setText("   ".join(filter(None, (key, deed))))
        self.place()
        if self._covers_a_page():
            self.drop()
            return
        self.show()
        self.raise_()
        self._timer.start()

    def _covers_a_page(self) -> bool:
        pages = self._parent.findChildren(OverPage)
        return any(page.isVisible() and page.geometry().intersects(self.geometry()) for page in pages)

    def drop(self) -> None:
        self._timer.stop()
        self.hide()

    def place(self) -> None:
        room = self._parent.rect()
        self.adjustSize()
        self.resize(min(self.width(), room.width()), self.height())
        self.move((room.width() - self.width()) // 2, round(room.height() - FROM_BELOW * self.height()))

    def restyle(self, theme: Theme) -> None:
        self.setStyleSheet(
            f"KeyEcho {{ color: {theme.window}; background: {theme.hover}; padding: 6px 18px; font-weight: 600;"
            f" border: 2px solid {theme.text}; }}"
        )
        font = self._parent.font()
        font.setPointSizeF(font.pointSizeF() * LARGE)
        self.setFont(font)
