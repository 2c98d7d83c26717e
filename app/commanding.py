"""The commands about commands: the palette, the sheet of keys, other keys; and the context menus made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from app.commands import Place, Situation, dress, enable, identity, translate
from app.dock import PanelDock
from app.glossary import readable
from app.keys_page import KeysPage
from app.layouts import Workspace
from app.menus import add_commands
from app.palette import PANEL_WORDS, Entry, also_of, entries_of
from app.palette_page import PalettePage
from app.preferences import Preferences
from app.shortcuts import Shortcuts
from app.shortcuts_page import ShortcutsPage
from app.theme import Theme
from app.widgets.over_page import OverPage
from app.widgets.term_words import told

Show = Callable[[str], None]


class Commanding(QObject):
    """``show_palette``, ``show_keys`` and ``change_keys`` are the commands of their names.

    ``situation()``: what is possible now; ``open_model(source)`` and ``show_panel(key)`` do what the palette offers
    beside commands.
    """

    def __init__(
        self,
        workspace: Workspace,
        preferences: Preferences,
        situation: Callable[[], Situation],
        open_model: Show,
        show_panel: Show,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._workspace, self._preferences, self._situation = workspace, preferences, situation
        self._open_model, self._show_panel = open_model, show_panel
        self._actions: Mapping[str, QAction] = {}
        self._enabled_for: Situation | None = None
        self._offers: list[tuple[str, Callable[[], Iterable[str]], Show]] = []
        self._private: set[str] = set()  # kinds of them
        self._show_term: Show | None = None
        self.shortcuts = Shortcuts(preferences, self)
        self.palette = PalettePage(window, self.entries, preferences.used_commands)
        self.sheet = KeysPage(window, self.shortcuts)
        self.changes = ShortcutsPage(window, self.shortcuts)
        self._pages: list[OverPage] = []
        for page in (self.palette, self.sheet, self.changes):
            self.add_page(page)
        self.palette.chosen.connect(self._remember)
        self.sheet.change_asked.connect(self.change_keys)
        self.shortcuts.changed.connect(self._dress)

    def take_actions(self, actions: Mapping[str, QAction]) -> None:
        """Once: those of the table, whose keys are the user's from now on."""
        self._actions = actions
        self._dress()

    def _dress(self) -> None:
        dress(self._actions, self.shortcuts.rows)

    def enable(self, now: Situation) -> None:
        """Only where something is not as it was: this is asked with every token."""
        if now != self._enabled_for:
            self._enabled_for = now
            enable(self._actions, now, self.shortcuts.rows)

    def show_palette(self) -> None:
        self.palette.toggle()

    def show_keys(self) -> None:
        self.sheet.toggle()

    def change_keys(self) -> None:
        self.changes.toggle()

    def add_page(self, page: OverPage) -> None:
        """One more that lies over the window, alone."""
        self._pages.append(page)
        page.entering.connect(partial(self._leave_others, page))

    def _leave_others(self, page: OverPage) -> None:
        for other in self._pages:
            if other is not page:
                other.leave()

    def close_page(self) -> bool:
        """True if there was one to close."""
        return sum(page.leave() for page in self._pages) > 0

    def place(self) -> None:
        """The window has another size."""
        for page in self._pages:
            page.fit()

    def restyle(self, theme: Theme) -> None:
        for page in self._pages:
            page.restyle(theme)

    def press(self, key: str) -> None:
        """A key that no part of a panel took."""
        row = self.shortcuts.by_picture_key(key)
        if row is not None:
            self._actions[identity(row)].trigger()

    # -- the palette ---------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Commands, panels, models that were open, terms: what can be done now, and what not and why."""
        now = self._situation()
        commands = entries_of(self.shortcuts.rows, self._actions, now)
        return [*commands, *self._panels(now), *self._models(now), *self._offered(), *self._terms()]

    def offer(self, kind: str, names: Callable[[], Iterable[str]], do: Show, *, private: bool = False) -> None:
        """More for the palette: ``do(name)`` for each of the names that there are when it opens. ``private``: a name is
        not kept among what was used last."""
        self._offers.append((kind, names, do))
        self._private |= {kind} if private else set()

    def offer_terms(self, show: Show) -> None:
        """The terms of the glossary for the palette: ``show(key)`` opens the entry of one."""
        self._show_term = show

    def _terms(self) -> Iterable[Entry]:
        known, show = readable(), self._show_term
        if known is None or show is None:
            return
        about, kind = self.tr("What this term means"), self.tr("Glossary")
        for key, term in known.terms.items():
            also = " ".join((term.name, *term.also))
            yield Entry(f"term.{key}", told(term.name), about, partial(show, key), kind=kind, also=also)

    def _offered(self) -> Iterable[Entry]:
        for kind, names, do in self._offers:
            for name in names():
                yield Entry(f"{kind}.{name}", self.tr("{0}: {1}").format(kind, name), "", partial(do, name), kind=kind)

    def _panels(self, now: Situation) -> Iterable[Entry]:
        for key, dock in self._workspace.docks.items():
            why = "" if now.has_model or not dock.panel.of_a_run else translate("Needs a model")
            text, about = self.tr("Show panel {0}").format(dock.panel.title()), self.tr("In front of all others")
            do, also = partial(self._show_panel, key), f"{key} {also_of(PANEL_WORDS.get(key, ''))}"
            yield Entry(f"panel.{key}", text, about, do, kind=self.tr("Panel"), why=why, also=also)

    def _models(self, now: Situation) -> Iterable[Entry]:
        why = "" if now.ready else translate("Needs the engine")
        for source in self._preferences.recent():
            text = self.tr("Open {0}").format(Path(source).name or source)
            yield Entry(f"model.{source}", text, source, partial(self._open_model, source), (), self.tr("Model"), why)

    def _remember(self, name: str) -> None:
        if name.partition(".")[0] in self._private:
            return
        used = [other for other in self._preferences.used_commands() if other not in (name, "")]
        self._preferences.set_used_commands([name, *used])

    # -- context menus -------------------------------------------------------------------------------------------

    def add(self, menu: QMenu, place: Place, before: Callable[[], None]) -> None:
        """The commands of a context menu, which go to where it was opened first."""
        add_commands(menu, place, self._actions, before)

    def add_of_panel(self, dock: PanelDock, menu: QMenu) -> None:
        """What can be done with a panel: its commands act on the one with the focus."""
        self.add(menu, "panel", dock.take_focus)
