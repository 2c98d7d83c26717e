"""Every text of a window that somebody sees or hears: of controls, menus, lists and tables, and the painted ones."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import ClassVar
from unittest import mock

from PySide6.QtCore import QAbstractListModel, Qt
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QAbstractItemView, QApplication, QComboBox, QHeaderView, QMenu, QTabBar, QWidget

from app.widgets.lettering import Painter

Seen = tuple[str, str]  # whose it is, and the text

_UNSEEN = {"objectName", "styleSheet", "windowRole", "windowFilePath", "inputMask", "html", "markdown", "selectedText"}
_ROLES = (
    Qt.ItemDataRole.DisplayRole,
    Qt.ItemDataRole.ToolTipRole,
    Qt.ItemDataRole.AccessibleTextRole,
    Qt.ItemDataRole.AccessibleDescriptionRole,
)
_MOST_ROWS = 200  # of a list that are read
_TAG = re.compile(r"<[^>]*>")


def texts_of(window: QWidget) -> Iterator[Seen]:
    """Of a window with all that belongs to it, also what is hidden now; without its fields of input."""
    for widget in (window, *window.findChildren(QWidget)):
        for text in filter(None, _own(widget)):
            yield type(widget).__name__, plain(text)


def _own(widget: QWidget) -> Iterator[str]:
    meta = widget.metaObject()
    for each in map(meta.property, range(meta.propertyCount())):
        if each.typeName() == "QString" and each.name() not in _UNSEEN:
            yield str(widget.property(each.name()))
    if isinstance(widget, QComboBox):
        yield from (widget.itemText(row) for row in range(widget.count()))
    if isinstance(widget, QTabBar):
        yield from (widget.tabText(tab) for tab in range(widget.count()))
        yield from (widget.tabToolTip(tab) for tab in range(widget.count()))
    if isinstance(widget, QMenu):
        widget.aboutToShow.emit()  # many are filled only then
    for action in widget.actions():
        yield from (action.text(), action.iconText(), action.toolTip(), action.statusTip())
    if isinstance(widget, QAbstractItemView) and not isinstance(widget, QHeaderView):
        yield from _listed(widget)


def _listed(view: QAbstractItemView) -> Iterator[str]:
    model, root = view.model(), view.rootIndex()
    if model is None:
        return
    one = isinstance(model, QAbstractListModel)  # which does not tell it
    columns = range(1 if one else min(_MOST_ROWS, model.columnCount(root)))
    for column in columns:
        yield str(model.headerData(column, Qt.Orientation.Horizontal) or "")
    open_ones = [root]
    while open_ones:
        parent = open_ones.pop()
        for row in range(min(_MOST_ROWS, model.rowCount(parent))):
            if parent == root:
                yield str(model.headerData(row, Qt.Orientation.Vertical) or "")
            open_ones.append(model.index(row, 0, parent))
            for column in columns:
                index = model.index(row, column, parent)
                yield from (str(model.data(index, role) or "") for role in _ROLES)


def plain(text: str) -> str:
    """Without tags and marks of menus."""
    return html.unescape(_TAG.sub(" ", text)) if "</" in text else text


class _Telling(QPainter):
    """A painter that tells what it writes."""

    told: ClassVar[list[str]] = []

    def drawText(self, *arguments: object) -> object:  # noqa: N802
        self.told.extend(each for each in arguments if isinstance(each, str))
        return super().drawText(*arguments)  # type: ignore[call-overload]


@contextmanager
def painted() -> Iterator[list[str]]:
    """What is written into pictures meanwhile."""
    found: list[str] = []
    write = Painter.write

    def writing(painter: Painter, *arguments: object, **named: object) -> object:
        found.extend(each for each in arguments if isinstance(each, str) and not each.startswith("#"))
        return write(painter, *arguments, **named)  # type: ignore[arg-type]

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(_Telling, "told", found))
        stack.enter_context(mock.patch.object(Painter, "write", writing))
        for name, module in list(sys.modules.items()):
            if name.startswith("app.") and getattr(module, "QPainter", None) is QPainter:
                stack.enter_context(mock.patch.object(module, "QPainter", _Telling))
        yield found


def repaint(window: QWidget) -> None:
    """All of it, now."""
    for widget in window.findChildren(QWidget):
        if widget.isVisible():
            widget.update()
    QApplication.processEvents()
