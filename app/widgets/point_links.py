"""Where a tensor comes from and goes to: the points before and behind it, to be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QToolButton, QWidget

from app.widgets.flow import FlowLayout
from engine.point_table import split_name


class PointLinks(QWidget):
    """``point_asked``: the full name of the point that was clicked."""

    point_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.shown: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._flow = FlowLayout(self)
        self._parts: list[QWidget] = []
        self.setAccessibleName(self.tr("Where the tensor comes from and goes to"))

    def show_links(self, layer: int | None, made_of: Sequence[str], goes_to: Sequence[str]) -> None:
        """Full names of points; those of ``layer`` are shown without it."""
        shown = (tuple(made_of), tuple(goes_to))
        if shown == self.shown and self._parts:
            return
        self.shown = shown
        for part in self._parts:
            self._flow.removeWidget(part)
            part.hide()
            part.deleteLater()
        self._parts = []
        for title, names, arrow in (
            (self.tr("made of"), made_of, Qt.ArrowType.LeftArrow),
            (self.tr("goes to"), goes_to, Qt.ArrowType.RightArrow),
        ):
            if names:
                self._add(QLabel(title))
            for name in names:
                self._add(self._button(name, layer, title, arrow))
        self._fit()

    def _fit(self) -> None:
        """In one line, where that works without the words: the arrows say the same."""
        gap, parts = self.fontMetrics().height(), self._parts
        whole = sum(part.sizeHint().width() + gap for part in parts)
        for part in parts:
            if isinstance(part, QLabel):
                part.setVisible(whole <= self.width())
        self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._fit()

    def buttons(self) -> list[QToolButton]:
        """In their order."""
        return [part for part in self._parts if isinstance(part, QToolButton)]

    def _add(self, part: QWidget) -> None:
        part.setFixedHeight(round(self.fontMetrics().height() * 1.5))
        self._flow.addWidget(part)
        part.show()
        self._parts.append(part)

    def _button(self, name: str, layer: int | None, title: str, arrow: Qt.ArrowType) -> QToolButton:
        other, inner = split_name(name)
        button = QToolButton()
        near = other is None or other == layer
        button.setText(inner if near else self.tr("layer {0} · {1}").format(other, inner))
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setArrowType(arrow)
        button.setAutoRaise(True)
        button.setAccessibleName(f"{title} {name}")
        button.setToolTip(self.tr("Look at {0}").format(name))
        button.clicked.connect(lambda: self.point_asked.emit(name))
        return button

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return QSize(0, super().minimumSizeHint().height())
