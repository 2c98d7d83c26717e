"""Where panels stand: two layouts as data, and the workspace of docks that follows them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QByteArray, Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QTabBar, QTabWidget, QWidget

from app.dock import PanelDock

AREA = Qt.DockWidgetArea.LeftDockWidgetArea  # one area for all: only within it can every size be chosen


@dataclass(frozen=True)
class Layout:
    """``columns``: from left to right, each from top to bottom; docks in one inner tuple are tabs, the first on top.

    ``widths`` share out the window's width, in the order of the columns; ``top_share`` is of its height.
    """

    name: str
    top: tuple[str, ...]
    columns: tuple[tuple[tuple[str, ...], ...], ...]
    widths: tuple[int, ...]
    top_share: float = 0.26  # of tokens and timeline


FOCUS = Layout(
    "focus",
    ("strip",),
    (
        (("layers",),),
        (("attention", "experts", "residual", "lens", "activations", "cache", "tensors", "models"),),
        (("sampling", "branches", "edits", "breakpoints"),),
    ),
    (16, 58, 26),
)
GRID = Layout(
    "grid",
    ("strip",),
    (
        (("layers",),),
        (("attention",), ("cache", "models")),
        (("residual", "lens", "activations", "tensors"), ("experts",)),
        (("sampling",), ("edits", "breakpoints", "branches")),
    ),
    (12, 34, 32, 22),
    top_share=0.19,  # ten pictures share the rest
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
        self._to_share = False  # sizes are wanted, but the window has none yet
        self._before_maximising = QByteArray()
        for dock in self.docks.values():
            self.addDockWidget(AREA, dock)
            dock.maximise_asked.connect(lambda dock=dock: self.toggle_maximised(dock))

    def arrange(self, name: str) -> None:
        """Put every dock where the layout says; docks that it does not name are closed."""
        self.restore_maximised()
        layout = LAYOUTS[name]
        self.layout_name = name
        for dock in self.docks.values():
            dock.setFloating(False)
            self.removeDockWidget(dock)
        top = [self.docks[key] for key in layout.top if key in self.docks]
        columns = [self._known(column) for column in layout.columns]
        self._place_heads(top, [column[0][0] for column in columns if column])
        for column in columns:
            self._fill(column)
        self._to_share = True
        if self.isVisible():
            self.share_room()
            if (inner := self.layout()) is not None:
                inner.activate()  # else the columns keep widths that they had in the layout before
            self.share_room()

    def share_room(self) -> None:
        """Sizes as the layout says, of the window's present size."""
        self._to_share = False
        layout = LAYOUTS[self.layout_name]
        self._share_width([self._known(column) for column in layout.columns], layout.widths)
        rows = [self.docks[key] for key in (*layout.top, layout.columns[0][0][0]) if key in self.docks]
        heights = [layout.top_share] * (len(rows) - 1) + [1 - layout.top_share * (len(rows) - 1)]
        self.resizeDocks(rows, [round(share * self.height()) for share in heights], Qt.Orientation.Vertical)
        self._hide_lost_bars()

    def _hide_lost_bars(self) -> None:
        """Where docks are made tabs before the window is seen, Qt forgets a bar of every stack that grows: it would
        lie over the tokens."""
        stacks = {frozenset(one.windowTitle() for one in (dock, *self._tabs(dock))) for dock in self.docks.values()}
        for bar in self.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
            titles = frozenset(bar.tabText(index) for index in range(bar.count()))
            if titles and titles not in stacks:
                bar.hide()

    def save(self) -> QByteArray:
        """The state as the user left it, before a panel was maximised."""
        return self._before_maximising if self.maximised else self.saveState()

    def restore(self, name: str, state: QByteArray) -> bool:
        """False, and nothing changed, where the state does not fit these docks."""
        if name not in LAYOUTS or not self.restoreState(state):
            return False
        self.layout_name, self._to_share = name, False
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

    def bring_up(self, key: str) -> None:
        """Show a panel, in front of those that share its place."""
        if key in self.docks:
            self.docks[key].show()
            self.docks[key].raise_()

    def in_front_of(self, key: str) -> str:
        """The panel that is seen where this one has its place, "" where that is none, or the panel itself."""
        dock = self.docks[key]
        return next((other.panel.key for other in self.docks.values() if other.shown and other in self._tabs(dock)), "")

    def beside(self, key: str) -> str:
        """A panel that shares the place of this one, "" where none does."""
        tabs = self._tabs(self.docks[key])
        return next((other.panel.key for other in self.docks.values() if other in tabs), "")

    def _tabs(self, dock: PanelDock) -> list[QDockWidget]:
        """The docks that share its place."""
        return [] if dock.isHidden() else self.tabifiedDockWidgets(dock)

    def focused(self) -> PanelDock | None:
        """The dock in which the keyboard focus is."""
        widget = self.focusWidget()
        return next((dock for dock in self.docks.values() if widget is not None and dock.isAncestorOf(widget)), None)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        if self._to_share:
            QTimer.singleShot(0, self, self.share_room)

    def _known(self, column: tuple[tuple[str, ...], ...]) -> list[list[PanelDock]]:
        """The docks of a column's stacks, without those that do not exist here."""
        stacks = ([self.docks[key] for key in stack if key in self.docks] for stack in column)
        return [stack for stack in stacks if stack]

    def _place_heads(self, top: list[PanelDock], heads: list[PanelDock]) -> None:
        """The top docks, below them the first dock of every column: Qt nests what is split, so the order matters."""
        rows = [*top, *heads[:1]]
        for dock in rows[:1]:
            self._show(dock)
        for above, below in pairwise(rows):
            self._split(above, below, Qt.Orientation.Vertical)
        for left, right in pairwise(heads):
            self._split(left, right, Qt.Orientation.Horizontal)

    def _fill(self, column: list[list[PanelDock]]) -> None:
        for above, below in pairwise(column):
            self._split(above[0], below[0], Qt.Orientation.Vertical)
        for stack in column:
            for tab in stack[1:]:
                self._show(tab)
                self.tabifyDockWidget(stack[0], tab)
            stack[0].raise_()

    def _split(self, first: PanelDock, second: PanelDock, orientation: Qt.Orientation) -> None:
        self._show(second)
        self.splitDockWidget(first, second, orientation)

    def _show(self, dock: PanelDock) -> None:
        self.addDockWidget(AREA, dock)
        dock.show()

    def _share_width(self, columns: list[list[list[PanelDock]]], widths: tuple[int, ...]) -> None:
        pairs = [(column[0][0], width) for column, width in zip(columns, widths, strict=True) if column]
        whole = sum(width for _, width in pairs)
        sizes = [round(width * self.width() / whole) for _, width in pairs]
        self.resizeDocks([dock for dock, _ in pairs], sizes, Qt.Orientation.Horizontal)
