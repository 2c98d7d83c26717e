"""How a row of the map of a pass is drawn: the flow, a mark for its state, its name, the shape of what it makes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QFont, QFontMetrics, QPainter, QPen, QRegion

from app.engine_words import stage_title
from app.pass_words import Reading, live_shape, made_by, numbers_text, position_text, tight_text, whole_text
from app.theme import Theme
from app.widgets import pass_wires as wires
from app.widgets.pass_flow import Flow, flow_of
from app.widgets.pass_fold import Cell, draw_fold
from app.widgets.pass_marks import Marks, Place
from app.widgets.pass_rows import TOKEN, Row, State, pass_rows, state
from engine.frames import LayerFacts, ModelFrame, PointFacts

_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_WHOLE = (whole_text, numbers_text, tight_text)  # notations of shapes, the longest first
_WIDER = 1.05  # as wide as a text may be where the map is drawn at another scale
NOTATIONS = len(_WHOLE) + 1  # the last: several shapes without the positions


@dataclass
class Picture:
    """What the map shows: the model, how far the pass is, what is looked at. Plain data."""

    model: ModelFrame | None = None
    kinds: tuple[str, ...] = ()  # by layer: what tells it from others
    computed: int = 0
    inside: bool = False
    reading: Reading | None = None
    token: str = ""
    pinned: int = 0
    standing: int | None = None  # the layer that a stopped pass stands in
    under_mouse: int | None = None
    picked: Place | None = None
    marks: Marks = field(default_factory=Marks)
    layers: tuple[Row, ...] = ()
    usual: str = ""  # the kind of most layers

    def know(self, model: ModelFrame | None, kinds: tuple[str, ...]) -> None:
        """Another model."""
        self.model, self.kinds = model, kinds
        self.layers = tuple(row for row in pass_rows(model, None) if row.layer is not None)
        self.usual = Counter(kinds).most_common(1)[0][0] if kinds else ""

    def now(self) -> tuple[int, bool, Reading | None, str]:
        return self.computed, self.inside, self.reading, self.token

    def stand(self, computed: int, inside: bool, reading: Reading | None, token: str) -> None:
        """The pass has come to another place."""
        self.computed, self.inside, self.reading, self.token = computed, inside, reading, token

    def layer(self) -> int | None:
        """The layer that the pass is in."""
        return self.layer_of(self.computed) if self.inside else None

    def layer_of(self, computed: int) -> int | None:
        """The layer of the stage that was computed last."""
        place = bisect_left(self.layers, computed, key=lambda row: row.first + row.count)
        inside = place < len(self.layers) and self.layers[place].first < computed
        return self.layers[place].layer if inside else None

    def state_of(self, row: Row) -> State:
        if row.stage == TOKEN:
            return State.ABSENT if self.reading is None else State.DONE
        return state(row, self.computed)

    def is_here(self, row: Row) -> bool:
        return self.inside and row.first < self.computed <= row.first + row.count

    def look(self, row: Row) -> tuple[object, ...]:
        """What a row's drawing depends on, of what changes with the pass."""
        if row.stage == TOKEN:
            return (row, self.reading, self.token)
        within = min(max(self.computed - row.first, 0), row.count)
        if row.last is not None:
            return (row, self.is_here(row), self.layer_of(self.computed) if 0 < within < row.count else within)
        return (row, self.state_of(row), self.is_here(row), within, self.reading if row.stage else None)

    def kind(self, row: Row) -> str:
        """ "window 512 · experts 4 of 32" where layers of the model differ in it; "" for other rows."""
        return "" if row.layer is None or row.stage or row.last is not None else self.kinds[row.layer]

    def cells(self, row: Row) -> dict[int, Cell]:
        """The layers of a fold."""
        assert row.layer is not None
        assert row.last is not None
        return {
            layer: Cell(
                state(self.layers[layer], self.computed),
                self.is_here(self.layers[layer]),
                layer == self.under_mouse,
                self.kinds[layer] != self.usual,
                self.marks.of_layer(layer),
            )
            for layer in range(row.layer, row.last + 1)
        }

    def facts(self, row: Row) -> LayerFacts | None:
        return None if row.layer is None or self.model is None else self.model.layers[row.layer]

    def flow(self, row: Row) -> tuple[Flow, int] | None:
        """The flow through the layer of a row, and the place in it: of an opened layer."""
        facts = self.facts(row)
        if facts is None or row.layer is None or row.layer not in (self.pinned, self.standing):
            return None
        place = row.first - self.layers[row.layer].first if row.stage else -1
        return flow_of(facts.stages, facts.top_k), place

    def points(self, row: Row) -> tuple[PointFacts, ...]:
        facts = self.facts(row)
        if facts is not None:
            return facts.points
        return () if self.model is None else (*self.model.points_before, *self.model.points_behind)


