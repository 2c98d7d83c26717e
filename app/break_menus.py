"""Entries of a picture's menu that begin a breakpoint with what lies under the mouse; the form asks for the rest."""

from __future__ import annotations

from functools import partial

from PySide6.QtWidgets import QMenu

from app.breakpoint_words import Translate, test_text
from app.breaks import Breaks
from engine.breakpoints import Test

BREAK_AT = 0.5  # the weight that a head must give, until the form says another


def with_breaks(menu: QMenu, breaks: Breaks, tr: Translate, *tests: Test) -> QMenu:
    """The menu with "Stop when …" for each test below what it has."""
    if tests and not menu.isEmpty():
        menu.addSeparator()
    for test in tests:
        action = menu.addAction(tr("Stop when {0}…").format(test_text(test, tr)))
        action.triggered.connect(partial(breaks.asked.emit, test))
    return menu


def rounded(value: float) -> float:
    """A limit with three digits, as one would type it."""
    return float(f"{value:.3g}")
