"""Pictures of panels to compare with: small, so that what they show is compared, not how a letter's edge is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage

FOLDER = Path(__file__).parent / "golden"
SMALLER = 5  # times
FAR, MANY = 40, 0.03  # levels of 255 in a channel; the part of the pixels that may be so far off


def reduced(picture: QImage) -> QImage:
    """The mean of every few pixels."""
    size = picture.size() / SMALLER
    smooth = Qt.TransformationMode.SmoothTransformation
    small = picture.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, smooth)
    return small.convertToFormat(QImage.Format.Format_RGB32)


def pixels(picture: QImage) -> np.ndarray:
    """uint8 ``[height, width, 3]``."""
    plain = picture.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(plain.constBits(), np.uint8).reshape(plain.height(), plain.bytesPerLine())
    return rows[:, : 3 * plain.width()].reshape(plain.height(), plain.width(), 3).copy()


def share_apart(one: QImage, other: QImage) -> float:
    """The part of the pixels that are far apart, 0..1; 1 where the sizes differ."""
    if one.size() != other.size():
        return 1.0
    apart = np.abs(pixels(one).astype(int) - pixels(other).astype(int)).max(-1)
    return float((apart > FAR).mean())
