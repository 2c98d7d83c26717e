"""A heatmap that one can go into: by the wheel, by drawing a rectangle, or by keys. It says which part is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication

from app.theme import Theme
from app.widgets.canvas import pen
from app.widgets.heatmap import Heatmap
from app.widgets.lettering import Painter

_LEAST = 8  # entries along an axis that one can go into
_NOTCH = 120  # of a wheel, in eighths of a degree
_FACTORS = {Qt.Key.Key_Plus: 0.5, Qt.Key.Key_Equal: 0.5, Qt.Key.Key_Minus: 2.0, Qt.Key.Key_0: None}
_WAYS = {Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1), Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0)}


@dataclass(frozen=True)
class View:
    """The part of the whole that is wanted: entries [start, stop) of both axes."""

    rows: tuple[int, int]
    columns: tuple[int, int]


class ZoomMap(Heatmap):
    """Shows Cells of the whole, or of a ``view`` of it. Whoever answers ``view_changed`` brings the cells of that part.

    Wheel or + and -: in and out around the mouse or the picked cell. Drawing a rectangle: into it. 0: the whole.
    Shift and an arrow key: half a view on. ``back`` undoes the newest of these; turning on the wheel is one.
    """

    view_changed = Signal()

    def __init__(self, theme: Theme, name: str, describe: Callable[[int, int], str]) -> None:
        super().__init__(theme, name, describe)
        self.view: View | None = None
        self.extent = (0, 0)  # entries of the whole: rows, columns
        self._before: list[View | None] = []
        self._turning = False  # the newest change was by the wheel or a key: the next one goes on with it
        self._turned = 0
        self._pressed: QPointF | None = None
        self._rectangle: QRectF | None = None

    def set_extent(self, rows: int, columns: int) -> None:
        """The whole has so many entries now. A view that lies outside is given up."""
        self.extent = (rows, columns)
        view = self.view
        if view is not None and (view.rows[1] > rows or view.columns[1] > columns):
            self.view, self._before = None, []
            self.view_changed.emit()

    def forget(self) -> None:
        """Something else is shown: the whole of it, and nothing to go back to."""
        self._before, self._turning, self._rectangle, self._pressed = [], False, None, None
        if self.view is not None:
            self.view = None
            self.view_changed.emit()

    def go(self, view: View | None, *, turning: bool = False) -> None:
        """Want another part; None: the whole. ``turning``: together with the change before it one step back."""
        if view is not None and self._is_whole(view):
            view = None
        if view == self.view:
            return
        if not (turning and self._turning):
            self._before.append(self.view)
        self.view, self._turning = view, turning
        self.view_changed.emit()

    def back(self) -> bool:
        """Go back to the part before; False where there is none."""
        if self._rectangle is not None:
            self._drop_rectangle()
            return True
        if not self._before:
            return False
        self.view, self._turning = self._before.pop(), False
        self.view_changed.emit()
        return True

    def zoom(self, factor: float, place: tuple[float, float] = (0.5, 0.5)) -> bool:
        """Show ``factor`` times as much of both axes around a place of the plot (row, column: 0 to 1)."""
        if min(self.extent) == 0:
            return False
        shown = self._shown()
        rows = _scaled(shown.rows, self.extent[0], factor, place[0])
        columns = _scaled(shown.columns, self.extent[1], factor, place[1])
        before = self.view
        self.go(View(rows, columns), turning=True)
        return self.view != before

    def _shown(self) -> View:
        return self.view or View((0, self.extent[0]), (0, self.extent[1]))

    def _is_whole(self, view: View) -> bool:
        return view == View((0, self.extent[0]), (0, self.extent[1]))

    def _move(self, down: int, right: int) -> None:
        """Half a view on."""
        if self.view is not None:
            rows = _moved(self.view.rows, self.extent[0], down)
            self.go(View(rows, _moved(self.view.columns, self.extent[1], right)), turning=True)

    # --- a rectangle ------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self._pressed = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        start = self._pressed
        if start is None or not event.buttons() & Qt.MouseButton.LeftButton or self.at(start) is None:
            super().mouseMoveEvent(event)
            return
        drawn = QRectF(start, event.position()).normalized()
        if self._rectangle is not None or max(drawn.width(), drawn.height()) >= QApplication.startDragDistance():
            self._rectangle = drawn & self.plot
            self.refresh_marks()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        event.accept()
        start, drawn = self._pressed, self._rectangle
        self._pressed = None
        if drawn is not None:
            self._drop_rectangle()
            self._go_into(drawn)
        elif start is not None and event.button() == Qt.MouseButton.LeftButton:
            self.on_click(start)

    def _drop_rectangle(self) -> None:
        self._rectangle = self._pressed = None
        self.refresh_marks()

    def _go_into(self, drawn: QRectF) -> None:
        first, last = self.at(drawn.topLeft()), self.at(drawn.bottomRight() - QPointF(0.01, 0.01))
        if self.cells is None or first is None or last is None:
            return
        axes = (self.cells.rows, self.cells.columns)
        rows, columns = (
            _wide_enough(axis.entry(first[i]), min(axis.entry(last[i] + 1), self.extent[i]), self.extent[i])
            for i, axis in enumerate(axes)
        )
        self.go(View(rows, columns))

    def draw_marks(self, painter: Painter) -> None:
        super().draw_marks(painter)
        if self._rectangle is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            for colour, wide in ((self.theme.panel, 4), (self.theme.hover, 2)):
                painter.setPen(pen(colour, wide, Qt.PenStyle.SolidLine if wide > 2 else Qt.PenStyle.DashLine))
                painter.drawRect(self._rectangle)

    # --- wheel and keys ---------------------------------------------------------------------------------------

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        turned = event.angleDelta().y()
        if self.cells is None or not turned or not self.plot.contains(event.position()):
            event.ignore()
            return
        event.accept()
        self._turned = turned if self._turned * turned < 0 else self._turned + turned
        if abs(self._turned) >= _NOTCH / 4:  # a touchpad turns by little
            at, plot = event.position() - self.plot.topLeft(), self.plot
            self.zoom(2 ** (-self._turned / (2 * _NOTCH)), (at.y() / plot.height(), at.x() / plot.width()))
            self._turned = 0

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        key = Qt.Key(event.key())
        if self.cells is None or not _is_own(event):
            super().keyPressEvent(event)
        elif key in _WAYS:
            self._move(*_WAYS[key])
        elif (factor := _FACTORS[key]) is None:
            self.go(None)
        else:
            self.zoom(factor, self._picked_place())

    def _picked_place(self) -> tuple[float, float]:
        if self.cell is None or self.cells is None:
            return 0.5, 0.5
        rows, columns = self.cells.values.shape
        return (self.cell[0] + 0.5) / rows, (self.cell[1] + 0.5) / columns

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and self.cells is not None and _is_own(event):
            event.accept()  # these keys belong to the picture while it has the focus
            return True
        return super().event(event)


def _is_own(event: QEvent) -> bool:
    if not isinstance(event, QKeyEvent):
        return False
    key, modifiers = Qt.Key(event.key()), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
    if key in _WAYS:
        return modifiers == Qt.KeyboardModifier.ShiftModifier
    return key in _FACTORS and modifiers in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)


def _scaled(shown: tuple[int, int], total: int, factor: float, place: float) -> tuple[int, int]:
    """``factor`` times as many entries, with the one at ``place`` (0 to 1) where it was."""
    size = shown[1] - shown[0]
    wanted = round(size * factor)
    wanted += (wanted == size) * (1 if factor > 1 else -1)  # always a step
    wanted = min(max(wanted, min(_LEAST, total)), total)
    start = round(shown[0] + place * (size - wanted))
    return _inside(start, wanted, total)


def _moved(shown: tuple[int, int], total: int, way: int) -> tuple[int, int]:
    size = shown[1] - shown[0]
    return _inside(shown[0] + way * max(1, size // 2), size, total)


def _wide_enough(start: int, stop: int, total: int) -> tuple[int, int]:
    size = min(max(stop - start, _LEAST), total)
    return _inside(start - (size - (stop - start)) // 2, size, total)


def _inside(start: int, size: int, total: int) -> tuple[int, int]:
    start = min(max(start, 0), total - size)
    return start, start + size
