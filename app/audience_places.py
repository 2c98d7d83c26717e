"""Where the panels stand in the audience's window: each has the room that its letters need, and shares the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSizeF

from app.layout_names import EXPLORE
from app.layout_shapes import LAYOUTS

FLAT = 4.0  # times as wide as high: it has a row of its own, at the top
FLAT_SHARE = 0.3  # of the height, for all of those together
MOST_FLAT = 0.45  # of the height, where they need more
GAP = 8.0
WIDER, MOST_TURNS = 1.25, 6  # how much, and how often, what needs more room is tried wider
MOST_TRIED = 6  # panels whose every arrangement is tried; of more, only even ones
SCREEN = QSizeF(16, 9)  # the shape of a window at the first start


def _little(width: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Wish:
    """``shape``: what looks best, of which only the ratios count. Below the least ``width``, and the least ``height``
    at a width, pixels, letters must shrink."""

    shape: QSizeF
    width: float = 1.0
    height: Callable[[float], float] = _little

    @property
    def flat(self) -> bool:
        return self.shape.width() >= FLAT * self.shape.height()


def first_shape(key: str) -> QSizeF:
    """The shape in which a panel stands at the first start."""
    layout = LAYOUTS[EXPLORE]
    if key in layout.top:
        return QSizeF(SCREEN.width(), SCREEN.height() * layout.top_share)
    held = zip(layout.columns, layout.widths, strict=True)
    share = next((share for column, share in held if any(key in stack for stack in column)), max(layout.widths))
    return QSizeF(SCREEN.width() * share / sum(layout.widths), SCREEN.height() * (1 - layout.top_share))


def places(area: QRectF, wishes: list[Wish]) -> list[QRectF]:
    """A box for each, in the same order, within the area.

    Flat ones lie one below the other at the top; the others stand in rows, in the arrangement in which the letters are
    largest, and among those in the one that lets the smallest panel be enlarged most.
    """
    flat = [index for index, wish in enumerate(wishes) if wish.flat]
    rest = [index for index in range(len(wishes)) if index not in flat]
    found: dict[int, QRectF] = {}
    top = area.top()
    for index in flat:
        high = _flat_height(area, wishes[index], len(flat), bool(rest))
        found[index] = QRectF(area.left(), top, area.width(), high)
        top += high + GAP
    left = QRectF(area.left(), top, area.width(), max(1.0, area.bottom() - top))
    found.update(zip(rest, _best(left, [wishes[index] for index in rest]), strict=True))
    return [found[index] for index in range(len(wishes))]


def _flat_height(area: QRectF, wish: Wish, count: int, others: bool) -> float:
    room = (area.height() - (count - 1) * GAP) / count
    usual = min(room * (FLAT_SHARE if others else 1.0), area.width() * wish.shape.height() / wish.shape.width())
    return max(usual, min(wish.height(area.width()), room * (MOST_FLAT if others else 1.0)))


def _best(area: QRectF, wishes: list[Wish]) -> list[QRectF]:
    best: list[QRectF] = []
    for turns in range(MOST_TURNS if wishes else 0):
        tried = [_boxes(area, rows, turns) for rows in _rows(wishes)]
        best = max(filter(None, (best, *tried)), key=lambda boxes: _worth(boxes, wishes))
        if _worth(best, wishes)[0] >= 1.0:
            break
    return best


def _worth(boxes: list[QRectF], wishes: list[Wish]) -> tuple[float, float]:
    """How much of what its letters need the worst placed one has, at most 1; how much the smallest is enlarged."""
    pairs = list(zip(boxes, wishes, strict=True))
    least = min(_times(box, QSizeF(wish.width, wish.height(max(box.width(), wish.width)))) for box, wish in pairs)
    return min(1.0, least), min(_times(box, wish.shape) for box, wish in pairs)


def _rows(wishes: list[Wish]) -> Iterator[list[list[Wish]]]:
    """Ways to cut the panels into rows, in their order."""
    count = len(wishes)
    if 0 < count <= MOST_TRIED:
        for cuts in range(1 << (count - 1)):  # a bit for each place between two: whether a row ends there
            ends = [index + 1 for index in range(count - 1) if cuts >> index & 1]
            yield [wishes[start:end] for start, end in zip([0, *ends], [*ends, count], strict=True)]
    elif count:
        for columns in range(1, count + 1):
            yield [wishes[start : start + columns] for start in range(0, count, columns)]


def _boxes(area: QRectF, rows: list[list[Wish]], turns: int) -> list[QRectF]:
    """Rows as high as their panels want to be for their widths."""
    widths = [_widths(area, row, turns) for row in rows]
    least = [max(wish.height(w) for wish, w in zip(*pair, strict=True)) for pair in zip(rows, widths, strict=True)]
    wanted = [max(wish.shape.height() for wish in row) / sum(wish.shape.width() for wish in row) for row in rows]
    boxes, top = [], area.top()
    for row, high in zip(widths, shared(area.height() - (len(rows) - 1) * GAP, least, wanted), strict=True):
        left = area.left()
        for wide in row:
            boxes.append(QRectF(left, top, wide, high))
            left += wide + GAP
        top += high + GAP
    return boxes


def _widths(area: QRectF, row: list[Wish], turns: int) -> list[float]:
    """As the shapes say; in each turn the one that needs the greatest height is made wider."""
    room, least = area.width() - (len(row) - 1) * GAP, [wish.width for wish in row]
    weights = [wish.shape.width() for wish in row]
    widths = shared(room, least, weights)
    for _ in range(turns):
        heights = [wish.height(wide) for wish, wide in zip(row, widths, strict=True)]
        weights[heights.index(max(heights))] *= WIDER
        widths = shared(room, least, weights)
    return widths


def shared(room: float, least: list[float], weights: list[float]) -> list[float]:
    """The room in parts as the weights are, but none below its least; where that is too much, each by its least."""
    if sum(least) >= room:
        return [max(1.0, part * room / sum(least)) for part in least]
    held: set[int] = set()  # those that get their least
    while True:
        free = room - sum(least[index] for index in held)
        weight = sum(part for index, part in enumerate(weights) if index not in held)
        parts = [least[index] if index in held else part * free / weight for index, part in enumerate(weights)]
        short = {index for index, part in enumerate(parts) if part < least[index]}
        if short <= held:
            return parts
        held |= short


def _times(box: QRectF, shape: QSizeF) -> float:
    return min(box.width() / max(1.0, shape.width()), box.height() / max(1.0, shape.height()))
