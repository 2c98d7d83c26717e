"""Windows are never where no screen is: one may have been unplugged since they were placed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRect, QSize
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

HANDLE = QSize(80, 24)  # so much of the top of a window must be on a screen, to take hold of it


def placed(frame: QRect, rooms: Sequence[QRect]) -> QRect:
    """The frame itself while its top can be reached on one of the screens' ``rooms``, the first of which is the main
    one; else as much of its size as there is room for, in the middle of the main one."""
    top = QRect(frame.topLeft(), QSize(frame.width(), HANDLE.height()))
    parts = (top & room for room in rooms)
    if not rooms or any(part.width() >= HANDLE.width() and part.height() == HANDLE.height() for part in parts):
        return frame
    moved = QRect(frame.topLeft(), frame.size().boundedTo(rooms[0].size()))
    moved.moveCenter(rooms[0].center())
    return moved


def rooms() -> list[QRect]:
    """What the screens have room for, the main one first."""
    main = QGuiApplication.primaryScreen()
    return [screen.availableGeometry() for screen in sorted(QGuiApplication.screens(), key=lambda one: one != main)]


def bring_back(window: QWidget) -> None:
    """Move a window that lies off every screen."""
    frame = window.frameGeometry()
    better = placed(frame, rooms())
    if better != frame:
        rim = frame.size() - window.size()
        window.resize(better.size() - rim)
        window.move(better.topLeft())
