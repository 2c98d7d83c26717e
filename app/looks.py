"""How the window looks: the commands of theme and text size, and the theme in everything that is seen."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QApplication

from app.commands import COMMANDS, identity
from app.panels.panel import Context
from app.preferences import LEAST_POINTS, MOST_POINTS, NORMAL_POINTS, Preferences
from app.theme import CONTRAST, DARK, LIGHT, THEMES, Theme, apply, coloured, icon

SYSTEM = "system"  # the theme that follows the desktop
TEXT_STEP = 1.15


class Looks(QObject):
    """Each public method is the command of its name, but for ``wear`` and ``restyle``.

    ``changed`` tells the new theme to all that follows it; the application has its palette and font by then.
    """

    changed = Signal(object)
    said = Signal(str)  # one sentence for the notice bar

    def __init__(self, context: Context, preferences: Preferences, asked: str | None, parent: QObject) -> None:
        super().__init__(parent)
        self._context, self._preferences = context, preferences
        kept = asked or preferences.theme()
        self.chosen = kept if kept in (*THEMES, SYSTEM) else SYSTEM
        self.sequential, self.diverging = preferences.maps()  # keys of app/colour_maps.py
        self._points = preferences.points()
        self._worn: tuple[str, float] | None = None  # a theme and a size for a while
        self._applied: tuple[Theme, float] | None = None
        self._apply()  # what is made from now on has the font at once
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._follow_system)
        hints.accessibility().contrastPreferenceChanged.connect(self._follow_system)

    def use_theme(self, name: str) -> None:
        """One of the themes, or the desktop's; kept."""
        self.chosen = name
        self._preferences.set_theme(name)
        if name == SYSTEM and system_theme() is None:
            self.said.emit(self.tr("This desktop does not say whether it is light or dark, so the theme is dark."))
        self.restyle()

    def use_sequential(self, name: str) -> None:
        """The colour map of what has one direction, by its key in app/colour_maps.py; kept."""
        self._use_maps(name, self.diverging)

    def use_diverging(self, name: str) -> None:
        """The colour map of signed figures; kept."""
        self._use_maps(self.sequential, name)

    def larger_text(self) -> None:
        self._set_points(self.points * TEXT_STEP)

    def smaller_text(self) -> None:
        self._set_points(self.points / TEXT_STEP)

    def normal_text(self) -> None:
        self._set_points(NORMAL_POINTS)

    @property
    def points(self) -> float:
        """Size of the text now."""
        return QApplication.font().pointSizeF()

    def choices(self) -> tuple[tuple[str, str], ...]:
        """Which of the commands of one name is the chosen one: the name, the argument."""
        return (
            ("use_theme", self.chosen),
            ("use_sequential", self.sequential),
            ("use_diverging", self.diverging),
        )

    def wear(self, name: str, points: float) -> None:
        """A theme and a size of the text for a while, which are not kept; ``take_off`` ends it."""
        self._worn = (name, points)
        self.restyle()

    def take_off(self) -> None:
        """The theme and the size that were chosen."""
        if self._worn is not None:
            self._worn = None
            self.restyle()

    def restyle(self) -> None:
        """The theme and the size of the text everywhere."""
        self._apply()
        self.changed.emit(self._context.theme)

    def _apply(self) -> None:
        wanted = (self._theme(), self._worn[1] if self._worn else self._points)
        self._context.theme = wanted[0]
        if wanted != self._applied:
            application = QApplication.instance()
            assert isinstance(application, QApplication), "a window needs an application"
            apply(wanted[0], application, wanted[1])
            self._applied = wanted

    def _use_maps(self, sequential: str, diverging: str) -> None:
        self.sequential, self.diverging = sequential, diverging
        self._preferences.set_maps(sequential, diverging)
        self.restyle()

    def _set_points(self, points: float) -> None:
        points = min(MOST_POINTS, max(LEAST_POINTS, points))
        if self._worn is not None:
            self._worn = (self._worn[0], points)
        else:
            self._points = points
            self._preferences.set_points(points)
        self.restyle()

    def _theme(self) -> Theme:
        name = self._worn[0] if self._worn else self.chosen
        theme = (system_theme() or DARK) if name == SYSTEM else THEMES[name]
        return coloured(theme, self.sequential, self.diverging)

    def _follow_system(self) -> None:
        if self.chosen == SYSTEM and self._theme() != self._context.theme:
            self.restyle()


def system_theme() -> Theme | None:
    """What the desktop wants; None where it does not say."""
    hints = QGuiApplication.styleHints()
    if hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast:
        return CONTRAST
    return {Qt.ColorScheme.Dark: DARK, Qt.ColorScheme.Light: LIGHT}.get(hints.colorScheme())


def tint(actions: Mapping[str, QAction], theme: Theme) -> None:
    """The icons of the commands in the colours of a theme."""
    for command in COMMANDS:
        if command.icon:
            actions[identity(command)].setIcon(icon(command.icon, theme))
