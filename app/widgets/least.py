"""How little room a part of a panel can do with: where it is narrow, its controls and words go on in more lines.

Qt's least sizes know nothing of that: they are those of one line, and of all pages, also of those behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QLayout, QSizePolicy, QSplitter, QStackedWidget, QWidget

from app.widgets.turning import TurningSplitter


def least_height(widget: QWidget, width: int, *, filled: bool = False) -> int:
    """Pixels that all of it needs at a width; of splitters, as their parts share that width now.

    ``filled``: with the picture for which there are no figures yet.
    """
    if widget.sizePolicy().verticalPolicy() == QSizePolicy.Policy.Ignored:
        return widget.minimumHeight()
    return max(widget.minimumHeight(), min(widget.maximumHeight(), _high(widget, width, filled)))


def _high(widget: QWidget, width: int, filled: bool) -> int:
    layout = widget.layout()
    if isinstance(widget, QStackedWidget):
        return least_height(_page(widget, filled), width, filled=filled) if widget.count() else 0
    if isinstance(widget, QSplitter):
        return _split_height(widget, width, filled)
    if _is_column(layout):
        margins = layout.contentsMargins()
        inner = width - margins.left() - margins.right()
        high = sum(least_height(part, inner, filled=filled) for part in _parts(layout))
        return high + _gaps(layout) + margins.top() + margins.bottom()
    if widget.hasHeightForWidth() and not isinstance(layout, QBoxLayout):
        return widget.heightForWidth(width)
    return widget.minimumSizeHint().height()


def _split_height(splitter: QSplitter, width: int, filled: bool) -> int:
    parts = _seen(splitter)
    below = isinstance(splitter, TurningSplitter) and splitter.too_narrow(width)
    if below or splitter.orientation() == Qt.Orientation.Vertical:
        return sum(least_height(part, width, filled=filled) for part in parts) + _handles(splitter)
    whole = sum(part.width() for part in parts) or 1
    return max((least_height(part, part.width() * width // whole, filled=filled) for part in parts), default=0)


def least_width(widget: QWidget, *, filled: bool = False) -> int:
    """Pixels in which nothing of it is cut off."""
    return max(widget.minimumWidth(), min(widget.maximumWidth(), _wide(widget, filled)))


def _wide(widget: QWidget, filled: bool) -> int:
    layout = widget.layout()
    if isinstance(widget, QStackedWidget):
        return least_width(_page(widget, filled), filled=filled) if widget.count() else 0
    if isinstance(widget, QSplitter):
        widths = [least_width(part, filled=filled) for part in _seen(widget)]
        turns = isinstance(widget, TurningSplitter) and widget.narrow
        across = widget.orientation() == Qt.Orientation.Horizontal and not turns
        return sum(widths) + _handles(widget) if across else max(widths, default=0)
    if _is_column(layout):
        margins = layout.contentsMargins()
        wide = max((least_width(part, filled=filled) for part in _parts(layout)), default=0)
        return max(wide + margins.left() + margins.right(), widget.minimumSizeHint().width())
    return widget.minimumSizeHint().width()


def _is_column(layout: QLayout | None) -> TypeGuard[QBoxLayout]:
    return isinstance(layout, QBoxLayout) and layout.direction() == QBoxLayout.Direction.TopToBottom


def _parts(layout: QLayout) -> Iterator[QWidget]:
    for index in range(layout.count()):
        item = layout.itemAt(index)
        part = None if item is None else item.widget()
        if part is not None and not part.isHidden():
            yield part


def _gaps(layout: QLayout) -> int:
    return max(0, layout.spacing()) * max(0, len(list(_parts(layout))) - 1)


def _seen(splitter: QSplitter) -> list[QWidget]:
    parts = map(splitter.widget, range(splitter.count()))
    return [part for part in parts if part is not None and not part.isHidden()]


def _handles(splitter: QSplitter) -> int:
    return splitter.handleWidth() * max(0, len(_seen(splitter)) - 1)


def _page(pages: QStackedWidget, filled: bool) -> QWidget:
    main = pages.main if isinstance(pages, OneOf) else None
    return main if filled and main is not None else pages.currentWidget()


class Part(QWidget):
    """Of a splitter, which gives it no less than its lines need at the width that it has."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(super().minimumSizeHint().width(), least_height(self, self.width()))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()


class OneOf(QStackedWidget):
    """Pages of which one is seen: those behind it ask for no room. ``main``: the one that is seen most of the time."""

    def __init__(self, main: QWidget | None = None) -> None:
        super().__init__()
        self.main = main
        self.currentChanged.connect(self.updateGeometry)

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        page = self.currentWidget()
        return super().minimumSizeHint() if page is None else page.minimumSizeHint().expandedTo(page.minimumSize())
