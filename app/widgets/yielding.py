"""A splitter of a picture and of what stands below it only where the picture keeps its room."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSplitter, QWidget

from app.widgets.least import least_height

KEPT_EMS = 8.0  # height of the picture with its axes, in lines of text


class YieldingSplitter(QSplitter):
    """``below`` has what ``picture`` can spare of its room, and is hidden where that is too little for it."""

    def __init__(self, picture: QWidget, below: QWidget) -> None:
        super().__init__(Qt.Orientation.Vertical)
        self._below = below
        for part in (picture, below):
            self.addWidget(part)
        self.setChildrenCollapsible(False)

    def share(self) -> None:
        """The room or the letters are others."""
        kept = round(KEPT_EMS * self.fontMetrics().height())
        spare = self.height() - self.handleWidth() - kept
        self._below.setVisible(spare >= least_height(self._below, self.width()))
        if not self._below.isHidden() and self.sizes()[0] < kept:
            self.setSizes([kept, spare])

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.share()
