"""A page that lies over the window until Esc, and gives the keyboard focus back to where it was."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QFrame, QWidget
from shiboken6 import isValid

from app.theme import Theme


class OverPage(QFrame):
    """What such pages have in common: ``begin`` takes the focus, ``place`` finds the room. ``entering``: it is about to
    be shown."""

    entering = Signal()
    stays = False  # also while somebody goes on in the window behind

    def __init__(self, parent: QWidget, name: str) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setAutoFillBackground(True)
        self._before: QWidget | None = None  # what had the focus, maybe in a panel with a window of its own
        self.hide()
        if not self.stays:
            QApplication.instance().focusChanged.connect(self._focus_moved)  # type: ignore[union-attr]

    def toggle(self) -> None:
        if not self.leave():
            self.enter()

    def enter(self) -> None:
        self.entering.emit()
        self._before = QApplication.focusWidget() or self.window().focusWidget()
        self.show()
        self.place()
        self.raise_()
        _bring_keyboard(self)
        self.begin()

    def leave(self) -> bool:
        """Hide it; True if there was something to hide. The focus goes back unless it is elsewhere already."""
        if not self.isVisible():
            return False
        focused, before = self.window().focusWidget(), self._before
        self._before = None
        self.hide()
        if (focused is None or self.holds(focused)) and before is not None and isValid(before):
            _bring_keyboard(before)
            before.setFocus()
        return True

    def _focus_moved(self, before: QWidget | None, now: QWidget | None) -> None:
        """Somebody went on elsewhere in the window."""
        if now is not None and self.isVisible() and now.window() is self.window() and not self.holds(now):
            self.leave()

    def holds(self, widget: QWidget) -> bool:
        """Whether it is the page, or on it."""
        return widget is self or self.isAncestorOf(widget)

    def focusNextPrevChild(self, forward: bool) -> bool:  # noqa: N802
        """Tab stays on the page: what lies behind it is not seen, unless it is a page that stays.

        In the order of the children. ``nextInFocusChain`` would bind what it returns to the life of the widget that was
        asked: once that is deleted, PySide takes the rest of the window for deleted too.
        """
        if self.stays:
            return super().focusNextPrevChild(forward)
        mine = [part for part in self.findChildren(QWidget) if _takes_tab(part)]
        here = self.window().focusWidget() or self
        around = mine if forward else mine[::-1]
        at = around.index(here) if here in around else -1
        there = around[(at + 1) % len(around)] if around else here
        there.setFocus(Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason)
        return True

    def begin(self) -> None:
        """It is seen now: the focus goes to where typing begins."""
        raise NotImplementedError

    def place(self) -> None:
        """In the window as it is now."""
        raise NotImplementedError

    def restyle(self, theme: Theme) -> None:
        self.setStyleSheet(f"#{self.objectName()} {{ background: {theme.raised}; border: 1px solid {theme.edge}; }}")
        self.fit()

    def fit(self) -> None:
        """The window, or the text in it, has another size; a hidden page finds its room when it is shown."""
        if self.isVisible():
            self.place()


def _bring_keyboard(widget: QWidget) -> None:
    """To the window of the widget, from that of a floating panel or back."""
    if not widget.window().isActiveWindow():
        widget.window().activateWindow()


def _takes_tab(widget: QWidget) -> bool:
    takes = widget.focusPolicy() & Qt.FocusPolicy.TabFocus
    return bool(takes) and widget.isVisible() and widget.isEnabled() and widget.focusProxy() is None
