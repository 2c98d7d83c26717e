"""The rows of a pass, drawn in one widget: a mark for the state, the name, how far it is."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QToolTip, QWidget

from app.layer_kinds import differing, layer_facts_text
from app.theme import Theme
from app.widgets.pass_rows import Row, State, pass_rows, state
from engine.frames import ModelFrame


class PassView(QAbstractScrollArea):
    """Rows with their state. A stop is brought into sight, unless the user has scrolled away from the last one."""

    hovered = Signal(int)  # a layer, -1 when the mouse is on none
    pressed = Signal(int)
    opened = Signal(int, str)  # a row: its layer, -1 outside the layers, and its stage, "" for a layer as a whole

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[Row, ...] = ()
        self._model: ModelFrame | None = None
        self._kinds: tuple[str, ...] = ()  # by layer: what tells it from others
        self._computed = 0
        self._inside = self._stopped = False
        self._pinned = 0
        self._under_mouse: int | None = None
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)  # painted here, all of it
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QAbstractScrollArea.Shape.NoFrame)
        self.restyle(theme)

    # -- what is shown -------------------------------------------------------------------------------------------

    def restyle(self, theme: Theme) -> None:
        """Another theme or font."""
        self.theme = theme
        self._high = round(QFontMetrics(self.font()).height() * 1.5)
        self.verticalScrollBar().setSingleStep(self._high)
        self._fit_scroll_bar()
        self.viewport().update()

    def show_pass(self, model: ModelFrame | None, computed: int, inside: bool, stopped: bool) -> None:
        """``computed`` stages are there; ``inside`` a pass, ``stopped`` there. Repaints the rows that differ."""
        if model is not self._model:
            self._model = model
            self._kinds = () if model is None else differing(model, self.tr)
            self._renew()
        old = self._computed, self._inside, self._stopped
        if old == (computed, inside, stopped):
            return
        follows = stopped and (not self._stopped or self._in_sight(self.here()))
        looks = [self._look(index) for index in self._visible()]
        self._computed, self._inside, self._stopped = computed, inside, stopped
        for index, look in zip(self._visible(), looks, strict=True):
            if look != self._look(index):
                self._update_row(index)
        if follows:
            self._bring(self.here())

    def show_look(self, pinned: int, under_mouse: int | None) -> None:
        """The pinned layer has its stages open; a hovered one is outlined."""
        if pinned != self._pinned:
            self._open(pinned)
        if under_mouse != self._under_mouse:
            touched = {self._under_mouse, under_mouse}
            self._under_mouse = under_mouse
            for index in self._visible():
                if self.rows[index].layer in touched:
                    self._update_row(index)

    def _open(self, layer: int) -> None:
        """Open another layer's stages without moving its row under the mouse."""
        top = self._top_of(layer)
        self._pinned = layer
        self._renew()
        moved = self._top_of(layer) - top
        self.verticalScrollBar().setValue(self.verticalScrollBar().value() + moved)
        self._bring(self._index_of(layer))

    def _renew(self) -> None:
        self.rows = pass_rows(self._model, self._pinned)
        self._fit_scroll_bar()
        self.viewport().update()

    def here(self) -> int | None:
        """The row that holds the stage computed last: an opened layer's stage, or else a layer. None outside a pass."""
        if not self._inside or not self._computed:
            return None
        inside = [i for i, row in enumerate(self.rows) if row.first < self._computed <= row.first + row.count]
        return inside[-1] if inside else None

    def _is_here(self, row: Row) -> bool:
        return self._inside and row.first < self._computed <= row.first + row.count

    def _look(self, index: int) -> tuple[State, bool, int]:
        row = self.rows[index]
        within = min(max(self._computed - row.first, 0), row.count)
        return state(row, self._computed), self._is_here(row), within

    # -- places --------------------------------------------------------------------------------------------------

    def row_at(self, y: float) -> int | None:
        """The row under a height of the viewport."""
        index = int(y + self.verticalScrollBar().value()) // self._high
        return index if 0 <= index < len(self.rows) else None

    def row_box(self, index: int) -> QRectF:
        """Where a row is drawn in the viewport now."""
        top = index * self._high - self.verticalScrollBar().value()
        return QRectF(0, top, self.viewport().width(), self._high)

    def _visible(self) -> range:
        first = self.verticalScrollBar().value() // self._high
        return range(first, min(len(self.rows), first + self.viewport().height() // self._high + 2))

    def _index_of(self, layer: int) -> int | None:
        return next((index for index, row in enumerate(self.rows) if row.layer == layer), None)

    def _top_of(self, layer: int) -> int:
        return (self._index_of(layer) or 0) * self._high

    def _in_sight(self, index: int | None) -> bool:
        if index is None:
            return True
        box = self.row_box(index)
        return box.bottom() > 0 and box.top() < self.viewport().height()

    def _bring(self, index: int | None) -> None:
        """Scroll a row into sight, only as far as needed."""
        if index is None:
            return
        bar, page = self.verticalScrollBar(), self.viewport().height()
        top = index * self._high
        bar.setValue(min(max(bar.value(), top + self._high - page), top))

    def _update_row(self, index: int) -> None:
        self.viewport().update(self.row_box(index).toAlignedRect())

    def _fit_scroll_bar(self) -> None:
        page = self.viewport().height()
        self.verticalScrollBar().setPageStep(page)
        self.verticalScrollBar().setRange(0, max(0, len(self.rows) * self._high - page))

    def sizeHint(self) -> QSize:  # noqa: N802
        metrics = QFontMetrics(self.font())
        return QSize(
            metrics.horizontalAdvance(self._name(Row(100, "", 0, 1)) + "attention out 10/14") + 4 * self._high, 300
        )

    # -- painting ------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), QColor(self.theme.panel))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        region = event.region()
        for index in self._visible():
            box = self.row_box(index)
            if region.intersects(box.toAlignedRect()):
                self._draw(painter, self.rows[index], box)
        painter.end()

    def _draw(self, painter: QPainter, row: Row, box: QRectF) -> None:
        how, here = state(row, self._computed), self._is_here(row)
        if how is State.ABSENT:
            painter.fillRect(box, QBrush(QColor(self.theme.absent), Qt.BrushStyle.BDiagPattern))
        if here:
            painter.fillRect(box, QColor(self.theme.raised))
        indent = self._high * (0.9 if row.stage and row.layer is not None else 0.0)
        self._draw_mark(painter, QRectF(box.left() + indent + 6, box.top(), self._high, self._high), how, here)
        self._draw_words(painter, row, box.adjusted(indent + 6 + self._high, 0, -8, 0), how, here)
        if how is State.PARTIAL:
            share = (self._computed - row.first) / row.count
            painter.fillRect(QRectF(0, box.bottom() - 2, box.width() * share, 2), QColor(self.theme.decode))
        self._draw_outlines(painter, row, box)

    def _draw_mark(self, painter: QPainter, cell: QRectF, how: State, here: bool) -> None:
        """A tick: computed. A triangle: the pass stands here. An empty circle: not computed yet."""
        size = self._high * 0.19
        middle = cell.center()
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if here:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self.theme.decode))
            painter.drawPolygon(_polygon(middle, size, ((-0.8, -1.1), (1.1, 0), (-0.8, 1.1))))
        elif how is State.DONE:
            painter.setPen(QPen(QColor(self.theme.good), 2))
            painter.drawPolyline(_polygon(middle, size, ((-1, 0.1), (-0.3, 0.9), (1.1, -0.9))))
        else:
            painter.setPen(QPen(QColor(self.theme.faint), 1.3))
            painter.drawEllipse(middle, size * 0.8, size * 0.8)

    def _draw_words(self, painter: QPainter, row: Row, box: QRectF, how: State, here: bool) -> None:
        font = QFont(self.font())
        font.setWeight(QFont.Weight.DemiBold if here or self._opens(row) else QFont.Weight.Normal)
        painter.setFont(font)
        painter.setPen(QColor(self.theme.faint if how is State.ABSENT else self.theme.text))
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        middle = Qt.AlignmentFlag.AlignVCenter
        name, progress = self._name(row), self._progress(row, how, here)
        painter.drawText(box, int(left | middle), name)
        wide = painter.fontMetrics().horizontalAdvance(name)
        painter.setFont(self.font())
        painter.setPen(QColor(self.theme.faint))
        room = box.adjusted(wide + self._high * 0.3, 0, 0, 0)
        if how is State.ABSENT and painter.fontMetrics().horizontalAdvance(progress) > room.width():
            progress = ""  # the circle and the hatching say so
        progress = painter.fontMetrics().elidedText(progress, Qt.TextElideMode.ElideRight, max(0, int(room.width())))
        painter.drawText(room, int(right | middle), progress)
        if kind := self.kind(row):
            metrics = painter.fontMetrics()
            room = box.adjusted(wide + self._high * 0.5, 0, -metrics.horizontalAdvance(progress) - self._high * 0.3, 0)
            shown = metrics.elidedText(kind, Qt.TextElideMode.ElideRight, int(room.width()))
            painter.drawText(room, int(left | middle), shown)

    def kind(self, row: Row) -> str:
        """ "window 512 · experts 4 of 32" where layers of the model differ in it; "" for other rows."""
        return "" if row.layer is None or row.stage else self._kinds[row.layer]

    def _draw_outlines(self, painter: QPainter, row: Row, box: QRectF) -> None:
        if row.layer is None:
            return
        if row.layer == self._pinned:
            painter.fillRect(QRectF(0, box.top(), 4, box.height()), QColor(self.theme.accent))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for wanted, colour, width in (
            (row.layer == self._under_mouse and not row.stage, self.theme.hover, 2.0),
            (self._opens(row), self.theme.accent, 2.0),
        ):
            if wanted:
                painter.setPen(QPen(QColor(colour), width))
                painter.drawRect(box.adjusted(1, 1, -1, -1))

    def _opens(self, row: Row) -> bool:
        return row.layer == self._pinned and not row.stage

    def _name(self, row: Row) -> str:
        return row.stage or self.tr("layer {0}").format(row.layer)

    def _progress(self, row: Row, how: State, here: bool) -> str:
        """Right of the name: the stage the pass stands at, or that nothing is there yet."""
        if here and row.count > 1 and self._model is not None and row.layer is not None:
            within = self._computed - row.first
            return f"{self._model.layers[row.layer].stages[within - 1]}  {within}/{row.count}"
        if here and self._stopped:
            return self.tr("stopped here")
        return self.tr("not computed") if how is State.ABSENT and not row.stage and not self.kind(row) else ""

    # -- events --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit_scroll_bar()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: N802
        self.viewport().scroll(0, dy)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        layer = self._layer_at(event.position().y())
        self.hovered.emit(-1 if layer is None else layer)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        layer = self._layer_at(event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and layer is not None:
            self.pressed.emit(layer)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        index = self.row_at(event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and index is not None:
            row = self.rows[index]
            self.opened.emit(-1 if row.layer is None else row.layer, row.stage)

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.tip(event.pos().y()), self.viewport())
            return True
        return super().viewportEvent(event)

    def tip(self, y: float) -> str:
        """The facts of the layer at a height of the viewport; "" where there is none."""
        layer = self._layer_at(y)
        return "" if layer is None or self._model is None else layer_facts_text(self._model, layer, self.tr)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        n_layers = self._model.n_layers if self._model is not None else 0
        targets: dict[int, int] = {
            Qt.Key.Key_Up: self._pinned - 1,
            Qt.Key.Key_Down: self._pinned + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: n_layers - 1,
        }
        if n_layers and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.opened.emit(self._pinned, "")
            return
        if n_layers == 0 or event.key() not in targets:
            super().keyPressEvent(event)
            return
        self.pressed.emit(min(max(targets[event.key()], 0), n_layers - 1))

    def _layer_at(self, y: float) -> int | None:
        index = self.row_at(y)
        return None if index is None else self.rows[index].layer


def _polygon(middle: QPointF, size: float, points: tuple[tuple[float, float], ...]) -> QPolygonF:
    return QPolygonF([QPointF(middle.x() + x * size, middle.y() + y * size) for x, y in points])
