"""Sizes that are so many letters wide, also when the letters become larger."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QWidget


def follow_font(widget: QWidget, set_size: Callable[[QFontMetrics], None]) -> None:
    """Call ``set_size`` now and after every change of the widget's font."""
    _Follower(widget, set_size)
    set_size(widget.fontMetrics())


class _Follower(QObject):
    def __init__(self, widget: QWidget, set_size: Callable[[QFontMetrics], None]) -> None:
        super().__init__(widget)
        self._set_size = set_size
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() == QEvent.Type.FontChange and isinstance(watched, QWidget):
            self._set_size(watched.fontMetrics())
        return False
