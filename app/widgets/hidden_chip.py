"""The reminder in the status bar of what is not to be seen because the user said so; pressed, it can be shown again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QMenu, QToolButton

from app.widgets.tips import plain_tip

MOST_SHARE = 0.22  # of the window's width; words that need more give way to their number
_ROOM = "\u00a0\u00a0"  # after the text, for the mark of the menu


@dataclass(frozen=True)
class Hidden:
    """``text``: what is hidden, a few translated words; ``show`` brings it back; ``where``: the panel's title."""

    text: str
    show: Callable[[], object]
    where: str = ""

    @property
    def whole(self) -> str:
        """ "Attention: token 0 is left out"."""
        return f"{self.where}: {self.text}" if self.where else self.text


class HiddenChip(QToolButton):
    """Seen only while something is hidden. Its menu lists everything; a row shows the thing again."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: tuple[Hidden, ...] = ()
        self.rest: tuple[Hidden, ...] = ()
        self._most: int | None = None  # pixels that it may take for its words
        self.setAutoRaise(True)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMenu(QMenu(self))
        self.menu().aboutToShow.connect(self._fill)
        self.setVisible(False)

    @property
    def hidden(self) -> tuple[Hidden, ...]:
        return (*self.rest, *self.closed)

    def show_hidden(self, closed: Sequence[Hidden], rest: Sequence[Hidden]) -> None:
        """The panels that are closed, and what is hidden in those that are open."""
        self.closed, self.rest = tuple(closed), tuple(rest)
        self._say()
        self.setVisible(bool(self.hidden))

    def limit(self, most: int | None) -> None:
        """So many pixels there are for it; None: its share of the window. Words that need more give way."""
        if most != self._most:
            self._most = most
            self._say()

    def choose(self) -> None:
        """The text that fits the window as it is now."""
        self._say()

    def open(self) -> None:
        """The menu, with its first row chosen for whoever goes on with the keyboard."""
        if self.hidden:
            self._fill()
            above = self.mapToGlobal(self.rect().topLeft())
            self.menu().popup(QPoint(above.x(), above.y() - self.menu().sizeHint().height()))
            self.menu().setActiveAction(self.menu().actions()[0])

    def _say(self) -> None:
        whole, number = self._words(), self.tr("hidden: {0}").format(len(self.hidden))
        fits = self.fontMetrics().horizontalAdvance(whole) <= MOST_SHARE * self.window().width()
        if self._most is not None:
            beside = self.sizeHint().width() - self.fontMetrics().horizontalAdvance(self.text())
            fits = fits and self.fontMetrics().horizontalAdvance(whole + _ROOM) + beside <= self._most
        text = (whole if fits else number) + _ROOM
        if text != self.text():
            self.setText(text)
        self.setToolTip(plain_tip("\n".join(each.whole for each in self.hidden)))
        self.setAccessibleName(whole)

    def _words(self) -> str:
        panels = self.tr("1 panel") if len(self.closed) == 1 else self.tr("{0} panels").format(len(self.closed))
        parts = [*(each.text for each in self.rest), *([panels] if self.closed else [])]
        return self.tr("hidden: {0}").format(" · ".join(parts))

    def _fill(self) -> None:
        menu = self.menu()
        menu.clear()
        for each in self.hidden:
            menu.addAction(self.tr("Show again: {0}").format(each.whole.replace("&", "&&")), each.show)
        if len(self.hidden) > 1:
            menu.addSeparator()
            menu.addAction(self.tr("Show everything again"), self._show_all)

    def _show_all(self) -> None:
        for each in self.hidden:
            each.show()
