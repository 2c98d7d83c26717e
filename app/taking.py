"""What is on screen, to take along: the commands that copy and save a panel or the window."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget

from app.asking import ask_where_last
from app.dock import PanelDock
from app.export import atomically, png_bytes
from app.layouts import Workspace
from app.panels.panel import Context
from app.preferences import Preferences
from app.provenance import facts_of_window


class Taking(QObject):
    """Public methods are the commands of their names; those of a panel are about the one with the focus.

    ``said``: a line for the status bar; ``failed``: one sentence.
    """

    said = Signal(str)
    failed = Signal(str)

    def __init__(self, context: Context, workspace: Workspace, preferences: Preferences, window: QWidget) -> None:
        super().__init__(window)
        self._context, self._workspace, self._preferences, self._window = context, workspace, preferences, window

    # ---- a panel -------------------------------------------------------------------------------------------------

    def copy_picture(self) -> None:
        """The panel as a picture on the clipboard."""
        if (dock := self._dock()) is not None:
            dock.copy_picture()
            self.said.emit(self.tr("copied the picture of {0}").format(dock.panel.title()))

    def copy_table(self) -> None:
        """Its figures, as a spreadsheet takes them."""
        if (dock := self._dock()) is not None and dock.copy_table():
            self.said.emit(self.tr("copied the figures of {0}").format(dock.panel.title()))

    def save_panel(self, kind: str) -> None:
        """Ask for a file; ``kind`` is one of WRITERS."""
        if (dock := self._dock()) is not None:
            dock.save_as(kind, self._preferences)

    def _dock(self) -> PanelDock | None:
        dock = self._workspace.maximised or self._workspace.focused()
        if dock is None:
            self.failed.emit(self.tr("No panel has the focus; click one, or press Tab until one has it."))
        return dock

    # ---- the window ----------------------------------------------------------------------------------------------

    def copy_window(self) -> None:
        """The whole window as a picture on the clipboard."""
        QGuiApplication.clipboard().setImage(self._window.grab().toImage())
        self.said.emit(self.tr("copied the picture of the window"))

    def save_window(self) -> None:
        """Ask for a file for the picture of the whole window."""
        picture = self._window.grab().toImage()  # before the dialog takes the focus
        title, kinds = self.tr("Save the window's picture"), {".png": "PNG"}
        path = ask_where_last(self._preferences, self._window, title, "fluoroscope.png", kinds)
        if path is None:
            return
        try:
            atomically(path, png_bytes(picture, facts_of_window(self._context)))
        except OSError as error:
            self.failed.emit(self.tr("The file {0} could not be written: {1}.").format(path, error.strerror or error))
        else:
            self.said.emit(self.tr("saved the window as {0}").format(path.name))
