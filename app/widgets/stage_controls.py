"""The chain of sampling stages: each with its control, and beside it what it did to the token that is shown."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from app.depth import USUAL, Depth
from app.depth_texts import sampling_term, sampling_text
from app.theme import Theme
from app.widgets.amounts import grouped, percent
from app.widgets.decimal_box import DecimalBox
from app.widgets.follow_font import follow_font
from app.widgets.still_label import StillLabel
from app.widgets.term_words import tip_html, told
from engine.frames import SamplingFrame, StageFrame
from engine.settings import SAMPLING_RANGES, Sampling

_NEW_SEEDS = 2**31  # a new seed is below it: short enough to read out
_SEED_MOST = 2**53  # a spin box of doubles holds whole numbers up to it


@dataclass(frozen=True)
class _Control:
    """A stage's name in a StageFrame, its field of Sampling, and how its spin box counts."""

    stage: str
    field: str
    most: float
    step: float
    decimals: int
    cuts: bool


_CONTROLS = (
    _Control("repetition", "repetition_penalty", 10, 0.05, 2, False),
    _Control("presence", "presence_penalty", 10, 0.1, 2, False),
    _Control("frequency", "frequency_penalty", 10, 0.1, 2, False),
    _Control("temperature", "temperature", 10, 0.1, 2, False),
    _Control("top-k", "top_k", 1_000_000, 1, 0, True),
    _Control("top-p", "top_p", 1, 0.05, 3, True),
    _Control("min-p", "min_p", 1, 0.01, 3, True),
    _Control("typical-p", "typical_p", 1, 0.05, 3, True),
)

_WIDEST = "0.95: 999 kept, −99.9 %"
_CUTTING = frozenset(control.stage for control in _CONTROLS if control.cuts)


