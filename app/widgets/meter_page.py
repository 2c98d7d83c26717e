"""The table of what watching costs: lies over the window's lower right corner until Esc."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.cost_words import Figures, Group, Row, advice, groups, milliseconds, plain_text, share_text
from app.theme import Theme
from app.widgets.over_page import OverPage

_TO_THE_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
LEAST_ROWS = 14  # of room, so that the page does not grow with the first figures


class MeterPage(OverPage):
    """Every part with its time per token and its share; the largest first. ``titles``: of panels, by key."""

    stays = True  # what is watched goes on

    def __init__(self, parent: QWidget, titles: dict[str, str]) -> None:
        super().__init__(parent, "meter")
        self.titles = titles
        self.setAccessibleName(self.tr("What watching costs"))
        self.plain, self.advice = self._sentence(), self._sentence()
        self.table = self._make_table()
        self._items: dict[str, QTreeWidgetItem] = {}
        column = QVBoxLayout(self)
        column.addWidget(self.plain)
        column.addWidget(self.table, 1)
        column.addWidget(self.advice)

    def _sentence(self) -> QLabel:
        label = QLabel(wordWrap=True)
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        return label

    def _make_table(self) -> QTreeWidget:
        table = QTreeWidget()
        table.setAccessibleName(self.tr("What watching costs, by part"))
        table.setColumnCount(3)
        table.setHeaderLabels([self.tr("part"), self.tr("a token"), self.tr("share")])
        table.setRootIsDecorated(False)
        table.setItemsExpandable(False)
        table.setAllColumnsShowFocus(True)
        table.setUniformRowHeights(True)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        header = table.header()
        header.setStretchLastSection(False)
        header.setSectionsMovable(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
            table.headerItem().setTextAlignment(column, _TO_THE_RIGHT)
        return table

    def show_figures(self, figures: Figures | None) -> None:
        """New figures; nothing is done while the page is hidden."""
        if not self.isVisible():
            return
        if figures is None:
            self.table.clear()
            self._items = {}
            self.plain.setText(self.tr("Nothing has run yet: run a prompt, and what watching it costs is shown here."))
            self.advice.setText("")
            return
        self.plain.setText(plain_text(figures, self.tr))
        self._fill(groups(figures, self.titles, self.tr))
        self.advice.setText(advice(figures, self.titles, self.tr))

    def _fill(self, both: tuple[Group, Group]) -> None:
        """In place as long as the parts are the same ones: what the keyboard or a screen reader is at stays there."""
        rows = [row for group in both for row in (group.head, *group.rows)]
        if self._items.keys() != {row.part for row in rows}:
            self._build(both)
        for row in rows:
            for column, text in enumerate((row.text, milliseconds(row.seconds), share_text(row.share))):
                self._items[row.part].setText(column, text)

    def _build(self, both: tuple[Group, Group]) -> None:
        current = self.table.currentItem()
        chosen = current.data(0, Qt.ItemDataRole.UserRole) if current is not None else None
        self.table.clear()
        self._items = {}
        for group in both:
            head = self._add(self.table.invisibleRootItem(), group.head, bold=True)
            for row in group.rows:
                self._add(head, row)
        self.table.expandAll()
        item = self._items.get(chosen) or self.table.topLevelItem(0)
        if item is not None:
            self.table.setCurrentItem(item)

    def _add(self, parent: QTreeWidgetItem, row: Row, bold: bool = False) -> QTreeWidgetItem:
        item = QTreeWidgetItem(parent)
        item.setData(0, Qt.ItemDataRole.UserRole, row.part)
        for column in range(3):
            font = item.font(column)
            font.setBold(bold)
            item.setFont(column, font)
            item.setTextAlignment(column, _TO_THE_RIGHT if column else Qt.AlignmentFlag.AlignVCenter)
        self._items[row.part] = item
        return item

    def place(self) -> None:
        """Over the lower right corner of the window, above the status bar."""
        window, letter = self.window(), self.fontMetrics().height()
        wide = min(window.width() - 2 * letter, letter * 34)
        high = min(window.height() - 6 * letter, letter * (LEAST_ROWS + 12))
        self.setGeometry(window.width() - wide - letter, window.height() - high - 3 * letter, wide, high)

    def restyle(self, theme: Theme) -> None:
        super().restyle(theme)
        self.setStyleSheet(f"{self.styleSheet()} #meter QTreeWidget {{ border: 1px solid {theme.line}; }}")

    def begin(self) -> None:
        self._items = {}  # to be put in order again: the largest first
        self.table.setFocus()
