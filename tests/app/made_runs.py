"""Runs made by hand for the strip and the list of layers: every odd token, any length, without an engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.cursor import Cursor
from app.panels.panel import Context
from app.run import Run
from app.theme import DARK
from engine.frames import LayerFacts, ModelFrame, Piece, RunFrame, SamplingFrame, StepFrame

STAGES = ("norm 1", "q k v", "rope", "mix", "add 1", "add 2")
WORDS = ("The", " capital", " of", " France", " is")
ODD = (
    " שלום",
    " مرحبا",
    "\u0301",
    "🙂",
    "\ufffd",
    "<|im_start|>",
    "\x07",
    "<b>",
    "x" * 2000,
    "\u2028",
    "\u202e",
    "",
    "\n\n",
    "\t",
    "  ",
)


def piece(text: str, id: int, start: int) -> Piece:
    raw = b"\xf0\x9f" if text == "\ufffd" else text.encode()
    return Piece(id, text, raw, start, start + len(raw), text.startswith("<|"))


def model(n_layers: int = 6) -> ModelFrame:
    layers = (LayerFacts(9, 3, 64, 1536, STAGES, cached=(("k", 3, 64), ("v", 3, 64))),) * n_layers
    return ModelFrame("tiny", "", "llama", 576, 100, 8192, layers, 1, 1, 4, "float32", "cpu", "GGUF Q4_1", False, 1.0)


def prompted(words: Sequence[str] = WORDS, n_layers: int = 6) -> Run:
    """A run whose prompt is there and nothing else."""
    run, pieces, end = Run(), [], 0
    run.absorb(model(n_layers))
    for id, word in enumerate(words):
        pieces.append(piece(word, id, end))
        end = pieces[-1].end
    run.absorb(RunFrame(tuple(pieces), 100, False))
    return run


def grow(run: Run, text: str = " Paris", probability: float = 0.75, rank: int = 0) -> None:
    """One more finished step."""
    index, position = len(run.steps), run.n_tokens
    start = 0 if index == 0 else position - 1
    made = piece(text, position, run.steps[-1].piece.end if run.steps else run.prompt[-1].end)
    kind = "prefill" if index == 0 else "decode"
    run.absorb(StepFrame(index, kind, start, position, made, _sampling(position, probability, rank), (), 0.04, 1, None))


def _sampling(position: int, probability: float, rank: int) -> SamplingFrame:
    none = np.zeros(0)
    whole = np.zeros(0, np.int64)
    return SamplingFrame(
        position=position,
        seed=0,
        greedy=False,
        drawn=0.5,
        low=0.4,
        high=0.6,
        chosen=position,
        chosen_rank=rank,
        chosen_raw=probability,
        chosen_final=probability,
        entropy_raw=1.0,
        entropy_final=1.0,
        ids=whole,
        raw=none,
        final=none,
        cut_by=whole,
        stages=(),
    )


def generated(n: int, words: Sequence[str] = WORDS) -> Run:
    run = prompted(words)
    for index in range(n):
        grow(run, WORDS[index % len(WORDS)], (index % 11) / 10)
    return run


def context(run: Run) -> Context:
    return Context(run, Cursor(), DARK, lambda key, question: None)
