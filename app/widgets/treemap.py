"""A model as a map: areas are bytes or parameters, colours are components, and one can go in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QBrush, QKeyEvent, QMouseEvent

from app.engine_words import said
from app.theme import Theme, ink, mix
from app.widgets.canvas import Canvas, outline_pen, pen, tint
from app.widgets.lettering import CENTRE, LEFT, Painter, put, put_rotated
from app.widgets.squarify import squarify, strips
from engine.checkpoint.roles import COMPONENTS

if TYPE_CHECKING:
    from engine.checkpoint.outline import Node, Outline

Weight = Literal["size", "parameters"]
_LEAST_AREA = 40.0  # square pixels that a part must have on average, or the group is drawn as one
_MOST_TILES = 12_000  # a large screen has room for more of that size than can be drawn at once
_UNUSED = ("ignored", "unknown", "copy", "misfit")
_IN_ORDER = ("all", "layers", "component")  # groups whose parts lie in the order of the pass
_SIDES = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


def component_colour(component: str, theme: Theme) -> str:
    """One colour a component; words beside it tell the same."""
    blue, orange, green, purple, pink, olive, teal, tan = theme.groups
    return {
        "embedding": blue,
        "positions": mix(blue, theme.text, 0.35).name(),
        "attention": teal,
        "MLP": orange,
        "experts": tan,
        "shared experts": olive,
        "routers": purple,
        "norms": pink,
        "unembedding": green,
    }.get(component, theme.line)


@dataclass(frozen=True)
class Tile:
    """A node that is drawn as one area."""

    number: int
    box: QRectF


@dataclass(frozen=True)
class Frame:
    """A group whose parts are drawn; its name stands in a corner, where there is room for it."""

    number: int
    box: QRectF
    depth: int


def _short(node: Node) -> str:
    """A name for where there is little room, "" where there is none."""
    if node.kind == "alike":
        return node.entry.role
    return str(node.layers[0]) if node.kind == "layer" else ""


class Treemap(Canvas):
    """Shows a part of an Outline. ``text(node)`` is written into an area, ``describe(node)`` is told of it.

    ``node_picked``: a click or an arrow key; ``entered``: a double click or Enter, with the node to go into;
    ``left``: Backspace.
    """

    node_hovered = Signal(int)
    node_left = Signal()
    node_picked = Signal(int)
    entered = Signal(int)
    left = Signal()

    def __init__(self, theme: Theme, name: str, text: Callable[[Node], str], describe: Callable[[Node], str]) -> None:
        super().__init__(theme)
        self.text, self.describe = text, describe
        self.outline: Outline | None = None
        self.root = 0
        self.weight: Weight = "size"
        self.tiles: list[Tile] = []
        self.frames: list[Frame] = []
        self._least = _LEAST_AREA
        self._legend: list[tuple[QRectF, str]] = []
        self.picked: int | None = None
        self.hovered: int | None = None
        self.setAccessibleName(name)

    def show_outline(self, outline: Outline | None, root: int = 0) -> None:
        self.outline = outline if outline is not None and outline.nodes else None
        self.root, self.picked, self.hovered = root, None, None
        self.refresh()

    def enter(self, root: int) -> None:
        """Show this node as the whole."""
        self.root, self.hovered = root, None
        self.refresh()

    def weigh(self, weight: Weight) -> None:
        self.weight = weight
        self.refresh()

    def mark(self, picked: int | None) -> None:
        if picked != self.picked:
            self.picked = picked
            self.refresh_marks()

    def path(self, number: int) -> list[int]:
        """The nodes from below the root down to this one; [] where it is not inside."""
        assert self.outline is not None
        found: list[int] = []
        while number not in (self.root, -1):
            found.append(number)
            number = self.outline.nodes[number].parent
        return found[::-1] if number == self.root else []

    # --- layout -----------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        self.tiles, self.frames = [], []
        if self.outline is not None:
            self._legend = self._lay_legend()
            below = self._legend[-1][0].bottom() - self._legend[0][0].top() if self._legend else 0.0
            box = self.area().adjusted(1, 1, -1, -1 - below)
            place = box.x(), box.y(), max(1.0, box.width()), max(1.0, box.height())
            self._least = max(_LEAST_AREA, place[2] * place[3] / _MOST_TILES)
            self._divide(self.root, place, 0)

    def _lay_legend(self) -> list[tuple[QRectF, str]]:
        """Components that the model has, in lines at the bottom."""
        assert self.outline is not None
        metrics, high = self.metrics(), self.metrics().height() * 1.25
        present = {entry.component for entry in self.outline.entries}
        names = [name for name in (*COMPONENTS, "") if name in present]
        places, left, line = [], 0.0, 0
        for name in names:
            wide = metrics.horizontalAdvance(self._component(name)) + high * 1.6
            if left and left + wide > self.width():
                left, line = 0.0, line + 1
            places.append((QRectF(left, line * high, wide, high), name))
            left += wide
        top = self.height() - (line + 1) * high
        return [(box.translated(0, top), name) for box, name in places]

    def _component(self, name: str) -> str:
        return said(name, self.tr) or self.tr("no part of the model")

    def _weight(self, number: int) -> int:
        assert self.outline is not None
        node = self.outline.nodes[number]
        return node.size if self.weight == "size" else node.parameters

    def _divide(self, number: int, box: tuple[float, float, float, float], depth: int) -> None:
        assert self.outline is not None
        parts = [child for child in self.outline.nodes[number].children if self._weight(child)]
        if not parts or box[2] * box[3] < self._least * len(parts):
            self.tiles.append(Tile(number, QRectF(*box)))
            return
        if depth:
            self.frames.append(Frame(number, QRectF(*box), depth))
        share_out = strips if self.outline.nodes[number].kind in _IN_ORDER else squarify
        for part, place in zip(parts, share_out([self._weight(part) for part in parts], box), strict=True):
            self._divide(part, place, depth + 1)

    # --- drawing ----------------------------------------------------------------------------------------------

    def draw(self, painter: Painter) -> None:
        if self.outline is None:
            return
        tags = self._tags()
        for tile in self.tiles:
            self._draw_tile(painter, tile, tags)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for frame in reversed(self.frames):
            painter.setPen(pen(self.theme.panel, max(1.0, 4.0 - frame.depth)))
            painter.drawRect(frame.box)
        for box, name in self._legend:
            side = box.height() * 0.6
            patch = QRectF(box.left() + 4, box.center().y() - side / 2, side, side)
            painter.fillRect(patch, tint(component_colour(name, self.theme)))
            place = box.adjusted(side + 8, 0, 0, 0)
            put(painter, place, self._component(name), LEFT, self.theme.text)
        for box, text in tags:
            painter.fillRect(box, tint(self.theme.panel))
            put(painter, box, text, CENTRE, self.theme.text)

    def _tags(self) -> list[tuple[QRectF, str]]:
        """Names of groups whose parts are drawn: in the corner, of tensors that are alike in the middle."""
        assert self.outline is not None
        metrics, found = self.metrics(), list[tuple[QRectF, str]]()
        for frame in self.frames:
            node = self.outline.nodes[frame.number]
            if node.kind == "layers" or len(node.children) < 2:
                continue  # their parts say enough
            text = self.text(node)
            if metrics.horizontalAdvance(text) + 10 > frame.box.width():
                text = _short(node) or text
            wide, high = metrics.horizontalAdvance(text) + 8, metrics.height() * 1.1
            box = QRectF(frame.box.left() + 1, frame.box.top() + 1, wide, high)
            if node.kind == "alike":
                box.moveCenter(frame.box.center())
            roomy = wide + 2 < frame.box.width() and high * 2 < frame.box.height()
            if roomy and not any(box.intersects(other) for other, _ in found):
                found.append((box, text))
        return found

    def _draw_tile(self, painter: Painter, tile: Tile, tags: list[tuple[QRectF, str]]) -> None:
        assert self.outline is not None
        node = self.outline.nodes[tile.number]
        colour = component_colour(node.entry.component, self.theme)
        if node.kind in ("layer", "layers"):
            colour = self.theme.faint  # of several components
        painter.fillRect(tile.box, tint(colour))
        if node.entry.state in _UNUSED:
            painter.fillRect(tile.box, QBrush(ink(colour), Qt.BrushStyle.BDiagPattern))
        painter.setPen(pen(self.theme.panel))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(tile.box)
        self._write(painter, tile.box, self.text(node), colour, tags)

    def _write(self, painter: Painter, box: QRectF, text: str, colour: str, tags: list[tuple[QRectF, str]]) -> None:
        """The whole name, turned where that is the way it fits, or none; clear of the names of groups."""
        metrics = self.small_metrics()
        wide, high = metrics.horizontalAdvance(text) + 6, metrics.height()
        turned = wide > box.width()
        size = (high, wide) if turned else (wide, high)
        if size[0] > box.width() or size[1] > box.height():
            return
        place = QRectF(0, 0, *size)
        place.moveCenter(box.center())
        if any(place.intersects(tag) for tag, _ in tags):
            place.moveBottom(box.bottom() - 1)
        if any(place.intersects(tag) for tag, _ in tags):
            return
        painter.fillRect(place, tint(colour))  # it may be hatched
        painter.use(metrics)
        (put_rotated if turned else put)(painter, place, text, CENTRE, ink(colour).name())
        painter.use(self.metrics())

    def draw_marks(self, painter: Painter) -> None:
        if self.outline is None:
            return
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for number, colour in ((self.hovered, self.theme.hover), (self.picked, self.theme.accent)):
            box = self.box_of(number)
            if box is not None:
                for line, wide in ((self.theme.panel, 5), (colour, 3)):
                    painter.setPen(outline_pen(self.theme, line, wide))
                    painter.drawRect(box)

    def box_of(self, number: int | None) -> QRectF | None:
        """Where a node is drawn: its own area, or that of the group it lies in."""
        self.settle()
        if number is None or self.outline is None:
            return None
        boxes = {part.number: part.box for part in self.frames} | {part.number: part.box for part in self.tiles}
        while number not in boxes and number > 0:
            number = self.outline.nodes[number].parent
        return boxes.get(number)

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def at(self, place: QPointF) -> int | None:
        """The node under a pixel."""
        self.settle()
        return next((tile.number for tile in self.tiles if tile.box.contains(place)), None)

    def on_move(self, place: QPointF) -> None:
        number = self.at(place)
        if number == self.hovered:
            return
        self.hovered = number
        self.refresh_marks()
        if number is None:
            self.node_left.emit()
        else:
            self.node_hovered.emit(number)

    def on_leave(self) -> None:
        self.hovered = None
        self.refresh_marks()
        self.node_left.emit()

    def on_click(self, place: QPointF) -> None:
        number = self.at(place)
        if number is not None:
            self.pick(number)

    def pick(self, number: int) -> None:
        """As a click or an arrow key does."""
        assert self.outline is not None
        self.mark(number)
        self.setAccessibleDescription(self.describe(self.outline.nodes[number]))
        self.node_picked.emit(number)

    def go_into(self, number: int) -> None:
        """One level down towards this node, if there is a group on the way."""
        assert self.outline is not None
        step = next((part for part in self.path(number) if self.outline.nodes[part].children), None)
        if step is not None:
            self.entered.emit(step)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        number = self.at(event.position())
        if number is not None and event.button() == Qt.MouseButton.LeftButton:
            self.go_into(number)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        self.settle()
        key = Qt.Key(event.key())
        if self.outline is None or not self.tiles:
            event.ignore()
        elif key in _SIDES:
            self._step(*_SIDES[key])
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.picked is not None:
            self.go_into(self.picked)
        elif key == Qt.Key.Key_Backspace:
            self.left.emit()
        else:
            event.ignore()

    def _step(self, x: int, y: int) -> None:
        """To the nearest area on that side; what lies aside counts twice."""
        here = next((tile for tile in self.tiles if tile.number == self.picked), None)
        if here is None:
            self.pick(self.tiles[0].number)
            return
        best, least = None, math.inf
        for tile in self.tiles:
            away = tile.box.center() - here.box.center()
            along, aside = (away.x() * x, abs(away.y())) if x else (away.y() * y, abs(away.x()))
            if along > 0.5 and along + 2 * aside < least:
                best, least = tile, along + 2 * aside
        if best is not None:
            self.pick(best.number)
