"""Where the content of a panel stands while the audience sees it in a shape of its own."""

from __future__ import annotations

from PySide6.QtCore import QSize, SignalInstance
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QFrame, QScrollArea, QWidget

from app.dock import PanelDock

ASIDE = 12  # pixels between what stands behind the scenes and what is seen


class Framed(QScrollArea):
    """In the dock: a dock that is smaller than the audience's shape scrolls, and asks for no more room than before."""

    def __init__(self, dock: PanelDock, stage: QWidget, moved: SignalInstance) -> None:
        super().__init__()
        self._content, self._moved = dock.content, moved
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(dock.content)
        dock.setWidget(self)
        dock.content.show()
        self.show()

    def place(self, size: QSize) -> None:
        self._content.resize(size)

    def leave(self) -> None:
        self.takeWidget()

    @property
    def cut(self) -> bool:
        """Whether only a part is seen."""
        return self._content.size().expandedTo(self.size()) != self.size()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._moved.emit()

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self._content.minimumSizeHint()

    def sizeHint(self) -> QSize:  # noqa: N802
        return self._content.sizeHint()


class Behind(QWidget):
    """Behind the scenes of the audience's window, where what the presenter does not see stays live."""

    cut = False

    def __init__(self, dock: PanelDock, stage: QWidget, moved: SignalInstance) -> None:
        super().__init__(stage)
        self._content = dock.content
        self.setFont(QApplication.font())  # and not the large one of the stage
        dock.content.setParent(self)
        self.place(dock.content.size())
        dock.content.show()
        self.show()

    def place(self, size: QSize) -> None:
        self.setGeometry(-size.width() - ASIDE, -size.height() - ASIDE, size.width(), size.height())
        self._content.setGeometry(0, 0, size.width(), size.height())

    def leave(self) -> None:
        """The dock takes its content itself."""
