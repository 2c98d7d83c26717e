"""Every text that a window shows, with the size of its letters: what widgets write, from an SVG of the window; what
pictures write, from their painter."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from PySide6.QtGui import QFontInfo
from PySide6.QtWidgets import QApplication, QWidget

from app.audience_window import AudienceWindow
from app.export import svg_bytes
from app.widgets.canvas import Canvas
from app.widgets.lettering import Painter

MATRIX = re.compile(r"matrix\((.*)\)")
SVG = "{http://www.w3.org/2000/svg}"


def of_audience(audience: AudienceWindow) -> dict[str, list[tuple[str, float]]]:
    """(text, pixels in the audience's window) of all that is written there, by the key of the panel; "" is the rest."""
    found = {cell.dock.panel.key: list(of_svg(svg_bytes(cell.mirror))) for cell in audience.stage.cells}
    for cell in audience.stage.cells:
        cell.mirror.hide()
    found[""] = list(of_svg(svg_bytes(audience)))
    for cell in audience.stage.cells:
        cell.mirror.show()
    return found


def sizes(window: QWidget, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """(text, pixels of its font) of all that is written on screen."""
    written: list[tuple[str, float]] = []
    of_pictures(written, monkeypatch)
    for canvas in window.findChildren(Canvas):
        canvas.refresh()
    QApplication.processEvents()
    window.grab()
    pictures = list(written)
    return [*pictures, *of_svg(svg_bytes(window))]


def of_pictures(written: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    write, draw = Painter.write, Painter.drawText

    def note_written(painter: Painter, x, y, room, high, text, *rest, **more) -> None:
        written.append((text, QFontInfo(painter.metrics.font).pixelSize()))
        write(painter, x, y, room, high, text, *rest, **more)

    def note_drawn(painter: Painter, *arguments) -> None:
        written.append((str(arguments[-1]), QFontInfo(painter.font()).pixelSize()))
        draw(painter, *arguments)

    monkeypatch.setattr(Painter, "write", note_written)
    monkeypatch.setattr(Painter, "drawText", note_drawn, raising=False)


def of_svg(data: bytes) -> Iterator[tuple[str, float]]:
    def walk(node: ElementTree.Element, size: float, times: float) -> Iterator[tuple[str, float]]:
        size, times = float(node.get("font-size", size)), times * enlarged(node)
        if node.tag == f"{SVG}text" and (node.text or "").strip():
            yield node.text, size * times
        for child in node:
            yield from walk(child, size, times)

    yield from walk(ElementTree.fromstring(data), 0.0, 1.0)


def enlarged(node: ElementTree.Element) -> float:
    """How many times as large a node is drawn as it is written, by its own matrix."""
    found = MATRIX.fullmatch(node.get("transform", ""))
    a, b, c, d = map(float, found[1].split(",")[:4]) if found else (1.0, 0.0, 0.0, 1.0)
    return math.sqrt(abs(a * d - b * c))
