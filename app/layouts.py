"""Where panels stand: two layouts as data, and the workspace of docks that follows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtWidgets import QMainWindow, QTabWidget, QWidget

from app.dock import PanelDock

TOP, LEFT = Qt.DockWidgetArea.TopDockWidgetArea, Qt.DockWidgetArea.LeftDockWidgetArea


@dataclass(frozen=True)
class Layout:
    """``columns``: from left to right, each from top to bottom; docks in one inner tuple are tabs, the first on top.

    ``widths`` share out the window's width, in the order of the columns.
    """

    name: str
    top: tuple[str, ...]
    columns: tuple[tuple[tuple[str, ...], ...], ...]
    widths: tuple[int, ...]


FOCUS = Layout(
    "focus",
    ("strip",),
    ((("layers",),), (("attention", "residual", "cache"),), (("sampling",),)),
    (16, 58, 26),
)
GRID = Layout(
    "grid",
    ("strip",),
    ((("layers",),), (("attention",), ("cache",)), (("residual",),), (("sampling",),)),
    (12, 34, 32, 22),
)
LAYOUTS = {layout.name: layout for layout in (FOCUS, GRID)}


class Workspace(QMainWindow):
    """A window of docks without a centre; stands inside the program's window."""

    def __init__(self, docks: Iterable[PanelDock], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockNestingEnabled(True)
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.docks = {dock.panel.key: dock for dock in docks}
        self.layout_name = FOCUS.name
        self.maximised: PanelDock | None = None
        self._before_maximising = QByteArray()
        for dock in self.docks.values():
            self.addDockWidget(TOP, dock)
            dock.maximise_asked.connect(lambda dock=dock: self.toggle_maximised(dock))

    def arrange(self, name: str) -> None:
        """Put every dock where the layout says; docks that it does not name are closed."""
        self.restore_maximised()
        layout = LAYOUTS[name]
        self.layout_name = name
        for dock in self.docks.values():
            dock.setFloating(False)
            self.removeDockWidget(dock)
        for key in layout.top:
            self._show(self.docks.get(key), TOP)
        columns = [self._known(column) for column in layout.columns]
        self._place_heads(columns)
        for column in columns:
            self._fill(column)
        self._share_width(columns, layout.widths)

    def save(self) -> QByteArray:
        """The state as the user left it, before a panel was maximised."""
        return self._before_maximising if self.maximised else self.saveState()

    def restore(self, name: str, state: QByteArray) -> bool:
        """False, and nothing changed, where the state does not fit these docks."""
        if name not in LAYOUTS or not self.restoreState(state):
            return False
        self.layout_name = name
        return True

    def toggle_maximised(self, dock: PanelDock) -> None:
        """Show this dock alone, or everything again."""
        if self.maximised is not None:
            self.restore_maximised()
            return
        self._before_maximising = self.saveState()
        self.maximised = dock
        for other in self.docks.values():
            other.setVisible(other is dock)

    def restore_maximised(self) -> bool:
        """True if there was one to restore."""
        if self.maximised is None:
            return False
        self.maximised = None
        self.restoreState(self._before_maximising)
        return True

    def focused(self) -> PanelDock | None:
        """The dock in which the keyboard focus is."""
        widget = self.focusWidget()
        return next((dock for dock in self.docks.values() if widget is not None and dock.isAncestorOf(widget)), None)

    def _known(self, column: tuple[tuple[str, ...], ...]) -> list[list[PanelDock]]:
        """The docks of a column's stacks, without those that do not exist here."""
        stacks = ([self.docks[key] for key in stack if key in self.docks] for stack in column)
        return [stack for stack in stacks if stack]

    def _place_heads(self, columns: list[list[list[PanelDock]]]) -> None:
        """The top dock of every column, side by side: Qt nests what is split, so columns must come before rows."""
        heads = [column[0][0] for column in columns if column]
        for dock in heads:
            self._show(dock, LEFT)
        for left, right in pairwise(heads):
            self.splitDockWidget(left, right, Qt.Orientation.Horizontal)

    def _fill(self, column: list[list[PanelDock]]) -> None:
        for above, below in pairwise(column):
            self._show(below[0], LEFT)
            self.splitDockWidget(above[0], below[0], Qt.Orientation.Vertical)
        for stack in column:
            for tab in stack[1:]:
                self._show(tab, LEFT)
                self.tabifyDockWidget(stack[0], tab)
            stack[0].raise_()

    def _show(self, dock: PanelDock | None, area: Qt.DockWidgetArea) -> None:
        if dock is not None:
            self.addDockWidget(area, dock)
            dock.show()

    def _share_width(self, columns: list[list[list[PanelDock]]], widths: tuple[int, ...]) -> None:
        pairs = [(column[0][0], width) for column, width in zip(columns, widths, strict=True) if column]
        whole = sum(width for _, width in pairs)
        sizes = [round(width * self.width() / whole) for _, width in pairs]
        self.resizeDocks([dock for dock, _ in pairs], sizes, Qt.Orientation.Horizontal)
