"""The speed of a pass that is watched: a slider in the bar, or a button that says the speed, with the slider below."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QMenu, QSizePolicy, QSlider, QToolButton, QWidget, QWidgetAction

from app.speeds import FULL, SPEEDS, short_text, speed_text
from app.theme import Theme, icon

_LETTERS = {True: 14, False: 36}  # of the slider, inline and in the menu


class SpeedControl(QWidget):
    """``chosen``: an index of SPEEDS. There is one slider: it lies in the bar where that has room (``set_inline``),
    else in the button's menu, where it has the focus while that is open. Left and Right move it."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.inline = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.button, self.name, self.short, self.words = QToolButton(), QLabel(self.tr("Speed")), QLabel(), QLabel()
        self._prepare_slider()
        self._prepare_button()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        for part in (self.button, self.name, self.short):
            self._row.addWidget(part)
        self.name.setBuddy(self.slider)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._place()
        self.show_speed(FULL)

    def set_inline(self, inline: bool) -> None:
        """Whether the slider lies in the bar."""
        if inline != self.inline:
            self.inline = inline
            self._place()

    def show_speed(self, index: int) -> None:
        """Without ``chosen``."""
        self.slider.blockSignals(True)
        self.slider.setValue(index)
        self.slider.blockSignals(False)
        text, short = speed_text(SPEEDS[index], self.tr), short_text(SPEEDS[index], self.tr)
        self.words.setText(text)
        self.short.setText(short)
        self.button.setText(short)
        self.button.setAccessibleName(self.tr("Speed: {0}").format(text))
        self.slider.setAccessibleDescription(text)
        self.setToolTip(self.tr("How fast a pass goes through its stages, to be watched: {0}").format(text))

    def restyle(self, theme: Theme) -> None:
        self.button.setIcon(icon("speed", theme))
        metrics = self.fontMetrics()
        side = round(metrics.height() * 1.2)
        self.button.setIconSize(QSize(side, side))
        widest = max(metrics.horizontalAdvance(short_text(speed, self.tr)) for speed in SPEEDS)
        self.button.setFixedWidth(round(widest + side + metrics.height() * 1.5))  # its neighbours stay where they are
        self.short.setFixedWidth(widest + metrics.averageCharWidth())
        self.words.setFixedWidth(max(metrics.horizontalAdvance(speed_text(speed, self.tr)) for speed in SPEEDS))
        self._size_slider()

    def _prepare_slider(self) -> None:
        self.slider.setRange(0, FULL)
        self.slider.setPageStep(1)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.slider.setAccessibleName(self.tr("Speed of the pass"))
        self.slider.valueChanged.connect(self.chosen)

    def _prepare_button(self) -> None:
        button = self.button
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setAutoRaise(True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        menu, holder, action = QMenu(button), QWidget(), QWidgetAction(button)
        self._menu_row, gap = QHBoxLayout(holder), self.fontMetrics().height() // 2
        self._menu_row.setContentsMargins(gap, gap, gap, gap)
        self._menu_row.addWidget(self.words)
        action.setDefaultWidget(holder)
        menu.addAction(action)
        menu.aboutToShow.connect(self.slider.setFocus)
        button.setMenu(menu)

    def _place(self) -> None:
        """The slider into the bar or the menu; what is not used there is hidden."""
        if self.inline:
            self.button.menu().close()
            self._row.insertWidget(2, self.slider)
            self.setTabOrder(self.button, self.slider)
        else:
            self._menu_row.insertWidget(0, self.slider)
        self.slider.show()
        self.button.setVisible(not self.inline)
        for part in (self.name, self.short):
            part.setVisible(self.inline)
        self._size_slider()
        self._row.invalidate()
        self.updateGeometry()

    def _size_slider(self) -> None:
        self.slider.setFixedWidth(self.fontMetrics().averageCharWidth() * _LETTERS[self.inline])
