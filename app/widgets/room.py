"""The room of a panel: a panel that is given less than it needs is scrolled and never cut off."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

from app.widgets.least import least_height


class Room(QScrollArea):
    """Holds one widget. It asks for as much as that needs, but for no more than ``set_most`` allows."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._most = QSize()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidgetResizable(True)
        self._holder = _Holder(content, self)
        self.setWidget(self._holder)

    def set_most(self, most: QSize) -> None:
        """The least size that it may ask for, pixels."""
        if most != self._most:
            self._most = most
            self.updateGeometry()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        needed = self._holder.minimumSizeHint()
        if not self._most.isValid():
            return needed
        if needed.height() > self._most.height():  # it may scroll: the bar has its room
            needed += QSize(self.verticalScrollBar().sizeHint().width(), 0)
        return needed.boundedTo(self._most)

    def sizeHint(self) -> QSize:  # noqa: N802
        return self._holder.sizeHint()


class _Holder(QWidget):
    """As large as its content needs at least, at the width that there is; without a layout, since one of lines that
    wrap would ask for the height that is best, where less will do."""

    def __init__(self, content: QWidget, room: Room) -> None:
        super().__init__()
        self._content, self._room = content, room
        content.setParent(self)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        wide = self._content.minimumSizeHint().expandedTo(self._content.minimumSize()).width()
        return QSize(wide, self._least_height(wide))

    def _least_height(self, wide: int) -> int:
        room, bar = self._room.maximumViewportSize(), self._room.verticalScrollBar().sizeHint().width()
        high = least_height(self._content, max(wide, room.width()))
        return high if high <= room.height() else least_height(self._content, max(wide, room.width() - bar))

    def sizeHint(self) -> QSize:  # noqa: N802
        return self._content.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._content.setGeometry(self.rect())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:  # the content needs another size
            self._room.updateGeometry()
            self._room.event(QEvent(QEvent.Type.LayoutRequest))
        return super().event(event)
