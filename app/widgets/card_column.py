"""Cards one below the other, in a column that scrolls up and down."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QLabel, QScrollArea, QToolButton, QVBoxLayout, QWidget

from app.theme import Theme, icon

_ICONS = {"change": "edit", "duplicate": "copy", "remove": "close"}


class Card(QFrame):
    """Something that is on or off, in words, and what can be done with it. Its signals say what the user does to it."""

    switched = Signal(bool)
    asked = Signal(str)  # the name of a button: "change", "duplicate" or "remove"

    def __init__(self, *buttons: str) -> None:
        super().__init__()
        self.on, self.words = QCheckBox(), QLabel(wordWrap=True)
        self.buttons = {name: QToolButton() for name in buttons}
        self.on.setToolTip(self.tr("On or off"))
        self.on.toggled.connect(self.switched)
        self.words.setTextFormat(Qt.TextFormat.PlainText)  # it may hold tokens
        for name, button in self.buttons.items():
            button.setAutoRaise(True)
            button.setToolTip(self._titles()[name])
            button.clicked.connect(partial(self.asked.emit, name))

    def name_buttons(self, text: str) -> None:
        """Say what they are about to those who hear them."""
        for name, button in self.buttons.items():
            button.setAccessibleName(f"{self._titles()[name]}: {text}")

    def show_icons(self, theme: Theme) -> None:
        side = self.fontMetrics().height()
        for name, button in self.buttons.items():
            button.setIcon(icon(_ICONS[name], theme))
            button.setIconSize(QSize(side, side))

    def _titles(self) -> dict[str, str]:
        return {"change": self.tr("Change"), "duplicate": self.tr("Duplicate"), "remove": self.tr("Delete")}


class CardColumn(QScrollArea):
    """Cards are put in and taken out by whoever knows what they show."""

    def __init__(self) -> None:
        super().__init__(widgetResizable=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        body = QWidget()
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(6, 4, 6, 4)
        self._column.setSpacing(4)
        self._column.addStretch(1)
        self.setWidget(body)

    def put_in(self, index: int, card: QWidget) -> None:
        """As the card of this number from the top, counted from 0."""
        self._column.insertWidget(index, card)

    def take_out(self, card: QWidget) -> None:
        self._column.removeWidget(card)
        card.hide()
        card.deleteLater()
