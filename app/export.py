"""What a panel or the window shows, as a file: PNG and SVG of the picture, CSV and NPY of the figures.

Every file says where it comes from (app/provenance.py): PNG in text chunks, SVG in its description, CSV in lines that
begin with "# ", NPY in a JSON file beside it (NAME.npy.json), for which the format has no place.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QByteArray, QIODevice
from PySide6.QtGui import QImage, QImageWriter

from app.csv_text import cell, cells
from app.panels.panel import Panel
from app.provenance import Facts, facts_of_panel, to_lines
from app.svg import svg_bytes
from app.widgets.values_model import Along

FIGURES = ("csv", "npy")  # the kinds of files that hold them
NO_FIGURES = "This panel shows no figures yet."
MOST_COPIED = 250_000  # figures; more of them on a clipboard help nobody, and take a while to write


class FiguresError(ValueError):
    """Why a panel's figures cannot be taken along, in a sentence."""


def write_png(panel: Panel, path: Path) -> list[Path]:
    """The files that were written, as of every writer. Raises OSError where they cannot be."""
    atomically(path, png_bytes(panel.picture(), _facts_of_picture(panel)))
    return [path]


def _facts_of_picture(panel: Panel) -> Facts:
    return facts_of_panel(panel) | ({"picture": "a part; the rest is scrolled away"} if panel.scrolled() else {})


def png_bytes(image: QImage, facts: Mapping[str, str] | None = None) -> bytes:
    """With the facts as text chunks. Raises OSError where Qt cannot encode the image (it is empty)."""
    for name, text in (facts or {}).items():
        image.setText(name, text)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    if not QImageWriter(buffer, QByteArray(b"png")).write(image):
        raise OSError("the picture is empty")
    return bytes(buffer.data().data())


def write_svg(panel: Panel, path: Path) -> list[Path]:
    """The panel painted as vectors; the cells of a heatmap are one image inside. Raises OSError."""
    atomically(path, svg_bytes(panel, _facts_of_picture(panel)))
    return [path]


def write_csv(panel: Panel, path: Path) -> list[Path]:
    """The facts and the axes in lines that begin with "# ", then one row a number: array, its indices joined with
    spaces, value. Raises OSError, and FiguresError where there are no figures."""
    arrays, axes = _figures(panel), panel.axes()
    facts = facts_of_panel(panel) | {f"axes of {name}": _axes_text(axes[name]) for name in arrays if axes.get(name)}
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="") as file:
        file.writelines(f"# {line}\n" for line in to_lines(facts))
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("array", "index", "value"))
        for name, array in arrays.items():
            indices = (" ".join(map(str, index)) for index in np.ndindex(array.shape))
            writer.writerows((name, *row) for row in zip(indices, map(cell, array.ravel().tolist()), strict=True))
        file.seek(0)
        atomically(path, file.read().encode())
    return [path]


def write_npy(panel: Panel, path: Path) -> list[Path]:
    """One array: NPY. Several: each beside the other, as NAME-array.npy. Of all of them NAME.npy.json says what they
    are. Raises OSError, and FiguresError where there are no figures."""
    arrays, axes = _figures(panel), panel.axes()
    files = _npy_files(arrays, path)
    for name, array in arrays.items():
        atomically(files[name], _npy_bytes(array))
    about = {
        name: {
            "file": files[name].name,
            "shape": array.shape,
            "type": str(array.dtype),
            "axes": [_axis(axis, n) for axis, n in zip(axes.get(name, ()), array.shape, strict=False)],
        }
        for name, array in arrays.items()
    }
    text = json.dumps({"about": facts_of_panel(panel), "arrays": about}, indent=1, ensure_ascii=False)
    atomically(_file_about(path), text.encode())
    return [*files.values(), _file_about(path)]


def _npy_files(names: Collection[str], path: Path) -> dict[str, Path]:
    return {name: path if len(names) == 1 else path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names}


def _file_about(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def files_of(panel: Panel, kind: str) -> Callable[[Path], list[Path]]:
    """Which files WRITERS[kind] would write for a name. Raises FiguresError where there are no figures that it could
    write."""
    arrays = _figures(panel) if kind in FIGURES else {}
    if kind == "npy":
        return lambda path: [*_npy_files(arrays, path).values(), _file_about(path)]
    return lambda path: [path]


def _figures(panel: Panel) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(array) for name, array in panel.values().items()}
    if not any(array.size for array in arrays.values()):
        raise FiguresError(NO_FIGURES)
    return arrays


def _axis(axis: Along, n: int) -> dict[str, object]:
    """An axis of n entries; its words only where an entry is one of the run's."""
    words = [] if axis.words is None or axis.block > 1 else [axis.words(axis.first + entry) for entry in range(n)]
    return {"name": axis.name, "first": axis.first, "block": axis.block} | ({"words": words} if any(words) else {})


def _axes_text(axes: Iterable[Along]) -> str:
    """ "layer, position from 8 by 2": where an axis begins if not at 0, and how many entries make one of its."""
    return ", ".join(
        axis.name + f" from {axis.first}" * bool(axis.first) + f" by {axis.block}" * (axis.block > 1) for axis in axes
    )


def _npy_bytes(array: np.ndarray) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.save(file, array, allow_pickle=False)
        file.seek(0)
        return file.read()


def table_text(arrays: Mapping[str, np.ndarray]) -> str:
    """Figures as a spreadsheet takes them: cells between tabs, one table below the other with its name above it.

    Vectors of one length are the columns of one table; of an array with more than two axes every matrix is a table.
    Raises FiguresError where there are none or too many.
    """
    known = {name: np.asarray(array) for name, array in arrays.items()}
    count = sum(array.size for array in known.values())
    if not count:
        raise FiguresError(NO_FIGURES)
    if count > MOST_COPIED:
        raise FiguresError(f"The panel has {count:,} figures, too many for the clipboard; save them as CSV or NPY.")
    text = io.StringIO()
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    vectors: dict[int, list[str]] = {}
    for name, array in known.items():
        if array.ndim == 1:
            vectors.setdefault(len(array), []).append(name)
    for length, names in vectors.items():
        writer.writerow(("", *names))
        writer.writerows(map(cells, zip(range(length), *(known[name].tolist() for name in names), strict=True)))
        writer.writerow(())
    for name, array in known.items():
        if array.ndim != 1:
            _write_matrices(writer, name, array)
    return text.getvalue().rstrip("\n") + "\n"


def _write_matrices(writer, name: str, array: np.ndarray) -> None:
    """``name[2, 0]`` above each matrix, the numbers of columns in its first row and of rows in its first column."""
    for index in np.ndindex(array.shape[:-2]):
        matrix = np.atleast_2d(array[index])
        place = f"[{', '.join(map(str, index))}]" if index else ""
        writer.writerow((f"{name}{place}", *(range(matrix.shape[1]) if array.ndim else ())))
        writer.writerows(cells((row, *line)) for row, line in enumerate(matrix.tolist()))
        writer.writerow(())


def atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write beside the target and move: a reader never sees half a file. Raises OSError."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except ValueError as error:  # of a zero byte, which no name can have
        raise OSError(errno.EINVAL, str(error)) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


WRITERS: dict[str, Callable[[Panel, Path], list[Path]]] = {
    "png": write_png,
    "svg": write_svg,
    "csv": write_csv,
    "npy": write_npy,
}
