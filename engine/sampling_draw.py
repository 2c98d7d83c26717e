"""The draw: one number in [0, 1), a function of (seed, position), and the token it falls on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from engine.sampling_stages import rising, vocabulary


def draw_number(seed: int, position: int) -> float:
    """The number in [0, 1) that decides the token at ``position``: a function of its arguments alone.

    The top 53 bits of the first 64-bit word of Philox4x64-10 (Salmon et al. 2011) under the key (seed, 0) and the
    counter (position + 1, 0, 0, 0); that is numpy's ``Philox(key=seed, counter=position)``.
    """
    word = int(np.random.Philox(key=seed, counter=position).random_raw())
    return (word >> 11) * 2.0**-53


class Draw:
    """``drawn`` looked up in the cumulative sum of probs float64 [d_vocab] over falling probability, ties by id."""

    def __init__(self, probs: Tensor, drawn: float) -> None:
        self.drawn = drawn
        self._probs = probs
        self._falling = rising(probs).flip(0)
        cumulative = self._falling.cumsum(0)
        self._cumulative = cumulative / cumulative[-1]

    def token(self) -> Tensor:
        """The id it falls on, int64 [1]."""
        last = self._probs.numel() - 1
        rank = torch.searchsorted(self._cumulative, self.drawn, right=True)[None].clamp(max=last)
        value = self._falling.gather(0, rank)
        tied = (self._probs == value).cumsum(0)
        return torch.searchsorted(tied, rank - (self._probs > value).sum() + 1).clamp(max=last)

    def interval(self, token: Tensor) -> Tensor:
        """[low, high) of a token int64 [1] in the cumulative sum; float64 [2]."""
        value = self._probs.gather(0, token)
        ids = vocabulary(self._probs.numel(), token.device)
        rank = ((self._probs > value) | ((self._probs == value) & (ids < token))).sum()[None]
        low = torch.where(rank > 0, self._cumulative.gather(0, (rank - 1).clamp(min=0)), 0.0)
        return torch.cat((low, self._cumulative.gather(0, rank)))