@dataclass(frozen=True)
class PassPainter:
    """Draws rows of a map into a painter. ``notation``: how shapes are written, the same in all rows."""

    painter: QPainter
    picture: Picture
    theme: Theme
    font: QFont
    high: float
    dirty: QRegion
    tr: Callable[[str], str]
    notation: int = 0

    def draw(self, row: Row, box: QRectF) -> None:
        self.painter.setFont(self.font)
        if row.last is not None:
            wires.draw_stream(
                self.painter, box, self._stream(), self.theme, there=self.picture.state_of(row) is not State.ABSENT
            )
            draw_fold(self.painter, row, self.picture.cells(row), box, self.high, self.theme, self.dirty)
            return
        how, here = self.picture.state_of(row), self.picture.is_here(row)
        if how is State.ABSENT:
            self.painter.fillRect(box, QBrush(QColor(self.theme.absent), Qt.BrushStyle.BDiagPattern))
        if here:
            self.painter.fillRect(box, QColor(self.theme.raised))
        left = self._draw_flow(row, box, how, here=here)
        self._draw_words(row, box.adjusted(left, 0, -self.high * 0.35, 0), how, here=here)
        if how is State.PARTIAL and not row.stage:
            share = (self.picture.computed - row.first) / row.count
            self.painter.fillRect(QRectF(0, box.bottom() - 2, box.width() * share, 2), QColor(self.theme.decode))
        self._draw_outlines(row, box)
        self._draw_breakpoint(row, box)

    # -- the flow ------------------------------------------------------------------------------------------------

    def _draw_flow(self, row: Row, box: QRectF, how: State, *, here: bool) -> float:
        """The lines of a row and its mark; how wide that is."""
        there, found = how is not State.ABSENT, self.picture.flow(row)
        middle, size = QPointF(wires.lane_x(0, self.high), box.center().y()), self.high * 0.19
        if found is None or not row.stage:
            ends = self._ends(row, box)
            if found is None:
                wires.draw_stream(self.painter, ends, self._stream(), self.theme, there=there)
            else:
                wires.draw_wires(self.painter, found[0], -1, ends, self.theme, there=there)
            wires.draw_mark(self.painter, middle, size, how, self.theme, here=here and (found is None or not there))
            return self._left(row)
        flow, place = found
        wires.draw_wires(self.painter, flow, place, box, self.theme, there=there)
        self._draw_node(flow, place, box.center().y(), there=there, here=here)
        return self._left(row)

    def _stream(self) -> float:
        return wires.lane_x(0, self.high)

    def _ends(self, row: Row, box: QRectF) -> QRectF:
        """The stream begins with what is read and ends with what is chosen."""
        if row.stage == TOKEN:
            return box.adjusted(0, box.height() / 2, 0, 0)
        return box.adjusted(0, 0, 0, -box.height() / 2) if row.stage == "sampling" else box

    def _draw_node(self, flow: Flow, place: int, y: float, *, there: bool, here: bool) -> None:
        node = flow.nodes[place]
        for lane in node.lanes:
            middle = QPointF(wires.lane_x(lane, self.high), y)
            if here:
                wires.draw_mark(self.painter, middle, self.high * 0.19, State.DONE, self.theme, here=True)
            elif node.adds:
                wires.draw_sum(self.painter, middle, self.high * 0.26, self.theme, there=there)
            else:
                colour = wires.part_colour(node.part, self.theme)
                wires.draw_node(self.painter, middle, self.high * 0.14, colour, self.theme, there=there)

    # -- words ---------------------------------------------------------------------------------------------------

    def _draw_words(self, row: Row, box: QRectF, how: State, *, here: bool) -> None:
        self.painter.setFont(_bold(self.font) if here or self._opens(row) else self.font)
        self.painter.setPen(QColor(self.theme.faint if how is State.ABSENT else self.theme.text))
        name = self.painter.fontMetrics().elidedText(self._name(row), Qt.TextElideMode.ElideRight, int(box.width()))
        self.painter.drawText(box, _LEFT, name)
        wide = self.painter.fontMetrics().horizontalAdvance(name)
        self.painter.setFont(self.font)
        self.painter.setPen(QColor(self.theme.faint))
        room = box.adjusted(wide + self.high * 0.4, 0, 0, 0)
        if row.stage:
            self.painter.drawText(room, _RIGHT, self._fitting(self._remarks(row)[self.notation :], room.width()))
        else:
            self._draw_layer_words(row, room, here=here)

    def _draw_layer_words(self, row: Row, room: QRectF, *, here: bool) -> None:
        progress, kind = self._progress(row, here=here), self.picture.kind(row)
        metrics = self.painter.fontMetrics()
        progress = metrics.elidedText(progress, Qt.TextElideMode.ElideRight, max(0, int(room.width())))
        self.painter.drawText(room, _RIGHT, progress)
        room = room.adjusted(0, 0, -metrics.horizontalAdvance(progress) - self.high * 0.3, 0)
        self.painter.drawText(room, _LEFT, metrics.elidedText(kind, Qt.TextElideMode.ElideRight, int(room.width())))

    def _fitting(self, texts: list[str], width: float) -> str:
        """The first, and so the longest, text that fits."""
        advance = self.painter.fontMetrics().horizontalAdvance
        return next((text for text in texts if advance(text) <= width), "")

    def _remarks(self, row: Row) -> list[str]:
        """What may stand right of a stage's name, longest first: what is read; the shapes of what the stage makes."""
        if row.stage == TOKEN:
            return [self.picture.token] * NOTATIONS
        points, reading = made_by(self.picture.points(row), row.stage), self.picture.reading
        facts = self.picture.facts(row)
        if reading is None or not points:
            return []
        shapes = [(point, live_shape(point, facts, reading)) for point in points]
        *longer, tight = (list(dict.fromkeys(text(point, shape) for point, shape in shapes)) for text in _WHOLE)
        each = [position_text(point, shape) for point, shape in shapes]
        short = each if len(tight) > 1 and all("×" in text for text in each) else tight
        return ["   ".join(texts) for texts in (*longer, tight, short, _last(tight))]

    def common_notation(self, rows: Iterable[Row], width: float) -> int:
        """The longest notation in which the shapes of all these rows fit that have room for any."""
        names, words = QFontMetrics(_bold(self.font)), QFontMetrics(self.font)
        longest = 0
        for row in rows:
            texts = self._remarks(row)[:NOTATIONS] if row.stage != TOKEN and row.stage else []
            room = width - self._left(row) - names.horizontalAdvance(self._name(row)) - self.high * 0.75
            fitting = (way for way, text in enumerate(texts) if words.horizontalAdvance(text) * _WIDER <= room)
            longest = max(longest, next(fitting, 0))
        return longest

    def _left(self, row: Row) -> float:
        """Where its words begin."""
        found = self.picture.flow(row)
        return wires.room(1 if found is None or not row.stage else found[0].lanes, self.high)

    def _name(self, row: Row) -> str:
        if row.stage == TOKEN and self.picture.reading is not None:
            start, end = self.picture.reading.start, self.picture.reading.end
            return self.tr("token {0}").format(start) if end - start == 1 else self.tr("{0} tokens").format(end - start)
        return stage_title(row.stage, self.tr) or self.tr("layer {0}").format(row.layer)

    def _progress(self, row: Row, *, here: bool) -> str:
        """Right of a layer's name: the stage the pass stands at, or that nothing is there yet."""
        facts = self.picture.facts(row)
        if here and row.count > 1 and facts is not None:
            within = self.picture.computed - row.first
            return f"{stage_title(facts.stages[within - 1], self.tr)}  {within}/{row.count}"
        absent = self.picture.state_of(row) is State.ABSENT and not self.picture.kind(row)
        return self.tr("not computed") if absent else ""

    # -- outlines ------------------------------------------------------------------------------------------------

    def _draw_outlines(self, row: Row, box: QRectF) -> None:
        if row.layer is not None and row.layer == self.picture.pinned:
            self.painter.fillRect(QRectF(0, box.top(), 4, box.height()), QColor(self.theme.accent))
        self.painter.setBrush(Qt.BrushStyle.NoBrush)
        picked = (row.layer, row.stage) == self.picture.picked
        hovered = row.layer is not None and row.layer == self.picture.under_mouse and not row.stage
        for wanted, colour in ((hovered, self.theme.hover), (self._opens(row) or picked, self.theme.accent)):
            if wanted:
                self.painter.setPen(QPen(QColor(colour), 2.0))
                self.painter.drawRect(box.adjusted(1, 1, -1, -1))

    def _opens(self, row: Row) -> bool:
        return row.layer == self.picture.pinned and not row.stage and row.layer is not None

    def _draw_breakpoint(self, row: Row, box: QRectF) -> None:
        marks = self.picture.marks
        places = [(row.layer, row.stage), *([(None, row.stage)] if row.stage else [])]  # a stage of any layer, too
        found = [marks.places[place] for place in places if place in marks.places]
        if not row.stage and row.layer is not None and self.picture.flow(row) is None:
            inside = marks.of_layer(row.layer)
            found += [] if inside is None else [inside]
        if found:
            middle = QPointF(self.high * 0.36, box.center().y())
            wires.draw_breakpoint(self.painter, middle, self.high * 0.16, self.theme, on=any(found))


def _bold(font: QFont) -> QFont:
    bold = QFont(font)
    bold.setWeight(QFont.Weight.DemiBold)
    return bold


def _last(shapes: list[str]) -> list[str]:
    """What a stage ends with, behind a sign that it makes more."""
    return [f"… {shapes[-1]}"] if len(shapes) > 1 else shapes
