"""Where to look: the commands that move the pin over positions, layers and points. Nothing is computed by them but what
panels ask about the new place."""

from __future__ import annotations

from PySide6.QtCore import QObject

from app import walk
from app.layouts import Workspace
from app.panels.activations import ActivationsPanel
from app.panels.panel import Context


class Going(QObject):
    """Each public method is the command of its name."""

    def __init__(
        self, context: Context, workspace: Workspace, points: ActivationsPanel | None, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._context, self._workspace, self._points = context, workspace, points

    def previous_position(self) -> None:
        self._move_position(-1)

    def next_position(self) -> None:
        self._move_position(+1)

    def _move_position(self, by: int) -> None:
        """Past the newest token, the pin follows the newest again."""
        newest = self._context.run.n_tokens - 1
        pinned = self._context.cursor.pinned.position
        target = max(0, (newest if pinned is None else pinned) + by)
        self._context.cursor.pin(position=target if target <= newest else None)

    def previous_layer(self) -> None:
        self._move_layer(-1)

    def next_layer(self) -> None:
        self._move_layer(+1)

    def _move_layer(self, by: int) -> None:
        if self._context.run.model is not None:
            last = self._context.run.model.n_layers - 1
            self._context.cursor.pin(layer=min(last, max(0, self._context.cursor.pinned.layer + by)))

    def walk_back(self) -> None:
        """Look one layer back over what is recorded; nothing is computed but what panels ask about it."""
        there = walk.back(self._context.run, self._context.cursor.pinned)
        if there is not None:
            self._context.cursor.pin(position=there[0], layer=there[1])

    def walk_on(self) -> None:
        """Look one layer further; at the live end, follow it again."""
        run, cursor = self._context.run, self._context.cursor
        there, end = walk.on(run, cursor.pinned), walk.live_end(run)
        if there is not None:
            cursor.pin(position=there[0], layer=there[1])
        elif end is not None and cursor.pinned.position is not None:
            cursor.pin(position=None, layer=end[1])

    def previous_point(self) -> None:
        self._walk_point(-1)

    def next_point(self) -> None:
        self._walk_point(+1)

    def _walk_point(self, by: int) -> None:
        if self._points is not None:
            self._workspace.bring_up(self._points.key)
            self._points.walk(by)

    def show_stage(self, layer: int, stage: str) -> None:
        """The tensor that a stage of the pass ends with; layer -1: outside the layers."""
        if self._points is not None:
            self._workspace.bring_up(self._points.key)
            self._points.show_stage(None if layer < 0 else layer, stage)

    def follow(self) -> None:
        self._context.cursor.follow()
