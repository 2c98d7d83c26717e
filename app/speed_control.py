"""The speed of a pass that is watched: a button that says it, with a slider below."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QSlider, QToolButton, QWidget, QWidgetAction

from app.speeds import FULL, SPEEDS, short_text, speed_text
from app.theme import Theme, icon


class SpeedButton(QToolButton):
    """``chosen``: an index of SPEEDS. Left and Right move the slider, which has the focus while it is open."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.slider, self.words = QSlider(Qt.Orientation.Horizontal), QLabel()
        self.slider.setRange(0, FULL)
        self.slider.setPageStep(1)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.slider.setAccessibleName(self.tr("Speed of the pass"))
        self.slider.valueChanged.connect(self.chosen)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setAutoRaise(True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._make_menu()
        self.show_speed(FULL)

    def show_speed(self, index: int) -> None:
        """Without ``chosen``."""
        self.slider.blockSignals(True)
        self.slider.setValue(index)
        self.slider.blockSignals(False)
        text = speed_text(SPEEDS[index], self.tr)
        self.words.setText(text)
        self.setText(short_text(SPEEDS[index], self.tr))
        self.setAccessibleName(self.tr("Speed: {0}").format(text))
        self.setToolTip(self.tr("How fast a pass goes through its stages, to be watched: {0}").format(text))

    def restyle(self, theme: Theme) -> None:
        self.setIcon(icon("speed", theme))
        metrics = self.fontMetrics()
        side = round(metrics.height() * 1.2)
        self.setIconSize(QSize(side, side))
        widest = max(metrics.horizontalAdvance(short_text(speed, self.tr)) for speed in SPEEDS)
        self.setFixedWidth(round(widest + side + metrics.height() * 1.5))  # its neighbours stay where they are
        self.slider.setFixedWidth(metrics.averageCharWidth() * 36)
        self.words.setFixedWidth(max(metrics.horizontalAdvance(speed_text(speed, self.tr)) for speed in SPEEDS))

    def _make_menu(self) -> None:
        menu, holder, action = QMenu(self), QWidget(), QWidgetAction(self)
        row, gap = QHBoxLayout(holder), self.fontMetrics().height() // 2
        row.setContentsMargins(gap, gap, gap, gap)
        row.addWidget(self.slider)
        row.addWidget(self.words)
        action.setDefaultWidget(holder)
        menu.addAction(action)
        menu.aboutToShow.connect(self.slider.setFocus)
        self.setMenu(menu)
