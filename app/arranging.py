"""Where the panels stand: the commands of layouts, of a maximised panel, of what is hidden."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QByteArray, QObject, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from app.dock import PanelDock
from app.layout_names import EXPLORE, NAMES, present_name
from app.layout_shapes import LAYOUTS
from app.layouts import Workspace
from app.layouts_dialog import LayoutsDialog
from app.on_screen import bring_back
from app.preferences import Preferences
from app.widgets.hidden_chip import Hidden

LONGEST_NAME = 40  # letters
MOST_LAYOUTS = 50
TABLES_MS = 200  # a running pass brings figures faster than anybody reads them


class Arranging(QObject):
    """Each public method without an argument is the command of its name."""

    changed = Signal()  # another layout, or other saved ones
    hidden_changed = Signal(object, object)  # the panels that are closed, what is hidden in others: lists of Hidden
    said = Signal(str)  # what could not be done, one sentence
    told = Signal(str)  # for the status bar
    list_asked = Signal()  # of what is hidden

    def __init__(self, workspace: Workspace, preferences: Preferences, parent: QWidget) -> None:
        super().__init__(parent)
        self._workspace, self._preferences, self._window = workspace, preferences, parent
        self._undone: list[tuple[str, QByteArray | None]] = []  # what saved layouts were before each change
        self._dialog: LayoutsDialog | None = None
        self._told: object = None
        self.menu = QMenu(self.tr("Sa&ved layouts"), parent)
        self.menu.aboutToShow.connect(self._fill_menu)
        self._look = QTimer(self, interval=0, singleShot=True)
        self._look.timeout.connect(self.tell_hidden)
        self._tables = QTimer(self, interval=TABLES_MS, singleShot=True)
        self._tables.timeout.connect(self._refresh_tables)
        for dock in workspace.docks.values():
            dock.visibilityChanged.connect(self._look_soon)
            dock.toggleViewAction().toggled.connect(self._look_soon)
            dock.panel.hides_changed.connect(self._look_soon)
        application = QGuiApplication.instance()
        assert isinstance(application, QGuiApplication)
        application.screenRemoved.connect(self._bring_back)

    def begin(self, layout: str | None, panel: str | None) -> None:
        """The layout that is asked for, else the one that was used last; with a panel in front."""
        kept = None if layout else self._preferences.layout()
        if kept is None or not self._restore(present_name(kept[0]), kept[1]):
            self._workspace.arrange(present_name(layout or EXPLORE))
        if panel is not None:
            self._workspace.bring_up(panel)
        self._bring_back()

    def keep(self) -> None:
        """For the next start."""
        self._preferences.set_layout(self._workspace.layout_name, self._workspace.save())

    def _restore(self, name: str, state: QByteArray) -> bool:
        restored = name in (*LAYOUTS, *self.saved) and self._workspace.restore(name, state)
        self._bring_back()
        return restored

    def _bring_back(self) -> None:
        for window in (self._window, *(dock for dock in self._workspace.docks.values() if dock.isFloating())):
            bring_back(window)

    # -- layouts -----------------------------------------------------------------------------------------------------

    @property
    def saved(self) -> list[str]:
        """The names of the user's own layouts, in the order of the alphabet."""
        return sorted(self._preferences.saved_layouts(), key=str.casefold)

    def use_layout(self, name: str) -> None:
        """One of the program's own, by its present or an older name, or a saved one."""
        state = self._preferences.saved_layouts().get(name)
        if state is None:
            self._workspace.arrange(present_name(name))
        elif not self._restore(name, state):
            self.said.emit(
                self.tr("The saved layout {0} is damaged, so all stays as it was; save it anew.").format(name)
            )
        self.changed.emit()

    def reset_layout(self) -> None:
        """As the layout in use was made, or saved."""
        name = self._workspace.layout_name
        self.use_layout(name if name in (*LAYOUTS, *self.saved) else EXPLORE)

    def save_layout(self) -> None:
        """The page on which layouts are saved, used and deleted."""
        if self._dialog is None:
            self._dialog = dialog = LayoutsDialog(self._window)
            dialog.save_asked.connect(self.save_layout_as)
            dialog.use_asked.connect(self.use_layout)
            dialog.delete_asked.connect(self.delete_layout)
            dialog.undo_asked.connect(self.undo_layout)
        self._show_saved()
        self._dialog.show()
        self._dialog.field.setFocus()

    def save_layout_as(self, name: str) -> None:
        """Under a name; the one that had it before can be brought back."""
        name = " ".join(name.split())
        complaint = self._complaint(name)
        if complaint:
            self._refuse(complaint)
            return
        self._write(name, self._workspace.save())
        self._workspace.layout_name = name
        self._show_saved()

    def delete_layout(self, name: str) -> None:
        """The panels stay where they are."""
        if name in self._preferences.saved_layouts():
            self._write(name, None)
            if self._workspace.layout_name == name:
                self._workspace.layout_name = EXPLORE
            self._show_saved()

    def undo_layout(self) -> None:
        """Take back what was saved or deleted last."""
        if self._undone:
            self._write(*self._undone.pop())
            self._undone.pop()  # taking back is no change to be taken back
            self._show_saved()

    def _write(self, name: str, state: QByteArray | None) -> None:
        layouts = self._preferences.saved_layouts()
        self._undone.append((name, layouts.pop(name, None)))
        self._preferences.set_saved_layouts(layouts if state is None else {**layouts, name: state})

    def _complaint(self, name: str) -> str:
        """Why a layout cannot have this name; "" where it can."""
        if not name or not name.isprintable() or len(name) > LONGEST_NAME:
            return self.tr("A layout needs a name of 1 to {0} letters.").format(LONGEST_NAME)
        if present_name(name.casefold()) in NAMES:
            return self.tr("{0} is a layout of the program; another name is needed.").format(name)
        saved = self._preferences.saved_layouts()
        if len(saved) >= MOST_LAYOUTS and name not in saved:
            return self.tr("There are {0} saved layouts; delete one before another is saved.").format(len(saved))
        return ""

    def _refuse(self, sentence: str) -> None:
        if self._dialog is not None and self._dialog.isVisible():
            self._dialog.say(sentence)
        else:
            self.said.emit(sentence)

    def _show_saved(self) -> None:
        if self._dialog is not None:
            self._dialog.show_layouts(self.saved, self._workspace.layout_name, bool(self._undone))
        self.changed.emit()

    def _fill_menu(self) -> None:
        self.menu.clear()
        for name in self.saved:
            action = self.menu.addAction(name.replace("&", "&&"), lambda name=name: self.use_layout(name))
            action.setCheckable(True)
            action.setChecked(name == self._workspace.layout_name)
        if not self.saved:
            self.menu.addAction(self.tr("None is saved yet")).setEnabled(False)

    # -- one panel ---------------------------------------------------------------------------------------------------

    def maximise(self) -> None:
        """Enlarge the panel that has the focus, or restore it."""
        dock = self._workspace.maximised or self._workspace.focused()
        if dock is not None:
            self._workspace.toggle_maximised(dock)

    def float_panel(self) -> None:
        """The panel with the focus in a window of its own, or back in its place."""
        dock = self._workspace.focused()
        if dock is not None:
            self._workspace.restore_maximised()
            dock.setFloating(not dock.isFloating())
            dock.take_focus()

    def close_panel(self) -> None:
        """Close the panel with the focus; a reminder tells that it is closed."""
        dock = self._workspace.focused()
        if dock is not None:
            self._workspace.restore_maximised()
            dock.close()

    def show_table(self) -> None:
        """The figures of the panel with the focus as a table in its place, or its picture again."""
        dock = self._workspace.focused()
        if dock is not None:
            dock.toggle_table()

    def leave_table(self) -> bool:
        """The picture again, where the panel with the focus shows a table; False where it does not."""
        dock = self._workspace.focused()
        if dock is None or dock.table is None:
            return False
        dock.toggle_table()
        return True

    def look_at_tables(self, *_: object) -> None:
        """There may be other figures."""
        if any(dock.table is not None for dock in self._workspace.docks.values()) and not self._tables.isActive():
            self._tables.start()

    def _refresh_tables(self) -> None:
        for dock in self._workspace.docks.values():
            if dock.shown:
                dock.refresh_table()

    def next_panel(self) -> None:
        self._go(1)

    def previous_panel(self) -> None:
        self._go(-1)

    def _go(self, step: int) -> None:
        """To the next panel that is open, also behind another one; a maximised one stays alone."""
        docks = [dock for dock in self._workspace.docks.values() if not dock.isHidden()]
        if docks and self._workspace.isVisible():
            focused = self._workspace.focused()
            place = docks.index(focused) + step if focused in docks else min(step, 0)
            dock = docks[place % len(docks)]
            self._workspace.bring_up(dock.panel.key)
            dock.take_focus()

    # -- what is hidden ----------------------------------------------------------------------------------------------

    def show_hidden(self) -> None:
        """The list of all that is hidden."""
        if any(self._hidden()):
            self.list_asked.emit()
        else:
            self.told.emit(self.tr("Nothing is hidden"))

    def show_all_panels(self) -> None:
        """Open every panel that is closed."""
        self._workspace.restore_maximised()
        for dock in self._workspace.docks.values():
            if dock.isHidden():
                dock.show()

    def _look_soon(self) -> None:
        self._look.start()

    def tell_hidden(self) -> None:
        """What is closed or left out now, if that is other than what was told last."""
        closed, rest = self._hidden()
        told = [(each.whole, each.text) for each in (*closed, *rest)]
        if told != self._told:
            self._told = told
            self.hidden_changed.emit(closed, rest)

    def _hidden(self) -> tuple[list[Hidden], list[Hidden]]:
        docks = list(self._workspace.docks.values())
        if not self._workspace.isVisible():
            return [], []
        rest = [Hidden(each.text, each.show, dock.panel.title()) for dock in docks for each in _left_out(dock)]
        if self._workspace.maximised is not None:
            text = self.tr("one panel is maximised")
            return [], [Hidden(text, self._workspace.restore_maximised), *rest]
        closed = [dock.panel for dock in docks if dock.isHidden()]
        return [Hidden(panel.title(), partial(self._workspace.bring_up, panel.key)) for panel in closed], rest


def _left_out(dock: PanelDock) -> list[Hidden]:
    """In a panel that is open."""
    return [] if dock.isHidden() else dock.panel.hides()
