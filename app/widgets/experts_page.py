"""What the pages beside the map of experts have in common."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PySide6.QtWidgets import QWidget

from app.cursor import Cursor
from app.run import Run
from app.theme import Theme
from app.widgets.axis import Axis
from app.widgets.bar_rows import BELOW, BY_A, BY_B, BY_BOTH, BarRows
from app.widgets.canvas import Canvas
from app.widgets.still_label import words_label
from engine.frames import LayerFacts
from engine.questions import Question

BAR_OF_SET = np.array([BELOW, BY_BOTH, BY_A, BY_B], np.uint8)  # states of bars by NEITHER, BOTH, ONLY_A, ONLY_B


class Page(QWidget):
    """One page. It asks one question while it is on screen, and shows the answer."""

    def __init__(self, run: Run, cursor: Cursor, theme: Theme) -> None:
        super().__init__()
        self.run, self._cursor, self.theme = run, cursor, theme
        self._quantity = "weights"
        self._title = words_label(self.fontMetrics())

    def name(self) -> str:
        """Of the tab."""
        raise NotImplementedError

    def help(self) -> str:
        """What the page shows, in a line."""
        raise NotImplementedError

    def layer(self) -> int | None:
        """The layer that is shown; None where nothing is, or no layer of its own."""
        return None

    def source(self) -> str:
        """Where the figures on screen are from, "" where there are none."""
        raise NotImplementedError

    def question(self, layer: int, position: int | None) -> Question | None:
        """What to watch for this place; None: nothing can be shown."""
        raise NotImplementedError

    def take(self, answer: object) -> None:
        """Show an answer; None: there is none any more."""
        raise NotImplementedError

    def mark(self) -> None:
        """The cursor moved."""

    def set_low(self, low: bool) -> None:
        """Where there is little height the picture matters more than the words above it."""
        self._title.setVisible(not low)

    def set_quantity(self, quantity: str) -> None:
        """What maps show of two branches: "weights", "scores" or "chosen"."""
        self._quantity = quantity
        self.set_theme(self.theme)

    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        for picture in self._pictures():
            picture.set_theme(theme)
        self._draw()

    def _pictures(self) -> tuple[Canvas, ...]:
        raise NotImplementedError

    def _draw(self) -> None:
        """Show the answer that there is, or that there is none."""
        raise NotImplementedError

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen."""
        raise NotImplementedError

    def _facts(self, layer: int) -> LayerFacts:
        assert self.run.model is not None
        return self.run.model.layers[layer]

    def _token(self, position: int) -> str:
        return self.tr("position {0} “{1}”").format(position, self.run.label(position))

    def _numbers(self, count: int) -> Axis:
        return Axis(self.tr("expert"), count, str, numbers=True)

    def _pick_expert(self, expert: int) -> None:
        """A second click frees it."""
        self._cursor.pin(expert=None if self._cursor.pinned.expert == expert else expert)

    def _connect_bars(self, bars: BarRows, hover: Callable[[int], None], pick: Callable[[int], None]) -> None:
        bars.place_hovered.connect(hover)
        bars.place_picked.connect(pick)
        bars.place_left.connect(self._cursor.leave)
