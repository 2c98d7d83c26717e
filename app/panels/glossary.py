"""The glossary: a list of terms that can be searched, and the entry of one."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QToolButton, QWidget

from app.engine_words import said
from app.glossary import Glossary, Term, glossary
from app.panels.panel import Context, Panel
from app.term_rows import TextsError
from app.widgets.flow import FlowLayout
from app.widgets.hidden_chip import Hidden
from app.widgets.pages import fill
from app.widgets.term_list import TermList
from app.widgets.term_page import TermPage

FIRST = "token"  # the entry that is shown first
_WIDE_LETTERS = 64  # a panel of more stands its list beside the entry
_MOST_BACK = 100


class GlossaryPanel(Panel):
    """``panel_asked`` carries the key of a panel where a term is seen; ``left``: back to where one came from."""

    key = "glossary"
    stands_alone = True
    of_a_run = False
    panel_asked = Signal(str)
    left = Signal()

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.shown = ""  # the key of the entry
        self.titles: dict[str, str] = {}  # of the panels, by key
        self.visiting = False  # somebody came with F1, and Esc goes back
        self._before: list[str] = []  # entries that were shown before
        self._glossary, self._complaint = _read()
        self.list, self.page, self.back = TermList(), TermPage(context.theme), QToolButton()
        self._make_content()
        self._connect()
        self._list()

    def _make_content(self) -> None:
        bar = QWidget()
        self.back.setArrowType(Qt.ArrowType.LeftArrow)
        self.back.setAccessibleName(self.tr("The entry before"))
        self.back.setToolTip(self.tr("Back to the entry before"))
        self.back.setEnabled(False)
        FlowLayout(bar).addWidget(self.back)
        reading = QWidget()
        fill(reading, bar, self.page).setStretch(1, 1)
        self.halves = QSplitter(Qt.Orientation.Vertical)
        self.halves.addWidget(self.list)
        self.halves.addWidget(reading)
        self.halves.setSizes([260, 740])
        self.halves.setStretchFactor(0, 1)
        self.halves.setStretchFactor(1, 3)
        self.halves.setChildrenCollapsible(False)
        self.setFocusProxy(self.list.field)
        fill(self, self.halves)

    def _connect(self) -> None:
        self.list.picked.connect(self.show_term)
        self.list.searched.connect(self._search)
        self.page.term_asked.connect(self.show_term)
        self.page.panel_asked.connect(self.panel_asked)
        self.back.clicked.connect(self.go_back)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Glossary")

    def caption(self) -> str:
        if self._glossary is None:
            return ""
        return self.tr("{0} of {1} terms").format(self.list.count(), len(self._glossary.terms))

    def term(self) -> str:
        return self.shown

    def hides(self) -> list[Hidden]:
        """The search leaves terms out."""
        words = self.list.field.text()
        if not words or self._glossary is None:
            return []
        text = self.tr("only terms with “{0}”").format(words)
        return [Hidden(text, self.list.field.clear)]

    def show_run(self) -> None:
        """Nothing here is of a run; what was not shown yet is."""
        if not self.shown:
            self.show_term(FIRST)

    def undo(self) -> bool:
        """Leave the search, or go back to where one came from."""
        if self.list.field.text():
            self.list.field.clear()
            return True
        left, self.visiting = self.visiting, False
        if left:
            self.left.emit()
        return left

    def restyle(self) -> None:
        self.page.set_theme(self.context.theme)

    def values(self) -> dict[str, np.ndarray]:
        """The terms that are listed, and the text of the entry."""
        listed = self._found(self.list.field.text())
        return {
            "terms": np.array([term.name for term in listed], np.str_),
            "entry": np.array(self.page.toPlainText().splitlines(), np.str_),
        }

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(400, 500)

    # --- entries ----------------------------------------------------------------------------------------------

    def show_term(self, key: str) -> None:
        """The entry of a term; of one that is not there the complaint, or nothing."""
        if self._glossary is None or key not in self._glossary.terms:
            return
        if self.shown and key != self.shown:
            self._before = [*self._before, self.shown][-_MOST_BACK:]
        self._show(key)

    def go_back(self) -> None:
        """The entry that was shown before."""
        if self._before:
            self._show(self._before.pop())

    def visit(self) -> None:
        """Somebody asks with a key: the entry listens to the keyboard, and Esc goes back."""
        self.visiting = True
        self.page.setFocus()

    def _show(self, key: str) -> None:
        assert self._glossary is not None, "entries come from it"
        self.shown = key
        self.page.show_term(self._glossary.terms[key], self._glossary, self.titles)
        if not self.list.choose(key):
            self.list.field.clear()  # a link leads out of what was searched for; all are listed then
        self.back.setEnabled(bool(self._before))

    def _list(self) -> tuple[Term, ...]:
        """What fits the search, or why there is nothing."""
        if self._glossary is None:
            self.page.show_sentence(said(self._complaint, self.tr))
        found = self._found(self.list.field.text())
        self.list.show_terms(found, self.shown)
        return found

    def _search(self, words: str) -> None:
        found = self._list()
        if self._glossary is None:
            return
        if words and found and found[0].key != self.shown:
            self._show(found[0].key)
        elif words and not found:
            self.page.show_sentence(self.tr("No term has “{0}”. Other words may find it.").format(words))
            self.shown = ""
        elif not self.shown:
            self._show(FIRST)
        self.caption_changed.emit()
        self.hides_changed.emit()

    def _found(self, words: str) -> tuple[Term, ...]:
        return () if self._glossary is None else self._glossary.found(words)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        wide = self.width() > _WIDE_LETTERS * self.fontMetrics().averageCharWidth()
        self.halves.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)


def _read() -> tuple[Glossary | None, str]:
    try:
        return glossary(), ""
    except TextsError as error:
        return None, str(error)
