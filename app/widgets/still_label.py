"""A text that changes with every token, and does not set the layout of the whole window in motion each time."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from app.widgets.value_label import ValueLabel


class StillLabel(QWidget):
    """A QLabel that keeps the room it once needed: what lies around it moves only when a text needs more.

    A QLabel tells the layout of every text, and that goes up to the window: all docks are laid out again. ``label``
    is for how the text looks. Another width or font starts afresh. ``elide``: what there is no room for is cut off the
    end of the text, as is seen from its "…".
    """

    def __init__(self, *, wrap: bool = False, elide: bool = False) -> None:
        self._built = False  # Qt tells of another font also while it is being built
        super().__init__()
        self.label = ValueLabel(Qt.TextElideMode.ElideRight) if elide else QLabel()
        self.label.setParent(self)
        self.label.setWordWrap(wrap)
        self._room = QSize(0, 0)
        self._built = True
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(wrap)
        self.setSizePolicy(policy)

    def text(self) -> str:
        return self.label.text()

    def setText(self, text: str) -> None:  # noqa: N802
        if text != self.label.text():
            self.label.setText(text)
            self._grow()

    def start_afresh(self) -> None:
        """Keep the room of the present text only."""
        self._room = self._needed()
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: N802
        return self._room.expandedTo(self.label.sizeHint())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self.label.minimumSizeHint()

    def heightForWidth(self, width: int) -> int:  # noqa: N802
        if not self.label.wordWrap():
            return -1
        needed = self.label.heightForWidth(width)
        return max(needed, self._room.height()) if width == self.width() else needed

    def _needed(self) -> QSize:
        if self.label.wordWrap():
            return QSize(0, self.label.heightForWidth(self.width()))
        return self.label.sizeHint()

    def _grow(self) -> None:
        room = self._room.expandedTo(self._needed())
        if room != self._room:
            self._room = room
            self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.label.setGeometry(self.rect())
        if event.size().width() != event.oldSize().width():
            self._room = self._needed()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self._built:
            self._room = QSize(0, 0)
            self._grow()


def words_label(metrics: QFontMetrics) -> StillLabel:
    """For words above or below a picture, which can be selected; to be put into a layout."""
    still = StillLabel(wrap=True)
    still.label.setTextFormat(Qt.TextFormat.PlainText)
    still.label.setMargin(metrics.height() // 3)
    still.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return still
