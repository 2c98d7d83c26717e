"""What a program left that did not end properly, or a run that nobody has come back to: a bar that blocks nothing."""

from __future__ import annotations

import time
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton

from app.keeping import Keeping
from app.theme import Theme, icon
from app.widgets.amounts import bytes_text
from app.widgets.bar_parts import name_button, sentence_label


class LeftBar(QFrame):
    """Open the run, discard it, or look at what Python said when the program ended. Dismissed, it comes back with the
    next start, as long as there is a run."""

    def __init__(self, keeping: Keeping) -> None:
        super().__init__()
        self._keeping = keeping
        self.sentence = sentence_label()
        self.open, self.discard = QPushButton(), QPushButton(self.tr("Discard"))
        self.crash_log, self.dismiss = QPushButton(self.tr("Show crash log")), QToolButton()
        self._prepare()
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 4, 2)
        row.addWidget(self.sentence, 1)
        for button in (self.open, self.discard, self.crash_log, self.dismiss):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.show_left()

    def show_left(self) -> None:
        """What there is now; nothing hides it."""
        left, again = self._keeping.left, self._keeping.again
        self.setVisible(self._keeping.offers)
        self.sentence.setText(self._text(left))
        self.open.setText(self.tr("Open the run") if left else self.tr("Open {0} again").format(Path(again).name))
        self.open.setVisible(left is not None or bool(again))
        self.discard.setVisible(left is not None)
        self.crash_log.setVisible(bool(self._keeping.crash_text))

    def set_ready(self, ready: bool) -> None:
        """Nothing can be opened before the engine is there."""
        self.open.setEnabled(ready)

    def restyle(self, theme: Theme) -> None:
        self.dismiss.setIcon(icon("close", theme))
        self.setStyleSheet(f"LeftBar {{ background: {theme.panel}; border-left: 4px solid {theme.hover}; }}")

    def _text(self, left: Path | None) -> str:
        crashed = self._keeping.crashed
        ended = self.tr("Fluoroscope did not end properly last time.") if crashed else ""
        if left is None:
            return self.tr("{0} There was no run to keep.").format(ended)
        try:
            facts = left.stat()
        except OSError:
            return ended
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(facts.st_mtime))
        if not crashed:
            form = self.tr("A run that was not opened again is kept, as it was on {0} ({1}).")
            return form.format(when, bytes_text(facts.st_size))
        return self.tr("{0} Its last run is kept, as it was on {1} ({2}).").format(
            ended, when, bytes_text(facts.st_size)
        )

    def _prepare(self) -> None:
        self.setAccessibleName(self.tr("The last run"))
        name_button(self.dismiss, self.tr("Later"))
        self.open.clicked.connect(self._keeping.open_left)
        self.discard.clicked.connect(self._keeping.discard_left)
        self.dismiss.clicked.connect(self.hide)
        self._keeping.changed.connect(self.show_left)
