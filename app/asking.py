"""Questions that are asked in the same way whatever they are about: where to save it, and whether the user is sure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

MOST_NAMED = 5  # files that a question names


class Folders(Protocol):
    """Where files were saved last; "" before the first."""

    def run_folder(self) -> str: ...

    def set_run_folder(self, folder: str) -> None: ...


def ask_where_last(
    folders: Folders,
    parent: QWidget,
    title: str,
    name: str,
    kinds: Mapping[str, str],
    written: Callable[[Path], Iterable[Path]] = lambda path: (path,),
) -> Path | None:
    """As ``ask_where``, with a name in the folder in which something was saved last, which is kept; or a whole path."""
    path = ask_where(parent, title, Path(folders.run_folder(), name), kinds, written)
    if path is not None and os.path.isdir(folder := path.absolute().parent):
        folders.set_run_folder(str(folder))
    return path


def ask_where(
    parent: QWidget,
    title: str,
    suggestion: str | Path,
    kinds: Mapping[str, str],
    written: Callable[[Path], Iterable[Path]] = lambda path: (path,),
) -> Path | None:
    """A file to write to, with one of the endings of ``kinds``; None where the user gives up.

    ``kinds``: what files with an ending are called, by the ending (".png"), the usual kind first. A name without one of
    them gets that of the kind that was chosen. ``written``: the files that will be written for a name. None of those
    that are there is overwritten without a question; the dialog itself asks only about the name as it was typed.
    """
    filters = {f"{name} (*{ending})": ending for ending, name in kinds.items()}
    name, chosen = QFileDialog.getSaveFileName(parent, title, str(suggestion), ";;".join(filters))
    if not name:
        return None
    typed, ending = Path(name), filters.get(chosen, next(iter(kinds)))
    path = typed if typed.suffix.lower() in kinds else typed.with_name(typed.name + ending)
    lost = [file for file in written(path) if file != typed and os.path.lexists(file)]
    if not lost or _may_overwrite(parent, lost):
        return path
    return ask_where(parent, title, path, kinds, written)


def _may_overwrite(parent: QWidget, files: list[Path]) -> bool:
    named = [file.name for file in files[:MOST_NAMED]]
    more = [parent.tr("and {0} more").format(len(files) - MOST_NAMED)] if len(files) > MOST_NAMED else []
    text = parent.tr("In {0} these files would be overwritten:\n{1}")
    lines = "\n".join([*named, *more])
    return sure(parent, parent.tr("Overwrite?"), text.format(files[0].parent, lines), parent.tr("Overwrite"))


def sure(parent: QWidget, title: str, text: str, action: str) -> bool:
    """Whether the user wants what cannot be taken back; ``action`` is what the button for it says."""
    box = QMessageBox(QMessageBox.Icon.Question, title, text, parent=parent)
    box.setTextFormat(Qt.TextFormat.PlainText)  # names come from files and servers
    yes = box.addButton(action, QMessageBox.ButtonRole.DestructiveRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    box.deleteLater()  # PySide would delete it at the return, while Qt still tells windows which of them is active
    return box.clickedButton() is yes
