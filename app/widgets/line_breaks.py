"""Where a field breaks its lines: between words, or anywhere once a word is too long for Qt to find such a place."""

from __future__ import annotations

import re

from PySide6.QtGui import QTextOption
from PySide6.QtWidgets import QPlainTextEdit

LONGEST = 5_000  # letters of a word: Qt takes time by their square (40 ms for 20,000, 3 s for 200,000)
_BETWEEN = re.compile(r"[\s\u2e80-\uffef]+")  # scripts of East Asia may be broken after every sign


def break_long_words(field: QPlainTextEdit) -> None:
    """From now on, and before what was typed or pasted is laid out; its text is not touched."""
    field.document().contentsChange.connect(lambda *_: _choose(field))


def _choose(field: QPlainTextEdit) -> None:
    modes = QTextOption.WrapMode
    long = field.document().characterCount() > LONGEST and longest_word(field.toPlainText()) > LONGEST
    mode = modes.WrapAnywhere if long else modes.WrapAtWordBoundaryOrAnywhere
    if field.wordWrapMode() != mode:  # setting it lays all out anew
        field.setWordWrapMode(mode)


def longest_word(text: str) -> int:
    """Letters of the longest part of a text that has no place to break a line."""
    return max(map(len, _BETWEEN.split(text)))
