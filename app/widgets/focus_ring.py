"""The ring around whatever has the keyboard focus, the same for a button, a field, a table and a picture."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, Qt
from PySide6.QtGui import QColor, QPalette, QRegion
from PySide6.QtWidgets import QApplication, QWidget
from shiboken6 import isValid

from app.theme import Theme

_MOVES = (
    QEvent.Type.Move,
    QEvent.Type.Resize,
    QEvent.Type.Show,
    QEvent.Type.Hide,
    QEvent.Type.LayoutRequest,
    QEvent.Type.ZOrderChange,
)


class FocusRing(QObject):
    """Follows the focus through a window and the dialogs of it, by sight only: it takes neither mouse nor keys."""

    def __init__(self, window: QWidget, theme: Theme) -> None:
        super().__init__(window)
        self._window, self._theme = window, theme
        self._followed: list[QWidget] = []  # what has the focus, and what it stands in
        self._rim: QWidget | None = None
        application = QApplication.instance()
        assert isinstance(application, QApplication), "a window needs an application"
        application.focusChanged.connect(self._move)

    @property
    def around(self) -> QRect:
        """Where it is seen, in pixels of the window that has the focus; empty where it is not."""
        rim = self._rim
        return QRect() if rim is None or not isValid(rim) or rim.isHidden() else rim.geometry()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self._move(None, QApplication.focusWidget())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        if event.type() in _MOVES:
            self._place()
        return False

    def _move(self, old: QWidget | None, now: QWidget | None) -> None:
        self._let_go()
        if now is None or not _belongs(now, self._window) or now.windowType() == Qt.WindowType.Popup:
            return
        self._followed = [now, *_around(now)]
        for widget in self._followed:
            widget.installEventFilter(self)
        self._rim = _rim(now.window(), self._theme.focus)
        self._place()

    def _let_go(self) -> None:
        for widget in filter(isValid, self._followed):
            widget.removeEventFilter(self)
        if self._rim is not None and isValid(self._rim):
            self._rim.hide()
            self._rim.deleteLater()
        self._followed, self._rim = [], None

    def _place(self) -> None:
        rim = self._rim
        if rim is None or not isValid(rim) or not all(map(isValid, self._followed)):
            return
        seen, wide = _seen(self._followed), self._theme.stroke
        if seen.isEmpty() or not self._followed[0].isVisible():
            rim.hide()
            return
        outer = seen.adjusted(1 - wide, 1 - wide, wide - 1, wide - 1) & rim.window().rect()
        inner = outer.adjusted(wide, wide, -wide, -wide).translated(-outer.topLeft())
        if rim.geometry() != outer or rim.isHidden():
            rim.setGeometry(outer)
            rim.setMask(QRegion(QRect(QPoint(0, 0), outer.size())) - QRegion(inner))
            rim.show()
        rim.raise_()


def _rim(window: QWidget, colour: str) -> QWidget:
    """Filled with one colour; its mask leaves the ring."""
    made = QWidget(window)
    made.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    made.setAutoFillBackground(True)
    ground = made.palette()
    ground.setColor(QPalette.ColorRole.Window, QColor(colour))
    made.setPalette(ground)
    return made


def _around(widget: QWidget) -> list[QWidget]:
    """What a widget stands in, up to its window."""
    found: list[QWidget] = []
    while not widget.isWindow() and (parent := widget.parentWidget()) is not None:
        found.append(parent)
        widget = parent
    return found


def _belongs(widget: QWidget | None, window: QWidget) -> bool:
    """Whether it is in the window or in a dialog of it."""
    while widget is not None and widget is not window:
        widget = widget.parentWidget()
    return widget is window


def _seen(chain: list[QWidget]) -> QRect:
    """The part of the first that none of the others cuts off, in pixels of the last, the window."""
    window, seen = chain[-1], QRect(chain[-1].rect())
    for widget in chain[:-1]:
        seen &= QRect(widget.mapTo(window, QPoint(0, 0)), widget.size())
    return seen
