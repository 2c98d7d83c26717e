"""What the model shelf can do: look through this computer and the hub, download, delete, keep a token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from app.asking import sure
from app.backstage import Backstage, Check, Post
from app.downloads import Downloads
from app.mailbox import Mailbox
from app.notices import DeletedFrame, DownloadFrame, ToldFrame
from app.preferences import Preferences
from app.shelf import Readings, Shelf, ShelfItem, ShelfQuery
from app.token_dialog import TokenDialog
from engine.errors import EngineError, SourceError
from engine.frames import ErrorFrame

if TYPE_CHECKING:
    from engine.checkpoint.fits import Device


class Shelving(QObject):
    """``open_asked``, ``inside_asked``: a source; ``device_chosen``: device and type that models are to be opened with.

    ``failed``: an ErrorFrame for the window to show; ``changed``: the shelf's data are others.
    """

    open_asked = Signal(str)
    inside_asked = Signal(str)
    device_chosen = Signal(str, str)
    failed = Signal(object)
    changed = Signal()

    def __init__(self, shelf: Shelf, mailbox: Mailbox, preferences: Preferences, parent: QWidget) -> None:
        super().__init__(parent)
        self._shelf, self._preferences, self._window = shelf, preferences, parent
        self._backstage, self._mailbox = Backstage(mailbox), mailbox
        self._readings = Readings()
        self.downloads = Downloads(mailbox)
        self._asking = False  # for a token
        self._with_token: list[Callable[[], None]] = []  # what is done once there is one
        self.awaited = ""  # the download that is opened when it is there
        self._looked = False  # somebody has looked at the shelf
        shelf.query = replace(shelf.query, folders=tuple(map(Path, preferences.model_folders())))
        self.deeds: dict[str, Callable[[str], None]] = {
            "open": self.open_asked.emit,
            "inside": self.inside_asked.emit,
            "download": self.download,
            "resume": self.download,
            "pause": self.downloads.pause,
            "cancel": self._cancel,
            "delete": self._delete,
            "search": self._search,
            "folder": lambda _: self._add_folder(),
            "forget folders": lambda _: self._set_folders(()),
            "again": lambda _: self.look(),
            "token": self._ask_for_token_of,
            "forget token": lambda _: self._forget_token(),
        }

    # ---- what the window calls -------------------------------------------------------------------------------

    def do(self, what: str, source: str) -> None:
        self.deeds[what](source)

    def close(self, seconds: float) -> bool:
        """Downloads are paused; True if every thread ended in time."""
        ended = self._backstage.close(seconds)
        return self.downloads.close(seconds) and ended

    def set_accelerators(self, devices: tuple[Device, ...], wanted: str) -> None:
        """The GPUs there are; ``wanted`` is what models are opened on, "auto": the first GPU, as loading takes it."""
        chosen = next((device.name for device in devices if wanted == "auto" or device.name.startswith(wanted)), "cpu")
        self._shelf.query = replace(self._shelf.query, accelerators=devices, device=chosen)
        self._shelf.forget_measures()
        self.look_again()

    def set_dtype(self, wanted: str) -> None:
        """The type that models are opened in."""
        self._shelf.query = replace(self._shelf.query, dtype=wanted)

    def stop_awaited(self) -> None:
        """Pause the download that would be opened when it is there."""
        if self.awaited:
            self.downloads.pause(self.awaited)
        self.await_none()

    def await_none(self) -> None:
        """What is being downloaded goes on, and is not opened when it is there."""
        self.awaited = ""

    def look(self) -> None:
        """Look through this computer, off the window's thread; ShelfFrames follow."""
        self._looked, self._shelf.complete = True, False
        self._backstage.do("shelf", partial(_fill, self._shelf.query, self._readings))

    def look_again(self) -> None:
        """What is here may have changed: look again where somebody has looked before."""
        if self._looked:
            self.look()

    def judge_by(self, query: ShelfQuery) -> None:
        """Another context, device or type."""
        before, self._shelf.query = self._shelf.query, query
        if (query.device, query.dtype) != (before.device, before.dtype):
            self.device_chosen.emit(query.device, query.dtype)
        self._shelf.forget_measures()
        self.look()

    def look_closer(self, item: ShelfItem, source: str) -> None:
        """Read the headers of a model on the hub; a LookFrame follows."""
        self._backstage.do("look", partial(_look, item, source, self._shelf.query))

    def download(self, source: str, then_open: bool = False) -> None:
        """Begin a download, or go on with one; ``then_open``: and open the model when it is there."""
        if then_open:
            self.awaited = source
        self.downloads.start(source)

    def pause(self, source: str) -> None:
        """Stop a download, which can go on later; it is not opened when it is there."""
        if source == self.awaited:
            self.await_none()
        self.downloads.pause(source)

    def moved(self, frame: DownloadFrame) -> None:
        """A download has moved on."""
        if frame.state == "done":
            self.look_again()
            if frame.source == self.awaited:
                self.await_none()
                self.open_asked.emit(frame.source)
        if frame.state == "cancelled":
            self.look_again()
        if frame.source == self.awaited and (frame.state == "cancelled" or _given_up(frame)):
            self.await_none()
        if frame.state == "failed" and frame.needs_token:
            self.ask_for_token(frame.sentence, partial(self.download, frame.source))

    # ---- deeds -----------------------------------------------------------------------------------------------

    def _search(self, text: str) -> None:
        self._shelf.searched, self._shelf.searching, self._shelf.sentence = text, True, ""
        self._backstage.do("search", partial(_search, text))
        self.changed.emit()

    def _cancel(self, source: str) -> None:
        frame = self._shelf.downloads.get(source)
        if (
            frame is not None
            and frame.done
            and not sure(
                self._window,
                self.tr("Cancel the download?"),
                self.tr("What arrived of {0} will be deleted. To keep it, pause the download instead.").format(source),
                self.tr("Cancel download"),
            )
        ):
            return
        self.downloads.cancel(source)

    def _delete(self, source: str) -> None:
        item = self._shelf.item(source)
        if item is None or not sure(
            self._window,
            self.tr("Delete this model?"),
            self.tr("{0} will be deleted from this computer. It can be downloaded again.").format(item.title),
            self.tr("Delete"),
        ):
            return
        self._backstage.do(f"delete {source}", partial(_delete, source, item.title))  # several may go on at once

    def _add_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, self.tr("Look for models in a folder"))
        if folder:
            self._set_folders((*self._shelf.query.folders, Path(folder)))

    def _set_folders(self, folders: tuple[Path, ...]) -> None:
        folders = tuple(dict.fromkeys(folders))
        self._preferences.set_model_folders([str(folder) for folder in folders])
        self._shelf.query = replace(self._shelf.query, folders=folders)
        self.look()

    # ---- the token -------------------------------------------------------------------------------------------

    def _ask_for_token_of(self, source: str) -> None:
        """Of a model that was looked at in vain, which is then looked at again; "" for none."""
        item = self._shelf.item(source)
        self.ask_for_token("", None if item is None else partial(self.look_closer, item, source))

    def ask_for_token(self, why: str = "", then: Callable[[], None] | None = None) -> None:
        """Show the dialog; ``then`` is done once a token was given. Who asks meanwhile waits for the same answer."""
        if then is not None:
            self._with_token.append(then)
        if self._asking:
            return
        self._asking = True
        dialog = TokenDialog(self._window, why)
        dialog.accepted.connect(partial(self._keep_token, dialog))
        dialog.finished.connect(self._asked_for_token)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _asked_for_token(self) -> None:
        """Answered or not: what waited for it is done, or is left."""
        self._asking = False
        self._with_token.clear()

    def _keep_token(self, dialog: TokenDialog) -> None:
        from engine.checkpoint.token import keep

        text, remember = dialog.take()
        try:
            keep(text)
        except EngineError as error:
            self.failed.emit(ErrorFrame("token", str(error)))
            return
        if remember:  # a keyring may ask the user, or be slow
            self._backstage.do("token", partial(_remember, text))
        for then in tuple(self._with_token):
            then()

    def _forget_token(self) -> None:
        self._backstage.do("token", _forget)


