"""Back over tokens, branches of the run, and the comparison of two: commands for the worker, and what comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from PySide6.QtCore import QObject, Signal

from app.board import Board
from app.branch_words import of_number
from app.compare import SIDES, Comparison, Other, Side, read_by
from app.layouts import Workspace
from app.notices import CancelledFrame, GoesOnFrame, OpenedFrame
from app.panels.branches import BranchesPanel
from app.panels.panel import Context
from app.panels.sampling import SamplingPanel
from engine.frames import BackFrame, ErrorFrame, ModelFrame, RunFrame, SwitchedFrame, TreeFrame
from engine.run_file_facts import Compared

_BEGUN = (ModelFrame, RunFrame, GoesOnFrame)
_MOVED = (BackFrame, SwitchedFrame, *_BEGUN)
_ARRIVED = (
    BackFrame,
    SwitchedFrame,
    RunFrame,
    ModelFrame,
    ErrorFrame,
    CancelledFrame,
)  # after these nothing is awaited


class Branches(Protocol):
    """What is needed of the worker."""

    def back(self, n_tokens: int) -> None: ...

    def branch(self, position: int, token: int | str) -> None: ...

    def switch(self, number: int) -> None: ...

    def drop_branch(self, number: int) -> None: ...

    def set_compared(self, compared: Compared | None) -> None: ...


class Branching(QObject):
    """Public methods without an argument are the commands of their names.

    ``changed``: others are compared, or another of the two is shown; ``said`` carries a line for the status bar.
    """

    changed = Signal()
    said = Signal(str)

    def __init__(self, context: Context, worker: Branches, board: Board, workspace: Workspace, parent: QObject) -> None:
        super().__init__(parent)
        self._context, self._worker, self._board, self._workspace = context, worker, board, workspace
        self._other: Other | None = None
        self._going_to: int | None = None  # tokens, while that is awaited
        self._arriving: Compared | None = None  # of a file that is being opened
        self._without_model = False  # the run can be looked at, and does not go on
        self.stands = False  # the run has ended, was taken elsewhere, and can go on there
        self._sampling = board.find(SamplingPanel)
        for panel in board.panels:
            panel.branch_asked.connect(self.branch_at)
            panel.choice_asked.connect(self.choose_at)
            panel.back_asked.connect(self.back_to)
            if isinstance(panel, BranchesPanel):
                panel.asked.connect(self.do)

    # --- back and branches ------------------------------------------------------------------------------------

    def step_back(self) -> None:
        """Leave the newest token; again before that is done: the one before it, too."""
        self.back_to((self._context.run.n_tokens if self._going_to is None else self._going_to) - 1)

    def back_to(self, n_tokens: int) -> None:
        """Leave all tokens but the first so many, of which the prompt's stay."""
        run = self._context.run
        n_tokens = max(n_tokens, run.n_prompt)
        if run.n_prompt and n_tokens < run.n_tokens and n_tokens != self._going_to:
            self._going_to = n_tokens
            self._worker.back(n_tokens)

    def branch(self) -> None:
        """Choose another token at the pinned position, or for the newest one."""
        run, pinned = self._context.run, self._context.cursor.pinned.position
        chosen = pinned is not None and run.step_choosing(pinned) is not None
        self.choose_at(pinned if chosen and pinned is not None else run.n_tokens - 1)

    def choose_at(self, position: int) -> None:
        """Go to where the token at a position can be replaced."""
        if self._sampling is not None and self._context.run.step_choosing(position) is not None:
            self._context.cursor.pin(position=position)
            self._workspace.bring_up(self._sampling.key)
            self._sampling.choose()

    def branch_at(self, position: int, token: int | str) -> None:
        """Begin a branch with another token at a position; what is the same before is shared."""
        self._worker.branch(position, token)

    def show_branches(self) -> None:
        """Turn to the tree."""
        self._workspace.turn_to(BranchesPanel.key)

    def do(self, what: str, number: int) -> None:
        """What the tree asks for: "switch", "drop", "A" or "B"."""
        if what == "switch":
            self.switch(number)
        elif what == "drop":
            self._worker.drop_branch(number)
        else:
            self._pin(what, number)

    def switch(self, number: int) -> None:
        """Stand on another branch; a comparison goes on only with one of its two."""
        comparison, tree = self._context.comparison, self._context.run.tree
        if comparison.complete and number in (comparison.a, comparison.b):
            self.show_side("A" if number == comparison.a else "B")
        elif tree is not None and number != tree.current:
            self._worker.switch(number)

    # --- comparison -------------------------------------------------------------------------------------------

    def _pin(self, name: str, number: int) -> None:
        """Compare a branch as A or B, or no more where it is pinned so already."""
        before = self._context.comparison
        pins = {"A": before.a, "B": before.b}
        pins = {other: None if pin == number and other != name else pin for other, pin in pins.items()}
        pins[name] = None if pins[name] == number else number
        tree = self._context.run.tree
        shown: Side = "B" if tree is not None and tree.current == pins["B"] else "A"
        self._set(Comparison(pins["A"], pins["B"], shown))

    def next_side(self) -> None:
        """A, then B, then A − B."""
        comparison = self._context.comparison
        if comparison.complete:
            self.show_side(SIDES[(SIDES.index(comparison.side) + 1) % len(SIDES)])

    def show_side(self, side: Side) -> None:
        """Show one of two compared branches everywhere, or their difference."""
        if self._context.comparison.complete:
            self._set(replace(self._context.comparison, side=side))

    def end_comparison(self) -> None:
        """Compare nothing; the branch that is shown stays."""
        self._set(Comparison())

    def _set(self, comparison: Comparison) -> None:
        if comparison == self._context.comparison:
            return
        self._context.comparison = comparison
        pinned = comparison != Comparison()
        self._worker.set_compared(Compared(comparison.a, comparison.b, comparison.side) if pinned else None)
        tree, wanted = self._context.run.tree, comparison.branch
        if comparison.complete and wanted is not None and tree is not None and wanted != tree.current:
            self._worker.switch(wanted)
        self._other = self._common()
        self._board.compare(self._other)
        self._board.show_run()
        self.changed.emit()

    def _common(self) -> Other | None:
        """The branch to subtract, while differences are shown."""
        run, comparison = self._context.run, self._context.comparison
        a, b = of_number(run.tree, comparison.a), of_number(run.tree, comparison.b)
        if not comparison.differs or run.tree is None or a is None or b is None:
            return None
        of_a = run.n_read if run.tree.current == a.number else read_by(a)
        return Other(b.number, min(of_a, read_by(b)))

    def take_file(self, opened: OpenedFrame) -> None:
        """What a saved run compared is compared again, once its branches are there."""
        self._arriving, self._without_model = opened.compared, bool(opened.why)

    def leave_file(self) -> None:
        """Another run: what is still awaited of a file, since its branches could not be told, means nothing to it."""
        self._arriving = None

    def follow(self, frame: object) -> None:
        """The run or its tree changed. A comparison ends with one of its branches, and where a third one is shown."""
        self._going_to = None if isinstance(frame, _ARRIVED) else self._going_to
        if isinstance(frame, ModelFrame):  # of a file, it is taken behind this
            self._without_model = False
            self.leave_file()
        if isinstance(frame, _MOVED):
            self.stands = not isinstance(frame, _BEGUN) and self._can_go_on()
        self._tell(frame)
        if isinstance(frame, TreeFrame) and self._arriving is not None:
            compared, self._arriving = self._arriving, None
            self._set(Comparison(compared.a, compared.b, compared.side))
        comparison, tree = self._context.comparison, self._context.run.tree
        if comparison == Comparison():
            return
        numbers = {branch.number for branch in tree.branches} if tree is not None else set()
        gone = {comparison.a, comparison.b} - {None} - numbers
        pair = (comparison.a, comparison.b)
        if gone or (comparison.complete and isinstance(frame, SwitchedFrame) and frame.number not in pair):
            self.end_comparison()
        elif self._common() != self._other:
            self._other = self._common()
            self._board.compare(self._other)
        self.changed.emit()

    def _can_go_on(self) -> bool:
        """Whether the run has ended, its model is here, and the context has room for a pass."""
        run = self._context.run
        if self._without_model or run.model is None:
            return False
        return run.ended is not None and run.n_tokens <= run.model.n_ctx

    def note(self) -> str:
        """What is to be known of the side that is shown."""
        comparison = self._context.comparison
        if not comparison.differs or self._other is None:
            return ""
        note = self.tr("over the {0} positions that both have read").format(self._other.n)
        if self._context.run.ended is None:
            note += self.tr("; B is asked before the next pass, or once the run has ended")
        return note

    def _tell(self, frame: object) -> None:
        """Layers that forget had to be computed again."""
        if isinstance(frame, BackFrame):
            self.said.emit(self._refilled(self.tr("back to {0} tokens").format(frame.n_tokens), frame.refilled))
        elif isinstance(frame, SwitchedFrame):
            self.said.emit(self._refilled(self.tr("on branch {0}").format(frame.number), frame.refilled))

    def leave_off(self) -> None:
        """Another prompt is typed: it is to be run, and not what the run was taken to."""
        self.stands = False

    def _refilled(self, text: str, positions: int) -> str:
        text += self.tr("; Continue makes more tokens") if self.stands else ""
        if not positions:
            return text
        form = self.tr("{0}; layers with a window had forgotten {1} positions, which were computed again")
        return form.format(text, positions)
