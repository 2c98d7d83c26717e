"""In the status bar while the window is recorded: how long, how many pictures, how large; stop, and discard."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from app.theme import Theme, icon
from app.widgets.amounts import bytes_text
from app.widgets.bar_parts import name_button
from app.widgets.still_label import StillLabel


class RecordChip(QWidget):
    """Hidden while nothing is recorded."""

    def __init__(self, stop: QAction, discard: QAction) -> None:
        super().__init__()
        self.text = StillLabel()
        self.text.label.setTextFormat(Qt.TextFormat.PlainText)
        self.text.label.setObjectName("recording")
        self.stop, self.discard = QToolButton(), QToolButton()
        for button, action, name in (
            (self.stop, stop, self.tr("Stop the recording and keep it")),
            (self.discard, discard, self.tr("Give the recording up, with no file")),
        ):
            button.clicked.connect(action.trigger)
            name_button(button, name)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(self.tr("Recording of the window"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for part in (self.text, self.stop, self.discard):
            row.addWidget(part)
        self.hide()

    def show_recording(self, seconds: float, frames: int, size: int) -> None:
        """How far it is; what ffmpeg has not written yet has no size."""
        form = self.tr("● {0} · pictures: {1} · {2}") if size else self.tr("● {0} · pictures: {1}")
        self._say(form.format(clock_text(seconds), frames, bytes_text(size)), stop=True)

    def show_finishing(self, name: str) -> None:
        """No more pictures; the file is being completed."""
        self._say(self.tr("writing {0}").format(name), stop=False)

    def restyle(self, theme: Theme) -> None:
        side = self.fontMetrics().height()
        for button, name in ((self.stop, "stop"), (self.discard, "cancel")):
            button.setIcon(icon(name, theme))
            button.setIconSize(QSize(side, side))
        self.setStyleSheet(f"QLabel#recording {{ color: {theme.cut}; font-weight: 600; }}")

    def _say(self, text: str, *, stop: bool) -> None:
        self.text.setText(text)
        self.text.setAccessibleName(text)
        self.stop.setEnabled(stop)
        self.show()


def clock_text(seconds: float) -> str:
    """ "0:07", "12:30", "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
