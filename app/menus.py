"""The menu bar and the context menus, filled from the table of commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar

from app.commands import COMMANDS, MENUS, Place, identity, translate


def fill_bar(bar: QMenuBar, actions: Mapping[str, QAction]) -> dict[str, QMenu]:
    """Every command in its menu; the menus by their untranslated title."""
    menus = {title: bar.addMenu(translate(title)) for title in MENUS if any(c.menu == title for c in COMMANDS)}
    groups = dict.fromkeys(MENUS, "")
    for command in COMMANDS:
        if command.group != groups[command.menu]:
            menus[command.menu].addSeparator()
        groups[command.menu] = command.group
        menus[command.menu].addAction(actions[identity(command)])
    return menus


def add_commands(
    menu: QMenu, place: Place, actions: Mapping[str, QAction], before: Callable[[], None] = lambda: None
) -> None:
    """The commands of a context menu, below what the menu has. Each calls ``before`` first, which goes to where the
    menu was opened: a command acts on what is pinned or has the focus.
    """
    chosen = [actions[identity(command)] for command in COMMANDS if place in command.places]
    if chosen and not menu.isEmpty():
        menu.addSeparator()
    for action in chosen:
        _add(menu, action, before)


def _add(menu: QMenu, action: QAction, before: Callable[[], None]) -> None:
    """An entry that looks like the action and triggers it. Its key is text only: a second action with the same key
    would make it ambiguous."""
    key = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    entry = menu.addAction(action.icon(), "\t".join(filter(None, (action.text(), key))))
    entry.setEnabled(action.isEnabled())
    entry.setToolTip(action.toolTip())
    entry.setStatusTip(action.statusTip())
    entry.setCheckable(action.isCheckable())
    entry.setChecked(action.isChecked())
    entry.triggered.connect(lambda: before())
    entry.triggered.connect(action.trigger)
