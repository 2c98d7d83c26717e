"""What the columns of a run file must be for a window to show them: each raises RunFileError, a piece of a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from engine.config import ModelConfig
from engine.errors import RunFileError
from engine.frames import Piece, SamplingFrame, StepFrame
from engine.run_file_facts import RunFacts


def check_pieces(pieces: Iterable[Piece], config: ModelConfig) -> None:
    for piece in pieces:
        if not 0 <= piece.id < config.d_vocab or not 0 <= piece.start <= piece.end:
            raise RunFileError(f"the token {piece.id} is none of its model")


def check_steps(steps: list[StepFrame], facts: RunFacts, first: int) -> None:
    """A step after the other, each reading on from where the last one stopped; they chose the tokens from ``first``
    on."""
    n_prompt = facts.branch.n_prompt
    start = 0 if first == n_prompt else first - 1
    for end, step in enumerate(steps, first):
        index, kind = end - n_prompt, "decode" if end > n_prompt else "prefill"
        fits = (step.index, step.kind, step.start, step.end, step.sampling.position) == (index, kind, start, end, end)
        if not fits or step.candidates or not _finite(step.seconds, step.watch.plain) or step.cache_bytes < 0:
            raise RunFileError(f"its step {index} does not fit to the one before it")
        check_pieces([step.piece], facts.model.config)
        _check_sampling(step.sampling, step.piece, facts.model.config)
        start = end


def _check_sampling(frame: SamplingFrame, piece: Piece, config: ModelConfig) -> None:
    arrays = ((np.int64, frame.ids), (np.int64, frame.cut_by), (np.float64, frame.raw), (np.float64, frame.final))
    logits = ((np.float32, stage.logits) for stage in frame.stages)
    n, d_vocab = len(frame.ids), config.d_vocab
    whole = n > 0 and all(array.dtype == dtype and len(array) == n for dtype, array in (*arrays, *logits))
    if not whole or piece.id != frame.chosen or not 0 <= frame.chosen_rank < d_vocab:
        raise RunFileError("the record of a choice does not fit together")
    stages = [figure for stage in frame.stages for figure in (stage.value, stage.cut)]
    drawn = (frame.low, frame.high, 0.0 if frame.drawn is None else frame.drawn)
    chosen = (frame.chosen_raw, frame.chosen_final, frame.entropy_raw, frame.entropy_final)
    sound = np.isfinite(frame.raw).all() and np.isfinite(frame.final).all() and _finite(*drawn, *chosen, *stages)
    placed = _within(frame.ids, 0, d_vocab) and _within(frame.cut_by, -1, len(frame.stages))
    if not sound or not placed or any(stage.kept < 0 for stage in frame.stages):
        raise RunFileError("the record of a choice holds figures that cannot be")


def _within(array: np.ndarray, low: int, stop: int) -> bool:
    return bool(low <= array.min() and array.max() < stop)


def _finite(*numbers: float) -> bool:
    return all(map(math.isfinite, numbers))
