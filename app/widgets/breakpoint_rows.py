"""The breakpoints one below the other: on or off, what each is for, its hits, and what can be done with it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QSpinBox, QVBoxLayout

from app.breakpoint_words import breakpoint_text
from app.breaks import Breaks, fits
from app.engine_words import said
from app.theme import Theme
from app.widgets.breakpoint_form import MOST_IGNORED
from app.widgets.card_column import Card, CardColumn
from engine.breakpoints import NOT_FINITE, Breakpoint
from engine.frames import ModelFrame


class BreakpointRow(Card):
    """One breakpoint."""

    ignore_changed = Signal(int)

    def __init__(self, theme: Theme) -> None:
        super().__init__("change", "remove")
        self._theme = theme
        self.hits, self.hit, self.ignore = QLabel(), QLabel(wordWrap=True), QSpinBox()
        self._prepare()
        self._arrange()
        self.restyle(theme)

    def show_breakpoint(self, breakpoint: Breakpoint, model: ModelFrame | None) -> None:
        text = breakpoint_text(breakpoint, self.tr)
        known = model is None or fits(breakpoint, model)
        self.words.setText(text if known else self.tr("{0} (not in this model)").format(text))
        self.words.setEnabled(breakpoint.on and known)
        for box in (self.on, self.ignore):
            box.blockSignals(True)
        self.on.setChecked(breakpoint.on)
        self.ignore.setValue(breakpoint.ignore)
        for box in (self.on, self.ignore):
            box.blockSignals(False)
        self.on.setText(str(breakpoint.number) if breakpoint.number else "")
        self.on.setAccessibleName(self.tr("Breakpoint {0} is on: {1}").format(breakpoint.number, text))
        self.ignore.setAccessibleName(self.tr("Hits to ignore of breakpoint {0}").format(breakpoint.number))
        self.name_buttons(text)
        for button in self.buttons.values():
            button.setVisible(breakpoint.number != NOT_FINITE.number)

    def show_hits(self, hits: int, sentence: str) -> None:
        """``sentence``: which value met which limit, while the pass stands there; "" otherwise."""
        self.hits.setText(self.tr("{0} hits").format(hits) if hits != 1 else self.tr("1 hit"))
        self.hit.setText(f"▶ {sentence}")
        self.hit.setVisible(bool(sentence))
        if bool(sentence) != self.property("standing"):
            self.setProperty("standing", bool(sentence))
            self.restyle(self._theme)

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        self.show_icons(theme)
        edge = theme.decode if self.property("standing") else theme.raised
        self.setStyleSheet(
            f"BreakpointRow {{ background: {theme.raised}; border-radius: 3px; border: 2px solid {edge}; }}"
        )
        self.hits.setStyleSheet(f"color: {theme.faint};")
        self.hit.setStyleSheet(f"color: {theme.decode}; font-weight: 600;")

    def _prepare(self) -> None:
        self.hit.setTextFormat(Qt.TextFormat.PlainText)
        for label in (self.words, self.hit):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.hits.setToolTip(self.tr("How often its conditions have held"))
        self.ignore.setRange(0, MOST_IGNORED)
        self.ignore.setPrefix(self.tr("ignore "))
        self.ignore.setKeyboardTracking(False)
        self.ignore.setToolTip(self.tr("So many hits more are counted without stopping the pass"))
        self.ignore.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the wheel scrolls the list
        self.ignore.valueChanged.connect(self.ignore_changed)
        self.hit.hide()

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 3, 4, 4)
        column.setSpacing(2)
        first, last = QHBoxLayout(), QHBoxLayout()
        top = Qt.AlignmentFlag.AlignTop
        first.addWidget(self.on, 0, top)
        first.addWidget(self.words, 1)
        for button in self.buttons.values():
            first.addWidget(button, 0, top)
        last.addWidget(self.hits)
        last.addStretch(1)
        last.addWidget(self.ignore)
        column.addLayout(first)
        column.addWidget(self.hit)
        column.addLayout(last)


class BreakpointRows(CardColumn):
    """As many rows as there are breakpoints, by their numbers."""

    switched = Signal(int, bool)
    ignore_changed = Signal(int, int)
    asked = Signal(int, str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Breakpoints"))
        self._theme = theme
        self.rows: dict[int, BreakpointRow] = {}

    def show_breaks(self, breaks: Breaks, model: ModelFrame | None) -> None:
        """Other breakpoints, or another model that they are for."""
        for number in self.rows.keys() - {each.number for each in breaks.breakpoints}:
            self.take_out(self.rows.pop(number))
        for each in breaks.breakpoints:
            row = self.rows.get(each.number) or self._add(each.number)
            row.show_breakpoint(each, model)
        self.show_hits(breaks)

    def show_hits(self, breaks: Breaks) -> None:
        """Other figures; the row that the pass stands at is brought into sight."""
        standing = {hit.number: said(hit.sentence, self.tr) for hit in breaks.standing}
        for number, row in self.rows.items():
            row.show_hits(breaks.hits.get(number, 0), standing.get(number, ""))
        for number in standing:
            self.ensureWidgetVisible(self.rows[number])

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        for row in self.rows.values():
            row.restyle(theme)

    def _add(self, number: int) -> BreakpointRow:
        row = BreakpointRow(self._theme)
        row.switched.connect(partial(self.switched.emit, number))
        row.ignore_changed.connect(partial(self.ignore_changed.emit, number))
        row.asked.connect(partial(self.asked.emit, number))
        self.put_in(len(self.rows), row)
        self.rows[number] = row
        return row
