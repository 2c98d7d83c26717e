"""The command that chooses the language of the window; it is spoken from the next start on, which may be at once."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.languages import LANGUAGES, language_of
from app.preferences import Preferences


class Speaking(QObject):
    """Each public method is the command of its name, but for ``choices``."""

    said = Signal(str)  # one sentence for the notice bar, with which one may start again; "": not any more

    def __init__(self, preferences: Preferences, spoken: str, parent: QObject) -> None:
        super().__init__(parent)
        self._preferences, self._spoken = preferences, spoken
        self.chosen = preferences.language()

    def use_language(self, name: str) -> None:
        """A key of LANGUAGES, or that of the desktop; kept."""
        self.chosen = name
        self._preferences.set_language(name)
        language = language_of(name)
        sentence = self.tr("From the next start on the window speaks {0}.").format(LANGUAGES[language])
        self.said.emit("" if language == self._spoken else sentence)

    def choices(self) -> tuple[tuple[str, str], ...]:
        """Which of the commands of one name is the chosen one: the name, the argument."""
        return (("use_language", self.chosen),)