# ---- off the window's thread: what these import takes a while ------------------------------------------------------


def _fill(query: ShelfQuery, readings: Readings, check: Check, post: Post) -> None:
    from app.shelf_rows import fill_shelf

    fill_shelf(query, readings, check, post)


def _search(text: str, check: Check, post: Post) -> None:
    from app.shelf_rows import search_hub

    search_hub(text, check, post)


def _look(item: ShelfItem, source: str, query: ShelfQuery, check: Check, post: Post) -> None:
    from app.shelf_rows import look_closer

    look_closer(item, source, query, check, post)


def _remember(text: str, check: Check, post: Post) -> None:
    from engine.checkpoint.token import keep

    kept = keep(text, remember=True)
    in_keyring = ToldFrame("the token is kept in the system's keyring")
    post(ErrorFrame("token", kept.sentence) if kept.sentence else in_keyring)


def _forget(check: Check, post: Post) -> None:
    from engine.checkpoint.token import forget

    forget()
    post(ToldFrame("the token of the hub is forgotten"))


def _given_up(frame: DownloadFrame) -> bool:
    """Whether nothing goes on by itself; a token may still be given."""
    return frame.state == "failed" and not frame.needs_token


def _delete(source: str, title: str, check: Check, post: Post) -> None:
    from engine.checkpoint.catalog import entry
    from engine.checkpoint.shelf import cached, delete

    path = cached(source) if entry(source) is not None else Path(source)
    if path is None:
        raise SourceError(f"{source} is not in the cache any more.")
    post(DeletedFrame(title, delete(path)))
