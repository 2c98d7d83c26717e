"""What a panel shows, as a file or on the clipboard: PNG and SVG of the picture, CSV and NPY of the figures."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPoint, QRectF, QSize
from PySide6.QtGui import QImage, QImageWriter, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from app.panels.panel import Panel


def write_png(panel: Panel, path: Path) -> None:
    """Raises OSError where the file cannot be written."""
    atomically(path, png_bytes(panel.picture()))


def png_bytes(image: QImage) -> bytes:
    """Raises OSError where Qt cannot encode the image (it is empty)."""
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, QByteArray(b"png")).write(image):
        raise OSError("the picture is empty")
    return bytes(buffer.data().data())


def write_svg(panel: Panel, path: Path) -> None:
    """The panel painted as vectors (heatmaps stay pixels inside). Raises OSError."""
    atomically(path, svg_bytes(panel))


def svg_bytes(widget: QWidget) -> bytes:
    """The widget and its children, painted into an SVG document of its size."""
    data = QByteArray()
    buffer = QBuffer(data)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(QSize(widget.width(), widget.height()))
    generator.setViewBox(QRectF(0, 0, widget.width(), widget.height()))
    generator.setTitle(widget.accessibleName() or widget.objectName())
    painter = QPainter(generator)
    widget.render(painter, QPoint())
    painter.end()
    return bytes(data.data())


def write_csv(panel: Panel, path: Path) -> None:
    """One row a number: array, its indices joined with spaces, value. Raises OSError."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("array", "index", "value"))
        for name, array in panel.values().items():
            for index, value in np.ndenumerate(np.asarray(array)):
                writer.writerow((name, " ".join(map(str, index)), value.item() if hasattr(value, "item") else value))
        file.seek(0)
        atomically(path, file.read().encode())


def write_npy(panel: Panel, path: Path) -> None:
    """One array: NPY. Several: each beside the other, as NAME-array.npy. Raises OSError."""
    arrays = panel.values()
    for name, array in arrays.items():
        target = path if len(arrays) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}")
        atomically(target, _npy_bytes(np.asarray(array)))


def _npy_bytes(array: np.ndarray) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.save(file, array, allow_pickle=False)
        file.seek(0)
        return file.read()


def atomically(path: Path, data: bytes) -> None:
    """Write beside the target and move: a reader never sees half a file. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


WRITERS: dict[str, Callable[[Panel, Path], None]] = {
    "png": write_png,
    "svg": write_svg,
    "csv": write_csv,
    "npy": write_npy,
}