class StageControls(QWidget):
    """Rows in the order of the chain. ``changed`` carries a Sampling when the user moved a control."""

    changed = Signal(object)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._settings = Sampling()
        self._shown: SamplingFrame | None = None
        self._names: dict[str, QLabel] = {}
        self._effects: dict[str, StillLabel] = {}
        self._rows: dict[str, tuple[QWidget, ...]] = {}
        self._boxes: dict[str, QSpinBox | DecimalBox] = {}
        self._grid = QGridLayout(self)
        gap = self.fontMetrics().height() // 4
        self._grid.setContentsMargins(gap * 2, gap, gap * 2, gap)
        self._grid.setVerticalSpacing(gap)
        self._grid.setColumnStretch(2, 1)
        for control in _CONTROLS:
            self._add_control(control)
        self._add_greedy()
        self._add_seed()
        self._grid.setRowStretch(self._grid.rowCount(), 1)
        self._fill_in()
        self.show_depth(USUAL)

    def titles(self) -> dict[str, str]:
        """Translated names of the stages by their names in the frames."""
        return {
            "repetition": self.tr("repetition"),
            "presence": self.tr("presence"),
            "frequency": self.tr("frequency"),
            "temperature": self.tr("temperature"),
            "top-k": self.tr("top-k"),
            "top-p": self.tr("top-p"),
            "min-p": self.tr("min-p"),
            "typical-p": self.tr("typical-p"),
            "greedy": self.tr("greedy"),
        }

    def settings(self) -> Sampling:
        return self._settings

    def set_settings(self, settings: Sampling) -> None:
        """Show other settings, without ``changed``."""
        self._settings = settings
        self._fill_in()

    def show_stages(self, shown: SamplingFrame | None) -> None:
        """What each stage did to one token; None where no token was chosen."""
        self._shown = shown
        stages = {} if shown is None else {stage.name: stage for stage in shown.stages}
        for name, effect in self._effects.items():
            stage = stages.get(name)
            effect.setText("" if stage is None else self._effect(stage))
            self._grey(name, stage is None or not stage.active)

    def show_depth(self, depth: Depth) -> None:
        """How the stages are explained from now on."""
        for name, parts in self._rows.items():
            text = sampling_text(name, depth)
            tip = tip_html(text if depth == "code" else told(text), code=depth == "code") if text else ""
            for part in parts:
                part.setToolTip(self._greedy_tip() if name == "greedy" and depth == "numbers" else tip)

    def _greedy_tip(self) -> str:
        return self.tr("Take the most probable token; temperature, the cuts and the seed then do nothing")

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self.show_stages(self._shown)

    # --- building ---------------------------------------------------------------------------------------------

    def _add_control(self, control: _Control) -> None:
        box = DecimalBox() if control.decimals else QSpinBox()
        least = SAMPLING_RANGES[control.field][0]
        if isinstance(box, DecimalBox):
            box.setDecimals(control.decimals)
            box.setRange(max(least, 10**-control.decimals) if least > 0 else max(least, -control.most), control.most)
            box.setSingleStep(control.step)
        else:
            box.setRange(int(least), int(control.most))
        box.setKeyboardTracking(False)
        follow_font(
            box, lambda font: box.setMaximumWidth(round(font.horizontalAdvance("000.000") + font.height() * 1.6))
        )
        self._boxes[control.field] = box
        self._add_row(control.stage, box)
        box.valueChanged.connect(lambda value, field=control.field: self._set(**{field: value}))

    def _add_greedy(self) -> None:
        self._greedy = QCheckBox()
        self._add_row("greedy", self._greedy)
        self._greedy.toggled.connect(lambda on: self._set(greedy=on))

    def _add_seed(self) -> None:
        self._seed = DecimalBox(decimals=0, maximum=_SEED_MOST)
        self._seed.setKeyboardTracking(False)
        seed = self._seed
        follow_font(seed, lambda font: seed.setFixedWidth(font.horizontalAdvance("0" * 10) + font.height() * 2))
        self._seed.setAccessibleName(self.tr("seed"))
        self._seed.setProperty("term", "seed")
        self._boxes["seed"] = self._seed
        pair = QWidget()
        row = QHBoxLayout(pair)
        row.setContentsMargins(0, 0, 0, 0)
        label = QLabel(self.tr("seed"))
        label.setBuddy(self._seed)
        line = self._grid.rowCount()
        self._grid.addWidget(label, line, 0)
        self._grid.addWidget(pair, line, 1, 1, 2)
        self._seed.valueChanged.connect(lambda seed: self._set(seed=int(seed)))
        self._new_seed = QPushButton(self.tr("new seed"))
        self._new_seed.setAccessibleName(self.tr("Draw a new seed"))
        self._new_seed.clicked.connect(lambda: self._seed.setValue(random.randrange(_NEW_SEEDS)))
        row.addWidget(self._seed)
        row.addWidget(self._new_seed)
        row.addStretch(1)

    def _add_row(self, name: str, box: QWidget) -> None:
        row = self._grid.rowCount()
        label, effect = QLabel(self.titles()[name]), StillLabel()
        label.setBuddy(box)
        box.setAccessibleName(self.titles()[name])
        follow_font(effect, lambda font: effect.setMinimumWidth(font.horizontalAdvance(_WIDEST)))
        self._names[name], self._effects[name] = label, effect
        self._rows[name] = (label, box, effect)
        for part in self._rows[name]:
            part.setProperty("term", sampling_term(name))
        for column, part in enumerate((label, box, effect)):
            self._grid.addWidget(part, row, column)

    # --- what is shown ----------------------------------------------------------------------------------------

    def _fill_in(self) -> None:
        for field, box in self._boxes.items():
            box.blockSignals(True)
            box.setValue(min(getattr(self._settings, field), box.maximum()))
            box.blockSignals(False)
        self._greedy.blockSignals(True)
        self._greedy.setChecked(self._settings.greedy)
        self._greedy.blockSignals(False)

    def _set(self, **change: Any) -> None:
        self._settings = replace(self._settings, **change)
        self.changed.emit(self._settings)

    def _effect(self, stage: StageFrame) -> str:
        """With the setting the token was chosen with, which may not be the one in the control any more."""
        if not stage.active:
            return self.tr("off")
        kept = self.tr("{0} kept").format(grouped(stage.kept)) + (f", −{percent(stage.cut)}" if stage.cut else "")
        if stage.name == "greedy":
            return kept
        return f"{stage.value:g}: " + (kept if stage.name in _CUTTING else self.tr("reweighted"))

    def _grey(self, name: str, inactive: bool) -> None:
        colour = self._theme.faint if inactive else self._theme.text
        for label in (self._names[name], self._effects[name]):
            palette = label.palette()
            if palette.color(label.foregroundRole()).name() != colour:
                palette.setColor(label.foregroundRole(), colour)
                label.setPalette(palette)
