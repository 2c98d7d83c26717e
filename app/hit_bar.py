"""Which breakpoint the pass is stopped at, and why, in one line below the bar of commands."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton

from app.breakpoint_words import hit_text
from app.breaks import Breaks
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button, sentence_label
from app.widgets.tips import plain_tip


class HitBar(QFrame):
    """Comes with the first stop and stays until it is dismissed or another run begins, so that what is below does not
    move with every hit; once the pass went on it is faint."""

    def __init__(self, breaks: Breaks, actions: Mapping[str, QAction]) -> None:
        super().__init__()
        self._breaks = breaks
        self.sentence = sentence_label()
        self.go_on, self.list, self.dismiss = QToolButton(), QToolButton(), QToolButton()
        self.go_on.setDefaultAction(actions["run"])
        self.list.setDefaultAction(actions["show_breakpoints"])
        self._prepare()
        self.hide()
        breaks.moved.connect(self._show_hits)
        breaks.changed.connect(self._show_hits)

    def restyle(self, theme: Theme) -> None:
        side = self.fontMetrics().height()
        self.dismiss.setIcon(icon("close", theme))
        for button in (self.go_on, self.list, self.dismiss):
            button.setIconSize(QSize(side, side))
        self.setStyleSheet(f"HitBar {{ background: {theme.raised}; border-left: 4px solid {theme.decode}; }}")

    def _show_hits(self) -> None:
        standing = self._breaks.standing
        if standing:
            text = " · ".join(hit_text(hit, self.tr) for hit in standing)
            self.sentence.setText(text.replace("\n", " "))
            self.sentence.setToolTip(plain_tip(text))
            self.show()
        self.sentence.setEnabled(bool(standing))

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Breakpoint that was hit"))
        name_button(self.dismiss, self.tr("Dismiss"))
        self.dismiss.clicked.connect(self.hide)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        row.addWidget(self.sentence, 1)
        for button in (self.go_on, self.list, self.dismiss):
            button.setAutoRaise(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
