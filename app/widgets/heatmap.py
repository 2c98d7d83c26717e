"""A heatmap of cells with labelled axes, a colour bar, a picked cell and outlines of pinned and hovered places."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent

from app.theme import Theme, ink
from app.widgets.axis import Axis, Labels, column_labels, row_labels
from app.widgets.canvas import Canvas, hatch, outline_pen, pen, tint
from app.widgets.legend import Legend, draw_legend, legend_width
from app.widgets.lettering import CENTRE, Painter, put, put_rotated
from app.widgets.pixels import put_cells
from app.widgets.scale import word

SHOWN, MASKED, ABSENT = 0, 1, 2  # states of a cell: a figure, blank by definition, not computed yet
LEAST_CROSSED, MOST_CROSSED = 6, 2_000  # pixels of a cell with a cross; and so many of them
TITLE = 1.1  # lines that an axis' title takes
ROOM_TO_SPARE = 1.3  # so much wider than needed a plot must be before it is given twice as many cells
_STEPS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
    Qt.Key.Key_PageUp: (-10, 0),
    Qt.Key.Key_PageDown: (10, 0),
    Qt.Key.Key_Home: (0, -(10**9)),
    Qt.Key.Key_End: (0, 10**9),
}
_CLICKER = (Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)  # where those keys are its, they come to no picture


@dataclass(frozen=True)
class Cells:
    """What a heatmap shows: ``values`` float32 [rows, columns]; ``state`` uint8 of the same shape, or None: all shown.

    Values of cells that are not SHOWN are 0 and mean nothing. What is not finite is drawn in the colour of errors, with
    a cross.
    """

    values: np.ndarray
    rows: Axis
    columns: Axis
    scale: Legend
    state: np.ndarray | None = None

    def shown(self, row: int, column: int) -> bool:
        return self.state is None or self.state[row, column] == SHOWN


_Place = tuple[float, float, float, float]  # of a label: left, top, width, height


def _meet(one: _Place, other: _Place) -> bool:
    """Whether two places have an inner point in common."""
    (x, y, wide, high), (left, top, across, down) = one, other
    return x < left + across and left < x + wide and y < top + down and top < y + high


class Heatmap(Canvas):
    """Shows Cells. ``describe(row, column)`` gives the text of a cell for the status bar and for screen readers."""

    cell_hovered = Signal(int, int)
    cell_left = Signal()
    cell_picked = Signal(int, int)

    def __init__(self, theme: Theme, name: str, describe: Callable[[int, int], str]) -> None:
        super().__init__(theme)
        self.cells: Cells | None = None
        self.describe = describe
        self.plot = QRectF()
        self.cell: tuple[int, int] | None = None
        self.pointer: tuple[int, int] | None = None
        self.pinned: tuple[int | None, int | None] = (None, None)
        self.hovered: tuple[int | None, int | None] = (None, None)
        self._image = QImage()
        self._words = np.zeros((0, 0), np.uint32)
        self._rows, self._columns = Labels(), Labels()
        self._row_places: list[_Place] = []
        self._column_places: list[_Place] = []
        self._titled = True
        self._titles: tuple[str, ...] = ("", "")  # below and beside the plot, as far as they have room
        self._fitting = 0  # cells that the longer axis can show, as it was last said
        self.setAccessibleName(name)

    # --- data -------------------------------------------------------------------------------------------------

    def show_cells(self, cells: Cells | None) -> None:
        """Show other cells; None shows nothing. The picked cell stays if it still exists."""
        self.cells = cells
        if cells is None or (self.cell is not None and not self._exists(*self.cell)):
            self.cell = None
        self.pointer = None
        self._colour()
        self.refresh()

    def mark(
        self, pinned: tuple[int | None, int | None], hovered: tuple[int | None, int | None] = (None, None)
    ) -> None:
        """Outline (row, column): a cell, or a whole row or column where the other is None."""
        if (pinned, hovered) != (self.pinned, self.hovered):
            self.pinned, self.hovered = pinned, hovered
            self.refresh_marks()

    def pick(self, row: int, column: int) -> None:
        """Move the picked cell and tell about it, as a click or an arrow key does."""
        if not self._exists(row, column):
            return
        self.cell = (row, column)
        self.tell()
        self.cell_picked.emit(row, column)
        self.refresh_marks()

    def tell(self) -> None:
        """Tell screen readers what the picked cell holds, after its text changed."""
        if self.cell is not None:
            self.setAccessibleDescription(self.describe(*self.cell))

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self._colour()
        super().set_theme(theme)

    def fits(self) -> int:
        """How many cells the longer axis can show: a power of two, so that resizing seldom changes it.

        It grows only where there is room to spare: what is shown has labels of its own width, which must not lead to
        another answer, and that to other labels.
        """
        self.settle()
        pixels = max(self.plot.width(), self.plot.height(), self.width() / 2, 64.0)
        if not self._fitting <= pixels < 2 * self._fitting * ROOM_TO_SPARE:
            self._fitting = 2 ** int(math.log2(pixels))
        return self._fitting

    def _exists(self, row: int, column: int) -> bool:
        if self.cells is None:
            return False
        rows, columns = self.cells.values.shape
        return 0 <= row < rows and 0 <= column < columns

    def _colour(self) -> None:
        if self.cells is None:
            self._image = QImage()
            return
        words, state = self.cells.scale.pixels(self.cells.values), self.cells.state
        words[~np.isfinite(self.cells.values)] = word(self.theme.cut)
        opaque = True
        if state is not None:
            words[state == MASKED] = word(self.theme.panel)
            absent = state == ABSENT
            opaque = not absent.any()
            words[absent] = 0  # transparent: the hatching below shows through
        self._words = np.ascontiguousarray(words)  # the image does not own its memory
        rows, columns = words.shape
        kind = QImage.Format.Format_RGB32 if opaque else QImage.Format.Format_ARGB32_Premultiplied
        self._image = QImage(self._words.data, columns, rows, columns * 4, kind)

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.plot = QRectF()
        if self.cells is None or not self.cells.values.size:
            return
        metrics = self.metrics()
        self._titled = self.height() > metrics.height() * 9 and self.width() > metrics.height() * 14
        plot = self._inside(Labels(extent=metrics.height()), Labels(extent=metrics.height()))
        for _ in range(2):  # the labels depend on the size of a cell and the other way round
            n_rows, n_columns = self.cells.values.shape
            self._rows = row_labels(self.cells.rows, plot.height() / n_rows, metrics, self.width() * 0.22)
            self._columns = column_labels(self.cells.columns, plot.width() / n_columns, metrics, self.height() * 0.28)
            plot = self._inside(self._rows, self._columns)
        self.plot = plot
        titles = (self.cells.columns.title, self.cells.rows.title)
        self._titles = self.fit_titles(plot, *titles, titled=self._titled)
        wide = metrics.horizontalAdvance
        self._row_places = [self._row_place(row) for row in self._rows.cells]
        self._column_places = [
            self._column_place(column, wide(text) + 2)
            for column, text in zip(self._columns.cells, self._columns.texts, strict=True)
        ]

    def _inside(self, rows: Labels, columns: Labels) -> QRectF:
        metrics = self.metrics()
        gap = metrics.height() * 0.35
        title = metrics.height() * TITLE if self._titled else 0.0
        below = columns.extent if columns.rotated else metrics.height()
        left = gap + title + rows.extent + gap
        right = gap + (legend_width(self.cells.scale, metrics) if self.cells is not None else 0)
        top = metrics.height() * 0.7
        bottom = gap + below + title + gap * 0.5
        return QRectF(left, top, max(4.0, self.width() - left - right), max(4.0, self.height() - top - bottom))

    def box(self, row: int | None, column: int | None) -> QRectF:
        """The pixels of a cell, or of a whole row or column where the other is None."""
        assert self.cells is not None
        n_rows, n_columns = self.cells.values.shape
        high, wide = self.plot.height() / n_rows, self.plot.width() / n_columns
        x, w = (self.plot.left(), self.plot.width()) if column is None else (self.plot.left() + column * wide, wide)
        y, h = (self.plot.top(), self.plot.height()) if row is None else (self.plot.top() + row * high, high)
        return QRectF(x, y, w, h)

    def at(self, place: QPointF) -> tuple[int, int] | None:
        """The cell at a pixel."""
        self.settle()
        if self.cells is None or not self.plot.contains(place):
            return None
        n_rows, n_columns = self.cells.values.shape
        row = int((place.y() - self.plot.top()) / self.plot.height() * n_rows)
        column = int((place.x() - self.plot.left()) / self.plot.width() * n_columns)
        return min(row, n_rows - 1), min(column, n_columns - 1)

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.cells is None or self.plot.isEmpty():
            return
        if self._image.hasAlphaChannel():
            hatch(painter, self.plot, self.theme)
        put_cells(painter, self.plot, self._image)
        self._cross_out(painter)
        painter.setPen(pen(self.theme.line))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(self.plot.adjusted(-0.5, -0.5, 0.5, 0.5))
        self._draw_labels(painter)
        self._draw_legend(painter, self.cells.scale, self._legend_box())

    def _cross_out(self, painter: Painter) -> None:
        """A cross on what is no number, where cells have room for one: a colour alone may be one of the map's."""
        assert self.cells is not None
        strange = ~np.isfinite(self.cells.values)
        if not strange.any() or min(self.box(0, 0).width(), self.box(0, 0).height()) < LEAST_CROSSED:
            return
        if self.cells.state is not None:
            strange &= self.cells.state == SHOWN
        painter.setPen(pen(ink(self.theme.cut).name(), 1.5))
        for row, column in np.argwhere(strange)[:MOST_CROSSED].tolist():
            box = self.box(row, column).adjusted(1, 1, -1, -1)
            painter.drawLine(box.topLeft(), box.bottomRight())
            painter.drawLine(box.topRight(), box.bottomLeft())

    def _draw_legend(self, painter: Painter, scale: Legend, box: QRectF) -> None:
        with_last_figure = box.adjusted(0, 0, 0, self.metrics().height())  # half of it lies below the bar
        key = (scale, box.getRect())
        self.part(painter, "legend", with_last_figure, key, lambda own: draw_legend(own, box, scale, self.theme))

    def _legend_box(self) -> QRectF:
        gap = self.metrics().height() * 0.35
        return QRectF(self.plot.right() + gap, 0, self.width() - self.plot.right() - gap, self.plot.bottom())

    def _draw_labels(self, painter: Painter) -> None:
        assert self.cells is not None
        for place, text in zip(self._row_places, self._rows.texts, strict=True):
            painter.write(*place, text, 1.0, self.theme.text)
        for place, text in zip(self._column_places, self._columns.texts, strict=True):
            self._write_column(painter, place, text, self.theme.text)
        if self._titled:
            high = self.metrics().height() * TITLE
            below, beside = self._titles
            foot = QRectF(self.plot.left(), self.height() - high - 2, self.plot.width(), high)
            put(painter, foot, below, CENTRE, self.theme.faint)
            box = QRectF(2, self.plot.top(), high, self.plot.height())
            put_rotated(painter, box, beside, CENTRE, self.theme.faint)

    def _row_place(self, row: int) -> _Place:
        assert self.cells is not None
        high = self.metrics().height()
        middle = self.plot.top() + (row + 0.5) * self.plot.height() / len(self.cells.values)
        return self.plot.left() - high * 0.35 - self._rows.extent, middle - high / 2, self._rows.extent, high

    def _column_place(self, column: int, wide: float) -> _Place:
        assert self.cells is not None
        high = self.metrics().height()
        middle = self.plot.left() + (column + 0.5) * self.plot.width() / self.cells.values.shape[1]
        top = self.plot.bottom() + high * 0.35
        if self._columns.rotated:
            return middle - high / 2, top, high, self._columns.extent
        return min(max(middle - wide / 2, 0.0), self.width() - wide), top, wide, high

    def _write_column(self, painter: Painter, place: _Place, text: str, colour: str) -> None:
        x, y, wide, high = place
        if self._columns.rotated:
            painter.write(x, y, high, wide, text, 1.0, colour, turned=True)
        else:
            painter.write(x, y, wide, high, text, 0.5, colour)

    def draw_marks(self, painter: Painter) -> None:
        if self.cells is None or self.plot.isEmpty():
            return
        self._outline(painter, self.hovered, self.theme.hover)
        self._outline(painter, self.pinned, self.theme.accent)
        if self.cell is not None:
            self._outline(painter, self.cell, self.theme.accent)
        if self.pointer is not None:
            self._crosshair(painter, *self.pointer)

    def _outline(self, painter: Painter, place: tuple[int | None, int | None], colour: str) -> None:
        row, column = place
        if (row is None and column is None) or not self._exists(row or 0, column or 0):
            return
        box = self.box(row, column)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen(self.theme.panel, 4))  # a rim, so that the outline is seen on every colour
        painter.drawRect(box)
        painter.setPen(outline_pen(self.theme, colour, 2))
        painter.drawRect(box)
        self._emphasise(painter, row, column, colour)

    def _emphasise(self, painter: Painter, row: int | None, column: int | None, colour: str) -> None:
        """The label of an outlined row or column, also where it was thinned away."""
        assert self.cells is not None
        if row is not None and self._rows.extent:
            self._emphasise_row(painter, row, colour)
        if column is not None:
            self._emphasise_column(painter, column, colour)

    def _emphasise_row(self, painter: Painter, row: int, colour: str) -> None:
        assert self.cells is not None
        axis, (x, y, wide, high) = self.cells.rows, self._row_place(row)
        text = axis.text(axis.entry(row), indexed=self._rows.indexed)
        least = self.metrics().height() * TITLE + 2 if self._titled else 0.0
        left = max(least, min(x, x + wide - self.metrics().horizontalAdvance(text) - 1))
        place = (left, y, x + wide - left, high)
        self._cover(painter, place, self._row_places)
        painter.write(*place, text, 1.0, colour)

    def _emphasise_column(self, painter: Painter, column: int, colour: str) -> None:
        assert self.cells is not None
        axis = self.cells.columns
        text = axis.text(axis.entry(column), indexed=self._columns.indexed)
        needed = self.metrics().horizontalAdvance(text)
        x, y, wide, high = self._column_place(column, needed + 2)
        if self._columns.indexed and self._columns.rotated and needed > self.height() - y:
            text = str(axis.entry(column))
            needed = self.metrics().horizontalAdvance(text)
        if self._columns.rotated:
            high = min(max(high, needed + 1), self.height() - y)
        self._cover(painter, (x, y, wide, high), self._column_places)
        self._write_column(painter, (x, y, wide, high), text, colour)

    def _cover(self, painter: Painter, place: _Place, others: list[_Place]) -> None:
        """Blank a label's place, and labels that reach into it as a whole."""
        for other in (place, *(other for other in others if _meet(place, other))):
            painter.fillRect(QRectF(*other), tint(self.theme.panel))

    def _crosshair(self, painter: Painter, row: int, column: int) -> None:
        box = self.box(row, column)
        painter.setPen(pen(self.theme.hover, 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(self.plot.left(), box.center().y()), QPointF(box.left(), box.center().y()))
        painter.drawLine(QPointF(box.center().x(), box.bottom()), QPointF(box.center().x(), self.plot.bottom()))
        self._outline(painter, (row, column), self.theme.hover)

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def on_move(self, place: QPointF) -> None:
        cell = self.at(place)
        if cell == self.pointer:
            return
        self.pointer = cell
        self.refresh_marks()
        if cell is None:
            self.cell_left.emit()
        else:
            self.cell_hovered.emit(*cell)

    def on_leave(self) -> None:
        if self.pointer is not None:
            self.pointer = None
            self.refresh_marks()
            self.cell_left.emit()

    def on_click(self, place: QPointF) -> None:
        cell = self.at(place)
        if cell is not None:
            self.pick(*cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key())) if not event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier else None
        if step is None or self.cells is None or not self.cells.values.size:
            event.ignore()
            return
        rows, columns = self.cells.values.shape
        row, column = self.cell or self._start()
        self.pick(min(max(row + step[0], 0), rows - 1), min(max(column + step[1], 0), columns - 1))

    def _start(self) -> tuple[int, int]:
        """Where the arrow keys begin: at the pinned place, else in the corner."""
        row, column = self.pinned
        return (row or 0, column or 0) if self._exists(row or 0, column or 0) else (0, 0)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and self.cells is not None and _is_step(event):
            event.accept()  # arrow keys belong to the picture while it has the focus
            return True
        return super().event(event)


def _is_step(event: QEvent) -> bool:
    return (
        isinstance(event, QKeyEvent)
        and Qt.Key(event.key()) in _STEPS
        and event.key() not in _CLICKER
        and event.modifiers() == Qt.KeyboardModifier.NoModifier
    )
