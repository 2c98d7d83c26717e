"""The ground of pictures that are lists of rows: what the mouse does to them."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Signal

from app.theme import Theme
from app.widgets.canvas import Canvas


class RowPicture(Canvas):
    """Subclasses say which row lies under a pixel, and what picking one does."""

    row_hovered = Signal(int)
    row_left = Signal()
    row_picked = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.hovered: int | None = None

    def row_at(self, place: QPointF) -> int | None:
        """The row under a pixel."""
        raise NotImplementedError

    def pick(self, row: int) -> None:
        """As a click or an arrow key does."""
        raise NotImplementedError

    def on_move(self, place: QPointF) -> None:
        row = self.row_at(place)
        if row == self.hovered:
            return
        self.hovered = row
        self.refresh_marks()
        if row is None:
            self.row_left.emit()
        else:
            self.row_hovered.emit(row)

    def on_leave(self) -> None:
        self.hovered = None
        self.refresh_marks()
        self.row_left.emit()

    def on_click(self, place: QPointF) -> None:
        row = self.row_at(place)
        if row is not None:
            self.pick(row)
