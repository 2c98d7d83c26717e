"""One model of the shelf: what it is, whether it fits, what it costs, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFrame,
    QGridLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.downloads import left_s
from app.engine_words import said
from app.notices import DownloadFrame
from app.shelf import Measure, ShelfItem
from app.theme import Theme, icon
from app.widgets.amounts import bytes_text
from app.widgets.flow import FlowLayout
from app.widgets.model_table import state_text, translate
from app.widgets.pages import labelled
from app.widgets.room_bars import RoomBars
from app.widgets.term_words import told
from engine.amounts import count_text

_BESIDE, _BELOW = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
_HALVES_LETTERS = 95  # so wide is a card whose halves stand beside each other
_SHRINKING = QSizePolicy.Policy.Ignored  # a long word of a name does not make the card wider than what is seen of it
PROGRESS_STEPS = 1000  # QProgressBar counts in 32 bits: a model has more bytes
ICONS = {
    "open": "model",
    "download": "download",
    "pause": "pause",
    "resume": "run",
    "cancel": "cancel",
    "delete": "close",
    "inside": "tensors",
    "token": "settings",
}


class ModelCard(QScrollArea):
    """``asked``: what to do (a key of ICONS) with which source. ``file_picked``: another file of a repository."""

    asked = Signal(str, str)
    file_picked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.item: ShelfItem | None = None
        self.wanted = ""  # the source with the chosen file: what is downloaded, and looked into
        self.title, self.line, self.about = _label(), _label(), _label()
        self.complaint, self.verdict, self.progress_text = _label(), _label(), _label()
        self.place = _label()
        self.files = QComboBox()
        self.files_box = labelled(self.tr("File"), self.files)
        self.files.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.progress = QProgressBar(textVisible=False, maximum=PROGRESS_STEPS)
        self.progress.setAccessibleName(self.tr("Progress of the download"))
        self.bars = RoomBars(theme, self.tr("Memory that the model needs, by type"))
        self.facts, self.costs = _Pairs(self.tr("What it is")), _Pairs(self.tr("What it costs to run"))
        self.buttons = {name: QPushButton(text) for name, text in self._names().items()}
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, name=name: self._ask(name))
        self.files.activated.connect(self._pick_file)
        self._arrange()
        self.setAccessibleName(self.tr("The picked model"))
        self.restyle(theme)
        self.show_item(None, None, False)

    def _names(self) -> dict[str, str]:
        return {
            "open": self.tr("Open"),
            "download": self.tr("Download"),
            "pause": self.tr("Pause"),
            "resume": self.tr("Resume"),
            "cancel": self.tr("Cancel download"),
            "inside": self.tr("What is inside"),
            "token": self.tr("Access token of the hub…"),
            "delete": self.tr("Delete…"),
        }

    def show_item(self, item: ShelfItem | None, download: DownloadFrame | None, ready: bool) -> None:
        """``ready``: the engine is there, so that a model can be opened."""
        if item is None or self.item is None or item.source != self.item.source:
            self.wanted = "" if item is None else item.source
        self.item = item
        self._page.setVisible(item is not None)
        if item is None:
            return
        self._show_files(item)
        known = item if self._chosen == item.chosen else replace(item, size=0, measure=None, complaint="")
        self.title.setText(item.title)
        _say(self.line, _line(known))
        _say(self.about, told(item.about))
        detail = " · ".join(said(part, self.tr) for part in item.detail.split(" · "))
        _say(self.place, ": ".join(filter(None, (said(item.origin, self.tr) or self.tr("on the hub"), detail))))
        complaint = (download.sentence if download is not None else "") or known.complaint
        _say(self.complaint, said(complaint, self.tr))
        self._show_measure(known)
        self._show_download(download)
        self._show_buttons(item, download, ready)

    def _show_files(self, item: ShelfItem) -> None:
        shown = [(f"{choice.name} · {bytes_text(choice.size)}", choice.name) for choice in item.choices]
        self.files_box.setVisible(len(shown) > 1)
        if [(self.files.itemText(row), self.files.itemData(row)) for row in range(self.files.count())] != shown:
            self.files.clear()
            for text, name in shown:
                self.files.addItem(text, name)
        if shown and self.wanted == item.source:
            self.wanted = f"{item.source}:{item.chosen or shown[0][1]}"
        if shown:
            self.files.setCurrentIndex(self.files.findData(self.wanted.removeprefix(f"{item.source}:")))

    @property
    def _chosen(self) -> str:
        """The file that is wanted of several, "" where there is no choice."""
        return str(self.files.currentData() or "")

    def _show_measure(self, item: ShelfItem) -> None:
        measure = item.measure
        for part in (self.bars, self.facts, self.costs):
            part.setVisible(measure is not None)
        if measure is None:
            _say(self.verdict, "" if item.complaint else self.tr("Reading what its headers say…"))
            return
        self.verdict.setVisible(True)
        self.bars.show_fits(measure.fits)
        self.verdict.setText(f"{said(measure.fits[0].sentence, self.tr)} {self._context_text(measure)}")
        self.facts.show_pairs(measure.facts)
        self.costs.show_pairs(measure.costs)

    def _context_text(self, measure: Measure) -> str:
        if not measure.largest:
            return ""
        return self.tr("At most {0} positions fit.").format(f"{measure.largest:,}")

    def _show_download(self, frame: DownloadFrame | None) -> None:
        self.progress.setVisible(frame is not None)
        self.progress_text.setVisible(frame is not None)
        if frame is not None:
            self.progress.setMaximum(PROGRESS_STEPS if frame.total or frame.state != "running" else 0)
            self.progress.setValue(PROGRESS_STEPS * frame.done // frame.total if frame.total else 0)
            self.progress_text.setText(progress_line(frame))

    def _show_buttons(self, item: ShelfItem, frame: DownloadFrame | None, ready: bool) -> None:
        moving = frame is not None and frame.state in ("waiting", "running")
        stopped = frame is not None and not moving
        shown = {
            "open": item.here,
            "download": not item.here and frame is None,
            "pause": moving,
            "resume": stopped,
            "cancel": frame is not None,
            "inside": item.measure is not None or item.here,
            "token": item.needs_token,
            "delete": item.here and item.fetched,
        }
        for name, button in self.buttons.items():
            button.setVisible(shown[name])
        self.buttons["open"].setEnabled(ready)
        self.buttons["open"].setDefault(item.here)

    def restyle(self, theme: Theme) -> None:
        for name, button in self.buttons.items():
            button.setIcon(icon(ICONS[name], theme))
        self.bars.set_theme(theme)
        self.setStyleSheet(
            f"#title {{ font-size: {1.5 * self.font().pointSizeF():.1f}pt; font-weight: 600; }}"
            f"#faint {{ color: {theme.faint}; }} #complaint {{ color: {theme.cut}; }} #head {{ font-weight: 600; }}"
        )

    def _arrange(self) -> None:
        self._page = QWidget()
        column = QVBoxLayout(self._page)
        row = QWidget()
        flow = FlowLayout(row)
        for button in self.buttons.values():
            flow.addWidget(button)
        names = {self.title: "title", self.line: "faint", self.place: "faint", self.complaint: "complaint"}
        for label, name in names.items():
            label.setObjectName(name)
        head = (self.title, self.line, self.complaint, self.about)  # what is wrong is seen without scrolling
        for part in (*head, self.files_box, row, self.progress, self.progress_text):
            column.addWidget(part)
        column.setAlignment(self.files_box, Qt.AlignmentFlag.AlignLeft)
        self._halves = QBoxLayout(_BELOW)
        for parts in ((self.bars, self.verdict, self.costs), (self.facts, self.place)):
            half = QVBoxLayout()
            for part in parts:
                half.addWidget(part)
            half.addStretch(1)
            self._halves.addLayout(half, 1)
        column.addLayout(self._halves)
        column.addStretch(1)
        self.setWidget(self._page)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        wide = self.width() >= _HALVES_LETTERS * self.fontMetrics().averageCharWidth()
        self._halves.setDirection(_BESIDE if wide else _BELOW)

    def _ask(self, what: str) -> None:
        if self.item is not None:
            self.asked.emit(what, self.wanted if what in ("download", "inside") else self.item.source)

    def _pick_file(self, index: int) -> None:
        assert self.item is not None
        self.wanted = f"{self.item.source}:{self.files.itemData(index)}"
        self.file_picked.emit(self.wanted)


class _Pairs(QFrame):
    """Labels and values below a headline, in two columns of text that can be selected."""

    def __init__(self, headline: str) -> None:
        super().__init__()
        self._headline = _label(headline)
        self._headline.setObjectName("head")
        self._shown: dict[str, str] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 4, 0, 0)
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)
        self._labels: list[QLabel] = []
        self._grid.addWidget(self._headline, 0, 0, 1, 2)

    def show_pairs(self, pairs: Mapping[str, str]) -> None:
        if dict(pairs) == self._shown:
            return
        self._shown = dict(pairs)
        while len(self._labels) < 2 * len(pairs):
            self._labels.append(_label())
            self._grid.addWidget(self._labels[-1], 1 + (len(self._labels) - 1) // 2, (len(self._labels) - 1) % 2)
        texts = [said(text, self.tr) for pair in pairs.items() for text in pair]
        for index, label in enumerate(self._labels):
            label.setObjectName("" if index % 2 else "faint")
            label.setWordWrap(bool(index % 2))
            label.setSizePolicy(_SHRINKING if index % 2 else QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
            label.setVisible(index < len(texts))
            label.setText(texts[index] if index < len(texts) else "")

    def text(self) -> dict[str, str]:
        return dict(self._shown)


def _label(text: str = "") -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setSizePolicy(_SHRINKING, QSizePolicy.Policy.Preferred)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def _say(label: QLabel, text: str) -> None:
    label.setText(text)
    label.setVisible(bool(text))


def _line(item: ShelfItem) -> str:
    """ "instruct · Apache-2.0 · 135M parameters · 272 MB · gated"."""
    measure = item.measure
    parameters = "" if measure is None else translate("{0} parameters").format(count_text(measure.parameters))
    size = bytes_text(item.size) if item.size else ""
    shows = (said(name, translate) for name in item.shows)
    gated = translate("gated: its terms must be accepted on the hub") if item.gated else ""
    return " · ".join(filter(None, (said(item.kind, translate), item.licence, parameters, size, *shows, gated)))


def progress_line(frame: DownloadFrame) -> str:
    """ "model.safetensors: 12.0 MB of 98.4 MB · 3.2 MB/s · 27 s left"."""
    done, total = bytes_text(frame.done), bytes_text(frame.total)
    amount = translate("{0} of {1}").format(done, total) if frame.total else ""
    moving = frame.state == "running"
    speed = f"{bytes_text(frame.speed)}/s" if moving and frame.speed else ""
    left = left_s(frame) if moving else None
    state = said(frame.text, translate) if moving else state_text(frame)
    return " · ".join(filter(None, (state, amount, speed, "" if left is None else duration(left))))


def duration(seconds: float) -> str:
    """ "27 s left", "12 min left", "3 h 20 min left"."""
    if seconds < 90:
        return translate("{0} s left").format(f"{seconds:.0f}")
    minutes = round(seconds / 60)
    if minutes < 90:
        return translate("{0} min left").format(minutes)
    return translate("{0} h {1} min left").format(minutes // 60, minutes % 60)
