"""The window's picture of the run: plain data, no widgets. Frames from the engine are absorbed into it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from app.notices import BranchFrame, GoesOnFrame
from engine.frames import (
    BackFrame,
    EndFrame,
    ModelFrame,
    Piece,
    RecordUse,
    RunFrame,
    StepFrame,
    SwitchedFrame,
    TreeFrame,
    Where,
)


@dataclass
class Run:
    """The model, the tokens so far, the steps, and where the pass stands."""

    model: ModelFrame | None = None
    prompt: tuple[Piece, ...] = ()
    steps: list[StepFrame] = field(default_factory=list)
    where: Where = field(default_factory=lambda: Where("idle"))
    ended: EndFrame | None = None
    max_new_tokens: int = 0
    chat: bool = False  # whether the prompt was put into the model's template
    record: RecordUse = field(default_factory=RecordUse)  # what the record takes by now
    tree: TreeFrame | None = None  # None: the run has one branch
    of_branches: dict[int, list[StepFrame]] = field(default_factory=dict)  # the steps of each, by its number

    def absorb(self, frame: object) -> bool:
        """Take a frame in; True if something changed here (answers, progress and errors are not kept here)."""
        taker = _TAKERS.get(type(frame))
        if taker is None:
            return False
        taker(self, frame)
        return True

    @property
    def has_experts(self) -> bool:
        """Whether a layer of the model has experts to choose from."""
        return self.model is not None and any(layer.experts is not None for layer in self.model.layers)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Every token of the run: the prompt, then one per step."""
        return self.prompt + tuple(step.piece for step in self.steps)

    def piece(self, position: int) -> Piece:
        """One of ``pieces``, without making them all."""
        return self.prompt[position] if position < self.n_prompt else self.steps[position - self.n_prompt].piece

    @property
    def n_prompt(self) -> int:
        return len(self.prompt)

    @property
    def n_tokens(self) -> int:
        return len(self.prompt) + len(self.steps)

    @property
    def n_read(self) -> int:
        """Positions that finished passes have read: each has a column. The newest token has none yet."""
        return self.steps[-1].end if self.steps else 0

    @property
    def in_pass(self) -> bool:
        """Whether a pass is under way (running or stopped inside)."""
        return self.where.state != "idle" and self.where.end > self.n_read

    @property
    def n_visible(self) -> int:
        """Positions that have a column, or are getting one in the pass under way."""
        return max(self.n_read, self.where.end) if self.in_pass else self.n_read

    def within(self, layer: int, position: int | None) -> tuple[int, int | None]:
        """A place within what the model and the pass have: a layer that exists, a position that is read (None: the
        newest). There must be a model."""
        assert self.model is not None
        known = None if position is None or position >= self.n_visible else position
        return min(max(layer, 0), self.model.n_layers - 1), known

    def step_choosing(self, position: int) -> StepFrame | None:
        """The step that chose the token at ``position``; None for a prompt token."""
        index = position - self.n_prompt
        return self.steps[index] if 0 <= index < len(self.steps) else None

    def step_reading(self, position: int) -> StepFrame | None:
        """The step whose pass read the token at ``position``; None while none has."""
        return next((step for step in self.steps if step.start <= position < step.end), None)

    def label(self, position: int) -> str:
        """The token at a position as ``written`` has it, "" for none."""
        return written(self.piece(position)) if 0 <= position < self.n_tokens else ""


def written(piece: Piece) -> str:
    """A token as it is written everywhere: white space drawn, bytes that are no character as \\xNN, never empty."""
    text = piece.text
    if "\ufffd" in text and piece.raw:
        text = piece.raw.decode("utf-8", "backslashreplace")
    if text and unicodedata.category(text[0]).startswith("M"):
        text = "◌" + text  # a mark that combines needs something to stand on
    return visible(text)


def whole_text(pieces: Iterable[Piece]) -> str:
    """Tokens in a row as one text: characters that are split over them are whole again, other bytes are \\xNN."""
    return b"".join(piece.raw or piece.text.encode() for piece in pieces).decode("utf-8", "backslashreplace")


@lru_cache(maxsize=8192)  # the same tokens are asked for with every delivery
def visible(text: str) -> str:
    """Token text with its white space drawn: space ␣, newline ⏎, tab ⇥; other control characters as \\xNN."""
    shown = text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown) or "∅"


def _model(run: Run, frame: ModelFrame) -> None:
    run.model = frame
    run.prompt, run.steps, run.ended, run.where = (), [], None, Where("idle")
    run.record, run.tree, run.of_branches = RecordUse(), None, {}


def _run(run: Run, frame: RunFrame) -> None:
    run.prompt, run.steps, run.ended, run.record = frame.prompt, [], None, RecordUse()
    run.max_new_tokens, run.chat = frame.max_new_tokens, frame.chat
    run.tree, run.of_branches = None, {}


def _goes_on(run: Run, frame: GoesOnFrame) -> None:
    run.ended, run.max_new_tokens = None, frame.max_new_tokens


def _step(run: Run, frame: StepFrame) -> None:
    run.steps.append(frame)
    run.record = frame.record


def _back(run: Run, frame: BackFrame) -> None:
    """What is left is another run for panels: what they show of the end of the old one means nothing any more."""
    _other_steps(run, run.steps[: max(0, frame.n_tokens - run.n_prompt)])


def _switched(run: Run, frame: SwitchedFrame) -> None:
    _other_steps(run, list(frame.steps))


def _other_steps(run: Run, steps: list[StepFrame]) -> None:
    """The pass that was under way is none of this run; where the next one stands is told when it begins."""
    run.steps, run.where = steps, Where("idle")


def _branch(run: Run, frame: BranchFrame) -> None:
    run.of_branches[frame.number] = list(frame.steps)


def _tree(run: Run, frame: TreeFrame) -> None:
    run.tree = frame
    known = {branch.number for branch in frame.branches}
    run.of_branches = {number: steps for number, steps in run.of_branches.items() if number in known}
    run.of_branches[frame.current] = run.steps


def _record(run: Run, frame: RecordUse) -> None:
    run.record = frame


def _where(run: Run, frame: Where) -> None:
    run.where = frame


def _end(run: Run, frame: EndFrame) -> None:
    run.ended = frame
    run.where = Where("idle")


_TAKERS: dict[type, Callable[[Run, Any], None]] = {
    ModelFrame: _model,
    RunFrame: _run,
    GoesOnFrame: _goes_on,
    StepFrame: _step,
    BackFrame: _back,
    SwitchedFrame: _switched,
    BranchFrame: _branch,
    TreeFrame: _tree,
    RecordUse: _record,
    Where: _where,
    EndFrame: _end,
}
