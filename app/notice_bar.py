"""What is no error and yet to be known, said once, quietly: about the model that was opened, or the settings."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QToolButton

from app.theme import Theme, icon
from app.widgets.bar_parts import name_button, sentence_label
from engine.frames import ModelFrame


class NoticeBar(QFrame):
    """Sentences about the program, and about the model that was opened; hidden while there are none.

    Dismissed sentences do not come again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sentences = sentence_label()
        self.dismiss = QToolButton()
        self._dismissed: set[tuple[str, tuple[str, ...]]] = set()
        self._of_model: tuple[str, tuple[str, ...]] = ("", ())
        self._of_program: dict[str, bool] = {}  # sentences, and whether they are still to be read
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        row.addWidget(self.sentences, 1)
        row.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_model(self, model: ModelFrame) -> None:
        """Say what is to be said about a model that was opened, unless the user has dismissed it before."""
        self._of_model = (model.source, model.warnings)
        self._refresh()

    def say(self, sentence: str) -> None:
        """Say something about the program; it stays until it is dismissed, and is said once."""
        self._of_program.setdefault(sentence, True)
        self._refresh()

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.setStyleSheet(f"NoticeBar {{ background: {theme.panel}; border-left: 4px solid {theme.line}; }}")
        self.sentences.setStyleSheet(f"color: {theme.faint};")

    def _refresh(self) -> None:
        of_program = [sentence for sentence, open_still in self._of_program.items() if open_still]
        of_model = () if self._of_model in self._dismissed else self._of_model[1]
        self.sentences.setText("\n".join((*of_program, *of_model)))
        self.setVisible(bool(of_program or of_model))

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Notice"))
        name_button(self.dismiss, self.tr("Dismiss the notice"))
        self.dismiss.clicked.connect(self._forget)

    def _forget(self) -> None:
        self._dismissed.add(self._of_model)
        self._of_program = dict.fromkeys(self._of_program, False)
        self._refresh()
