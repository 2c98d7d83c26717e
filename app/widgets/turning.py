"""A splitter that puts its parts side by side where it is wide, and below each other where it is tall."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter


class TurningSplitter(QSplitter):
    """Turns by its own shape, where it is more than ``tall`` times as high as wide; the shares of the parts stay.

    ``narrow``: also where its parts have no room beside each other; it needs no more than the widest of them then.
    """

    def __init__(self, tall: float = 1.25, *, narrow: bool = False) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._tall, self.narrow = tall, narrow
        self.setChildrenCollapsible(False)

    def too_narrow(self, width: int) -> bool:
        """Whether the parts go below each other at a width, however high it is."""
        widths = self._least_widths()
        return self.narrow and width < sum(widths) + self.handleWidth() * (len(widths) - 1)

    def _least_widths(self) -> list[int]:
        parts = map(self.widget, range(self.count()))
        seen = (part for part in parts if part is not None and not part.isHidden())
        return [max(part.minimumSizeHint().width(), part.minimumWidth()) for part in seen]

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        size = super().minimumSizeHint()
        if self.narrow:
            size.setWidth(max(self._least_widths(), default=0))
        return size

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        tall = self.height() > self.width() * self._tall or self.too_narrow(self.width())
        wanted = Qt.Orientation.Vertical if tall else Qt.Orientation.Horizontal
        if wanted != self.orientation():
            shares = self.sizes()
            self.setOrientation(wanted)
            self.setSizes([max(1, share) * 10 for share in shares])
        super().resizeEvent(event)
