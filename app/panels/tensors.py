"""The shelf of tensors: what a model's files hold, from headers alone; and any one tensor, read from its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QTabWidget,
    QToolButton,
    QWidget,
)

from app.engine_words import said
from app.inventory_csv import csv_lines
from app.panels.panel import Context, Panel
from app.tensor_words import model_text
from app.terminal import shown
from app.widgets.amounts import grouped
from app.widgets.flow import FlowLayout
from app.widgets.follow_font import follow_font
from app.widgets.hidden_chip import Hidden
from app.widgets.pages import Pages, fill, labelled
from app.widgets.tensor_pages import ComponentsPage, FiguresPage, MapPage, ShelfPage, SpectrumPage, TensorPage
from app.widgets.tensor_tree import TensorTree
from app.widgets.turning import TurningSplitter
from engine.checkpoint.stored import stored
from engine.frames import Answer, Listed
from engine.questions import AskInventory, Question

if TYPE_CHECKING:
    from engine.checkpoint.entries import Entry
    from engine.checkpoint.outline import Outline


OF_ONE_TENSOR = ("figures", "histogram", "block", "spectrum")


class TensorsPanel(Panel):
    """A tree of every tensor, searched; beside it a map, the components, and the tensor that is picked.

    It shows the model that is loaded, or any other that ``show_source`` names. A pick here moves no cursor: the model
    may be another; "Pin its layer" does so.
    """

    key = "tensors"
    of_a_run = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._model: object = None  # the loaded model, when it was last looked at
        self._source: str | None = None  # the one that was chosen; None: the loaded one
        self._recent: tuple[str, ...] = ()
        self._listed: Listed | None = None
        self._asked = ""  # the source whose headers are being read
        self._make_parts()
        self._pages = Pages(self._make_content())
        fill(self, self._make_controls(), self._complaints, self._pages).setStretch(2, 1)
        self._connect()
        self._show_sources()
        self.show_run()

    # --- building ---------------------------------------------------------------------------------------------

    def _make_parts(self) -> None:
        cursor, theme = self.context.cursor, self.context.theme
        self.tree = TensorTree()
        self.map = MapPage(cursor, theme)
        self.components = ComponentsPage(cursor, theme)
        self.figures = FiguresPage(cursor, theme, self._ask)
        self.spectrum = SpectrumPage(cursor, theme, self._ask)
        self._complaints = QLabel()
        self._built = True
        self._complaints.setTextFormat(Qt.TextFormat.PlainText)
        self._complaints.setWordWrap(True)
        self._complaints.setMargin(self.fontMetrics().height() // 3)
        self._complaints.setAccessibleName(self.tr("Why the model cannot be loaded"))
        self._complaints.hide()

    def _make_controls(self) -> QWidget:
        self._sources = QComboBox()
        self._sources.setEditable(True)
        self._sources.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._sources.setMinimumContentsLength(24)
        self._sources.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._sources.setToolTip(
            self.tr("A folder, a .gguf file, or a name; of a model on the hub only headers are read")
        )
        self._choose = QToolButton()
        self._choose.setText(self.tr("Choose…"))
        self._choose.setToolTip(self.tr("Look at another model's files without loading it"))
        self._choose.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self._choose)
        menu.addAction(self.tr("Folder…"), self._choose_folder)
        menu.addAction(self.tr("GGUF file…"), self._choose_file)
        menu.addSeparator()
        menu.addAction(self.tr("List again"), self.list_again)
        self._choose.setMenu(menu)
        self._grouped = QComboBox()
        self._grouped.addItem(self.tr("layer"))
        self._grouped.addItem(self.tr("component"))
        bar = QWidget()
        flow = FlowLayout(bar)
        for widget in (labelled(self.tr("Model"), self._sources), self._choose):
            flow.addWidget(widget)
        self._pin = QPushButton(self.tr("Pin its layer"))
        self._pin.setToolTip(self.tr("Look at the layer (and expert) of the picked tensor in all panels"))
        flow.addWidget(labelled(self.tr("Grouped by"), self._grouped))
        flow.addWidget(self._pin)
        return bar

    def _make_content(self) -> QWidget:
        self._search = QLineEdit()
        self._search.setPlaceholderText(self.tr("Search"))
        self._search.setClearButtonEnabled(True)
        self._search.setToolTip(self.tr("In names and roles (Ctrl+F)"))
        self._search.setAccessibleName(self.tr("Search tensors"))
        follow_font(self._search, lambda font: self._search.setMinimumWidth(font.averageCharWidth() * 16))
        self._copy = QPushButton(self.tr("Copy as CSV"))
        self._copy.setToolTip(self.tr("Every tensor that the search leaves, with all columns"))
        self._count = QLabel()
        bar = QWidget()
        flow = FlowLayout(bar)
        for widget in (self._search, self._copy, self._count):
            flow.addWidget(widget)
        left, self._tabs = QWidget(), QTabWidget()
        fill(left, bar, self.tree).setStretch(1, 1)
        self._tabs.setDocumentMode(True)
        self._tabs.setAccessibleName(self.tr("What to see of the model"))
        self._tabs.tabBar().setAccessibleName(self._tabs.accessibleName())
        for index, page in enumerate(self.pages):
            self._tabs.addTab(page, page.name())
            self._tabs.setTabToolTip(index, page.help())
        split = TurningSplitter(narrow=True)
        split.addWidget(left)
        split.addWidget(self._tabs)
        split.setSizes([470, 530])
        return split

    @property
    def pages(self) -> tuple[ShelfPage, ...]:
        return self.map, self.components, self.figures, self.spectrum

    @property
    def _of_tensor(self) -> tuple[TensorPage, ...]:
        return self.figures, self.spectrum

    def _connect(self) -> None:
        self._sources.activated.connect(self._choose_source)
        line = self._sources.lineEdit()
        assert line is not None, "the box can be edited"
        line.returnPressed.connect(self._type_source)
        self._grouped.currentIndexChanged.connect(self._show_outline)
        self._search.textChanged.connect(self._find)
        self._search.textChanged.connect(self.hides_changed)
        self._search.returnPressed.connect(self.tree.pick_first)
        self._copy.clicked.connect(lambda: self._copy_csv(0))
        self._pin.clicked.connect(self._pin_layer)
        self._tabs.currentChanged.connect(self._turn_page)
        self.tree.node_picked.connect(self._pick)
        self.tree.opened.connect(self._look_into)
        self.tree.copied.connect(self._copy_csv)
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._open_menu)
        self.map.node_picked.connect(self.tree.pick)
        for page in self._of_tensor:
            page.matrix_chosen.connect(self._choose_matrix)
            page.shown_changed.connect(self.caption_changed)
        self._add_keys()

    def _add_keys(self) -> None:
        inside = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for key in ("Ctrl+F", "/"):
            QShortcut(QKeySequence(key), self, self._go_to_search, context=inside)

    # --- the contract -----------------------------------------------------------------------------------------

    def title(self) -> str:
        return self.tr("Tensors")

    def badge(self) -> str:
        return "" if self._listed is None or self._listed.inventory is None else self._page().badge()

    def caption(self) -> str:
        found = self._listed
        return "" if found is None or found.inventory is None else model_text(found.inventory, self.tr)

    def show_run(self) -> None:
        run = self.context.run
        if run.model is not self._model:
            self._model, self._asked = run.model, ""  # what was asked before is not answered any more
            self._show_sources()
            if self._source is None:
                self._forget()
            self._page_starts()
        self.spectrum.set_busy(run.n_prompt > 0 and run.ended is None)
        self._show_pin()
        self._read()

    def show_answer(self, key: str, answer: Answer) -> None:
        if isinstance(answer, Listed):
            self._take_listed(answer)
        else:
            page = self.spectrum if key == "tensors.spectrum" else self.figures  # what one lacks the other may have
            page.take(answer)
        self.caption_changed.emit()

    def restyle(self) -> None:
        for page in self.pages:
            page.set_theme(self.context.theme)
        self._colour_complaints()

    def hides(self) -> list[Hidden]:
        return [Hidden(self.tr("rows are filtered"), self._search.clear)] if self._search.text() else []

    def values(self) -> dict[str, np.ndarray]:
        """Of the tensors that the search leaves, bytes and parameters; and what the page shows."""
        entries = self.tree.shelf.entries()
        found = {
            "names": np.array([entry.name for entry in entries], np.str_),
            "bytes": np.array([entry.size for entry in entries], np.int64),
            "parameters": np.array([entry.parameters for entry in entries], np.int64),
        }
        return found | self._page().values()

    # --- which model ------------------------------------------------------------------------------------------

    def show_source(self, source: str | None) -> None:
        """Look at the files of this model, whether it is loaded or not; None: those of the loaded model."""
        if source == self._source and self._listed is not None and not self._listed.sentence:
            return
        self._source = source
        self._forget()
        self._show_sources()
        self._read()

    def list_again(self) -> None:
        """Read the same headers anew: the files may have changed."""
        self._forget()
        self._read()

    def show_recent(self, sources: Sequence[str]) -> None:
        """What the box offers beside the loaded model."""
        self._recent = tuple(sources)
        self._show_sources()

    def _wanted(self) -> str | None:
        """The source to be shown now."""
        model = self.context.run.model
        return self._source if self._source is not None else None if model is None else model.source

    def _forget(self) -> None:
        """What is shown is of another model."""
        self._listed, self._asked = None, ""
        self._show_listed()
        self._search.clear()  # last: it looks for what was picked, which is gone by then

    def _read(self) -> None:
        """Ask for the headers that are wanted, unless they are there or on their way."""
        wanted = self._wanted()
        if wanted is None:
            self._pages.say(self.tr("Open a model to see its tensors, or choose one above to look at its files."))
        elif self.isVisible() and wanted not in (self._asked, self._listed.asked if self._listed else ""):
            self._asked = wanted
            self._pages.say(self.tr("Reading the headers of {0}…").format(shown(wanted)))
            self.context.ask("tensors.headers", AskInventory(wanted))

    def _show_sources(self) -> None:
        model = self.context.run.model
        self._sources.blockSignals(True)
        self._sources.clear()
        loaded = self.tr("the loaded model") if model is None else self.tr("{0} (loaded)").format(shown(model.name))
        self._sources.addItem(loaded, None)
        for source in dict.fromkeys((*self._recent, *([self._source] if self._source else []))):
            if model is None or source != model.source:
                self._sources.addItem(shown(source), source)
        self._sources.setCurrentIndex(0 if self._source is None else max(0, self._sources.findData(self._source)))
        self._sources.blockSignals(False)

    def _choose_source(self, index: int) -> None:
        self.show_source(self._sources.itemData(index))

    def _type_source(self) -> None:
        text = self._sources.currentText().strip()
        if text and self._sources.findText(text) < 0:
            self.show_source(text)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, self.tr("Look at a folder with a model"))
        if folder:
            self.show_source(folder)

    def _choose_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, self.tr("Look at a GGUF file"), "", "GGUF (*.gguf)")
        if name:
            self.show_source(name)

    # --- what is shown ----------------------------------------------------------------------------------------

    def _take_listed(self, answer: Listed) -> None:
        if answer.asked == self._wanted():
            self._listed, self._asked = answer, ""
            self._show_listed()

    def _show_listed(self) -> None:
        found = self._listed
        inventory = None if found is None else found.inventory
        self.components.show_inventory(inventory)
        complaints = () if inventory is None else inventory.complaints
        self._complaints.setText("\n".join(shown(said(each, self.tr)) for each in complaints))
        self._complaints.setVisible(bool(complaints))
        self._colour_complaints()
        self._show_outline()
        self._pages.say("" if found is None else shown(said(found.sentence, self.tr)))
        self.caption_changed.emit()

    def _outline(self) -> Outline | None:
        found = self._listed
        if found is None:
            return None
        return found.by_component if self._grouped.currentIndex() else found.by_layer

    def _show_outline(self) -> None:
        outline, kept = self._outline(), self.figures.entry
        self.tree.show_outline(outline)
        self.map.show_outline(outline)
        if self._search.text():
            self.tree.search(self._search.text())
        self._show_count()
        entries = () if outline is None else outline.entries
        place = next((place for place, entry in enumerate(entries) if entry is kept), None)
        if outline is not None and place is not None:
            self.tree.pick(outline.leaves[place])
        else:
            self._show_tensor(None)

    def _colour_complaints(self) -> None:
        self._complaints.setStyleSheet(f"color: {self.context.theme.cut};")

    def _find(self, text: str) -> None:
        self.tree.search(text)
        self._show_count()

    def _show_count(self) -> None:
        outline = self._outline()
        left, whole = self.tree.shelf.left, 0 if outline is None else len(outline.entries)
        self._count.setText(grouped(whole) if left == whole else self.tr("{0} of {1}").format(left, grouped(whole)))
        self._count.setToolTip(self.tr("Tensors that the search leaves"))

    # --- one tensor -------------------------------------------------------------------------------------------

    def _page(self) -> ShelfPage:
        return self.pages[self._tabs.currentIndex()]

    def _pick(self, number: int) -> None:
        outline = self._outline()
        assert outline is not None
        node = outline.nodes[number]
        self.map.mark(number)
        if node.kind == "tensor" and node.entry is not self.figures.entry:
            self._show_tensor(node.entry)

    def _show_tensor(self, entry: Entry | None) -> None:
        inventory = None if self._listed is None else self._listed.inventory
        origin = None if inventory is None else inventory.origin
        tensor = None if entry is None or origin is None else stored(origin, entry.name)
        for what in OF_ONE_TENSOR:  # of the one before: singular values may take many seconds
            self.context.unask(f"{self.key}.{what}")
        far = self.tr("The weights of this model are not on this machine: only its headers were read.")
        for page in self._of_tensor:
            page.show_tensor(entry, tensor, far if entry is not None and origin is None else "")
        self._show_pin()
        self._page_starts()

    def _look_into(self, number: int) -> None:
        self._pick(number)
        self._tabs.setCurrentWidget(self.figures)

    def _choose_matrix(self, matrix: int | None) -> None:
        for page in self._of_tensor:
            page.choose(matrix)
        self._page_starts()

    def _turn_page(self) -> None:
        self._page_starts()
        self.caption_changed.emit()

    def _page_starts(self) -> None:
        page = self._page()
        if isinstance(page, TensorPage) and self.isVisible():
            page.start()

    def _ask(self, what: str, question: Question) -> None:
        self.context.ask(f"tensors.{what}", question)

    def _show_pin(self) -> None:
        entry, model = self.figures.entry, self.context.run.model
        mine = model is not None and self._wanted() == model.source
        self._pin.setEnabled(mine and entry is not None and entry.layer is not None)

    def _pin_layer(self) -> None:
        entry = self.figures.entry
        assert entry is not None, "the button is off without a tensor"
        self.context.cursor.pin(layer=entry.layer, expert=entry.expert)

    # --- copying, keys ----------------------------------------------------------------------------------------

    def _copy_csv(self, number: int) -> None:
        lines = csv_lines(self.tree.shelf.entries(number))
        QGuiApplication.clipboard().setText("\n".join(lines) + "\n")

    def _open_menu(self, place: QPoint) -> None:
        index = self.tree.indexAt(place)
        if index.isValid():
            self._menu_of(index.internalId()).popup(self.tree.viewport().mapToGlobal(place))

    def _menu_of(self, number: int) -> QMenu:
        outline = self._outline()
        assert outline is not None
        menu = QMenu(self.tree)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.tree.shelf.modelReset.connect(menu.close)  # another model: the number is another tensor's
        menu.addAction(self.tr("Copy as CSV"), lambda: self._copy_csv(number))
        if outline.nodes[number].kind == "tensor":
            menu.addAction(self.tr("Look into it"), lambda: self._look_into(number))
        return menu

    def _go_to_search(self) -> None:
        self._search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._search.selectAll()

    # --- coming into view -------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Nothing is asked while nobody can see it."""
        super().showEvent(event)
        self._read()
        self._page_starts()

    def font_changed(self) -> None:
        self.tree.fit_columns()
