"""What a model's files have and the model does without: said once, quietly, when it is opened."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QToolButton

from app.theme import Theme, icon
from engine.frames import ModelFrame


class NoticeBar(QFrame):
    """Sentences about the model that was opened; hidden where there are none, and once they were dismissed."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences = QLabel()
        self.dismiss = QToolButton()
        self._dismissed: set[tuple[str, tuple[str, ...]]] = set()
        self._shown: tuple[str, tuple[str, ...]] = ("", ())
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        row.addWidget(self.sentences, 1)
        row.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_model(self, model: ModelFrame) -> None:
        """Say what is to be said about a model that was opened, unless the user has dismissed it before."""
        self._shown = (model.source, model.warnings)
        self.sentences.setText("\n".join(model.warnings))
        self.setVisible(bool(model.warnings) and self._shown not in self._dismissed)

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.setStyleSheet(f"NoticeBar {{ background: {theme.panel}; border-left: 4px solid {theme.line}; }}")
        self.sentences.setStyleSheet(f"color: {theme.faint};")

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Notice about the model"))
        self.sentences.setTextFormat(Qt.TextFormat.PlainText)
        self.sentences.setWordWrap(True)
        self.sentences.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sentences.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        name = self.tr("Dismiss the notice")
        self.dismiss.setAccessibleName(name)
        self.dismiss.setToolTip(name)
        self.dismiss.setAutoRaise(True)
        self.dismiss.clicked.connect(self._forget)

    def _forget(self) -> None:
        self._dismissed.add(self._shown)
        self.hide()
