"""The current stage in large letters, with plain words below it and a rail of the model's layers."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.theme import Theme
from app.widgets.canvas import pen, tint
from app.widgets.value_label import ValueLabel

LARGE, BESIDE = 2.0, 1.15  # of the application's font
SHARE = 0.4  # of the width, for what stands beside the headline, where there is not room for both
SIDE = 16  # pixels left and right
LINES = 2  # of plain words


class StageBanner(QWidget):
    """``show_stage`` tells everything at once. Its height does not change with the words."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.headline, self.beside, self.words = ValueLabel(), ValueLabel(), QLabel()
        self.rail = LayerRail(theme)
        self.setAutoFillBackground(True)
        self.setAccessibleName(self.tr("Where the pass stands"))
        self._arrange()
        self.restyle(theme)

    def show_stage(self, headline: str, beside: str, words: str) -> None:
        for label, text in ((self.headline, headline), (self.beside, beside), (self.words, words)):
            if label.text() != text:
                label.setText(text)
        self._share_width()
        self.setAccessibleDescription(f"{headline}\n{beside}\n{words}")

    def restyle(self, theme: Theme) -> None:
        self.rail.set_theme(theme)
        self.setStyleSheet(
            f"QLabel#headline {{ color: {theme.text}; font-weight: 600; }} QLabel#beside {{ color: {theme.faint}; }}"
            f"QLabel#words {{ color: {theme.text}; }}"
        )
        ground = self.palette()  # after the sheet: setting one brings back the palette from before the last
        ground.setColor(self.backgroundRole(), tint(theme.raised))
        self.setPalette(ground)
        self._fit_font()

    def _arrange(self) -> None:
        for label, name in ((self.headline, "headline"), (self.beside, "beside"), (self.words, "words")):
            label.setObjectName(name)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # words never widen the window
        self.words.setWordWrap(True)
        self.words.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.beside.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._top = QHBoxLayout()
        self._top.addWidget(self.headline)
        self._top.addWidget(self.beside)
        column = QVBoxLayout(self)
        column.setContentsMargins(SIDE, 6, SIDE, 6)
        column.setSpacing(2)
        column.addLayout(self._top)
        column.addWidget(self.rail)
        column.addWidget(self.words)

    def _fit_font(self) -> None:
        for label, times in ((self.headline, LARGE), (self.beside, BESIDE), (self.words, 1.0)):
            font = self.font()
            font.setPointSizeF(font.pointSizeF() * times)
            label.setFont(font)
        self.words.setFixedHeight(LINES * self.fontMetrics().lineSpacing())
        self.rail.setFixedHeight(round(self.fontMetrics().height() * 0.7))
        self._share_width()

    def _share_width(self) -> None:
        """What stands beside the headline takes what the headline leaves, or its share, but no more than it needs."""
        room = max(1, self.width() - 2 * SIDE - self._top.spacing())
        most = max(round(room * SHARE), room - self.headline.needed())
        wide = min(self.beside.needed() + 1, most)
        self._top.setStretch(0, room - wide)  # a width that is set would hold the window as wide
        self._top.setStretch(1, wide)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._share_width()

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit_font()


class LayerRail(QWidget):
    """A cell for each layer: full where it is computed, empty where it is not, with a mark above the one shown."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._n = self._done = 0
        self._shown: int | None = None
        self.setAccessibleName(self.tr("Layers"))

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.update()

    def show_layers(self, n: int, done: int, shown: int | None) -> None:
        """``n`` layers, the first ``done`` of them computed; ``shown`` is the one that the words are about."""
        if (n, done, shown) != (self._n, self._done, self._shown):
            self._n, self._done, self._shown = n, done, shown
            self.setVisible(n > 0)
            self.setAccessibleDescription(self.tr("{0} of {1} layers are computed").format(done, n))
            self.update()

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(0, self.fontMetrics().height() // 2)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for layer in range(self._n):
            self._draw_cell(painter, layer, self._cell(layer))
        painter.end()

    def _cell(self, layer: int) -> QRectF:
        pitch = self.width() / self._n
        gap = min(3.0, pitch * 0.25)
        top = self.height() * 0.45
        return QRectF(layer * pitch + 0.5, top, max(1.0, pitch - gap - 1), self.height() - top - 1)

    def _draw_cell(self, painter: QPainter, layer: int, cell: QRectF) -> None:
        theme = self._theme
        full, shown = layer < self._done, layer == self._shown
        painter.setPen(pen(theme.hover if shown else theme.accent if full else theme.faint))
        painter.setBrush(tint(theme.hover) if shown else tint(theme.accent) if full else Qt.BrushStyle.NoBrush)
        painter.drawRect(cell)
        if shown:
            high, middle = cell.top() - 1, cell.center().x()
            mark = [QPointF(middle - high, 0), QPointF(middle + high, 0), QPointF(middle, high)]
            painter.drawPolygon(QPolygonF(mark))
