"""Every tensor of a model as a tree, of which a search leaves a part. Nothing is built before it is looked at."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QAbstractItemModel, QItemSelectionModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTreeView

from app.inventory_csv import searched
from app.tensor_words import marked_text, node_facts, note_text, shape_text, symbols_text
from app.terminal import shown
from app.widgets.amounts import bytes_text, grouped

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry
    from engine.checkpoint.outline import Node, Outline

_MOST_OPENED = 200  # tensors that a search leaves and that are shown at once
_Index = QModelIndex | QPersistentModelIndex
_TO_THE_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class TensorModel(QAbstractItemModel):
    """An outline for a view; an index carries the number of its node."""

    def __init__(self) -> None:
        super().__init__()
        self.outline: Outline | None = None
        self._texts: list[str] = []  # of the tensors in the order of the tree, in small letters
        self._before = np.zeros(1, np.int64)  # how many tensors before each are left by the search
        self._children: dict[int, list[int]] = {}
        self._rows: dict[int, int] = {}
        tr = self.tr
        self._columns: tuple[tuple[str, Callable[[Node], str]], ...] = (
            (tr("tensor"), self._name),
            (tr("shape"), _of_tensor(shape_text)),
            (tr("stored as"), _of_tensor(lambda entry: entry.dtype)),
            (tr("bytes"), lambda node: bytes_text(node.size)),
            (tr("note"), _of_tensor(lambda entry: note_text(entry, tr))),
            (tr("in symbols"), _of_tensor(symbols_text)),
            (tr("parameters"), lambda node: grouped(node.parameters)),
            (tr("name in the file"), _of_tensor(lambda entry: shown(entry.name))),
        )

    def show_outline(self, outline: Outline | None) -> None:
        """Another model; nothing is searched."""
        self.beginResetModel()
        self.outline = outline
        self._texts = [] if outline is None else list(map(searched, outline.entries))
        self._leave("")
        self.endResetModel()

    def search(self, text: str) -> None:
        """Leave those that have the text in name or role."""
        self.beginResetModel()
        self._leave(text)
        self.endResetModel()

    @property
    def left(self) -> int:
        """How many tensors the search leaves."""
        return int(self._before[-1])

    def entries(self, number: int = 0) -> list[Entry]:
        """Those that the search leaves of a node, in the order of the tree."""
        if self.outline is None or not self.outline.nodes:
            return []
        node = self.outline.nodes[number]
        places = np.flatnonzero(np.diff(self._before[node.start : node.stop + 1])) + node.start
        return [self.outline.entries[place] for place in places.tolist()]

    def _name(self, node: Node) -> str:
        """Among experts that are alike the number is enough."""
        alike = node.parent >= 0 and self._nodes()[node.parent].kind == "alike"
        if alike and node.entry.expert is not None:
            return self.tr("expert {0}").format(node.entry.expert)
        return marked_text(node, self.tr)

    def first(self) -> int | None:
        """The node of the first tensor that the search leaves."""
        if self.outline is None or not self.left:
            return None
        return self.outline.leaves[int(np.searchsorted(self._before, 1)) - 1]

    def _leave(self, text: str) -> None:
        wanted = text.lower()
        self._before = np.zeros(len(self._texts) + 1, np.int64)
        np.cumsum([wanted in own for own in self._texts], out=self._before[1:])
        self._children, self._rows = {}, {}

    def node(self, index: _Index) -> Node:
        return self._nodes()[index.internalId()]

    def index_of(self, number: int) -> QModelIndex:
        """Of a node; not valid where the search leaves nothing of it, or for the whole."""
        node = self._nodes()[number]
        if number == 0 or not self._left_of(number):
            return QModelIndex()
        self._children_of(node.parent)
        return self.createIndex(self._rows[number], 0, number)

    def _nodes(self) -> tuple[Node, ...]:
        assert self.outline is not None
        return self.outline.nodes

    def _left_of(self, number: int) -> int:
        node = self._nodes()[number]
        return int(self._before[node.stop] - self._before[node.start])

    def _children_of(self, number: int) -> list[int]:
        found = self._children.get(number)
        if found is None:
            found = [child for child in self._nodes()[number].children if self._left_of(child)]
            self._children[number] = found
            self._rows.update((child, row) for row, child in enumerate(found))
        return found

    # --- for Qt -----------------------------------------------------------------------------------------------

    def _number(self, index: _Index) -> int:
        return index.internalId() if index.isValid() else 0

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: N802, B008
        if self.outline is None or not self.outline.nodes or parent.column() > 0:
            return 0
        return len(self._children_of(self._number(parent)))

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: N802, B008
        return len(self._columns)

    def hasChildren(self, parent: _Index = QModelIndex()) -> bool:  # noqa: N802, B008
        if self.outline is None or not self.outline.nodes or parent.column() > 0:
            return False
        return bool(self._nodes()[self._number(parent)].children) and self._left_of(self._number(parent)) > 0

    def index(self, row: int, column: int, parent: _Index = QModelIndex()) -> QModelIndex:  # noqa: B008
        if not 0 <= column < len(self._columns) or not 0 <= row < self.rowCount(parent):
            return QModelIndex()
        return self.createIndex(row, column, self._children_of(self._number(parent))[row])

    def parent(self, index: _Index) -> QModelIndex:  # type: ignore[override]  # one of two
        return self.index_of(self.node(index).parent) if index.isValid() else QModelIndex()

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._columns[index.column()][1](self.node(index))
        if role == Qt.ItemDataRole.ToolTipRole:
            node = self.node(index)
            name = f"<br>{escape(shown(node.entry.name))}" if node.kind == "tensor" else ""
            return f"<p>{escape(node_facts(node, self.tr))}{name}</p>"  # Qt guesses what a tip is written in
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in (3, 6):
            return _TO_THE_RIGHT
        return None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return self._columns[section][0]
        return None


def _of_tensor(text: Callable[[Entry], str]) -> Callable[[Node], str]:
    return lambda node: text(node.entry) if node.kind == "tensor" else ""


class TensorTree(QTreeView):
    """``node_picked`` when another node is current; ``opened`` when a tensor is double-clicked or Enter is pressed;
    ``copied`` when the current node is to be copied."""

    node_picked = Signal(int)
    opened = Signal(int)
    copied = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.shelf = TensorModel()
        self.setModel(self.shelf)
        self.setUniformRowHeights(True)
        self.setAlternatingRowColors(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setAccessibleName(self.tr("Tensors of the model"))
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.header().setStretchLastSection(True)
        self.selectionModel().currentChanged.connect(self._changed)
        self.doubleClicked.connect(self._open)

    def show_outline(self, outline: Outline | None) -> None:
        """Another model, its sections open."""
        self.shelf.show_outline(outline)
        self._expand_some()
        self.fit_columns()

    def search(self, text: str) -> None:
        """Leave what fits; few are shown at once, and what was picked stays so if it is left."""
        picked = self.picked
        self.shelf.search(text)
        if text and self.shelf.left <= _MOST_OPENED:
            self.expandAll()
        else:
            self._expand_some()
        if picked is not None:
            self.pick(picked)

    def _expand_some(self) -> None:
        """The sections, and of many layers only the first."""
        outline = self.shelf.outline
        small = outline is None or len(outline.nodes) <= _MOST_OPENED
        self.expandToDepth(1 if small else 0)
        if outline is not None and not small:
            first = next((number for number, node in enumerate(outline.nodes) if node.kind == "layer"), 0)
            self.expand(self.shelf.index_of(first))

    def fit_columns(self) -> None:
        """Wide enough for what is on screen, in the font that is used now."""
        letter = self.fontMetrics().averageCharWidth()
        for column, letters in enumerate((19, 13, 9, 9, 20, 26, 16)):
            self.setColumnWidth(column, letter * letters)

    @property
    def picked(self) -> int | None:
        """The number of the current node."""
        index = self.currentIndex()
        return index.internalId() if index.isValid() else None

    def pick(self, number: int) -> None:
        """Make a node current and bring it on screen; one that the search hides is let be."""
        index = self.shelf.index_of(number)
        if index.isValid() and number != self.picked:
            self.selectionModel().setCurrentIndex(index, QItemSelectionModel.SelectionFlag.ClearAndSelect)
            self.selectionModel().select(
                index, QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
            )
            self.scrollTo(index)

    def pick_first(self) -> None:
        """The first tensor that the search leaves, for the keyboard."""
        first = self.shelf.first()
        if first is not None:
            self.pick(first)
            self.setFocus(Qt.FocusReason.OtherFocusReason)

    def _changed(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid():
            self.node_picked.emit(now.internalId())

    def _open(self, index: QModelIndex) -> None:
        if self.shelf.node(index).kind == "tensor":
            self.opened.emit(index.internalId())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._open(self.currentIndex())
            return
        if event.matches(QKeySequence.StandardKey.Copy) and self.picked is not None:
            self.copied.emit(self.picked)
            return
        super().keyPressEvent(event)
