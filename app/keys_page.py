"""What every key does: made from the table of commands, shown over the window."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QHideEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollArea, QWidget

from app.commands import COMMANDS, key_names, translate
from app.theme import Theme, mono_font


class KeysPage(QScrollArea):
    """Lies over the middle of its parent until Esc or a click; scrolls where the parent is smaller."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Keys"))
        self.setObjectName("keys")
        self._keys: list[QLabel] = []
        self._focused: QWidget | None = None  # before it was shown
        self._lines = QWidget()
        grid = QGridLayout(self._lines)
        grid.setHorizontalSpacing(24)
        lines = key_lines()
        rows = -(-len(lines) // 2)
        for row, (keys, text) in enumerate(lines):
            grid.addWidget(self._key(keys), row % rows, 2 * (row // rows))
            grid.addWidget(QLabel(text), row % rows, 2 * (row // rows) + 1)
        self.setWidget(self._lines)
        self.hide()

    def toggle(self) -> None:
        if self.isVisible():
            self.hide()
            return
        self._focused = self.window().focusWidget()
        self.show()
        self.place()
        self.raise_()
        self.setFocus()  # arrow keys scroll it

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        super().hideEvent(event)
        focused, self._focused = self._focused, None
        if focused is not None:
            focused.setFocus()

    def place(self) -> None:
        """In the middle of the parent, as large as its lines where there is room."""
        self._lines.adjustSize()
        frame, bar = 2 * self.frameWidth(), self.verticalScrollBar().sizeHint().width()
        room, wanted = self.window().size(), self._lines.size() + QSize(frame, frame)
        if wanted.height() > room.height():
            wanted += QSize(bar, 0)
        if wanted.width() > room.width():
            wanted += QSize(0, bar)
        self.resize(wanted.boundedTo(room))
        self.move(self.window().rect().center() - self.rect().center())

    def restyle(self, theme: Theme) -> None:
        for label in self._keys:
            label.setFont(mono_font())
        ground = f"background: {theme.raised};"
        self.setStyleSheet(f"#keys {{ {ground} border: 1px solid {theme.line}; }} #keys QWidget {{ {ground} }}")

    def mousePressEvent(self, event) -> None:  # noqa: N802
        self.hide()

    def _key(self, keys: str) -> QLabel:
        label = QLabel(keys)
        label.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._keys.append(label)
        return label


def key_lines() -> list[tuple[str, str]]:
    """(keys, help) of every command that has a key."""
    return [(" ".join(key_names(command)), translate(command.help)) for command in COMMANDS if key_names(command)]
