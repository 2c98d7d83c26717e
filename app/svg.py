"""A widget as an SVG document: Qt paints it, and what it leaves out, or writes so that not every reader of SVG takes it
as it is meant, is put right in the text of the document."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping

from PySide6.QtCore import QBuffer, QByteArray, QPoint, QRect, QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QRegion
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from app.provenance import to_lines
from app.theme import MONO, SANS


def svg_bytes(widget: QWidget, facts: Mapping[str, str] | None = None) -> bytes:
    """The widget and its children, painted into an SVG document of its size; the facts are its description."""
    data, mark = QByteArray(), secrets.token_hex()
    buffer = QBuffer(data)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setResolution(widget.logicalDpiY())  # letters of a size in points are as large as on screen
    generator.setSize(QSize(widget.width(), widget.height()))
    generator.setViewBox(QRectF(0, 0, widget.width(), widget.height()))
    generator.setTitle(widget.accessibleName() or widget.objectName())
    generator.setDescription("\n".join(to_lines(facts or {})))
    painter, flags = QPainter(generator), QWidget.RenderFlag
    for number, (part, corner, seen) in enumerate(_parts(widget, QPoint(), widget.rect())):
        _write(painter, f"{mark} {number} {seen.x()} {seen.y()} {seen.width()} {seen.height()}")
        part.render(painter, corner, QRegion(), flags(0) if number else flags.DrawWindowBackground)
        _write(painter, mark)
    painter.end()
    return _for_every_reader(bytes(data.data()).decode(), mark).encode()


def _parts(widget: QWidget, corner: QPoint, room: QRect) -> Iterator[tuple[QWidget, QPoint, QRect]]:
    """The widget and all in it that is on screen, from behind to the front: where it begins, and what is seen of it."""
    seen = QRect(corner, widget.size()) & room
    if not seen.isEmpty():
        yield widget, corner, seen
        for child in widget.children():
            if isinstance(child, QWidget) and child.isVisibleTo(widget) and not child.isWindow():
                yield from _parts(child, corner + child.pos(), seen)


def _write(painter: QPainter, mark: str) -> None:
    """Qt tells an SVG nothing of where a widget is cut off; so it is written down, as a text in a group of its own."""
    painter.save()
    painter.setPen(QColor(1, 2, 3))
    painter.drawText(0, 0, mark)
    painter.restore()


_SAID_OTHERWISE: dict[str, str | Callable[[re.Match], str]] = {  # what Qt writes: what is meant, in every reader
    r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]": "",  # no XML, but a token can hold it
    ' version="1.2" baseProfile="tiny"': ' version="1.1"',
    r"<g [^>]*>\s*<text [^>]*>MARK (\d+) (\d+) (\d+) (\d+) (\d+)</text>\s*</g>\s*": (
        r'<clipPath id="seen\1"><rect x="\2" y="\3" width="\4" height="\5"/></clipPath>'
        r'<g clip-path="url(#seen\1)">'
    ),
    r"<g [^>]*>\s*<text [^>]*>MARK</text>\s*</g>\s*": "</g>\n",
    r"<g [^>]*>\s*</g>\s*": "",
    r"<clipPath[^>]*><rect[^>]*></clipPath><g [^>]*>\s*</g>\s*": "",
    r' vector-effect="non-scaling-stroke"': "",  # lines grow with the picture
    r'(image-rendering="optimizeSpeed")': r'\1 style="image-rendering: pixelated; image-rendering: crisp-edges"',
    r'font-size="([\d.]+)"': lambda size: f'font-size="{round(float(size[1]))}"',  # as on screen, in whole pixels
    f'font-family="{SANS}"': f'font-family="{SANS}, sans-serif"',  # where it is not at hand
    f'font-family="{MONO}"': f'font-family="{MONO}, monospace"',
}


def _for_every_reader(text: str, mark: str) -> str:
    for written, meant in _SAID_OTHERWISE.items():
        text = re.sub(written.replace("MARK", mark), meant, text)
    return text
