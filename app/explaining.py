"""How deep things are explained, and the glossary: the commands of both, and who is told."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

from app.board import Board
from app.depth import following, known
from app.depth_texts import complaint
from app.dock import PanelDock
from app.layouts import Workspace
from app.panels.glossary import FIRST, GlossaryPanel
from app.panels.panel import Context
from app.preferences import Preferences

TERM = "term"  # the property of a widget that has an entry of its own


class Explaining(QObject):
    """Public methods are the commands of these names. ``changed``: another depth; ``left``: the glossary was."""

    changed = Signal()
    left = Signal()

    def __init__(
        self,
        context: Context,
        board: Board,
        workspace: Workspace,
        preferences: Preferences,
        show_panel: Callable[[str], None],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._context, self._board, self._workspace = context, board, workspace
        self._preferences, self._show_panel, self._window = preferences, show_panel, window
        self.panel = board.find(GlossaryPanel)
        self._came_from: tuple[QWidget | None, str] = (None, "")  # the focus, and the panel in the glossary's place
        context.depth = known(preferences.depth())
        self._connect()
        self._tell()

    def _connect(self) -> None:
        for dock in self._workspace.docks.values():
            dock.explanation.term_asked.connect(self.show_term)
        self._context.cursor.pinned_changed.connect(self._explain)
        if self.panel is not None:
            self.panel.titles = {panel.key: panel.title() for panel in self._board.panels}
            self.panel.panel_asked.connect(self._show_panel)
            self.panel.left.connect(self._go_back)

    # -- depth ---------------------------------------------------------------------------------------------------

    def use_depth(self, name: str) -> None:
        """Explain at this depth from now on; a word that is none means the usual one."""
        self._context.depth = known(name)
        self._preferences.set_depth(self._context.depth)
        self._tell()
        self.changed.emit()

    def next_depth(self) -> None:
        """The next deeper one; after the last the first."""
        self.use_depth(following(self._context.depth))

    def complaint(self) -> str:
        """Why nothing is explained, one sentence; "" where all is well."""
        return complaint()

    def _tell(self) -> None:
        """Everybody; it is rare."""
        for panel in self._board.up_to_date():
            panel.show_depth()
        self._explain()

    def _explain(self) -> None:
        """Formulas and code are those of the pinned layer."""
        for dock in self._workspace.docks.values():
            dock.explain()

    # -- the glossary --------------------------------------------------------------------------------------------

    def show_glossary(self) -> None:
        """The entry about what has the focus; in the glossary itself its search."""
        if self.panel is None:
            return
        focused = self._window.focusWidget()
        if focused is not None and self.panel.isAncestorOf(focused):
            self.panel.list.field.setFocus()
            return
        self.show_term(self.term_of(focused) or FIRST)

    def show_term(self, key: str) -> None:
        """An entry, in front; Esc goes back."""
        if self.panel is None:
            return
        dock = self._workspace.docks[self.panel.key]
        front = "" if dock.shown else self._workspace.in_front_of(self.panel.key)
        self._came_from = (self._window.focusWidget(), front)
        self.panel.list.field.clear()
        self.panel.show_term(key)
        self._show_panel(self.panel.key)
        self.panel.visit()

    def term_of(self, widget: QWidget | None) -> str:
        """The entry of what a widget is, or of the panel that it stands in; "" where there is none."""
        while widget is not None:
            told = widget.property(TERM)
            if isinstance(told, str) and told:
                return told
            if isinstance(widget, PanelDock):  # also where nothing in it takes the focus
                return widget.panel.term()
            widget = widget.parentWidget()
        return ""

    def _go_back(self) -> None:
        focused, front = self._came_from
        self._came_from = (None, "")
        if front:
            self._workspace.bring_up(front)
        self.left.emit()
        if focused is not None and isValid(focused) and focused.isVisible():
            focused.setFocus()
