"""The program's icon in the format that a system's own programs have; nothing on Linux, where it is a file beside."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from resources.packaging.contents import NAME, ROOT

FORMATS = {"Windows": "ico", "Darwin": "icns"}
SIDES = {"ico": 256, "icns": 512, "png": 256}


def icon(folder: Path, system: str = platform.system(), root: Path = ROOT) -> Path | None:
    """Drawn into ``folder`` from the program's SVG. Raises OSError where Qt cannot write it."""
    if system not in FORMATS:
        return None
    return draw(root / "resources" / "icons" / "fluoroscope.svg", folder / f"{NAME}.{FORMATS[system]}")


def draw(svg: Path, target: Path) -> Path:
    """The drawing as pixels, transparent around it; the kind of file follows from the name of ``target``."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from PySide6.QtGui import QGuiApplication, QImage, QPainter
    from PySide6.QtSvg import QSvgRenderer

    application = QGuiApplication.instance() or QGuiApplication([])
    side = SIDES[target.suffix.removeprefix(".")]
    image = QImage(side, side, QImage.Format.Format_ARGB32)
    image.fill(0)
    painter = QPainter(image)
    QSvgRenderer(str(svg)).render(painter)
    painter.end()
    if not image.save(str(target)):
        raise OSError(f"The icon {target} could not be written.")
    del application
    return target
