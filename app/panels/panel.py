"""The contract of every panel: what it is called, what it asks for, what it shows, what it can export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget

from app.cursor import Cursor
from app.run import Run
from app.shelf import Shelf
from app.theme import Theme
from engine.frames import Answer
from engine.questions import Question


@dataclass
class Context:
    """What panels share. ``ask(key, question)`` asks once; the answer comes to ``show_answer`` of the asking panel.
    ``unask(key)``: it is not wanted any more.

    ``theme`` is replaced on a theme change, after which ``restyle`` is called.
    """

    run: Run
    cursor: Cursor
    theme: Theme
    ask: Callable[[str, Question], None]
    shelf: Shelf = field(default_factory=Shelf)
    unask: Callable[[str], None] = lambda key: None


class Panel(QWidget):
    """One picture of the run. The window calls the methods below; a hidden panel is not called and does nothing.

    ``key`` is unique and short ("attention"); sub-keys of its questions are "attention.grid" and so on.
    Signals: ``caption_changed`` when title, badge or caption changed; ``watches_changed`` when ``watches()`` would
    answer differently for a reason of the panel's own (its size, a control of it).
    """

    key: str = ""
    stands_alone = False  # shows the run itself, whether its questions have answers or not
    caption_changed = Signal()
    watches_changed = Signal()
    settings_changed = Signal(object)  # a Sampling: only the sampling panel sends it
    stage_opened = Signal(int, str)  # a layer (-1: outside the layers) and a stage: only the list of layers sends it

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        self._steps_shown: object = None
        self.need, self.shows_nothing = "", False  # which model is missing for what it would show; a sentence
        self.setObjectName(self.key)
        self.setAutoFillBackground(True)  # opaque: what lies behind is not painted again with every token

    def title(self) -> str:
        """The translated title, e.g. tr("Attention")."""
        raise NotImplementedError

    def badge(self) -> str:
        """ "captured", "recomputed", "reduced" or a translated combination; "" when nothing is shown."""
        return ""

    def caption(self) -> str:
        """One line: what is shown now, e.g. "layer 3, head 4, 5 x 5"."""
        return ""

    def watches(self) -> Mapping[str, Question]:
        """Standing questions by full key, for what is pinned and visible now; answered after every pass and stop."""
        return {}

    def show_run(self) -> None:
        """The model, the run, a step or the place of the pass changed: ``self.context.run`` is up to date."""

    def another_run(self) -> bool:
        """Whether the model or the run is another than when this was last asked: what is shown of the old one means
        nothing any more, though the new one has no answers yet."""
        before, self._steps_shown = self._steps_shown, self.context.run.steps  # a list of its own for every run
        return before is not self._steps_shown

    def show_answer(self, key: str, answer: Answer) -> None:
        """An answer to a watch or question of this panel."""

    def show_cursor(self) -> None:
        """The pinned or hovered place changed. Never recompute here."""

    def set_need(self, sentence: str, nothing: bool = False) -> None:
        """What is not recorded would be computed by a model that is not here ("": nothing is missing).

        ``nothing``: there is no answer at all, so that the sentence takes the picture's place.
        """
        nothing = nothing and not self.stands_alone
        if (sentence, nothing) != (self.need, self.shows_nothing):
            self.need, self.shows_nothing = sentence, nothing
            self.caption_changed.emit()

    def undo(self) -> bool:
        """Take back the newest thing the user did to this picture alone; False where there is nothing to take back."""
        return False

    def restyle(self) -> None:
        """The theme or the font changed."""

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen, as arrays by name: for CSV, NPY and tests."""
        raise NotImplementedError

    def picture(self) -> QImage:
        """The panel as it is on screen."""
        return self.grab().toImage()
