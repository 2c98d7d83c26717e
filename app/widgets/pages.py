"""A picture, or one sentence that says what to do to get one."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from app.run import Run
from app.widgets.least import OneOf


class Pages(OneOf):
    """Shows ``content``, or a sentence instead of it."""

    def __init__(self, content: QWidget) -> None:
        super().__init__(content)
        self._sentence = QLabel()
        self._sentence.setWordWrap(True)
        self._sentence.setTextFormat(Qt.TextFormat.PlainText)  # it may name what a stranger's file holds
        self._sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._sentence.setMargin(self.fontMetrics().height())
        self.addWidget(self._sentence)
        self.addWidget(content)

    @property
    def empty(self) -> bool:
        return self.currentIndex() == 0

    def say(self, sentence: str) -> None:
        """Show the sentence; an empty one shows the content."""
        self._sentence.setText(sentence)
        self.setAccessibleDescription(sentence)
        self.setCurrentIndex(0 if sentence else 1)

    def missing(self, run: Run, what: str) -> str:
        """What to do before there is a picture of ``what``; "" when a run has begun to be read."""
        if run.model is None:
            return self.tr("Open a model to see {0}.").format(what)
        if run.n_tokens == 0 or run.n_visible == 0:
            return self.tr("Type a prompt and press Run to see {0}.").format(what)
        return ""


def fill(widget: QWidget, *parts: QWidget) -> QVBoxLayout:
    """Put parts below each other into a widget without margins."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    for part in parts:
        layout.addWidget(part)
    return layout


def joined_sources(*sources: str) -> str:
    """Where the figures of several answers are from: "captured" and "captured + recomputed" are the latter."""
    parts = dict.fromkeys(part for source in sources if source for part in source.split(" + "))
    return " + ".join(sorted(parts))


def labelled(text: str, widget: QWidget) -> QWidget:
    """A control with its name before it."""
    pair, label = QWidget(), QLabel(text)
    label.setBuddy(widget)
    widget.setAccessibleName(text)
    row = QHBoxLayout(pair)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(label)
    row.addWidget(widget)
    return pair


def fill_box(box: QComboBox, items: Iterable[tuple[str, object]], chosen: object = None) -> None:
    """Other items, texts and data, silently; the first one is chosen where there is no ``chosen`` one."""
    box.blockSignals(True)
    box.clear()
    for text, data in items:
        box.addItem(text, data)
    box.setCurrentIndex(max(0, box.findData(chosen)))
    box.blockSignals(False)


def limit(box: QSpinBox, least: int, most: int, value: int) -> None:
    """Show a value within a range, silently; a range that is set is laid out and painted again, the same one too."""
    if (box.minimum(), box.maximum(), box.value()) == (least, most, value):
        return
    box.blockSignals(True)
    box.setRange(least, most)
    box.setValue(value)
    box.blockSignals(False)
