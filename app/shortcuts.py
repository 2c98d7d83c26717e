"""Which keys call which command: those of the table, or what the user chose instead, which is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from app.commands import COMMANDS, MENUS, Command, bare, identity, translate
from app.keys import OWN_KEYS, alone, native, portable
from app.preferences import Preferences

FIXED = "undo_one"  # Esc closes what lies over the window, whatever else is changed
_MOST_KEPT = 50_000  # letters of the kept text
_BY_IDENTITY = {identity(command): command for command in COMMANDS}
_OWN = frozenset(portable(key) for keys, *_ in OWN_KEYS for key in keys)

Chosen = Mapping[str, tuple[str, ...]]  # keys by identity


class Shortcuts(QObject):
    """The table of commands with the keys as they are now. ``complaint``: what of the kept ones could not be used."""

    changed = Signal()

    def __init__(self, preferences: Preferences, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._preferences = preferences
        self._chosen, lost = _readable(preferences.shortcuts())
        self.complaint = self._about(lost) if lost else ""
        self.rows = _rows(self._chosen)

    def row(self, name: str) -> Command:
        """The command of an identity, with its keys."""
        return next(row for row in self.rows if identity(row) == name)

    def is_changed(self, name: str) -> bool:
        return name in self._chosen

    def may_change(self, name: str) -> bool:
        return name != FIXED

    @property
    def any_changed(self) -> bool:
        return bool(self._chosen)

    def by_picture_key(self, key: str) -> Command | None:
        """The command of a key that works only where a picture has the focus."""
        return next((row for row in self.rows if key and portable(row.picture_key) == key), None)

    def refusal(self, name: str, key: str) -> str:
        """Why a key cannot call a command, a sentence; "" where it can."""
        written, menu = portable(key), _menu_of(key)
        if not written:
            return self.tr("This is not a key that can call a command; choose another key.")
        if name == FIXED:
            return self.tr("This command keeps its key, because Esc closes whatever lies over the window.")
        if written in _OWN:
            text = self.tr("Pictures, lists and fields use {0} themselves, so it can call no command; choose another.")
            return text.format(native(written))
        if menu:
            text = self.tr("{0} opens the menu {1}, so it can call no command; choose another key.")
            return text.format(native(written), menu)
        other = next((row for row in self.rows if written in keys_of(row) and identity(row) != name), None)
        if other is not None:
            text = self.tr("{0} already calls “{1}”; take it away there first, or choose another key.")
            return text.format(native(written), plain_text(other))
        return ""

    def set_keys(self, name: str, keys: Iterable[str]) -> None:
        """From now on these keys call the command, and no others; ``refusal`` must be "" for each."""
        if not self.may_change(name):
            return
        wanted = tuple(dict.fromkeys(map(portable, keys)))
        chosen = {**self._chosen, name: wanted}
        if wanted == keys_of(_BY_IDENTITY[name]):
            del chosen[name]
        self._take(chosen)

    def reset(self, name: str) -> None:
        """The keys that the command had at first, but for those that call another one now."""
        self._take({other: keys for other, keys in self._chosen.items() if other != name})

    def reset_all(self) -> None:
        """Also of what another window has kept."""
        self._preferences.set_shortcuts("")
        self._use({})

    def _take(self, chosen: Chosen) -> None:
        to_keep = self._beside_others(chosen)
        self._preferences.set_shortcuts(json.dumps(to_keep) if to_keep else "")
        self._use(chosen)

    def _beside_others(self, chosen: Chosen) -> Chosen:
        """What is kept now, which another window may have written, with what is changed in this one."""
        self._preferences.look_again()
        kept, _ = _readable(self._preferences.shortcuts())
        changed = {name for name in {*chosen, *self._chosen} if chosen.get(name) != self._chosen.get(name)}
        own = {name: keys for name, keys in chosen.items() if name in changed}
        given = {key for keys in own.values() for key in keys}
        others = {name: keys for name, keys in kept.items() if name not in changed and given.isdisjoint(keys)}
        return {**others, **own}

    def _use(self, chosen: Chosen) -> None:
        self._chosen, self.rows = dict(chosen), _rows(chosen)
        self.changed.emit()

    def _about(self, lost: Sequence[str]) -> str:
        if lost == [""]:
            return self.tr("The kept shortcuts are damaged, so every command has the keys of the first start.")
        text = self.tr("Some kept shortcuts could not be used, so these have the keys of the first start: {0}.")
        return text.format(", ".join(lost[:5]) + (" …" if len(lost) > 5 else ""))


def keys_of(command: Command) -> tuple[str, ...]:
    """All its keys, the one for pictures last, as ``portable`` writes them."""
    return tuple(map(portable, command.all_keys))


def plain_text(command: Command) -> str:
    """The translated text without the marks of menus."""
    return bare(translate(command.text)).removesuffix("…")


def _rows(chosen: Chosen) -> tuple[Command, ...]:
    """A key that was given to one command calls no other one, not even where the table says so."""
    given = {key for keys in chosen.values() for key in keys}
    free = {name: tuple(key for key in keys_of(row) if key not in given) for name, row in _BY_IDENTITY.items()}
    return tuple(_with_keys(row, chosen.get(name, free[name])) for name, row in _BY_IDENTITY.items())


def _with_keys(command: Command, keys: Sequence[str]) -> Command:
    everywhere = tuple(key for key in keys if not alone(key))
    return replace(command, keys=everywhere, picture_key=next(filter(alone, keys), ""))


def _menu_of(key: str) -> str:
    """The menu that a key opens, "" for none: Alt and the letter that is marked in its title."""
    for title in map(translate, MENUS):
        letter = title.partition("&")[2][:1]
        if letter and portable(key) == portable(f"Alt+{letter}"):
            return bare(title)
    return ""


def _readable(text: str) -> tuple[Chosen, list[str]]:
    """What is kept, and the names of what is of no use in it; [""] where nothing can be read."""
    if not text:
        return {}, []
    try:
        kept = json.loads(text) if len(text) <= _MOST_KEPT else None
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict):
        return {}, [""]
    chosen: dict[str, tuple[str, ...]] = {}
    lost: list[str] = []
    for name, keys in kept.items():
        if _sound(name, keys, chosen):
            chosen[name] = tuple(dict.fromkeys(map(portable, keys)))
        else:
            lost.append(plain_text(_BY_IDENTITY[name]) if name in _BY_IDENTITY else str(name)[:40])
    return chosen, lost


def _sound(name: str, keys: object, before: Chosen) -> bool:
    """Whether a command of that name can have these keys, beside what the commands before have."""
    if name not in _BY_IDENTITY or name == FIXED or not isinstance(keys, list):
        return False
    taken = _OWN | {key for others in before.values() for key in others}
    texts = [portable(key) for key in keys if isinstance(key, str)]
    fitting = [key for key in texts if key and key not in taken and not _menu_of(key)]
    return len(fitting) == len(keys) and sum(map(alone, fitting)) <= 1
