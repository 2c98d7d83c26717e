"""Which two branches are compared, and which of A, B and A − B every panel shows. Hidden while none are compared."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton

from app.branch_words import of_number, short_text
from app.compare import SIDES, Comparison
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button
from app.widgets.tips import plain_tip
from engine.frames import TreeFrame


class CompareBar(QFrame):
    """``side_chosen`` carries one of SIDES; ``ended`` when it is closed."""

    side_chosen = Signal(str)
    ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sentence = QLabel()
        self.buttons = {side: QPushButton(side) for side in SIDES}
        self.close_button = QToolButton()
        self._group = QButtonGroup(self)
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        for button in self.buttons.values():
            row.addWidget(button)
        row.addWidget(self.sentence, 1)
        row.addWidget(self.close_button)
        self.hide()

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Comparison of two branches"))
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.sentence.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        tips = (self.tr("Show branch A"), self.tr("Show branch B"), self.tr("Show what A has more than B"))
        for (side, button), tip in zip(self.buttons.items(), tips, strict=True):
            button.setCheckable(True)
            button.setAccessibleName(tip)
            button.setToolTip(tip)
            button.clicked.connect(lambda _, side=side: self.side_chosen.emit(side))
            self._group.addButton(button)
        name_button(self.close_button, self.tr("End the comparison"))
        self.close_button.clicked.connect(self.ended)

    def show_comparison(self, comparison: Comparison, tree: TreeFrame | None, note: str) -> None:
        """``note``: what is to be known of the side that is shown."""
        a, b = of_number(tree, comparison.a), of_number(tree, comparison.b)
        self.setVisible(a is not None and b is not None)
        if a is None or b is None:
            return
        self.buttons[comparison.side].setChecked(True)
        form = self.tr("A: branch {0} “{1}”   B: branch {2} “{3}”")
        text = form.format(a.number, short_text(a), b.number, short_text(b)) + (f"   {note}" if note else "")
        self.sentence.setText(text)
        self.sentence.setToolTip(plain_tip(text))

    def restyle(self, theme: Theme) -> None:
        self.close_button.setIcon(icon("close", theme))
        self.setStyleSheet(
            f"CompareBar {{ background: {theme.panel}; border-left: 4px solid {theme.accent}; }}"
            f"QPushButton:checked {{ background: {theme.accent}; color: {theme.window}; font-weight: 600; }}"
        )
