"""Cards one below the other, in a column that scrolls up and down."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


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
