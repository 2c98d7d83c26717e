"""A list of rows below a heading, one of which can be picked; as many are shown as fit."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QKeyEvent, QWheelEvent

from app.theme import Theme
from app.widgets.canvas import outline_pen
from app.widgets.lettering import Painter
from app.widgets.row_picture import RowPicture

_STEPS = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1, Qt.Key.Key_PageUp: -10, Qt.Key.Key_PageDown: 10}


class RowTable(RowPicture):
    """Subclasses say how many rows there are and draw them. ``describe(row)`` gives the text of a row for screen
    readers and the status bar."""

    def __init__(self, theme: Theme, name: str, describe: Callable[[int], str]) -> None:
        super().__init__(theme)
        self.describe = describe
        self.first = 0
        self.row: int | None = None
        self.setAccessibleName(name)

    @property
    def count(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def rows_changed(self) -> None:
        """Others are shown; the picked row stays where there is one."""
        self.hovered = None
        self.first = min(self.first, self._last_first())
        if self.row is not None and self.row >= self.count:
            self.row = None
        self.refresh()

    def tell(self) -> None:
        """Tell screen readers about the picked row."""
        if self.row is not None:
            self.setAccessibleDescription(self.describe(self.row))

    # --- layout -----------------------------------------------------------------------------------------------

    def _high(self) -> float:
        return self.metrics().height() * 1.35

    def fits(self) -> int:
        """Rows below the heading."""
        return max(1, int((self.height() - self._high()) / self._high()))

    def visible_rows(self) -> range:
        """Which rows are on screen, from top to bottom."""
        return range(self.first, min(self.first + self.fits(), self.count))

    def _last_first(self) -> int:
        return max(0, self.count - self.fits())

    def draw_marks(self, painter: Painter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for row, colour in ((self.hovered, self.theme.hover), (self.row, self.theme.accent)):
            if row in self.visible_rows():
                painter.setPen(outline_pen(self.theme, colour))
                top = (row - self.first + 1) * self._high()  # type: ignore[operator]  # None is in no range
                painter.drawRect(QRectF(1, top, self.width() - 2, self._high()))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def row_at(self, place: QPointF) -> int | None:
        row = self.first + int(place.y() / self._high()) - 1
        return row if row in self.visible_rows() else None

    def pick(self, row: int) -> None:
        """Pick a row and bring it on screen."""
        if not 0 <= row < self.count:
            return
        self.row = row
        first = min(max(self.first, row - self.fits() + 1), row)
        if first != self.first:
            self.first = first
            self.refresh()
        self.tell()
        self.row_picked.emit(row)
        self.refresh_marks()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or not self.count:
            event.ignore()
            return
        self.pick(min(max(0 if self.row is None else self.row + step, 0), self.count - 1))

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        lines = -round(event.angleDelta().y() / 40)
        self.first = min(max(self.first + lines, 0), self._last_first())
        self.refresh()
        event.accept()
