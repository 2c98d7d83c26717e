"""The commands that reset the settings and bring them back."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.preferences import Preferences


class Resetting(QObject):
    """Each public method is the command of its name. ``said``: a sentence for the notice bar; ``done``: one with
    which one may start again."""

    said = Signal(str)
    done = Signal(str)
    changed = Signal()

    def __init__(self, preferences: Preferences, parent: QObject) -> None:
        super().__init__(parent)
        self._preferences = preferences

    def reset_settings(self) -> None:
        """From the next start on, so that nothing on screen jumps while somebody works."""
        try:
            kept = self._preferences.reset()
        except OSError as error:
            self.said.emit(self.tr("The settings could not be reset: {0}.").format(error.strerror or error))
            return
        self.done.emit(
            self.tr(
                "All settings are as at first from the next start on. Those of now are kept in {0}: "
                "“Bring the settings back” in the menu Help undoes it."
            ).format(kept)
        )
        self.changed.emit()

    def restore_settings(self) -> None:
        """Those that were there before the last reset."""
        try:
            self._preferences.bring_back()
        except OSError as error:
            self.said.emit(self.tr("The settings could not be brought back: {0}.").format(error.strerror or error))
            return
        self.done.emit(self.tr("The settings from before the reset are back, from the next start on."))
        self.changed.emit()
