"""Where the content of a panel stands while the audience sees it in a shape of its own."""

from __future__ import annotations

from PySide6.QtCore import QSize, SignalInstance
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QFrame, QScrollArea, QWidget

from app.dock import PanelDock
from app.widgets.explanation import SHARE
from app.widgets.least import least_height, least_width

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


def least(dock: PanelDock) -> int:
    """Width in pixels in which nothing of a content has to scroll."""
    return max(least_width(part, filled=True) for part in _parts(dock))


def least_at(dock: PanelDock, width: float) -> int:
    """Height in pixels in which nothing of a content has to scroll at a width."""
    *above, main = _parts(dock)
    high = max(least_height(main, int(width), filled=True), dock.panel.whole_height())
    high += sum(least_height(part, int(width)) for part in above)
    return high if dock.explanation.isHidden() else high * SHARE // (SHARE - 1)


def _parts(dock: PanelDock) -> list[QWidget]:
    """Those that ask for room, from top to bottom: an explanation is cut to what there is."""
    above = [] if dock.need.isHidden() else [dock.need]
    return [*above, dock.panel if dock.table is None else dock.table]
