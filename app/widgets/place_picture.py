"""The ground of pictures that are places along an axis: what the mouse does to them."""

from __future__ import annotations

from PySide6.QtCore import QPointF, Signal

from app.widgets.canvas import Canvas


class PlacePicture(Canvas):
    """Subclasses say which place lies under a pixel."""

    place_hovered = Signal(int)
    place_left = Signal()
    place_picked = Signal(int)

    def place_at(self, where: QPointF) -> int | None:
        """The place under a pixel."""
        raise NotImplementedError

    def pick(self, place: int) -> None:
        """As a click or an arrow key does."""
        self.place_picked.emit(place)

    def on_move(self, place: QPointF) -> None:
        found = self.place_at(place)
        if found is None:
            self.place_left.emit()
        else:
            self.place_hovered.emit(found)

    def on_leave(self) -> None:
        self.place_left.emit()

    def on_click(self, place: QPointF) -> None:
        found = self.place_at(place)
        if found is not None:
            self.pick(found)
