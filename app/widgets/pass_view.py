"""The map of a pass in one widget: what it reads, the layers, the flow through the pinned one, what comes behind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import accumulate

from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QMenu, QToolTip, QWidget

from app.breakpoint_words import place_text
from app.depth import USUAL, Depth
from app.depth_texts import code_text, formulas_text, named_points, story_of
from app.layer_kinds import differing
from app.pass_words import Reading, built_text, stage_points, stage_text
from app.theme import Theme
from app.widgets.pass_fold import cell_box, fold_height, label_width, layer_at
from app.widgets.pass_marks import Marks, Place
from app.widgets.pass_painter import PassPainter, Picture
from app.widgets.pass_rows import TOKEN, Row, map_rows, pass_rows
from app.widgets.term_words import tip_html, told
from app.widgets.tips import plain_tip
from engine.frames import ModelFrame, PointFacts


class PassView(QAbstractScrollArea):
    """Rows with their state. A stop is brought into sight, unless the user has scrolled away from the last one.

    A place in signals is a layer, -1 outside the layers, and a stage, "" for a layer as a whole.
    """

    hovered = Signal(int)  # a layer, -1 when the mouse is on none
    pressed = Signal(int)
    picked = Signal(int, str)  # a stage is looked at
    opened = Signal(int, str)  # the tensor of a place is wanted
    asked = Signal(str, int, str)  # "run to", "break" or "edit", and the place
    menu_opening = Signal(QMenu, int, str)  # what can be done there: whoever knows more of it adds to the menu

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[Row, ...] = ()
        self.picture = Picture()
        self.told_at: Depth = USUAL
        self._tops: list[float] = [0.0]
        self._model: ModelFrame | None = None
        self._stopped = False
        self._notation: tuple[int, Reading | None, int] | None = None  # of shapes, and what it was found for
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
        self._lay_out()

    def show_pass(
        self,
        model: ModelFrame | None,
        computed: int,
        inside: bool,
        stopped: bool,
        reading: Reading | None = None,
        token: str = "",
    ) -> None:
        """``computed`` stages are there; ``inside`` a pass, ``stopped`` there; it reads these positions, ``token`` in
        words. Repaints the rows that differ."""
        if model is not self._model:
            self._model = model
            self.picture.know(model, () if model is None else differing(model, self.tr))
            self._renew()
        before, shown = self.picture.now(), (computed, inside, reading, token)
        if (*before, self._stopped) == (*shown, stopped):
            return
        follows = stopped and (not self._stopped or self._in_sight(self.here()))
        looks, left = [self.picture.look(self.rows[index]) for index in self._visible()], self.picture.layer()
        self._stopped = stopped
        self.picture.stand(*shown)
        self._stand(self.picture.layer_of(computed) if stopped else None)
        for index, look in zip(self._visible(), looks, strict=False):
            if look != self.picture.look(self.rows[index]):
                self._update_row(index, left)
        if follows:
            self._bring_stop()

    def _stand(self, layer: int | None) -> None:
        """The layer that a stopped pass stands in has its stages open, too."""
        if layer != self.picture.standing:
            self.picture.standing = layer
            self._renew()

    def _bring_stop(self) -> None:
        """Where the pass stands, with as much of its layer as there is room for."""
        of_layer = [
            index for index, row in enumerate(self.rows) if row.layer is not None and row.layer == self.picture.standing
        ]
        for index in (*of_layer[-1:], *of_layer[:1], self.here()):
            self._bring(index)

    def show_look(self, pinned: int, under_mouse: int | None, picked: Place | None = None) -> None:
        """The pinned layer has its stages open; a hovered one, and the picked stage, are outlined."""
        if pinned != self.picture.pinned:
            self._open(pinned)
        if under_mouse != self.picture.under_mouse:
            touched = {self.picture.under_mouse, under_mouse}
            self.picture.under_mouse = under_mouse
            self._update_rows(lambda row: any(layer is not None and self._holds(row, layer) for layer in touched))
        if picked != self.picture.picked:
            places = {self.picture.picked, picked}
            self.picture.picked = picked
            self._update_rows(lambda row: (row.layer, row.stage) in places)
            self._bring(next((i for i, row in enumerate(self.rows) if (row.layer, row.stage) == picked), None))

    def show_marks(self, marks: Marks) -> None:
        """Where breakpoints are."""
        if marks != self.picture.marks:
            self.picture.marks = marks
            self.viewport().update()

    def _open(self, layer: int) -> None:
        """Open another layer's stages without moving its row under the mouse, where it has one already."""
        top, index = self._top_of(layer), self._index_of(layer)
        folded = index is not None and self.rows[index].last is not None
        self.picture.pinned = layer
        self._renew()
        moved = self._top_of(layer) - top
        self.verticalScrollBar().setValue(round(self.verticalScrollBar().value() + moved))
        if folded:  # no row of its own was under the mouse: as many of its stages as there is room for
            self._bring(max(index for index, row in enumerate(self.rows) if row.layer == layer))
        self._bring(self._index_of(layer))

    def _renew(self) -> None:
        self.rows = map_rows(self._model, self.picture.pinned, self.picture.standing)
        self._lay_out()

    def _lay_out(self) -> None:
        self._notation = None
        self._tops = [0.0, *accumulate(self._tall(row) for row in self.rows)]
        self._fit_scroll_bar()
        self.viewport().update()

    def _tall(self, row: Row) -> float:
        return float(self._high) if row.last is None else fold_height(row, self._high)

    def here(self) -> int | None:
        """The row that holds the stage computed last: an opened layer's stage, or else layers. None outside a pass."""
        inside = [index for index, row in enumerate(self.rows) if self.picture.is_here(row)]
        return inside[-1] if inside else None

    # -- places --------------------------------------------------------------------------------------------------

    def row_at(self, y: float) -> int | None:
        """The row under a height of the viewport."""
        index = bisect_right(self._tops, y + self.verticalScrollBar().value()) - 1
        return index if 0 <= index < len(self.rows) else None

    def row_box(self, index: int) -> QRectF:
        """Where a row is drawn in the viewport now."""
        top, bottom = self._tops[index], self._tops[index + 1]
        return QRectF(0, top - self.verticalScrollBar().value(), self.viewport().width(), bottom - top)

    def place_at(self, place: QPointF) -> Place | None:
        """The layer and stage under a place of the viewport; of a fold the layer whose cell lies there."""
        index = self.row_at(place.y())
        if index is None:
            return None
        row = self.rows[index]
        if row.last is None:
            return row.layer, row.stage
        layer = layer_at(row, place, self.row_box(index), self._high, label_width(QFontMetrics(self.font())))
        return None if layer is None else (layer, "")

    def _visible(self) -> range:
        first = self.row_at(0.0) or 0
        last = self.row_at(float(self.viewport().height()))
        return range(first, len(self.rows) if last is None else last + 1)

    def _holds(self, row: Row, layer: int) -> bool:
        return row.layer is not None and row.layer <= layer <= (row.layer if row.last is None else row.last)

    def _index_of(self, layer: int) -> int | None:
        return next((index for index, row in enumerate(self.rows) if self._holds(row, layer)), None)

    def _top_of(self, layer: int) -> float:
        return self._tops[self._index_of(layer) or 0]

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
        bar.setValue(round(min(max(bar.value(), self._tops[index + 1] - page), self._tops[index])))

    def _update_rows(self, wanted: Callable[[Row], bool]) -> None:
        for index in self._visible():
            if wanted(self.rows[index]):
                self._update_row(index)

    def _update_row(self, index: int, left: int | None = None) -> None:
        """Draw a row again; of a fold only the cells from the layer that the pass has left to the one it is in."""
        row, come = self.rows[index], self.picture.layer()
        if row.last is None or row.layer is None or left is None or come is None:
            self.viewport().update(self.row_box(index).toAlignedRect())
            return
        first, last = max(row.layer, min(left, come)), min(row.last, max(left, come))
        label = label_width(QFontMetrics(self.font()))
        for layer in range(first, last + 1):
            cell = cell_box(row, layer, self.row_box(index), self._high, label)
            self.viewport().update(cell.toAlignedRect())

    def _fit_scroll_bar(self) -> None:
        page = self.viewport().height()
        self.verticalScrollBar().setPageStep(page)
        self.verticalScrollBar().setRange(0, max(0, round(self._tops[-1]) - page))

    def sizeHint(self) -> QSize:  # noqa: N802
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance("attention out 5×9999") + 5 * self._high, 300)

    # -- painting ------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self.viewport())
        painter.fillRect(event.rect(), QColor(self.theme.panel))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        region, high = event.region(), float(self._high)
        pencil = PassPainter(painter, self.picture, self.theme, self.font(), high, region, self.tr)
        pencil = replace(pencil, notation=self._find_notation(pencil))
        for index in self._visible():
            box = self.row_box(index)
            if region.intersects(box.toAlignedRect()):
                pencil.draw(self.rows[index], box)
        painter.end()

    def _find_notation(self, pencil: PassPainter) -> int:
        """How all shapes are written; another only with other rows, positions or another width."""
        width, reading = self.viewport().width(), self.picture.reading
        if self._notation is None or self._notation[1:] != (reading, width):
            self._notation = (pencil.common_notation(self.rows, width), reading, width)
        return self._notation[0]

    # -- events --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit_scroll_bar()

    def scrollContentsBy(self, dx: int, dy: int) -> None:  # noqa: N802
        self.viewport().scroll(0, dy)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        place = self.place_at(event.position())
        self.hovered.emit(-1 if place is None or place[0] is None else place[0])

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        place = self.place_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and place is not None:
            self.press(place)

    def press(self, place: Place) -> None:
        """As a click: a layer is pinned, and opens its stages; a stage shows its tensor."""
        layer, stage = place
        if not stage:
            self.pressed.emit(layer)
            return
        self.picked.emit(-1 if layer is None else layer, stage)
        self.opened.emit(-1 if layer is None else layer, stage)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        place = self.place_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and place is not None:
            self.opened.emit(-1 if place[0] is None else place[0], place[1])

    def viewportEvent(self, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.Leave:
            self.hovered.emit(-1)
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._dressed(self.tip(QPointF(event.pos()))), self.viewport())
            return True
        return super().viewportEvent(event)

    def tip(self, place: QPointF) -> str:
        """The facts of what lies at a place of the viewport; "" where there is nothing."""
        found = self.place_at(place)
        if found is None or self._model is None:
            return ""
        layer, stage = found
        return self.describe(layer, stage) if stage else self._describe_layer(layer or 0)

    def show_depth(self, depth: Depth) -> None:
        """How stages are explained from now on."""
        self.told_at = depth

    def _dressed(self, text: str) -> str:
        """For a tool tip: a sentence wraps, and no sign of a formula is taken for a tag."""
        numbers = self.told_at == "numbers" or not text
        return plain_tip(text) if numbers else tip_html(text, code=self.told_at == "code")

    def _describe_layer(self, layer: int) -> str:
        assert self._model is not None, "there is a layer"
        built = built_text(self._model, layer, self.tr)
        if self.told_at == "numbers":
            return built
        if self.told_at == "story":
            return f"{told(story_of(self._model, layer, ''))}\n{built}"
        points = named_points(self._model, layer, ("hook_resid_mid", "hook_resid_post"))
        return self._in_signs(points)

    def _in_signs(self, points: Iterable[PointFacts]) -> str:
        """As formulas or as code, which is chosen."""
        return formulas_text(points, self.tr) if self.told_at == "formula" else code_text(points)

    def describe(self, layer: int | None, stage: str) -> str:
        """The tensors of a stage in lines, with its name."""
        model, reading = self._model, self.picture.reading
        if model is None or not stage:
            return ""
        if stage == TOKEN:
            story = told(story_of(model, None, TOKEN)) if self.told_at == "story" else ""
            return "\n".join(filter(None, (self.picture.token, story)))
        facts = None if layer is None else model.layers[layer]
        points = (*model.points_before, *model.points_behind) if facts is None else facts.points
        if self.told_at == "story":
            words = told(story_of(model, layer, stage))
        elif self.told_at == "numbers":
            words = stage_text(points, facts, stage, reading)
        else:
            words = self._in_signs(stage_points(points, stage))
        lines = (place_text(layer, stage, self.tr), words)
        return "\n".join(filter(None, lines))

    # -- keys and menu -------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        n_layers, pinned = self._model.n_layers if self._model is not None else 0, self.picture.pinned
        layers: dict[int, int] = {
            Qt.Key.Key_Up: pinned - 1,
            Qt.Key.Key_Down: pinned + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: n_layers - 1,
        }
        stages: dict[int, int] = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: +1}
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if n_layers == 0 or not plain:
            super().keyPressEvent(event)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            layer, stage = self.current()
            self.opened.emit(-1 if layer is None else layer, stage)
        elif event.key() in layers:
            self.pressed.emit(min(max(layers[event.key()], 0), n_layers - 1))
        elif event.key() in stages:
            self._walk(stages[event.key()])
        else:
            super().keyPressEvent(event)

    def current(self) -> Place:
        """The picked stage, where it is on the map; else the pinned layer."""
        picked = self.picture.picked
        shown = any((row.layer, row.stage) == picked for row in self.rows)
        return picked if picked is not None and shown else (self.picture.pinned, "")

    def _walk(self, by: int) -> None:
        """To the stage before or after the picked one, of those that have a row."""
        row = next(row for row in self.rows if (row.layer, row.stage) == self.current())
        stages = [other for other in pass_rows(self._model, self.picture.pinned) if other.stage]
        if by > 0:
            found = [other for other in stages if other.first >= row.first + (row.stage not in ("", TOKEN))]
        else:
            found = [other for other in stages if other.first < row.first][::-1]
        if found:
            self.picked.emit(-1 if found[0].layer is None else found[0].layer, found[0].stage)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: N802
        mouse = event.reason() == QContextMenuEvent.Reason.Mouse
        place = self.place_at(QPointF(event.pos())) if mouse else self.current() if self.rows else None
        menu = None if place is None else self.menu_of(place)
        if menu is None:
            event.ignore()
            return
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(event.globalPos() if mouse else self._menu_place())

    def _menu_place(self) -> QPoint:
        index = next(index for index, row in enumerate(self.rows) if (row.layer, row.stage) == self.current())
        return self.viewport().mapToGlobal(self.row_box(index).center().toPoint())

    def menu_of(self, place: Place) -> QMenu | None:
        """What can be done with a stage or a layer; None for what is read, where no pass stops."""
        layer, stage = -1 if place[0] is None else place[0], place[1]
        if stage == TOKEN:
            return None
        menu = QMenu(self)
        menu.addAction(place_text(*place, self.tr)).setEnabled(False)
        menu.addAction(self.tr("Show its tensor"), partial(self.opened.emit, layer, stage))
        menu.addSeparator()
        stops = self.picture.marks.stops_at(place)
        for text, what in (
            (self.tr("Run to here"), "run to"),
            (self.tr("Remove the breakpoint") if stops else self.tr("Break here"), "break"),
            (self.tr("Edit…"), "edit"),
        ):
            menu.addAction(text, partial(self.asked.emit, what, layer, stage))
        self.menu_opening.emit(menu, layer, stage)
        return menu
