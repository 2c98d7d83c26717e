"""A place without a tensor: one sentence that says why, on hatching where it is not computed yet."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt

from app.theme import Theme
from app.widgets.canvas import Canvas, hatch, tint
from app.widgets.lettering import Painter


class AbsentView(Canvas):
    """Shows a sentence."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self.sentence, self.hatched = "", False

    def say(self, sentence: str, *, hatched: bool) -> None:
        if (sentence, hatched) != (self.sentence, self.hatched):
            self.sentence, self.hatched = sentence, hatched
            self.setAccessibleName(sentence)
            self.refresh()

    def draw(self, painter: Painter) -> None:
        if self.hatched:
            hatch(painter, self.area(), self.theme)
        flags = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
        high = self.metrics().height()
        room = self.area().adjusted(high, high, -high, -high)
        box = QRectF(painter.boundingRect(room, flags, self.sentence)).adjusted(-high, -high / 2, high, high / 2)
        painter.fillRect(box, tint(self.theme.panel))
        painter.setPen(tint(self.theme.text))
        painter.drawText(room, flags, self.sentence)
