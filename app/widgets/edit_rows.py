"""The edits of the tray, one below the other: on or off, how strong, and what can be done with each."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout

from app.edit_words import edit_text, how_text, past_text, scope_text, what_text
from app.theme import Theme
from app.widgets.card_column import Card, CardColumn
from engine.edits import GRADUAL, Edit

STRONGEST = 200  # percent


class EditRow(Card):
    """One edit."""

    strength_changed = Signal(float)

    def __init__(self, theme: Theme) -> None:
        super().__init__("change", "duplicate", "remove")
        self._shown: tuple[Edit, str] | None = None
        self.scope = QLabel(wordWrap=True)
        self.strength, self.percent = QSlider(Qt.Orientation.Horizontal), QLabel()
        self._prepare()
        self._arrange()
        self.restyle(theme)

    def show_edit(self, edit: Edit, past: str) -> None:
        """``past``: why it changes nothing for now, "" where it can."""
        if (edit, past) == self._shown:  # it is asked for with every token
            return
        self._shown = (edit, past)
        text = edit_text(edit, self.tr)
        whole = f"{what_text(edit, self.tr)}: {how_text(edit, self.tr)}"
        self.words.setText(text)
        said = ("" if text == whole else whole, scope_text(edit, self.tr), past)
        self.scope.setText(" · ".join(filter(None, said)))
        self.on.blockSignals(True)
        self.on.setChecked(edit.on)
        self.on.blockSignals(False)
        self.on.setAccessibleName(self.tr("{0}: on").format(text))
        self.strength.setAccessibleName(self.tr("Strength of {0}").format(text))
        self._show_strength(edit)
        self.words.setEnabled(edit.on)
        self.name_buttons(text)

    def _show_strength(self, edit: Edit) -> None:
        gradual = edit.kind in GRADUAL
        for part in (self.strength, self.percent):
            part.setVisible(gradual)
        if not self.strength.isSliderDown():
            self.strength.blockSignals(True)
            self.strength.setValue(round(edit.strength * 100))
            self.strength.blockSignals(False)
        self.percent.setText(f"{edit.strength * 100:.0f} %")

    def restyle(self, theme: Theme) -> None:
        self.show_icons(theme)
        self.setStyleSheet(f"EditRow {{ background: {theme.raised}; border-radius: 3px; }}")
        self.scope.setStyleSheet(f"color: {theme.faint};")
        self.percent.setFixedWidth(self.fontMetrics().horizontalAdvance("200 % "))

    def _prepare(self) -> None:
        self.scope.setTextFormat(Qt.TextFormat.PlainText)
        for label in (self.words, self.scope):
            label.setMinimumWidth(1)
        self.strength.setRange(0, STRONGEST)
        self.strength.setSingleStep(5)
        self.strength.setPageStep(25)
        self.strength.setTickInterval(100)
        self.strength.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.strength.setToolTip(self.tr("Strength: x + s · (edited − x); 0 % changes nothing, 100 % is what it says"))
        self.percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.strength.valueChanged.connect(lambda value: self.strength_changed.emit(value / 100))

    def _arrange(self) -> None:
        self.setAutoFillBackground(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 3, 4, 4)
        column.setSpacing(1)
        first, last = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.on)
        first.addWidget(self.words, 1)
        for button in self.buttons.values():
            first.addWidget(button)
        last.addWidget(self.strength, 1)
        last.addWidget(self.percent)
        column.addLayout(first)
        column.addWidget(self.scope)
        column.addLayout(last)


class EditRows(CardColumn):
    """As many rows as there are edits. A row stays the same widget while its edit changes: its slider may be held."""

    switched = Signal(int, bool)
    strength_changed = Signal(int, float)
    asked = Signal(int, str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Edits"))
        self._theme = theme
        self.rows: list[EditRow] = []

    def show_edits(self, edits: tuple[Edit, ...], n_read: int, n_steps: int) -> None:
        """``n_steps`` passes have read ``n_read`` positions: edits of these change nothing any more."""
        while len(self.rows) > len(edits):
            self.take_out(self.rows.pop())
        while len(self.rows) < len(edits):
            self._add()
        for row, edit in zip(self.rows, edits, strict=True):
            row.show_edit(edit, past_text(edit, n_read, n_steps, self.tr))

    def restyle(self, theme: Theme) -> None:
        self._theme = theme
        for row in self.rows:
            row.restyle(theme)

    def _add(self) -> None:
        row, index = EditRow(self._theme), len(self.rows)
        row.switched.connect(partial(self.switched.emit, index))
        row.strength_changed.connect(partial(self.strength_changed.emit, index))
        row.asked.connect(partial(self.asked.emit, index))
        self.rows.append(row)
        self.put_in(index, row)
