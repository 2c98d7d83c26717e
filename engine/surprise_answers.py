"""How unexpected each token of a prompt was: the model's own prediction of it, from the recorded last residual stream.

The pass unembeds its last position only, so that these figures are nowhere recorded. Some positions are unembedded at
once, over a part of the vocabulary in each slice of work: a weight that is read serves all of them, and a running pass
does not wait for the whole of it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from engine import questions as ask
from engine.errors import EngineError
from engine.frames import Surprises
from engine.gate import Answering
from engine.transfer import to_host

if TYPE_CHECKING:
    from engine.session import Session

_POSITIONS = 64  # at once
_SLICE_SECONDS = 0.01  # what a slice aims at: half of what it may take
_FIRST_PART = 1024  # of the vocabulary, before it is known how fast this goes


def surprises(session: Session, question: ask.AskSurprise) -> Answering:
    """Answers as far as the last layer has been computed. Raises EngineError for a range that is none."""
    start, end = _checked(question)
    parts, at, pace = [], start, _Pace()
    if start == 0 < min(end, session.n_tokens):
        parts, at = [_UNPREDICTED], 1
    known = min(end, session.n_tokens, session.trace.reach[-1] + 1)  # what leaves the last layer at p - 1 predicts p
    while at < known:
        stop = min(at + _POSITIONS, known)
        parts.append((yield from _figures(session, at, stop, pace)))
        at = stop
        if at < known:
            yield _answer(start, end, parts)
    return _answer(start, end, parts)


def _checked(question: ask.AskSurprise) -> tuple[int, int]:
    if not 0 <= question.start <= question.end:
        raise EngineError(f"Positions {question.start} to {question.end} were asked for; that is no range of tokens.")
    return question.start, question.end


@dataclass
class _Pace:
    """How many tokens of the vocabulary fit into a slice."""

    part: int = _FIRST_PART

    def after(self, count: int, seconds: float) -> None:
        """A slice over ``count`` of them took so long."""
        fitting = int(count * _SLICE_SECONDS / max(seconds, 1e-6))
        self.part = min(max(fitting, 64), 4 * self.part)


def _figures(session: Session, start: int, end: int, pace: _Pace) -> Generator[None, None, np.ndarray]:
    """Float64 ``[2, end - start]``: surprise and entropy of the tokens at [start, end), start > 0."""
    model, n_layers = session.loaded.model, session.loaded.config.n_layers
    tokens = (session.prompt + session.output)[start:end]
    normed = model.ln_final.recompute(session.trace.residual(n_layers, start - 1, end - 1))
    sums, first, d_vocab = _Sums(tokens, normed.device), 0, session.loaded.config.d_vocab
    while first < d_vocab:
        began, last = time.perf_counter(), min(first + pace.part, d_vocab)
        sums.add(model.unembedded_part(normed, first, last).double(), first)
        pace.after(last - first, time.perf_counter() - began)
        first = last
        yield None
    return to_host({"figures": sums.surprise_and_entropy()})["figures"]


class _Sums:
    """log Σ exp(logit) and the entropy of some positions over a vocabulary that comes in parts, in float64.

    With m the largest logit so far: ``weight`` Σ exp(l - m), ``weighted`` Σ exp(l - m) · (l - m); as in online softmax
    (Milakov and Gimelshein 2018) both are scaled anew where a part brings a larger one.
    """

    def __init__(self, tokens: Sequence[int], device: torch.device) -> None:
        self._tokens = torch.tensor(tokens, device=device)
        self._chosen = torch.full((len(tokens),), torch.nan, dtype=torch.float64, device=device)
        self._largest: Tensor | None = None
        self._weight = self._weighted = torch.zeros_like(self._chosen)

    def add(self, logits: Tensor, first: int) -> None:
        """Logits ``[n, count]`` of the tokens from ``first`` on."""
        largest = logits.amax(-1).clamp(min=torch.finfo(torch.float64).min)  # all may be barred
        if self._largest is not None:
            largest = torch.maximum(largest, self._largest)
            lower = (self._largest - largest).clamp(min=_LOWEST)
            scale = lower.exp()
            self._weighted = scale * (self._weighted + lower * self._weight)
            self._weight = scale * self._weight
        self._largest = largest
        shifted = (logits - largest[:, None]).clamp_(min=_LOWEST)
        weights = shifted.exp()
        self._weight = self._weight + weights.sum(-1)
        self._weighted = self._weighted + torch.linalg.vecdot(weights, shifted)
        self._choose(logits, first)

    def _choose(self, logits: Tensor, first: int) -> None:
        """The logit of the token that came, where it is among these."""
        index = self._tokens - first
        here = (index >= 0) & (index < logits.shape[1])
        found = logits.gather(1, index.clamp(0, logits.shape[1] - 1)[:, None])[:, 0]
        self._chosen = torch.where(here, found, self._chosen)

    def surprise_and_entropy(self) -> Tensor:
        """``[2, n]``, in nats."""
        assert self._largest is not None, "every vocabulary has a token"
        total = self._weight.log()
        return torch.stack((total + self._largest - self._chosen, total - self._weighted / self._weight))


def _answer(start: int, end: int, parts: list[np.ndarray]) -> Surprises:
    surprise, entropy = np.concatenate(parts, axis=1) if parts else np.zeros((2, 0))
    return Surprises(start, end - start, surprise, entropy)


_LOWEST = -1e4  # of a logit beside the largest: keeps 0 · -inf at zero
_UNPREDICTED = np.full((2, 1), np.nan)  # nothing comes before position 0
