"""The model shelf: what is on this computer, what can be downloaded, whether it fits, and what it shows."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QComboBox, QLineEdit, QMenu, QPushButton, QSpinBox, QSplitter, QToolButton, QWidget

from app.engine_words import said
from app.panels.panel import Context, Panel
from app.shelf import ShelfItem, ShelfQuery
from app.theme import icon
from app.widgets.amounts import bytes_text
from app.widgets.flow import FlowLayout
from app.widgets.follow_font import follow_font
from app.widgets.hidden_chip import Hidden
from app.widgets.model_card import ModelCard
from app.widgets.model_table import ModelTable
from app.widgets.pages import fill, labelled
from app.widgets.still_label import StillLabel
from engine.checkpoint.fits import DTYPES

LEAST_CONTEXT, MOST_CONTEXT = 1, 10_000_000
_BESIDE_LETTERS = 170  # so wide is a panel with room for the table and the card beside each other
SETTLE_MS = 250  # after the last turn of the spin box, or step through the table

COLUMNS = ("size", "parameters", "active", "needed", "free")


class ModelsPanel(Panel):
    """``asked``: what is to be done with which source: a key of ``Shelving.deeds``. ``query_changed``: another context,
    device or type to judge by. ``looked``: (the picked model of the hub, the source with the file that is chosen)."""

    key = "models"
    of_a_run = False
    asked = Signal(str, str)
    query_changed = Signal(object)
    looked = Signal(object, str)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.ready = False
        self.table, self.card = ModelTable(context.theme), ModelCard(context.theme)
        self.words = StillLabel(wrap=True)
        self.words.label.setTextFormat(Qt.TextFormat.PlainText)
        self.words.label.setMargin(self.fontMetrics().height() // 4)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.addWidget(self.table)
        self._split.addWidget(self.card)
        self._split.setSizes([560, 440])
        self._split.setChildrenCollapsible(False)
        self._settle = QTimer(self, interval=SETTLE_MS, singleShot=True)
        self._linger = QTimer(self, interval=SETTLE_MS, singleShot=True)  # whoever passes by a row asks no hub
        self._asked_of: tuple[str, ShelfQuery] | None = None  # what the hub was last asked of the picked model
        self._begun = ""  # the download that was just begun here: it is looked at when it is listed
        fill(self, self._make_controls(), self.words, self._split).setStretch(2, 1)
        self._connect()
        self.restyle()
        self._words_changed()
        self.show_run()

    def _make_controls(self) -> QWidget:
        self.words_field, self.search = QLineEdit(), QPushButton(self.tr("Search the hub"))
        self.words_field.setPlaceholderText(self.tr("Filter; Enter searches the hub"))
        self.words_field.setAccessibleName(self.tr("Words or hub id"))
        self.words_field.setClearButtonEnabled(True)
        follow_font(self.words_field, lambda font: self.words_field.setMinimumWidth(font.averageCharWidth() * 28))
        self.context_size, self.device, self.dtype = QSpinBox(), QComboBox(), QComboBox()
        self.context_size.setRange(LEAST_CONTEXT, MOST_CONTEXT)
        self.context_size.setGroupSeparatorShown(True)
        self.context_size.setStepType(QSpinBox.StepType.AdaptiveDecimalStepType)
        self.context_size.setValue(self.context.shelf.query.context)
        self.context_size.setToolTip(self.tr("Positions that the cache is counted for"))
        self.dtype.addItems(("auto", *DTYPES))
        self.device.addItem("cpu", "cpu")
        self.more = QToolButton()
        self.more.setText(self.tr("More"))
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(self._menu())
        bar = QWidget()
        flow = FlowLayout(bar)
        flow.addWidget(self.words_field)
        flow.addWidget(self.search)
        flow.addWidget(labelled(self.tr("Context"), self.context_size))
        flow.addWidget(labelled(self.tr("Device"), self.device))
        flow.addWidget(labelled(self.tr("Type"), self.dtype))
        flow.addWidget(self.more)
        return bar

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        for name, text in (
            ("folder", self.tr("Look in another folder…")),
            ("forget folders", self.tr("Look in no other folders any more")),
            ("again", self.tr("Look again")),
            ("token", self.tr("Access token of the hub…")),
            ("forget token", self.tr("Forget the token of the hub")),
        ):
            menu.addAction(text, lambda name=name: self.asked.emit(name, ""))
        return menu

    def _connect(self) -> None:
        self.words_field.textChanged.connect(self._words_changed)
        self.words_field.textChanged.connect(self.hides_changed)
        self.words_field.returnPressed.connect(self._search)
        self.search.clicked.connect(self._search)
        self.table.picked.connect(self._pick)
        self.table.chosen.connect(self._choose)
        self.card.asked.connect(self._ask)
        self.card.file_picked.connect(self._look)
        self.context_size.valueChanged.connect(self._settle.start)
        self._settle.timeout.connect(self._ask_anew)
        self._linger.timeout.connect(lambda: self._look(self.card.wanted))
        for box in (self.device, self.dtype):
            box.activated.connect(self._ask_anew)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Models")

    def badge(self) -> str:
        return self.tr("from headers")

    def caption(self) -> str:
        shelf = self.context.shelf
        if shelf.device is None:
            return self.tr("looking through this computer")
        return self.tr("{0} models · {1} free on {2} · {3} free on the disk").format(
            len(self.table.sources),
            bytes_text(shelf.device.free),
            said(shelf.device.title, self.tr),
            bytes_text(shelf.disk_free),
        )

    def show_run(self) -> None:
        self._show_table()
        self._show_card()
        self._look_soon()

    def restyle(self) -> None:
        theme = self.context.theme
        self.search.setIcon(icon("download", theme))
        self.more.setIcon(icon("settings", theme))
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.table.restyle(theme)
        self.card.restyle(theme)
        self.show_run()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        """The card stands beside the table where there is room for both, otherwise below it."""
        super().resizeEvent(event)
        beside = self.width() >= _BESIDE_LETTERS * self.fontMetrics().averageCharWidth()
        self._split.setOrientation(Qt.Orientation.Horizontal if beside else Qt.Orientation.Vertical)

    def hides(self) -> list[Hidden]:
        return [Hidden(self.tr("rows are filtered"), self.words_field.clear)] if self.words_field.text() else []

    def values(self) -> dict[str, np.ndarray]:
        """[model] in the order of the table: ``names``, and float64 bytes and counts, NaN where it is not known."""
        found = [self.context.shelf.item(source) for source in self.table.sources]
        items = [item for item in found if item is not None]
        rows = np.array([_figures(item) for item in items], np.float64).reshape(-1, len(COLUMNS))
        figures = {name: np.ascontiguousarray(rows[:, column]) for column, name in enumerate(COLUMNS)}
        return {"names": np.array([item.title for item in items], np.str_), **figures}

    # --- what is shown ----------------------------------------------------------------------------------------

    def set_ready(self, ready: bool) -> None:
        """Models can be opened from now on, on the devices there are."""
        self.ready = ready
        self._show_devices(self.context.shelf.query)
        self._show_card()

    def _show_devices(self, query: ShelfQuery) -> None:
        """The devices there are; what is chosen stays."""
        self.device.clear()
        self.device.addItem(self.tr("CPU"), "cpu")
        for device in query.accelerators:
            self.device.addItem(said(device.title, self.tr), device.name)
        self.device.setCurrentIndex(max(0, self.device.findData(query.device)))
        if self.dtype.findText(query.dtype) < 0:  # of the command line
            self.dtype.addItem(query.dtype)
        self.dtype.setCurrentText(query.dtype)

    def _show_table(self) -> None:
        shelf = self.context.shelf
        sections = shelf.sections()
        words, before = self.words_field.text().strip(), self.table.current
        answered = words == shelf.searched and not shelf.searching
        self.table.show_models(sections, shelf.downloads, words, "" if answered else words)
        self.words.setText(self._words())
        self.words.setVisible(bool(self.words.text()))
        self.caption_changed.emit()
        if not self.table.current and self.table.sources:
            self.table.pick(self._instead_of(before, sections["computer"]))
        if self._begun and self.table.pick(self._begun):
            self._begun = ""

    def _instead_of(self, source: str, here: list[ShelfItem]) -> str:
        """What to look at where a model is gone: the same one if it has just been downloaded, the repository of a file
        whose download was cancelled, otherwise the first."""
        arrived = [item.source for item in here if item.title == source]
        listed = (other for other in (*arrived, source.partition(":")[0]) if other in self.table.sources)
        return next(listed, self.table.sources[0])

    def _words(self) -> str:
        shelf = self.context.shelf
        if shelf.searching:
            return self.tr("Asking the hub for {0}…").format(repr(shelf.searched))
        return said(shelf.sentence, self.tr)

    def _show_card(self) -> None:
        shelf, source = self.context.shelf, self.table.current
        item = shelf.item(source)
        self.card.show_item(item, shelf.downloads.get(source), self.ready)

    # --- what the user does -----------------------------------------------------------------------------------

    def _words_changed(self) -> None:
        self.search.setEnabled(bool(self.words_field.text().strip()))
        self._show_table()

    def _search(self) -> None:
        if self.words_field.text().strip():
            self._asked_of = None
            self.asked.emit("search", self.words_field.text().strip())

    def _pick(self, source: str) -> None:
        self._show_card()
        self._asked_of = None
        self._look_soon()

    def _look_soon(self) -> None:
        """Ask the hub for what is not known of the picked model, once."""
        item, asked_of = self.context.shelf.item(self.table.current), (self.card.wanted, self.context.shelf.query)
        unknown = item is not None and item.section == "hub" and item.measure is None and not item.complaint
        if not unknown:
            self._linger.stop()
        elif asked_of != self._asked_of:
            self._asked_of = asked_of
            self._linger.start()

    def _ask(self, what: str, source: str) -> None:
        if what == "download":
            self._begun = source
        self.asked.emit(what, source)

    def _look(self, source: str) -> None:
        if self.card.item is not None:
            self.looked.emit(self.card.item, source)

    def _choose(self, source: str) -> None:
        """Enter or a double click: open what is here, otherwise begin the download, or go on with it."""
        item = self.context.shelf.item(source)
        if item is None:
            return
        if item.here and not self.ready:
            return
        download = self.context.shelf.downloads.get(source)
        if item.here or download is not None:
            self._ask("open" if item.here else "resume", source)
        else:
            self._ask("download", self.card.wanted)

    def _ask_anew(self) -> None:
        self._settle.stop()
        before = self.context.shelf.query
        query = ShelfQuery(
            context=self.context_size.value(),
            device=str(self.device.currentData()),
            dtype=self.dtype.currentText(),
            folders=before.folders,
            accelerators=before.accelerators,
        )
        if query != before:
            self.query_changed.emit(query)


def _figures(item: ShelfItem) -> tuple[float, ...]:
    size = float(item.size) if item.size else np.nan
    if item.measure is None:
        return (size, *[np.nan] * (len(COLUMNS) - 1))
    fit = item.measure.fits[0]
    return size, item.measure.parameters, item.measure.active, fit.needed, fit.device.free
