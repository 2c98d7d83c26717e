"""The models of the shelf as a table: what is being downloaded, what is here, what there is to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QKeyEvent
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from app.engine_words import said
from app.notices import DownloadFrame
from app.shelf import Section, ShelfItem
from app.theme import Theme
from app.widgets.amounts import bytes_text, percent
from app.widgets.term_words import told
from app.widgets.tips import wrapped_tip
from engine.amounts import count_text

if TYPE_CHECKING:
    from engine.checkpoint.fits import Verdict

SOURCE = Qt.ItemDataRole.UserRole
MODEL, SIZE, PARAMETERS, FITS, SHOWS = range(5)

Sections = Mapping[Section, Sequence[ShelfItem]]


def translate(text: str) -> str:
    return QCoreApplication.translate("models", text)


TITLES: dict[Section, str] = {
    "downloads": "Downloads",
    "computer": "On this computer",
    "catalog": "To download",
    "hub": "From the hub",
}
HEADS = ("Model", "Size", "Parameters", "Fits here?", "Shows")
VERDICTS: dict[Verdict, str] = {"fits": "✓ fits", "tight": "~ tight", "does not fit": "✗ does not fit"}


class ModelTable(QTreeWidget):
    """``picked``: another model is looked at; ``activated``: Enter or a double click on it."""

    picked = Signal(str)
    chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._rows: dict[str, QTreeWidgetItem] = {}
        self._listed: tuple = ()
        self.setHeaderLabels([translate(head) for head in HEADS])
        self.setAccessibleName(translate("Models"))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setIndentation(self.fontMetrics().averageCharWidth() * 2)
        self.header().setStretchLastSection(True)
        for column in (SIZE, PARAMETERS):
            self.headerItem().setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        self.currentItemChanged.connect(self._moved)
        self.itemDoubleClicked.connect(lambda item, column: self._choose(item))

    @property
    def current(self) -> str:
        """The source of the model that is looked at, "" while there is none."""
        item = self.currentItem()
        return "" if item is None else str(item.data(MODEL, SOURCE) or "")

    def show_models(
        self, sections: Sections, downloads: Mapping[str, DownloadFrame], words: str = "", hub_words: str = ""
    ) -> None:
        """All models whose name, licence or kinds of parts have the words in them; what is picked stays picked.

        ``hub_words`` are for what the hub listed: that fits the text it was asked for in its own way.
        """
        wanted = {section: hub_words if section == "hub" else words for section in sections}
        shown = {name: [item for item in items if fitting(item, wanted[name])] for name, items in sections.items()}
        listed = tuple((section, tuple(item.source for item in items)) for section, items in shown.items() if items)
        if listed != self._listed:
            self._rebuild(listed)
        for items in shown.values():
            for item in items:
                self._fill(self._rows[item.source], item, downloads.get(item.source))

    def pick(self, source: str) -> bool:
        """Look at the model of that source; whether it is listed."""
        row = self._rows.get(source)
        if row is not None:
            self.setCurrentItem(row)
        return row is not None

    @property
    def sources(self) -> tuple[str, ...]:
        """The models that are listed, from top to bottom."""
        return tuple(self._rows)

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self.setStyleSheet("QTreeView::item { padding: 1px 4px; }")
        self._listed = ()  # colours are set row by row
        self._share_width()

    def _rebuild(self, listed: tuple) -> None:
        before, scrolled = self.current, self.verticalScrollBar().value()
        first = not self._rows
        self.blockSignals(True)
        self.clear()
        self._rows, self._listed = {}, listed
        for section, sources in listed:
            head = self._head(section)
            for source in sources:
                self._rows[source] = QTreeWidgetItem(head)
                self._rows[source].setData(MODEL, SOURCE, source)
        self.expandAll()
        if first:
            self._share_width()
        if before in self._rows:
            self.setCurrentItem(self._rows[before])
        self.executeDelayedItemsLayout()  # so that the bar knows how far it can go
        self.verticalScrollBar().setValue(scrolled)
        self.blockSignals(False)

    def _head(self, section: Section) -> QTreeWidgetItem:
        head = QTreeWidgetItem(self, [translate(TITLES[section])])
        head.setFlags(Qt.ItemFlag.ItemIsEnabled)
        font = self.font()
        font.setBold(True)
        head.setFont(MODEL, font)
        head.setForeground(MODEL, QBrush(QColor(self._theme.faint)))
        head.setFirstColumnSpanned(True)
        return head

    def _fill(self, row: QTreeWidgetItem, item: ShelfItem, download: DownloadFrame | None) -> None:
        texts = cells(item, download)
        for column, text in enumerate(texts):
            if row.text(column) != text:
                row.setText(column, text)
                row.setToolTip(column, wrapped_tip(text) if text else "")  # names come from files and servers
        for column in (SIZE, PARAMETERS):
            row.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.setForeground(FITS, QBrush(QColor(self._colour(item, download))))

    def _colour(self, item: ShelfItem, download: DownloadFrame | None) -> str:
        if download is not None:
            return self._theme.cut if download.state == "failed" else self._theme.text
        if item.complaint:
            return self._theme.cut
        verdict = None if item.measure is None else item.measure.fits[0].verdict
        return {"fits": self._theme.good, "does not fit": self._theme.cut}.get(verdict or "", self._theme.text)

    def _share_width(self) -> None:
        letter = self.fontMetrics().averageCharWidth()
        for column, letters in ((MODEL, 34), (SIZE, 11), (PARAMETERS, 18), (FITS, 18)):
            self.setColumnWidth(column, letter * letters)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(self.fontMetrics().averageCharWidth() * 100, self.fontMetrics().height() * 20)

    def _moved(self, item: QTreeWidgetItem | None) -> None:
        if self.current:
            self.picked.emit(self.current)

    def _choose(self, item: QTreeWidgetItem) -> None:
        source = str(item.data(MODEL, SOURCE) or "")
        if source:
            self.chosen.emit(source)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current:
            self.chosen.emit(self.current)
            return
        super().keyPressEvent(event)


def fitting(item: ShelfItem, words: str) -> bool:
    """Whether every word is somewhere in what is known of the model, in any letter case."""
    kinds = (item.kind, *item.shows)
    own = (told(item.about), *(said(kind, translate) for kind in kinds))  # in the user's language
    texts = (item.title, item.source, item.hub, item.licence, item.origin, item.about, *kinds, *own)
    known = " ".join(texts).lower()
    return all(word in known for word in words.lower().split())


def cells(item: ShelfItem, download: DownloadFrame | None) -> tuple[str, str, str, str, str]:
    """The texts of one row."""
    size = bytes_text(item.size) if item.size else ""
    fits = state_text(download) if download is not None else _fits_text(item)
    shows = ", ".join(said(kind, translate) for kind in (item.kind, *item.shows) if kind) or item.detail
    origin = f"  ({said(item.origin, translate)})" if item.origin not in ("", "built in") else ""
    return one_line(item.title) + origin, size, _parameters_text(item), fits, one_line(shows)


def one_line(text: str) -> str:
    """Rows are one line high, whatever a name has in it."""
    return " ".join(text.split())


def _parameters_text(item: ShelfItem) -> str:
    if item.measure is None:
        return ""
    total, active = item.measure.parameters, item.measure.active
    if total == active:
        return count_text(total)
    return translate("{0}, {1} active").format(count_text(total), count_text(active))


def _fits_text(item: ShelfItem) -> str:
    if item.complaint:  # of a model that could be measured, it is one about its tensors
        return translate("cannot be opened") if item.here or item.measure is not None else translate("not known")
    if item.measure is not None:
        return translate(VERDICTS[item.measure.fits[0].verdict])
    return translate("reading…") if item.here else translate("pick it to see")


def state_text(frame: DownloadFrame) -> str:
    """ "42 %", "paused at 42 %", "waiting"."""
    share = percent(frame.done / frame.total) if frame.total else ""
    words = {
        "waiting": translate("waiting"),
        "running": share or translate("asking the hub"),
        "paused": translate("paused at {0}").format(share) if share else translate("paused"),
        "failed": translate("failed at {0}").format(share) if share else translate("failed"),
    }
    return words.get(frame.state, "")
