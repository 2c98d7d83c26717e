"""Without a model: what can be opened or downloaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QApplication,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.engine_words import said
from app.status import bytes_text
from app.theme import Theme, icon
from engine.checkpoint.catalog import CatalogEntry
from engine.frames import ProgressFrame

TITLE_SIZE = 2.2  # of the text's
PROGRESS_STEPS = 1000  # QProgressBar counts in 32 bits: a model has more bytes


class StartPage(QScrollArea):
    """``open_asked``: a source; ``fetch_asked``: a name of the catalog or a hub id."""

    open_asked = Signal(str)
    fetch_asked = Signal(str)
    cancel_asked = Signal()
    folder_asked = Signal()
    file_asked = Signal()
    run_asked = Signal()
    shelf_asked = Signal()

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Start page"))
        self.entries = tuple(entries)
        self.rows = {entry.name: CatalogRow(entry) for entry in self.entries}
        self.title, self.headline = QLabel("Fluoroscope"), QLabel()
        self.progress = ProgressRow()
        self.hub = QLineEdit()
        self.open_hub = QPushButton(self.tr("Download and open"))
        self.shelf = QPushButton(self.tr("All models…"))
        self.folder, self.file = QPushButton(self.tr("Open a folder…")), QPushButton(self.tr("Open a .gguf file…"))
        self.run_file = QPushButton(self.tr("Open a saved run…"))
        self.recent: list[QPushButton] = []
        self.recent_box = QGroupBox(self.tr("Recent models and runs"))
        self._recent_column = QVBoxLayout(self.recent_box)
        self._theme: Theme | None = None
        self._connect()
        self._arrange()

    def show_engine(self, text: str, ready: bool) -> None:
        """What the engine does now; models can be opened once it is ready (and may be downloaded before)."""
        self.headline.setText(text)
        for widget in (self.folder, self.file, self.run_file, self.open_hub, self.recent_box):
            widget.setEnabled(ready)
        for row in self.rows.values():
            row.set_ready(ready)

    def show_cached(self, names: Iterable[str]) -> None:
        """Which catalog models lie in the cache: these are opened, the others downloaded."""
        cached = set(names)
        for name, row in self.rows.items():
            row.set_cached(name in cached)

    def show_recent(self, sources: Iterable[str]) -> None:
        for button in self.recent:
            button.deleteLater()
        self.recent = [self._recent_button(source) for source in sources]
        self.recent_box.setVisible(bool(self.recent))

    def show_progress(self, frame: ProgressFrame | None) -> None:
        """A download or load moves, or (None) is over."""
        self.progress.show_progress(frame)
        for row in self.rows.values():
            row.button.setEnabled(frame is None and row.usable)

    def restyle(self, theme: Theme) -> None:
        points = TITLE_SIZE * QApplication.font().pointSizeF()
        self.title.setStyleSheet(f"#title {{ font-size: {points:.1f}pt; font-weight: 600; }}")
        self.folder.setIcon(icon("open-folder", theme))
        self.file.setIcon(icon("open-file", theme))
        self.run_file.setIcon(icon("open-file", theme))
        self.open_hub.setIcon(icon("download", theme))
        self.shelf.setIcon(icon("model", theme))
        for row in self.rows.values():
            row.restyle(theme)

    def _connect(self) -> None:
        for row in self.rows.values():
            row.open_asked.connect(self.open_asked)
            row.fetch_asked.connect(self.fetch_asked)
        self.progress.cancel.clicked.connect(self.cancel_asked)
        self.folder.clicked.connect(self.folder_asked)
        self.file.clicked.connect(self.file_asked)
        self.run_file.clicked.connect(self.run_asked)
        self.shelf.clicked.connect(self.shelf_asked)
        self.open_hub.clicked.connect(self._open_hub)
        self.hub.returnPressed.connect(self._open_hub)

    def _open_hub(self) -> None:
        if self.hub.text().strip():
            self.fetch_asked.emit(self.hub.text().strip())

    def _arrange(self) -> None:
        page = QWidget()
        middle = QVBoxLayout()
        self.title.setObjectName("title")
        self.headline.setTextFormat(Qt.TextFormat.PlainText)
        self.headline.setWordWrap(True)
        for widget in (self.title, self.headline, self._models(), self.progress, self._files(), self._recent_box()):
            middle.addWidget(widget)
        middle.addStretch(1)
        row = QHBoxLayout(page)
        row.addStretch(1)
        row.addLayout(middle, 4)
        row.addStretch(1)
        self.setWidget(page)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)

    def _models(self) -> QGroupBox:
        box = QGroupBox(self.tr("Models"))
        column = QVBoxLayout(box)
        for row in self.rows.values():
            column.addWidget(row)
        column.addWidget(self.shelf, alignment=Qt.AlignmentFlag.AlignLeft)
        return box

    def _files(self) -> QGroupBox:
        box = QGroupBox(self.tr("Your own models and runs"))
        form = QFormLayout(box)
        buttons = QHBoxLayout()
        buttons.addWidget(self.folder)
        buttons.addWidget(self.file)
        buttons.addWidget(self.run_file)
        buttons.addStretch(1)
        self.hub.setPlaceholderText("org/name[@revision]")
        self.hub.setAccessibleName(self.tr("Hub id"))
        hub = QHBoxLayout()
        hub.addWidget(self.hub, 1)
        hub.addWidget(self.open_hub)
        form.addRow(self.tr("From this computer"), buttons)
        form.addRow(self.tr("From the hub"), hub)
        form.addRow("", QLabel(self.tr("Or drop a folder, a .gguf file or a saved run anywhere on this window.")))
        return box

    def _recent_box(self) -> QGroupBox:
        self.recent_box.hide()
        return self.recent_box

    def _recent_button(self, source: str) -> QPushButton:
        button = QPushButton(source)
        button.setFlat(True)
        button.setStyleSheet("text-align: left;")
        button.clicked.connect(partial(self.open_asked.emit, source))
        self._recent_column.addWidget(button)
        return button


class CatalogRow(QWidget):
    """One known model: title, size, licence, and Download or Open."""

    open_asked = Signal(str)
    fetch_asked = Signal(str)

    def __init__(self, entry: CatalogEntry) -> None:
        super().__init__()
        self.entry = entry
        self.cached = entry.built_in
        self.usable = True
        self._ready = False
        self._theme: Theme | None = None
        self.button = QPushButton()
        self.button.clicked.connect(self._press)
        origin = self.tr("built in, a small mixture of experts") if entry.built_in else entry.hub
        facts = QLabel(f"{entry.title}\n{bytes_text(entry.size)} · {entry.licence} · {origin}")
        facts.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout(self)
        row.addWidget(facts, 1)
        row.addWidget(self.button)
        self._refresh()

    def set_cached(self, cached: bool) -> None:
        self.cached = cached or self.entry.built_in
        self._refresh()

    def set_ready(self, ready: bool) -> None:
        if ready != self._ready:  # told with every token
            self._ready = ready
            self._refresh()

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self._refresh()

    def _refresh(self) -> None:
        self.button.setText(self.tr("Open") if self.cached else self.tr("Download"))
        if self._theme is not None:
            self.button.setIcon(icon("model" if self.cached else "download", self._theme))
        self.button.setAccessibleName(f"{self.button.text()} {self.entry.title}")
        self.usable = self._ready or not self.cached
        self.button.setEnabled(self.usable)

    def _press(self) -> None:
        (self.open_asked if self.cached else self.fetch_asked).emit(self.entry.name)


class ProgressRow(QWidget):
    """A bar with its text and Cancel; hidden while nothing is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.bar, self.cancel = QLabel(), QProgressBar(), QPushButton(self.tr("Cancel"))
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(self.tr("Progress"))
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        column.addLayout(row)
        self.hide()

    def show_progress(self, frame: ProgressFrame | None) -> None:
        self.setVisible(frame is not None)
        if frame is None:
            return
        self.text.setText(progress_text(frame, self.tr))
        self.bar.setRange(0, PROGRESS_STEPS if frame.total else 0)
        if frame.total:
            self.bar.setValue(PROGRESS_STEPS * frame.done // frame.total)


def progress_text(frame: ProgressFrame, tr: Callable[[str], str]) -> str:
    """ "SmolLM2: 12.0 MB of 98.4 MB"."""
    text = said(frame.text, tr)
    if not frame.total or frame.unit != "bytes":
        return text
    return tr("{0}: {1} of {2}").format(text, bytes_text(frame.done), bytes_text(frame.total))
