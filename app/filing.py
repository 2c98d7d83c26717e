"""Models and runs: opened, fetched, saved. The commands about them, and what the worker says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QImage
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from app.asking import ask_where_last
from app.command_line import RUN_SUFFIX, is_run_file
from app.engine_words import said
from app.export import png_bytes
from app.notices import CancelledFrame, DownloadFrame, OpenedFrame, SavedFrame
from app.panels.panel import Context
from app.preferences import Preferences
from app.shelving import Shelving
from app.start_page import StartPage, progress_text
from app.widgets.amounts import bytes_text
from app.worker import OpenRequest, Worker
from engine.checkpoint.catalog import catalog
from engine.errors import EngineError
from engine.frames import ErrorFrame, ModelFrame, ProgressFrame
from engine.settings import Sampling

THUMBNAIL_WIDTH = 480  # pixels of the picture of the window in a saved run


class Filing(QObject):
    """The public methods of the first part are the commands of their names. The device and type of the next model:
    ``device``, ``dtype``.

    ``said``: what the program does now; ``changed``: other commands are possible; ``failed``: an ErrorFrame to show.
    ``begun``: "load" or "save" has begun, and its text.
    """

    said = Signal(str)
    changed = Signal()
    failed = Signal(object)
    begun = Signal(str, str)

    def __init__(
        self,
        context: Context,
        worker: Worker,
        preferences: Preferences,
        shelving: Shelving,
        start_page: StartPage,
        device: str,
        dtype: str,
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._context, self._worker, self._preferences, self._window = context, worker, preferences, parent
        self._shelving, self._start_page = shelving, start_page
        self.device, self.dtype = device, dtype
        self.loading = self.saving = False
        self.opened: OpenedFrame | None = None  # the file that the run came from
        self._arriving: OpenedFrame | None = None  # its model, tokens and steps are on their way
        self._from_file = False
        self.arrived = False  # the run on screen is the one of the file, and its end is still to be told
        self.own: Callable[[str], bool] = (
            _nothing  # whether a file is none of the user's: the run that is kept by itself
        )
        self._run_of_save: object = None

    @property
    def file(self) -> str:
        """The user's file that the run came from or was saved to last; "" for none."""
        return "" if self.opened is None or self.own(self.opened.path) else self.opened.path

    # ---- commands ------------------------------------------------------------------------------------------------

    def open_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, self.tr("Open a folder with a model"))
        if folder:
            self.open_model(folder)

    def open_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self._window, self.tr("Open a GGUF file"), "", "GGUF (*.gguf)")
        if name:
            self.open_model(name)

    def open_run(self) -> None:
        """Ask for a saved run and open it."""
        title, folder = self.tr("Open a run"), self._preferences.run_folder()
        name, _ = QFileDialog.getOpenFileName(self._window, title, folder, self._kinds())
        if name:
            self._preferences.set_run_folder(str(Path(name).parent))
            self.open_model(name)

    def save_run(self) -> None:
        """Ask for a file and save the run up to its last finished step; it may go on meanwhile."""
        title, kinds = self.tr("Save the run"), {RUN_SUFFIX: self.tr("Runs")}
        path = ask_where_last(self._preferences, self._window, title, self.file or self._suggested_name(), kinds)
        if path is not None:
            self.save_run_as(path)

    def cancel_file(self) -> None:
        """Give up saving and opening; what was there before is still there."""
        self._worker.cancel_save()
        self.cancel_progress()

    # ---- models and runs -----------------------------------------------------------------------------------------

    def open_model(self, source: str) -> None:
        """Load a model; the present one stays until the new one is there. None that is still coming takes its place."""
        if self._shelving.awaited:
            self._shelving.await_none()
            self._start_page.show_progress(None)
        self.loading = True
        self._begin("load", self.tr("opening {0}").format(source))
        if is_run_file(source):
            others = tuple(other for other in self._preferences.recent() if not is_run_file(other))
            self._worker.open_run(OpenRequest(Path(source), others, self.device))
        else:
            self._worker.load(source, self.device, self.dtype)
        self.changed.emit()

    def save_run_as(self, path: Path) -> None:
        self.saving, self._run_of_save = True, self._context.run.steps  # a list of its own for every run
        self._begin("save", self.tr("saving {0}").format(path.name))
        self._worker.save_run(path, thumbnail(self._window.grab().toImage()))
        self.changed.emit()

    def fetch(self, name: str) -> None:
        """Download a model of the catalog or the hub, then open it."""
        text = self.tr("asking for {0}").format(name)
        self.said.emit(text)
        self._start_page.show_progress(ProgressFrame("fetch", text, 0, 0))
        self._shelving.download(name, then_open=True)
        self.changed.emit()

    def cancel_progress(self) -> None:
        """Give up what is on its way into the window."""
        if self._shelving.awaited:
            self._shelving.stop_awaited()
            self._start_page.show_progress(None)
        self._worker.cancel_load()

    def use_device(self, device: str, dtype: str) -> None:
        """For the next model."""
        self.device, self.dtype = device, dtype

    def look_in_cache(self) -> None:
        """Which models need no download any more; the user is told where there can be no cache."""
        from engine.checkpoint.shelf import cached  # with it comes what downloads: not before the first window

        try:
            here = [known.name for known in catalog() if cached(known.name) is not None]
        except EngineError as error:
            self.failed.emit(ErrorFrame("cache", str(error)))
        else:
            self._start_page.show_cached(here)

    def fill_menu(self, menu: QMenu, commands: Iterable[QAction]) -> None:
        """The menu of the button that names the model: what was opened last, then these."""
        menu.clear()
        for source in self._preferences.recent():
            menu.addAction(source.replace("&", "&&"), partial(self.open_model, source))
        menu.addSeparator()
        menu.addActions(list(commands))

    # ---- what the worker says --------------------------------------------------------------------------------------

    def take_opened(self, frame: OpenedFrame) -> None:
        """A saved run comes: its model first."""
        self._arriving, self._from_file = frame, True

    def take_model(self, frame: ModelFrame) -> None:
        """It is there; with it ``opened`` is the file whose run follows, or None."""
        self.loading = False
        self._start_page.show_progress(None)
        self.opened, self._arriving = self._arriving, None
        if self.opened is None or not self.opened.why:
            self._preferences.add_recent(frame.source)
        if self.file:
            self._preferences.add_recent(self.file)

    def came_from(self, file: str) -> None:
        """The run that is kept by itself came from this file, or was saved to it; "" for none."""
        if file and self.opened is not None:
            self.opened = replace(self.opened, path=file)
            self.changed.emit()

    def take_run(self) -> bool:
        """A run begins: whether it is the one of the file that has just been opened, and not a new one."""
        came, self._from_file = self._from_file, False
        self.arrived = came
        if not came:
            self.opened = None
        return came

    def take_progress(self, frame: ProgressFrame) -> None:
        self.said.emit(progress_text(frame, self.tr))
        if frame.task == "load":
            self._start_page.show_progress(frame)

    def take_saved(self, frame: SavedFrame, sampling: Sampling) -> None:
        """``sampling``: of the run, where it had no file yet."""
        self.saving = False
        self.said.emit(self.tr("saved {0}, {1}").format(Path(frame.path).name, bytes_text(frame.size)))
        self._preferences.add_recent(frame.path)
        if self._run_of_save is self._context.run.steps:  # and not one that was begun meanwhile
            self.opened = replace(self.opened or OpenedFrame("", "", sampling, False), path=frame.path)

    def take_download(self, frame: DownloadFrame) -> None:
        """The start page follows the download whose model will be opened."""
        awaited = frame.source == self._shelving.awaited
        self._shelving.moved(frame)
        if awaited:
            self._awaited_moved(frame)
        if frame.state in ("done", "paused", "cancelled"):
            states = {"done": said(frame.text, self.tr), "paused": self.tr("paused"), "cancelled": self.tr("cancelled")}
            self.said.emit(self.tr("download of {0}: {1}").format(frame.source, states[frame.state]))
            self.look_in_cache()

    def take_cancelled(self, frame: CancelledFrame) -> None:
        if frame.task == "autosave":
            return
        self.loading = self.loading and frame.task != "load"
        self.saving = self.saving and frame.task != "save"
        self.said.emit(self.tr("cancelled"))
        self._start_page.show_progress(None)

    def take_error(self, frame: ErrorFrame, ready: bool) -> None:
        """``ready``: whether the engine could be started."""
        self.loading = self.loading and frame.task != "load"
        if frame.task == "save":
            self.saving = False
            self.said.emit(self.tr("the run was not saved"))
        if frame.task in ("load", "fetch", "start"):
            self.said.emit(self.tr("ready") if ready else self.tr("the engine could not be started"))
            self._start_page.show_progress(None)

    def _awaited_moved(self, frame: DownloadFrame) -> None:
        if frame.state == "waiting":
            text = self.tr("waiting for other downloads")
        elif frame.state == "running":
            text = said(frame.text, self.tr) or self.tr("asking for {0}").format(frame.source)
        else:
            self._start_page.show_progress(None)
            return
        moved = ProgressFrame("fetch", text, frame.done, frame.total)
        self.said.emit(progress_text(moved, self.tr))
        self._start_page.show_progress(moved)

    def _begin(self, task: str, text: str) -> None:
        self.said.emit(text)
        self.begun.emit(task, text)

    def _kinds(self) -> str:
        return self.tr("Runs ({0})").format(f"*{RUN_SUFFIX}")

    def _suggested_name(self) -> str:
        model = self._context.run.model
        name = "run" if model is None else "".join(c if c.isalnum() or c in "-_." else "-" for c in model.name)
        return f"{name}{RUN_SUFFIX}"


def _nothing(path: str) -> bool:
    return False


def thumbnail(picture: QImage) -> bytes:
    """The window as a small PNG, for the file of a run."""
    smooth = Qt.TransformationMode.SmoothTransformation
    return png_bytes(picture.scaledToWidth(THUMBNAIL_WIDTH, smooth))
