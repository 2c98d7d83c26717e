"""The stages of attention in a row, from q · k to the values: one of them is shown."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from app.depth import USUAL, Depth
from app.theme import Theme, ink
from app.widgets.canvas import tint
from app.widgets.term_words import tip_html
from engine.questions import AttentionStage

STAGES: tuple[AttentionStage, ...] = ("products", "scaled", "masked", "pattern", "contribution")
_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}


class StageBar(QWidget):
    """``Q·Kᵀ → scale → mask → softmax → ×V``; ``stage_chosen`` tells which is wanted."""

    stage_chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.stage: AttentionStage = "pattern"
        self._chosen: AttentionStage = "pattern"
        self._by_hand = False  # ``_chosen`` goes before where the pass stands
        self._stop: AttentionStage | None = None
        self._buttons = {stage: _StageButton(text) for stage, text in self._texts().items()}
        self._group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self._gap = self.fontMetrics().averageCharWidth() // 2
        row.setSpacing(self._gap)
        self._arrows: list[QLabel] = []
        for stage, button in self._buttons.items():
            if row.count():
                self._arrows.append(QLabel("→"))
                row.addWidget(self._arrows[-1])
            row.addWidget(button)
            self._group.addButton(button)
            button.clicked.connect(lambda _=False, stage=stage: self.choose(stage))
        self.set_theme(theme)
        self._buttons[self.stage].setChecked(True)
        self.setAccessibleName(self.tr("Stage of attention"))

    def names(self) -> dict[AttentionStage, str]:
        """What the figures of each stage are, in full."""
        return {
            "products": self.tr("q · k"),
            "scaled": self.tr("scaled score"),
            "masked": self.tr("masked score"),
            "pattern": self.tr("weight"),
            "contribution": self.tr("‖weight · value‖"),
        }

    def _texts(self) -> dict[AttentionStage, str]:
        return {
            "products": self.tr("Q·Kᵀ"),
            "scaled": self.tr("scale"),
            "masked": self.tr("mask"),
            "pattern": self.tr("softmax"),
            "contribution": self.tr("× V"),
        }

    def choose(self, stage: AttentionStage) -> None:
        """Show a stage, as a click on it does, wherever the pass stands; the one where it stands is followed again."""
        self._chosen, self._by_hand = stage, stage != self._stop
        self._show(stage)

    def follow(self, stop: AttentionStage | None) -> None:
        """The pass stands at a stage, which is shown unless one was chosen by hand; None: it stands at none."""
        self._stop = stop
        self._show(self._chosen if stop is None or self._by_hand else stop)

    def forget(self) -> None:
        """Another run: what is chosen stays, and its stops are followed."""
        self._by_hand = False

    def _show(self, stage: AttentionStage) -> None:
        self._buttons[stage].setChecked(True)
        if stage != self.stage:
            self.stage = stage
            self.stage_chosen.emit(stage)

    def explain(self, texts: dict[AttentionStage, str], depth: Depth = USUAL) -> None:
        """What each stage does in the layer that is looked at, in a sentence, as a formula, or as code."""
        for stage, text in texts.items():
            self._buttons[stage].setToolTip(text if depth == "numbers" else tip_html(text, code=depth == "code"))
            self._buttons[stage].setAccessibleDescription(text)

    def set_theme(self, theme: Theme) -> None:
        """The chosen stage is in the colour of what is selected."""
        for button in self._buttons.values():
            button.set_theme(theme)

    def button(self, stage: AttentionStage) -> QPushButton:
        return self._buttons[stage]

    def sizeHint(self) -> QSize:  # noqa: N802
        """One line, with the arrows."""
        return self._room([part.sizeHint() for part in (*self._buttons.values(), *self._arrows)])

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        """In a narrow panel the arrows give way: no stage may be cut off."""
        return self._room([button.minimumSizeHint() for button in self._buttons.values()])

    def _room(self, hints: list[QSize]) -> QSize:
        gaps = self._gap * (len(hints) - 1)
        return QSize(sum(hint.width() for hint in hints) + gaps, max(hint.height() for hint in hints))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        for arrow in self._arrows:
            arrow.setVisible(self.width() >= self.sizeHint().width())

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None:
            event.ignore()
            return
        place = min(max(STAGES.index(self.stage) + step, 0), len(STAGES) - 1)
        self._buttons[STAGES[place]].setFocus(Qt.FocusReason.TabFocusReason)
        self.choose(STAGES[place])


class _StageButton(QPushButton):
    """Left and right belong to the row. When it is checked it has the accent: the style's own shade is hard to see."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)  # it can be narrower than its hint
        self.setAccessibleName(text)
        self._theme: Theme | None = None
        self.toggled.connect(self._colour)

    def set_theme(self, theme: Theme) -> None:
        self._theme = theme
        self._colour()

    def _colour(self) -> None:
        colours = QPalette()
        if self._theme is not None and self.isChecked():
            colours.setColor(QPalette.ColorRole.Button, tint(self._theme.accent))
            colours.setColor(QPalette.ColorRole.ButtonText, ink(self._theme.accent))
        self.setPalette(colours)

    def sizeHint(self) -> QSize:  # noqa: N802
        """No wider than its text: the style's least width would take a line of its own for five of them."""
        hint, metrics = super().sizeHint(), self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self.text()) + metrics.averageCharWidth() * 4, hint.height())

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self.sizeHint() - QSize(self.fontMetrics().averageCharWidth() * 2, 0)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if Qt.Key(event.key()) in _STEPS:
            event.ignore()  # to the row
        else:
            super().keyPressEvent(event)
