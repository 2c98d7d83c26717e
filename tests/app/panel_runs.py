"""What the tests of the panels share: a shown panel, a real run that answers it, figures made by numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cursor import Cursor
from app.panels.panel import Context, Panel
from app.run import Run
from app.theme import DARK, Theme
from engine.frames import AttentionGrid, AttentionMap, AttentionRow, RunFrame
from tests.app.made_runs import WORDS, grow, prompted

if TYPE_CHECKING:
    import engine


@dataclass
class Shown:
    """A panel on screen, what it asked once, and what it said about the place under the mouse."""

    panel: Any
    run: Run
    cursor: Cursor
    asked: list[tuple[str, object]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def pin(self, **where: int | None) -> None:
        self.cursor.pin(**where)
        self.panel.show_cursor()

    def hover(self, **where: int | None) -> None:
        self.cursor.hover(**where)
        self.panel.show_cursor()

    def answer(self, session: engine.Session) -> None:
        """As the worker does: every watch, answered from the session."""
        for key, question in self.panel.watches().items():
            self.panel.show_answer(key, session.answer(question))


def show(qtbot: Any, panel: type[Panel], run: Run, theme: Theme = DARK, size: tuple[int, int] = (1000, 700)) -> Shown:
    """The panel in a window of its own."""
    shown = Shown(None, run, Cursor())
    shown.cursor.readout_changed.connect(shown.said.append)
    context = Context(run, shown.cursor, theme, lambda key, question: shown.asked.append((key, question)))
    shown.panel = panel(context)
    shown.cursor.pinned_changed.connect(shown.panel.show_cursor)
    kept = [shown.panel]  # as a window keeps it: collected with its cycles inside an event, it would take Qt with it
    qtbot.addWidget(shown.panel, before_close_func=kept.append)
    shown.panel.resize(*size)
    shown.panel.show()
    qtbot.waitExposed(shown.panel)
    return shown


def real_run(session: engine.Session, prompt: str, steps: int) -> Run:
    """Begin, take steps, and absorb what the worker would post."""
    run = Run()
    run.absorb(session.loaded.model_frame())
    run.absorb(RunFrame(session.begin(prompt), steps, False))
    for step in session.steps(steps):
        run.absorb(step.frame())
    return run


def read_run(n: int) -> Run:
    """A run whose n prompt positions have been read, and one token chosen."""
    run = prompted([WORDS[index % len(WORDS)] for index in range(n)])
    grow(run)
    return run


def patterns(n: int, n_heads: int = 9) -> np.ndarray:
    """Causal softmax patterns float32 [n_heads, n, n] of random scores."""
    scores = np.random.default_rng(n).normal(size=(n_heads, n, n)).astype(np.float32)
    scores[:, np.triu_indices(n, 1)[0], np.triu_indices(n, 1)[1]] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def reduced(maps: np.ndarray, block: int) -> np.ndarray:
    """Maximum over blocks, as the engine reduces: float32 [..., ceil(n / block), ceil(n / block)]."""
    n = maps.shape[-1]
    cells = -(-n // block)
    whole = np.zeros((*maps.shape[:-2], cells * block, cells * block), np.float32)
    whole[..., :n, :n] = maps
    return whole.reshape(*maps.shape[:-2], cells, block, cells, block).max((-3, -1))


def attention_answers(maps: np.ndarray, *, n: int, n_total: int, block: int = 1, head: int = 0) -> dict[str, Any]:
    """Answers about layer 0 of which ``n`` queries are computed."""
    known = reduced(maps[:, :n, :n], block) if n else np.zeros((len(maps), 0, 0), np.float32)
    starts, whole = np.arange(0, n, block), (0, n_total)
    sight = np.stack((0 * starts, np.minimum(starts + block, n)), axis=1)
    return {
        "attention.grid": AttentionGrid(0, n, n_total, block, known, "recomputed"),
        "attention.map": AttentionMap(
            0, head, n, n_total, block, known[head], "recomputed", "pattern", whole, whole, sight
        ),
        "attention.row": AttentionRow(0, n - 1, maps[:, n - 1, :n], "captured", "pattern", (0, n)),
    }
