"""Branches: the run as it began, and what became of it with other tokens."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPushButton, QWidget

from app.branch_words import own_text
from app.panels.panel import Context, Panel
from app.widgets.amounts import bytes_text
from app.widgets.branch_tree import BranchTree
from app.widgets.flow import FlowLayout
from app.widgets.pages import Pages, fill


class BranchesPanel(Panel):
    """``asked`` carries what is to be done with a branch ("switch", "drop", "A", "B") and its number."""

    key = "branches"
    stands_alone = True
    of_a_run = False
    asked = Signal(str, int)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.tree = BranchTree(context.theme)
        self.buttons = {what: QPushButton(text) for what, text in self._texts().items()}
        self._pages = Pages(self._make_content())
        self._pages.currentChanged.connect(self.caption_changed)
        fill(self, self._pages)
        self.tree.asked.connect(self.asked)
        self.tree.picked.connect(self._fit_buttons)
        self.restyle()
        self.show_run()

    def _texts(self) -> dict[str, str]:
        return {
            "switch": self.tr("Switch"),
            "A": self.tr("Compare as A"),
            "B": self.tr("as B"),
            "drop": self.tr("Delete"),
        }

    def _make_content(self) -> QWidget:
        content, bar = QWidget(), QWidget()
        flow = FlowLayout(bar)
        tips = {
            "switch": self.tr("Go on with the picked branch (click or Enter)"),
            "A": self.tr("Compare the picked branch as A (key A); once A and B are chosen, every panel can show A − B"),
            "B": self.tr("Compare the picked branch as B (key B); once A and B are chosen, every panel can show A − B"),
            "drop": self.tr("Forget the picked branch, if no other goes on from it (Delete)"),
        }
        for what, button in self.buttons.items():
            button.setToolTip(tips[what])
            button.setAccessibleName(tips[what])
            button.clicked.connect(lambda _, what=what: self._ask(what))
            flow.addWidget(button)
        for what in ("A", "B"):
            self.buttons[what].setCheckable(True)
        fill(content, self.tree, bar).setStretch(0, 1)
        return content

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Branches")

    def caption(self) -> str:
        tree = self.context.run.tree
        if self._pages.empty or tree is None:
            return ""
        kept = sum(branch.bytes for branch in tree.branches)
        return self.tr("{0} branches, {1} beside what they share").format(len(tree.branches), bytes_text(kept))

    def show_run(self) -> None:
        tree = self.context.run.tree
        branched = tree is not None and len(tree.branches) > 1
        self._pages.say("" if branched else self._invitation())
        if tree is not None and branched:
            self.tree.show_tree(tree, self._pins())
            self._fit_buttons()
        self.caption_changed.emit()

    def restyle(self) -> None:
        theme = self.context.theme
        self.tree.set_theme(theme)
        checked = f"QPushButton:checked {{ background: {theme.accent}; color: {theme.window}; }}"
        for what in ("A", "B"):
            self.buttons[what].setStyleSheet(checked)

    def values(self) -> dict[str, np.ndarray]:
        """Of every branch in the order of their making: ``texts``, its own; all else int64 but ``log_probabilities``
        (float64, natural logarithms): ``numbers``, ``parents`` (-1: none), ``starts``, ``tokens`` (how many of its
        own), ``bytes``."""
        branches = () if self.context.run.tree is None else self.context.run.tree.branches
        return {
            "texts": np.array([own_text(one) for one in branches], np.str_),
            "numbers": np.array([one.number for one in branches], np.int64),
            "parents": np.array([-1 if one.parent is None else one.parent for one in branches], np.int64),
            "starts": np.array([one.start for one in branches], np.int64),
            "tokens": np.array([len(one.pieces) for one in branches], np.int64),
            "log_probabilities": np.array([one.log_probability for one in branches], np.float64),
            "bytes": np.array([one.bytes for one in branches], np.int64),
        }

    # --- what is shown ----------------------------------------------------------------------------------------

    def _invitation(self) -> str:
        missing = self._pages.missing(self.context.run, self.tr("its branches"))
        return missing or self.tr(
            "This run has one branch. Another one begins with another token: click one in Sampling and press “Branch”, "
            "or type one there. Both keep what they share."
        )

    def _pins(self) -> dict[int, str]:
        comparison = self.context.comparison
        pairs = ((comparison.a, "A"), (comparison.b, "B"))
        return {number: name for number, name in pairs if number is not None}

    def _fit_buttons(self) -> None:
        """What is possible with the picked branch."""
        tree, number = self.context.run.tree, self.tree.number
        current = None if tree is None else tree.current
        for button in self.buttons.values():
            button.setEnabled(number is not None)
        for what in ("A", "B"):
            self.buttons[what].setChecked(self._pins().get(number, "") == what if number is not None else False)
        self.buttons["switch"].setEnabled(number is not None and number != current)
        others = () if tree is None else tree.branches
        kept = {branch.parent for branch in others} | {branch.number for branch in others if branch.parent is None}
        self.buttons["drop"].setEnabled(number is not None and number not in kept)

    def _ask(self, what: str) -> None:
        if self.tree.number is not None:
            self.asked.emit(what, self.tree.number)
        self._fit_buttons()
