"""One entry of the glossary to read: links go to other entries and to panels; the mouse on a word tells its meaning."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QUrl, Signal
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QTextBrowser, QToolTip

from app.glossary import Glossary, Term
from app.theme import Theme
from app.widgets.term_words import PANEL, TERM, term_html, term_tip, told


class TermPage(QTextBrowser):
    """``term_asked`` carries the key of an entry, ``panel_asked`` that of a panel. Tab goes from link to link."""

    term_asked = Signal(str)
    panel_asked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._shown: tuple[Term, Glossary, Mapping[str, str]] | None = None
        self.setOpenLinks(False)
        self.setOpenExternalLinks(False)
        self.setFrameShape(QTextBrowser.Shape.NoFrame)
        self.document().setDocumentMargin(self.fontMetrics().height() // 2)
        self.setAccessibleName(self.tr("Entry of the glossary"))
        self.anchorClicked.connect(self._follow)
        self.highlighted.connect(self._tell)

    def show_term(self, term: Term, glossary: Glossary, panels: Mapping[str, str]) -> None:
        """An entry; ``panels``: titles of the panels by key."""
        self._shown = (term, glossary, panels)
        self.setHtml(term_html(term, glossary, self._theme, panels))
        self.setAccessibleDescription(told(term.name))

    def show_sentence(self, sentence: str) -> None:
        """Instead of an entry."""
        self._shown = None
        self.setPlainText(sentence)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        if self._shown is not None:
            self.show_term(*self._shown)

    def _follow(self, address: QUrl) -> None:
        text = address.toString()
        if text.startswith(TERM):
            self.term_asked.emit(text.removeprefix(TERM))
        elif text.startswith(PANEL):
            self.panel_asked.emit(text.removeprefix(PANEL))

    def _tell(self, address: QUrl) -> None:
        """The short text of what the mouse, or the keyboard, is on."""
        QToolTip.showText(QCursor.pos(), term_tip(address.toString()), self)
