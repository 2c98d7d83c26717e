"""What dashes, underlines and colours of the tokens' boxes mean."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme import Theme, lut


class StripLegend(QWidget):
    """What dashes, underlines and colours of the boxes mean."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._quantity, self._end = "", ""
        self.show_quantity(self.tr("probability 0"), "1")

    def show_quantity(self, words: str, end: str) -> None:
        """What colours mean; a colour bar follows the words and ends at ``end``, unless that is ""."""
        if (words, end) == (self._quantity, self._end):
            return
        self._quantity, self._end = words, end
        probability = self.tr("Colour: probability of the chosen token before any stage, 0 to 1. Dashed: not read yet.")
        expert = self.tr("Colour: {0}. The number in a box says the same. Dashed: not read yet.").format(
            f"{words} … {end}" if end else words
        )
        said = probability if words == self.tr("probability 0") else expert
        self.setToolTip(said)
        self.setAccessibleName(said)
        self.updateGeometry()
        self.update()

    def restyle(self, theme: Theme) -> None:
        self.theme = theme
        self.updateGeometry()
        self.update()

    def _words(self) -> tuple[str, str, str]:
        return self.tr("not read yet"), self.tr("being read"), self._quantity

    def sizeHint(self) -> QSize:  # noqa: N802
        metrics = QFontMetrics(self.font())
        high = metrics.height()
        words = sum(metrics.horizontalAdvance(word) for word in (*self._words(), self._end))
        return QSize(int(words + high * 9.5), int(high * 1.4))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        high = QFontMetrics(self.font()).height()
        x = 0.0
        for draw, width, word in zip((self._dashes, self._line, None), (high, high, 0), self._words(), strict=True):
            if draw is not None:
                draw(painter, QRectF(x + 1, (self.height() - high) / 2 + 1, width - 2, high - 2))
            x = self._word(painter, x + width + high * 0.3, word) + high * 0.8
        if self._end:
            x = self._bar(painter, x - high * 0.5, high * 4.5, high)
            self._word(painter, x + high * 0.3, self._end)
        painter.end()

    def _word(self, painter: QPainter, x: float, word: str) -> float:
        wide = painter.fontMetrics().horizontalAdvance(word)
        painter.setPen(QColor(self.theme.faint))
        painter.drawText(QRectF(x, 0, wide + 2, self.height()), int(Qt.AlignmentFlag.AlignVCenter), word)
        return x + wide

    def _dashes(self, painter: QPainter, box: QRectF) -> None:
        pen = QPen(QColor(self.theme.text), 1.6)
        pen.setDashPattern([2.5, 2.0])
        painter.setPen(pen)
        painter.drawRoundedRect(box, 3, 3)

    def _line(self, painter: QPainter, box: QRectF) -> None:
        painter.setPen(QPen(QColor(self.theme.line), 1))
        painter.drawRoundedRect(box.adjusted(0, 0, 0, -4), 3, 3)
        painter.fillRect(QRectF(box.left(), box.bottom() - 2, box.width(), 3), QColor(self.theme.decode))

    def _bar(self, painter: QPainter, x: float, width: float, high: float) -> float:
        table = lut(self.theme.sequential)
        image = QImage(table.tobytes(), 256, 1, 1024, QImage.Format.Format_RGB32)
        painter.drawImage(QRectF(x, (self.height() - high * 0.6) / 2, width, high * 0.6), image)
        return x + width
