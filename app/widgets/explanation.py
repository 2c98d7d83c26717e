"""The line under a panel's title that says what is shown: in plain words, as formulas, or as PyTorch."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QCursor, QFontMetricsF, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QToolTip

from app.depth import USUAL, Depth
from app.glossary import readable
from app.theme import Theme, mono_font
from app.widgets.term_words import TERM, marked, term_tip, tip_html, told

SHARE = 6  # it takes one part in so many of a panel's height; the rest of a long text is in the tip
_LOW_LINES = 18  # a panel of fewer gives it one line
_MARGIN, _EDGE = 6, 3  # pixels at its sides, above and below


class Explanation(QLabel):
    """Hidden where there is nothing to say. ``term_asked``: a word that the glossary explains was chosen.

    What there is no room for is in the tip, which Space opens too. Of formulas and code the end stays: it is what the
    rest leads to.
    """

    term_asked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._said: tuple[Depth, str] = (USUAL, "")
        self._size = QSize(400, 400)  # of what it stands in
        self.setWordWrap(True)
        self.setAutoFillBackground(True)
        self.setAccessibleName(self.tr("What is shown here"))
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.LinksAccessibleByMouse | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
        )
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.linkHovered.connect(self._tell)
        self.linkActivated.connect(lambda address: self.term_asked.emit(address.removeprefix(TERM)))
        self.restyle(theme)
        self.hide()

    def say(self, depth: Depth, text: str) -> None:
        """What there is to say at a depth."""
        if (depth, text) == self._said:  # captions change with every token
            return
        self._said = (depth, text)
        self._show()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self.setStyleSheet(
            f"Explanation {{ color: {theme.text}; background: {theme.panel}; padding: {_EDGE}px {_MARGIN}px; }}"
        )
        self._show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Installed on what it stands in: a low panel leaves it less room."""
        if isinstance(event, QResizeEvent):
            self._size = event.size()
            self._show()
        return False

    def most_height(self, below: int) -> int:
        """Pixels that it may take above so many that are needed below it."""
        line = self.fontMetrics().lineSpacing() + 1  # a letter may be a fraction of a pixel higher
        low = below + line < _LOW_LINES * line
        return line + 2 * _EDGE if low else -(-below // (SHARE - 1))

    def _show(self) -> None:
        depth, text = self._said
        plain = depth in ("code", "formula")
        whole = text if depth == "code" else told(text)
        self.setFont(mono_font() if plain else self.window().font())
        shown = self._last_lines(whole) if plain else self._first_words(whole)
        self.setTextFormat(Qt.TextFormat.PlainText if plain else Qt.TextFormat.RichText)
        self.setText(shown if plain else marked(shown, readable(), self._theme))
        self.setToolTip("" if shown == whole else tip_html(whole, code=plain))
        self.setAccessibleDescription(whole)
        self.setVisible(bool(text))

    def _first_words(self, text: str) -> str:
        """As many as there is room for."""
        words, shown = text.split(" "), text
        for count in range(len(words) - 1, 0, -1):
            if self._fits(shown):
                break
            shown = " ".join(words[:count]) + " …"
        return shown

    def _last_lines(self, text: str) -> str:
        """As many as there is room for, below a sign of those before; one by itself stands behind it."""
        lines, shown = text.splitlines(), text
        for first in range(1, len(lines)):
            if self._fits(shown):
                break
            shown = ("…\n" if first + 1 < len(lines) else "… ") + "\n".join(lines[first:])
        return shown

    def _fits(self, text: str) -> bool:
        """In lines: a letter may be a fraction of a pixel high, and a height in whole pixels one too many."""
        metrics = QFontMetricsF(self.font())
        room = int(self._size.height() / metrics.lineSpacing())
        box = QRectF(0, 0, max(1.0, self._size.width() - 2 * _MARGIN - metrics.averageCharWidth()), 10_000)
        lines = round(metrics.boundingRect(box, Qt.TextFlag.TextWordWrap, text).height() / metrics.lineSpacing())
        return lines <= (1 if room < _LOW_LINES else room // SHARE)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() == Qt.Key.Key_Space and self.toolTip():
            QToolTip.showText(self.mapToGlobal(QPoint(0, self.height())), self.toolTip(), self)
        else:
            super().keyPressEvent(event)

    def _tell(self, address: str) -> None:
        QToolTip.showText(QCursor.pos(), term_tip(address), self)
