"""What every key does: made from the table of commands, shown over the window."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QWidget

from app.commands import COMMANDS, key_names, translate
from app.theme import Theme, mono_font


class KeysPage(QFrame):
    """Lies over the middle of its parent until Esc or a click."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName(self.tr("Keys"))
        self.setObjectName("keys")
        self._keys: list[QLabel] = []
        grid = QGridLayout(self)
        grid.setHorizontalSpacing(24)
        for row, (keys, text) in enumerate(key_lines()):
            grid.addWidget(self._key(keys), row % _rows(), 2 * (row // _rows()))
            grid.addWidget(QLabel(text), row % _rows(), 2 * (row // _rows()) + 1)
        self.hide()

    def toggle(self) -> None:
        self.setVisible(not self.isVisible())
        if self.isVisible():
            self.place()
            self.raise_()

    def place(self) -> None:
        """In the middle of the parent."""
        self.adjustSize()
        self.move(self.window().rect().center() - self.rect().center())

    def restyle(self, theme: Theme) -> None:
        for label in self._keys:
            label.setFont(mono_font())
        self.setStyleSheet(f"#keys {{ background: {theme.raised}; border: 1px solid {theme.line}; }}")

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


def _rows() -> int:
    return -(-len(key_lines()) // 2)
