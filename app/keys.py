"""Keys as texts: "Ctrl+Shift+P", "F5", "?". Which of them pictures, lists and fields use themselves."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QKeyCombination, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence

_PORTABLE, _NATIVE = QKeySequence.SequenceFormat.PortableText, QKeySequence.SequenceFormat.NativeText
_SHIFT, _NUMBERS = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.KeypadModifier
_FIRST_UNWRITTEN = Qt.Key.Key_Escape.value  # keys below are letters, digits, signs and space
_MODIFIERS = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Meta, Qt.Key.Key_Alt, Qt.Key.Key_AltGr)
_MOST = 40  # letters of a key's name

OWN_KEYS: tuple[tuple[tuple[str, ...], str, str], ...] = (  # keys, how they are shown together, what they do
    (("Left", "Right", "Up", "Down"), "← → ↑ ↓", "Move the picked cell, token, stage or row"),
    (("Home", "End"), "Home End", "To the first one, to the last one"),
    (("PgUp", "PgDown"), "PgUp PgDown", "A page back or on"),
    (("Return", "Enter"), "Return", "Open what is picked"),
    (("Shift+Left", "Shift+Right", "Shift+Up", "Shift+Down"), "Shift+← → ↑ ↓", "In a large map: half a view on"),
    (("+", "=", "-", "0"), "+ - 0", "In a large map: nearer, farther, the whole"),
    (("Backspace",), "Backspace", "In the map of tensors: one level out"),
    (("A", "B", "Del"), "A B Del", "In the tree of branches: compare as A, as B, delete"),
    (("Ctrl+F", "/"), "Ctrl+F /", "In the list of tensors: find"),
    (("Tab", "Shift+Tab"), "Tab Shift+Tab", "To the next control, to the one before"),
    (("Menu", "Shift+F10"), "Menu Shift+F10", "The menu of what is picked"),
    (("Ctrl+Return", "Ctrl+Enter"), "Ctrl+Return", "In the field of a note: keep it"),
    (("Ctrl+C", "Ctrl+V", "Ctrl+X", "Ctrl+A"), "Ctrl+C V X A", "In fields: copy, paste, cut, choose all"),
)
OWN_TEXTS = tuple(text for *_, text in OWN_KEYS)  # to be translated


@lru_cache(maxsize=4096)
def portable(key: str) -> str:
    """The one way to write a key, "" for what is no single key. A sign needs no Shift: that is how it is typed."""
    if not key.isprintable() or len(key) > _MOST:
        return ""
    keys = QKeySequence(key, _PORTABLE)
    return _written(keys[0]) if keys.count() == 1 else ""  # type: ignore[index]


def pressed(event: QKeyEvent) -> str:
    """The key of an event as ``portable`` writes it; "" for a modifier by itself."""
    return _written(QKeyCombination(event.modifiers() & ~_NUMBERS, Qt.Key(event.key())))


def _written(keys: QKeyCombination) -> str:
    key, modifiers = keys.key(), keys.keyboardModifiers()
    if key == Qt.Key.Key_unknown or key in _MODIFIERS:
        return ""
    if modifiers == _SHIFT and _is_written(key) and key != Qt.Key.Key_Space and not chr(key.value).isalpha():
        modifiers = Qt.KeyboardModifier.NoModifier
    return QKeySequence(QKeyCombination(modifiers, key)).toString(_PORTABLE)


def _is_written(key: Qt.Key) -> bool:
    return 0 < key.value < _FIRST_UNWRITTEN


def alone(key: str) -> bool:
    """Whether it is also a letter or a sign, and so calls a command only where nothing is typed."""
    keys: QKeyCombination = QKeySequence(key, _PORTABLE)[0]  # type: ignore[index]
    return _is_written(keys.key()) and not keys.keyboardModifiers() & ~(_SHIFT | _NUMBERS)


def native(key: str) -> str:
    """As this desktop writes it."""
    return QKeySequence(key, _PORTABLE).toString(_NATIVE)
