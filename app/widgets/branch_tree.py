"""The branches of a run as a tree: what is its own of each, how probable that was, what it keeps."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QBrush, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QMenu, QTreeWidget, QTreeWidgetItem

from app.branch_words import described, own_text, per_token_text
from app.theme import Theme
from app.widgets.amounts import bytes_text
from app.widgets.canvas import tint
from app.widgets.tips import wrapped_tip
from engine.frames import BranchFacts, TreeFrame

_NUMBER = Qt.ItemDataRole.UserRole
_TO_THE_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_CURRENT = "●"


class BranchTree(QTreeWidget):
    """``asked`` carries what is to be done with a branch ("switch", "drop", "A", "B") and its number.

    A click or Enter switches, Delete drops, A and B pin; the arrow keys only pick.
    """

    asked = Signal(str, int)
    picked = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme, self._tree = theme, TreeFrame((), 0)
        self._pins: Mapping[int, str] = {}
        self._shown: tuple[object, ...] | None = None
        self.setColumnCount(3)
        self.setHeaderLabels([self.tr("from position: its own tokens"), self.tr("p / token"), self.tr("bytes")])
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setAlternatingRowColors(True)
        self.setItemsExpandable(False)
        self.setRootIsDecorated(False)
        self.setIndentation(self.fontMetrics().height())
        self.setAccessibleName(self.tr("Branches of the run"))
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._open_menu)
        self.itemClicked.connect(lambda item: self.asked.emit("switch", item.data(0, _NUMBER)))
        self.currentItemChanged.connect(lambda: self.picked.emit())
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)

    def show_tree(self, tree: TreeFrame, pins: Mapping[int, str]) -> None:
        """``pins``: "A" or "B" by the number of a branch. The picked one stays so, unless another is current now."""
        wanted = (tree, dict(pins), self._theme)
        if self._shown is not None and self._shown[0] is tree and self._shown[1:] == wanted[1:]:
            return
        moved = self._shown is None or tree.current != self._tree.current
        chosen = tree.current if moved or self.number is None else self.number
        self._shown, self._tree, self._pins = wanted, tree, dict(pins)
        self.blockSignals(True)
        self.clear()
        items: dict[int, QTreeWidgetItem] = {}
        for branch in tree.branches:
            items[branch.number] = self._add(branch, None if branch.parent is None else items.get(branch.parent))
        self.expandAll()
        picked = items.get(chosen) or items.get(tree.current)
        if picked is not None:
            self.setCurrentItem(picked)
        self.blockSignals(False)
        self.picked.emit()

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.show_tree(self._tree, self._pins)

    @property
    def number(self) -> int | None:
        """The number of the picked branch."""
        item = self.currentItem()
        return None if item is None else item.data(0, _NUMBER)

    def _add(self, branch: BranchFacts, parent: QTreeWidgetItem | None) -> QTreeWidgetItem:
        item = QTreeWidgetItem([self._text(branch), per_token_text(branch), bytes_text(branch.bytes)])
        item.setData(0, _NUMBER, branch.number)
        for column in range(3):
            item.setToolTip(column, wrapped_tip(described(branch, self.tr)))
            if branch.number == self._tree.current:
                font = item.font(column)
                font.setBold(True)
                item.setFont(column, font)
                item.setForeground(column, QBrush(tint(self._theme.accent)))
        for column in (1, 2):
            item.setTextAlignment(column, _TO_THE_RIGHT)
        item.setData(0, Qt.ItemDataRole.AccessibleTextRole, described(branch, self.tr))
        (self.invisibleRootItem() if parent is None else parent).addChild(item)
        return item

    def _text(self, branch: BranchFacts) -> str:
        current = _CURRENT if branch.number == self._tree.current else ""
        edited = self.tr("[edited]") if branch.edited else ""
        pin = f"[{self._pins[branch.number]}]" if branch.number in self._pins else ""
        text = (
            f"{branch.start}: {own_text(branch)}" if branch.pieces else self.tr("{0}: nothing yet").format(branch.start)
        )
        return " ".join(filter(None, (current, pin, edited, text)))

    # --- mouse and keys ---------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        what = _KEYS.get(Qt.Key(event.key()))
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
        if what is None or self.number is None or not plain:
            super().keyPressEvent(event)
            return
        self.asked.emit(what, self.number)

    def _open_menu(self, place: QPoint) -> None:
        item = self.itemAt(place)
        if item is None:
            return
        menu = self.menu(item.data(0, _NUMBER))
        menu.exec(self.viewport().mapToGlobal(place))
        menu.deleteLater()

    def menu(self, number: int) -> QMenu:
        """What can be done with a branch."""
        menu = QMenu(self)
        words = {
            "switch": self.tr("Switch to this branch"),
            "A": self.tr("Compare as A"),
            "B": self.tr("Compare as B"),
            "drop": self.tr("Delete this branch"),
        }
        for what, text in words.items():
            menu.addAction(text).triggered.connect(lambda _, what=what: self.asked.emit(what, number))
        return menu

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.setColumnHidden(2, self.width() < 22 * self.fontMetrics().height())  # the text matters more


_KEYS = {
    Qt.Key.Key_Return: "switch",
    Qt.Key.Key_Enter: "switch",
    Qt.Key.Key_Delete: "drop",
    Qt.Key.Key_A: "A",
    Qt.Key.Key_B: "B",
}
