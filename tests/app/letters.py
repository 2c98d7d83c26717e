"""Every text that a window shows, with the size of its letters: what widgets write, from an SVG of the window; what
pictures write, from their painter."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from PySide6.QtGui import QFontInfo
from PySide6.QtWidgets import QApplication, QWidget

from app.export import svg_bytes
from app.widgets.canvas import Canvas
from app.widgets.lettering import Painter

SVG = "{http://www.w3.org/2000/svg}"
PIXELS = 96 / 72  # of the offscreen screen for a point, in which Qt writes the SVG


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
    def walk(node: ElementTree.Element, size: float) -> Iterator[tuple[str, float]]:
        size = float(node.get("font-size", size))
        if node.tag == f"{SVG}text" and (node.text or "").strip():
            yield node.text, size * PIXELS
        for child in node:
            yield from walk(child, size)

    yield from walk(ElementTree.fromstring(data), 0.0)
