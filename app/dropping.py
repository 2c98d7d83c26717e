"""What is dragged onto the window from another program: a model or a run that can be opened, or why it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QMimeData

from app.command_line import RUN_SUFFIX

_FILES = (".gguf", RUN_SUFFIX)


def dropped_paths(data: QMimeData) -> list[Path]:
    """The files and folders of this computer that are dragged."""
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]


def dropped_model(data: QMimeData) -> str | None:
    """The folder, .gguf file or saved run that is dragged alone, or None."""
    paths = dropped_paths(data)
    return str(paths[0]) if len(paths) == 1 and _fits(paths[0]) else None


def refusal(data: QMimeData, tr: Callable[[str], str]) -> str:
    """Why nothing of it is opened, one sentence; "" where it is."""
    paths = dropped_paths(data)
    if len(paths) > 1:
        return tr("{0} files were dropped; one model or run is opened at a time: drop one.").format(len(paths))
    if not paths or _fits(paths[0]):
        return ""
    form = tr("“{0}” is no model or run: drop a folder with config.json and its weights, a .gguf or a {1} file.")
    if paths[0].suffix.lower() == ".safetensors":
        form = tr("“{0}” holds weights alone: drop the folder with it and its config.json, a .gguf or a {1} file.")
    return form.format(paths[0].name, RUN_SUFFIX)


def _fits(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in _FILES
