"""What is no error and yet to be known, said once, quietly: about the model that was opened, or the settings."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton

from app.engine_words import said
from app.theme import Theme, icon
from app.widgets.bar_parts import name_button, sentence_label
from engine.frames import ModelFrame


class NoticeBar(QFrame):
    """Sentences about the program, and about the model that was opened; hidden while there are none.

    Dismissed sentences do not come again. ``again_asked``: the user wants the new start that a sentence offers.
    """

    again_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sentences = sentence_label()
        self.again, self.dismiss = QPushButton(self.tr("Start again now")), QToolButton()
        self._dismissed: set[tuple[str, tuple[str, ...]]] = set()
        self._of_model: tuple[str, tuple[str, ...]] = ("", ())
        self._of_program: dict[str, bool] = {}  # sentences, and whether they are still to be read
        self._offered = ""  # the sentence that the button belongs to
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        row.addWidget(self.sentences, 1)
        row.addWidget(self.again, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self.dismiss, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    def show_model(self, model: ModelFrame) -> None:
        """Say what is to be said about a model that was opened, unless the user has dismissed it before."""
        self._of_model = (model.source, model.warnings)
        self._refresh()

    def say(self, sentence: str) -> None:
        """Say something about the program; it stays until it is dismissed, and is said once."""
        if sentence:
            self._of_program.setdefault(sentence, True)
        self._refresh()

    def take_back(self, sentence: str) -> None:
        """It holds no more; if it comes to hold again it is said again."""
        self._of_program.pop(sentence, None)
        self._refresh()

    def offer(self, sentence: str) -> None:
        """Say what takes a new start of the program, with a button for it, in place of such a sentence before; "": say
        none."""
        self._offered = sentence
        self._refresh()

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.setStyleSheet(f"NoticeBar {{ background: {theme.panel}; border-left: 4px solid {theme.line}; }}")
        self.sentences.setStyleSheet(f"color: {theme.faint};")

    def _refresh(self) -> None:
        of_program = [sentence for sentence, open_still in self._of_program.items() if open_still]
        of_model = () if self._of_model in self._dismissed else self._of_model[1]
        sentences = [*filter(None, [self._offered]), *of_program, *of_model]
        self.sentences.setText("\n".join(said(sentence, self.tr) for sentence in sentences))
        self.again.setVisible(bool(self._offered))
        self.setVisible(bool(sentences))

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("Notice"))
        name_button(self.dismiss, self.tr("Dismiss the notice"))
        self.again.clicked.connect(self.again_asked)
        self.dismiss.clicked.connect(self._forget)

    def _forget(self) -> None:
        self._offered = ""
        self._dismissed.add(self._of_model)
        self._of_program = dict.fromkeys(self._of_program, False)
        self._refresh()
