"""What bars below the commands are made of: a sentence that takes the room there is, and a button with a name."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QToolButton


def sentence_label() -> QLabel:
    """Plain text, which may be foreign: it wraps, can be selected, and never widens the window."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def name_button(button: QToolButton, name: str) -> None:
    """Flat, with its name for those who hear it and as its tip."""
    button.setAutoRaise(True)
    button.setAccessibleName(name)
    button.setToolTip(name)
