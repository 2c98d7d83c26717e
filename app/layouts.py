"""The workspace of docks, which stand as a layout says."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from PySide6.QtCore import QByteArray, QChildEvent, QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QStyle, QTabBar, QTabWidget, QWidget

from app.dock import PanelDock
from app.layout_names import EXPLORE
from app.layout_shapes import LAYOUTS, Column, Layout, Need, column_widths, fitted, mates, stack_heights

WIDEST_NEEDS = 0.735  # of the workspace's width, for all columns but that of the pass
HIGHEST_NEED = 0.33  # of its height, for a panel with its bars
BAR_GAP = 4  # pixels at most between a bar of tabs and the panel in front
MOST_LOOKS = 3  # whether what is on top has its room
AT_REST_MS = (60, 500)  # after the letters of all panels have changed: their least sizes are known step by step
MOST_TOP = 0.36  # of its height, for what is on top
AREA = Qt.DockWidgetArea.LeftDockWidgetArea  # one area for all: only within it can every size be chosen


def knows(state: QByteArray, dock: QDockWidget) -> bool:
    """Whether a state of the workspace says where this dock is: Qt writes the length and the letters of each name."""
    name = dock.objectName().encode("utf-16-be")
    return len(name).to_bytes(4, "big") + name in state.data()


class Workspace(QMainWindow):
    """A window of docks without a centre; stands inside the program's window."""

    def __init__(self, docks: Iterable[PanelDock], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowFlags(Qt.WindowType.Widget)
        self.setDockNestingEnabled(True)
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self.docks = {dock.panel.key: dock for dock in docks}
        self.layout_name = EXPLORE
        self.maximised: PanelDock | None = None
        self._to_share = False  # sizes are wanted, but the window has none yet
        self._to_fit: Layout | None = None  # likewise: a layout is to be made to fit them
        self._before_maximising = QByteArray()
        self._shape = LAYOUTS[EXPLORE]
        self._before_wearing: tuple[str, QByteArray, PanelDock | None, Layout] | None = None
        self._resting, self._waits = QByteArray(), list[int]()
        self._letters, self._sizes = self.fontMetrics().height(), dict[int, dict[PanelDock, QSize]]()
        self._rest = QTimer(self, singleShot=True)
        self._rest.timeout.connect(self._restore_sizes)
        self._looks = 0  # that what is on top may still be given
        self._look_again = QTimer(self, interval=AT_REST_MS[0], singleShot=True)
        self._look_again.timeout.connect(lambda: self.give_top_its_room(self._looks))
        self._smaller = QTimer(self, interval=AT_REST_MS[0], singleShot=True)
        self._smaller.timeout.connect(self._resize_again)
        for dock in self.docks.values():
            self.addDockWidget(AREA, dock)
            dock.maximise_asked.connect(lambda dock=dock: self.toggle_maximised(dock))
            dock.left.connect(lambda dock=dock: self._pass_focus_on(dock))

    def arrange(self, name: str) -> None:
        """Put every dock where the layout says; docks that it does not name are closed."""
        self.restore_maximised()
        self.layout_name = name
        self._place(LAYOUTS[name], fit=True)

    def wear(self, layout: Layout) -> None:
        """Panels as this layout has them for a while: what is saved meanwhile is how they stood before."""
        if self._before_wearing is None:
            self._before_wearing = (self.layout_name, self.save(), self.maximised, self._shape)
        self.restore_maximised()
        self._place(layout)

    def take_off(self) -> None:
        """Every panel where it was before."""
        if self._before_wearing is not None:
            (name, state, maximised, self._shape), self._before_wearing = self._before_wearing, None
            self.maximised = None
            self._limit_rooms()
            self.restore(name, state)
            if maximised is not None:
                self.toggle_maximised(maximised)
                self._before_maximising = state
            self._resting, self._waits = state, list(AT_REST_MS)
            self._rest.start(self._waits.pop(0))

    def _restore_sizes(self) -> None:
        """Once more, when what changed with the layout, the window or the letters, has come to rest."""
        if self._before_wearing is None and self.maximised is None:
            self._fit_those_behind()
            self._put_back(self._resting)
            if self._waits:
                self._rest.start(self._waits.pop(0))

    def _fit_those_behind(self) -> None:
        """Panels behind others keep a size that they had before, and with it what they need at least."""
        for dock in self.docks.values():
            front = self.docks.get(self.in_front_of(dock.panel.key))
            if front is not None and not dock.shown:
                dock.resize(front.size())

    @property
    def worn(self) -> Layout | None:
        """The layout that is worn for a while; None where there is none, or another was chosen meanwhile."""
        return self._shape if self._before_wearing is not None and self._shape.name not in LAYOUTS else None

    def _place(self, layout: Layout, *, fit: bool = False) -> None:
        self._rest.stop()
        self._to_fit = layout if fit and not self.isVisible() else None
        if fit and self.isVisible():
            layout = self._fitting(layout)
        self._shape = layout
        self._limit_rooms()
        for dock in self.docks.values():
            dock.setFloating(False)
            self.removeDockWidget(dock)
        top = [self.docks[key] for key in layout.top if key in self.docks]
        columns = [self._known(column) for column in layout.columns]
        self._place_heads(top, [column[0][0] for column in columns if column])
        for column in columns:
            self._fill(column)
        self._close_rest(layout)
        self._to_share = True
        if self.isVisible():
            self.share_room()
            if (inner := self.layout()) is not None:
                inner.activate()  # else the columns keep widths that they had in the layout before
            self.share_room()

    def _share_first(self) -> None:
        """Now that it has a size."""
        if self._to_fit is not None and self._fitting(self._to_fit) != self._shape:
            self._place(self._to_fit, fit=True)
        elif self._to_share:
            self.share_room()

    def share_room(self) -> None:
        """Sizes as the layout says, of the window's present size: no panel gets less than it needs where others can
        spare it."""
        self._to_share = False
        needs, tabs = self._needs(), self._tabs_height()
        widths = column_widths(self._shape, needs, self._inner_width(self._shape))
        pairs = list(zip(self._shape.columns, widths, strict=True))
        heads = [(stacks[0][0], width) for column, width in pairs if (stacks := self._known(column))]
        self.resizeDocks([dock for dock, _ in heads], [width for _, width in heads], Qt.Orientation.Horizontal)
        least = [stack_heights(column, needs, width, tabs) for column, width in pairs]
        top = self._share_top(max(map(sum, least)), [dock for dock, _ in heads[:1]])
        for (column, _), heights in zip(pairs, least, strict=True):
            self._share_height(self._known(column), heights, self.height() - top)
        QTimer.singleShot(0, self, self.give_top_its_room)  # once the panels are laid out
        self._hide_lost_bars()

    def _share_top(self, below: int, heads: list[PanelDock]) -> int:
        """What is on top has its share, or what it needs where the panels below need so much; its height."""
        tops = [self.docks[key] for key in self._shape.top if key in self.docks]
        share = min(round(self._shape.top_share * self.height()), self.height() - below)
        top = max(share, self._least_top()) if tops else 0
        self.resizeDocks([*tops, *heads], [top] * len(tops) + [self.height() - top], Qt.Orientation.Vertical)
        return top

    def _share_height(self, stacks: list[list[PanelDock]], least: list[int], height: int) -> None:
        """What panels need, and as much more for each."""
        if len(stacks) > 1:
            more = max(0, height - sum(least)) // len(stacks)
            docks = [stack[0] for stack in stacks]
            self.resizeDocks(docks, [high + more for high in least if high], Qt.Orientation.Vertical)

    def _needs(self) -> dict[str, Need]:
        return {key: Need(dock.least_width(), dock.least_height) for key, dock in self.docks.items()}

    def _fitting(self, layout: Layout) -> Layout:
        """What becomes of a layout in the present size."""
        width, height = self._inner_width(layout), self.height() - self._least_top() - 2 * self._gap()
        return fitted(layout, self._needs(), width, height, self._tabs_height())

    def _inner_width(self, layout: Layout) -> int:
        """Of all columns."""
        return self.width() - self._gap() * (len(layout.columns) - 1)

    def _gap(self) -> int:
        return self.style().pixelMetric(QStyle.PixelMetric.PM_DockWidgetSeparatorExtent, None, self)

    def _least_top(self) -> int:
        """What is on top needs so much, or may have so much at most."""
        tops = [self.docks[key] for key in self._shape.top if key in self.docks]
        needed = sum(dock.least_height(self.width()) - self._spared(dock) for dock in tops)
        return min(needed + self.fontMetrics().height() // 2, self._most_top)

    def _spared(self, dock: PanelDock) -> int:
        """What is left out of a panel on top because the others would have too little room."""
        needed = dock.least_height(self.width()) + self.fontMetrics().height() // 2
        spared = dock.panel.whole_height() - dock.panel.spared_height()
        return max(0, spared) if needed > self._most_top else 0

    @property
    def _most_top(self) -> int:
        return round(self.height() * MOST_TOP)

    def _tabs_height(self) -> int:
        bar = next(iter(self.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)), None)
        return 2 * self.fontMetrics().height() if bar is None or not bar.count() else bar.sizeHint().height()

    def give_top_its_room(self, looks: int = MOST_LOOKS) -> None:
        """What is on top is as high as its panel needs to leave nothing out, or a good third of the window; where that
        is too little, without what the panel can spare."""
        self._hide_lost_bars()  # those that lie beside their panels
        for dock in (self.docks[key] for key in self._shape.top if key in self.docks):
            lacks = dock.panel.whole_height() - self._spared(dock) - dock.room.height()
            if dock.shown and lacks > 0:
                needed = dock.height() + lacks + self.fontMetrics().height() // 2
                self.resizeDocks([dock], [min(needed, self._most_top)], Qt.Orientation.Vertical)
                if looks > 1:  # Qt rounds shares as it likes, and only later: a line may still be missing then
                    self._looks = looks - 1
                    self._look_again.start()

    def _hide_lost_bars(self) -> None:
        """Where docks are made tabs before the window is seen, Qt forgets a bar of every stack that grows: it would
        lie over the tokens, or over the panel of another stack."""
        stacks = {frozenset(one.windowTitle() for one in (dock, *self._tabs(dock))) for dock in self.docks.values()}
        bars: dict[frozenset[str], list[QTabBar]] = {}
        for bar in self.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly):
            if bar.count() and not bar.isHidden():
                bars.setdefault(frozenset(bar.tabText(index) for index in range(bar.count())), []).append(bar)
        for titles, alike in bars.items():
            true = [bar for bar in alike if self._has_panels_below(bar)] or alike
            for bar in alike:
                if titles not in stacks or bar not in true:
                    bar.hide()

    def _has_panels_below(self, bar: QTabBar) -> bool:
        corner = bar.geometry().bottomLeft()
        return any(
            dock.shown and (dock.geometry().topLeft() - corner).manhattanLength() <= BAR_GAP
            for dock in self.docks.values()
        )

    def save(self) -> QByteArray:
        """The state as the user left it, before a panel was maximised."""
        if self._before_wearing is not None:
            return self._before_wearing[1]
        return self._before_maximising if self.maximised else self.saveState()

    def restore(self, name: str, state: QByteArray) -> bool:
        """False, and nothing changed, where it is no state. Docks that it does not know are tabs beside their mates."""
        if not self._put_back(state):
            return False
        self.layout_name, self._to_share, self.maximised = name, False, None
        for dock in self.docks.values():
            if not knows(state, dock):
                self._put_beside_a_mate(dock, [other for other in self.docks.values() if knows(state, other)])
        return True

    def toggle_maximised(self, dock: PanelDock) -> None:
        """Show this dock alone, or everything again."""
        if dock.isFloating():
            dock.setWindowState(dock.windowState() ^ Qt.WindowState.WindowMaximized)
            return
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
        self._put_back(self._before_maximising)
        return True

    def _put_back(self, state: QByteArray) -> bool:
        """A saved state; False where it is none. Docks are hidden and shown on the way, and Qt would hand the keyboard
        on to whatever comes next: who has it keeps it."""
        before = QApplication.focusWidget()
        done = self.restoreState(state)
        if before is not None and before.isVisible() and self._around(before) is not None and not self.unseen(before):
            before.setFocus()
        return done

    def bring_up(self, key: str) -> None:
        """Show a panel, in front of those that share its place."""
        if key in self.docks:
            self.docks[key].show()
            self.docks[key].raise_()

    def turn_to(self, key: str) -> None:
        """Show a panel in front of all others, one that was alone among them, and give it the keyboard."""
        self.restore_maximised()
        self.bring_up(key)
        if key in self.docks:
            self.docks[key].take_focus()

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
        """The dock in which the keyboard focus is, also in a window of its own; else where it was in this one."""
        found = map(self._around, (QApplication.focusWidget(), self.focusWidget()))
        return next((dock for dock in found if dock is not None), None)

    def _around(self, widget: QWidget | None) -> PanelDock | None:
        docks = self.docks.values()
        return next(
            (dock for dock in docks if widget is not None and (dock is widget or dock.isAncestorOf(widget))), None
        )

    def _pass_focus_on(self, closing: PanelDock) -> None:
        """To the panel that takes the place of one that is closed, or to what is on top: Qt would give it to whatever
        comes next, which is the status bar."""
        beside, tops = self.beside(closing.panel.key), [key for key in self._shape.top if key in self.docks]
        wanted = (self.docks[key] for key in (beside, *tops, *self.docks) if key)
        heir = next((dock for dock in wanted if dock is not closing and (dock.shown or dock.panel.key == beside)), None)
        if heir is not None:
            self.bring_up(heir.panel.key)
            heir.take_focus()

    def unseen(self, widget: QWidget | None) -> bool:
        """Whether it is in a panel that lies behind another one: Qt only moves those aside, so that Tab finds them."""
        return any(not dock.shown and dock.isAncestorOf(widget) for dock in self.docks.values() if widget is not None)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._limit_rooms()

    def _limit_rooms(self) -> None:
        """So much a panel may insist on; where it is given less than it needs, it scrolls and nothing lies over it."""
        em, columns = self.fontMetrics().height(), max(2, len(self._shape.columns))
        wide = round(self.width() * WIDEST_NEEDS / (columns - 1))
        high = max(4 * em, round(self.height() * HIGHEST_NEED) - 5 * em)  # the title and a bar of tabs are 5 lines
        for dock in self.docks.values():
            dock.room.set_most(QSize(wide, high))

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self.isVisible():
            QTimer.singleShot(0, self, self.give_top_its_room)  # once the panels have laid out the new letters
            self._keep_sizes()

    def _keep_sizes(self) -> None:
        """Larger letters push columns aside: once the letters are smaller again, sizes are what they were then."""
        letters = self.fontMetrics().height()
        if self._before_wearing is None and self.maximised is None:
            seen = [dock for dock in self.docks.values() if dock.isVisible() and dock.x() >= 0]  # the rest lies aside
            self._sizes[self._letters] = {dock: dock.size() for dock in seen}
        if letters < self._letters and letters in self._sizes:
            self._smaller.start()
        self._letters = letters

    def _resize_again(self) -> None:
        sizes = {dock: size for dock, size in self._sizes.pop(self._letters, {}).items() if dock.shown}
        if self._before_wearing is None and self.maximised is None and sizes:
            self.resizeDocks(list(sizes), [size.width() for size in sizes.values()], Qt.Orientation.Horizontal)
            self.resizeDocks(list(sizes), [size.height() for size in sizes.values()], Qt.Orientation.Vertical)

    def childEvent(self, event: QChildEvent) -> None:  # noqa: N802
        """Qt makes the bars of tabs, without names."""
        super().childEvent(event)
        child = event.child() if event.type() == QEvent.Type.ChildPolished else None
        if isinstance(child, QTabBar):
            child.setAccessibleName(self.tr("Panels in one place"))
            child.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Qt keeps the bars of places with one panel, and lays them where nobody sees them: Tab passes them over."""
        if isinstance(watched, QTabBar) and event.type() in (QEvent.Type.Move, QEvent.Type.Resize):
            seen = watched.count() > 1 and self.rect().intersects(watched.geometry())
            watched.setFocusPolicy(Qt.FocusPolicy.TabFocus if seen else Qt.FocusPolicy.NoFocus)
        return super().eventFilter(watched, event)

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        super().showEvent(event)
        self._letters = self.fontMetrics().height()
        if self._to_share:
            QTimer.singleShot(0, self, self._share_first)

    def _close_rest(self, layout: Layout) -> None:
        """Docks that the layout does not name come up in the place of their mates, once they are wanted."""
        named = {*layout.top, *(key for column in layout.columns for stack in column for key in stack)}
        placed = [dock for key, dock in self.docks.items() if key in named]
        for key, dock in self.docks.items():
            if key not in named:
                self._show(dock)
                self._put_beside_a_mate(dock, placed)
                dock.close()

    def _put_beside_a_mate(self, dock: PanelDock, placed: list[PanelDock]) -> None:
        """A tab behind one of those that are placed, where any of them has a place in the window."""
        mates_of_it = mates(dock.panel.key)
        fitting = [other for other in placed if not other.isHidden() and not other.isFloating()]
        if fitting:
            front = min(fitting, key=lambda other: (other.panel.key not in mates_of_it, other.panel.key == "strip"))
            on_top = self.in_front_of(front.panel.key)
            self.tabifyDockWidget(front, dock)
            self.docks.get(on_top, front).raise_()

    def _known(self, column: Column) -> list[list[PanelDock]]:
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
