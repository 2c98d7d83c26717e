"""The contract of every panel: what it is called, what it asks for, what it shows, what it can export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from PySide6.QtCore import QEvent, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QAbstractScrollArea, QMenu, QWidget

from app.axis_words import axes_of
from app.breaks import Breaks
from app.commands import Place
from app.compare import Comparison
from app.compare_answers import difference
from app.cursor import Cursor
from app.depth import USUAL, Depth
from app.depth_texts import panel_term, panel_text
from app.edit_tray import Tray
from app.engine_words import said
from app.notes import Notes
from app.run import Run
from app.shelf import Shelf
from app.theme import Theme
from app.widgets.hidden_chip import Hidden
from app.widgets.values_model import Along
from engine.frames import Answer
from engine.questions import Question

AddCommands = Callable[[QMenu, Place, Callable[[], None]], None]


@dataclass
class Context:
    """What panels share. ``ask(key, question)`` asks once; the answer comes to ``show_answer`` of the asking panel.
    ``unask(key)``: it is not wanted any more.

    ``theme`` is replaced on a theme change, after which ``restyle`` is called; ``comparison`` on a change of it, after
    which ``show_run`` is; ``depth`` on a change of it, after which ``show_depth`` is. ``add_commands(menu, place,
    before)`` adds the commands of a context menu; each calls ``before`` first, to pin where the menu was opened.
    """

    run: Run
    cursor: Cursor
    theme: Theme
    ask: Callable[[str, Question], None]
    shelf: Shelf = field(default_factory=Shelf)
    unask: Callable[[str], None] = lambda key: None
    breaks: Breaks = field(default_factory=Breaks)
    tray: Tray = field(default_factory=Tray)
    comparison: Comparison = field(default_factory=Comparison)
    notes: Notes = field(default_factory=Notes)
    depth: Depth = USUAL
    add_commands: AddCommands = lambda menu, place, before: None


class Panel(QWidget):
    """One picture of the run. The window calls the methods below; a hidden panel is not called and does nothing.

    ``key`` is unique and short ("attention"); sub-keys of its questions are "attention.grid" and so on.
    Signals: ``caption_changed`` when title, badge or caption changed; ``watches_changed`` when ``watches()`` would
    answer differently for a reason of the panel's own (its size, a control of it).
    """

    key: str = ""
    stands_alone = False  # shows the run itself, whether its questions have answers or not
    of_a_run = True  # and not of files, or of what was chosen
    compares = False  # can show the difference of two branches
    caption_changed = Signal()
    watches_changed = Signal()
    hides_changed = Signal()  # ``hides()`` would answer differently
    settings_changed = Signal(object)  # a Sampling: only the sampling panel sends it
    stage_opened = Signal(int, str)  # a layer (-1: outside the layers) and a stage: only the map of the pass sends it
    stage_asked = Signal(str, int, str)  # "run to", "break" or "edit" there: the map of the pass, the list of points
    branch_asked = Signal(int, object)  # a position, and the id or text of the token that is to stand there instead
    choice_asked = Signal(int)  # a position: another token for it is to be chosen
    back_asked = Signal(int)  # all tokens of the run but the first so many are to be left

    def __init__(self, context: Context) -> None:
        self._built = False  # Qt tells of another font also while it is being built
        super().__init__()
        self.context = context
        self._steps_shown: object = None
        self._difference_shown = False
        self._prompt_shown: object = None
        self.same_prompt = False  # when ``another_run`` was last asked: it is of the same prompt as the one before
        self._asides: dict[str, str] = {}  # why differences cannot be seen, by the key of a question
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

    def mode(self) -> str:
        """Which of several things is shown, as ``resources/depths/panels.json`` calls it; "" where there is one."""
        return ""

    def explanation(self) -> str:
        """What is shown, at the depth that is chosen; "" at that of figures, which the caption tells."""
        model, layer = self.context.run.model, self.context.cursor.pinned.layer
        depth = self.context.depth
        text = panel_text(self.key, self.mode(), depth, model, layer)
        if depth == "formula":
            text = "\n".join(said(line, self.tr) for line in text.splitlines())
        return self._of_difference(text, depth) if self.differs and text else text

    def _of_difference(self, text: str, depth: Depth) -> str:
        """What is said of A less B, where ``text`` is said of either."""
        if depth == "story":
            return self.tr(
                "Two branches compared: how much more there is in A than in B. Below 0 there is more in B, at 0 both "
                "are alike."
            )
        less = self.tr("A − B: of A, less the same of B")
        return f"{text}\n{f'# {less}' if depth == 'code' else less}"

    def term(self) -> str:
        """The key of the glossary's entry about what is shown."""
        return panel_term(self.key, self.mode())

    def show_depth(self) -> None:
        """Another depth was chosen: tool tips and texts of the panel's own follow it."""

    def watches(self) -> Mapping[str, Question]:
        """Standing questions by full key, for what is pinned and visible now; answered after every pass and stop."""
        return {}

    def show_run(self) -> None:
        """The model, the run, a step or the place of the pass changed: ``self.context.run`` is up to date."""

    def another_run(self) -> bool:
        """Whether the model or the run is another than when this was last asked, or a difference of two: what is shown
        of the old one means nothing any more, though the new one has no answers yet."""
        before, self._steps_shown = self._steps_shown, self.context.run.steps  # a list of its own for every run
        differed, self._difference_shown = self._difference_shown, self.differs
        self.same_prompt, self._prompt_shown = self._prompt_shown is self.context.run.prompt, self.context.run.prompt
        return before is not self._steps_shown or differed != self.differs

    def show_answer(self, key: str, answer: Answer) -> None:
        """An answer to a watch or question of this panel."""

    def show_difference(self, key: str, a: Answer, b: Answer) -> None:
        """The answers to a watch or question about two branches; what they differ by is shown like an answer."""
        answer = difference(a, b)
        form = self.tr("The figures of the two branches have different forms, which cannot be subtracted.")
        self.set_aside(key, form if answer is None else "")
        if answer is not None:
            self.show_answer(key, answer)

    @property
    def differs(self) -> bool:
        """Whether differences of two branches are to be shown here."""
        return self.compares and self.context.comparison.differs

    def of_two(self, text: str) -> str:
        """What is told of a figure, which may be a difference."""
        return self.tr("A − B, {0}").format(text) if self.differs else text

    def side(self) -> str:
        """Which of two compared branches is shown, "A", "B" or "A − B"; "" while none are compared."""
        comparison = self.context.comparison
        if not comparison.complete or not self.of_a_run:
            return ""
        return "A" if comparison.differs and not self.compares else comparison.side

    def aside(self) -> str:
        """What is to be known of the comparison of branches, one sentence; "" for nothing."""
        if not self.context.comparison.differs or not self.of_a_run:
            return ""
        if not self.compares:
            return self.tr("No difference can be shown of this; it is branch A.")
        return next(filter(None, self._asides.values()), "")

    def set_aside(self, key: str, sentence: str) -> None:
        """Say why there is no difference to be seen of what a question is about ("": there is)."""
        if sentence != self._asides.get(key, ""):
            self._asides[key] = sentence
            self.caption_changed.emit()

    def forget_asides(self) -> None:
        """Others are compared, or none."""
        self._asides.clear()
        self.caption_changed.emit()

    def say_common(self, n: int | None) -> None:
        """The place is in one of the two branches only, which have ``n`` positions in common; None: it is in both."""
        text = self.tr("The pinned position is in one of the two branches only; both have the first {0} positions.")
        self.set_aside("", "" if n is None else text.format(n))

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

    def font_changed(self) -> None:
        """As soon as Qt tells so; asked of panels that have said that they are ``_built``."""

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and self._built:
            self.font_changed()

    def main_picture(self) -> QWidget | None:
        """What the keyboard goes to first; None: the first picture that is seen."""
        return None

    def whole_height(self) -> int:
        """Height in pixels below which something is left out; 0 where nothing ever is."""
        return 0

    def spared_height(self) -> int:
        """The same without what is left out first, where other panels need the room more."""
        return self.whole_height()

    def hides(self) -> list[Hidden]:
        """What the picture leaves out because the user said so, each with what shows it again."""
        return []

    def values(self) -> dict[str, np.ndarray]:
        """The figures on screen, as arrays by name: for CSV, NPY and tests."""
        raise NotImplementedError

    def axes(self) -> Mapping[str, tuple[Along, ...]]:
        """What the axes of the arrays of ``values()`` are, by the array's name. An array that is not named has axes
        without names."""
        return axes_of(self.key, self.context.run.label)

    def scrolled(self) -> bool:
        """Whether a part of it is out of sight, to be scrolled to."""
        areas = (area for area in self.findChildren(QAbstractScrollArea) if area.isVisible())
        bars = (bar for area in areas for bar in (area.horizontalScrollBar(), area.verticalScrollBar()))
        return any(bar.maximum() > bar.minimum() for bar in bars)

    def picture(self) -> QImage:
        """The panel as it is on screen."""
        return self.grab().toImage()
