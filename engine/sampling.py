"""From logits to a token: the stages, the draw, and a record from which the choice can be explained and repeated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from engine.errors import EngineError
from engine.frames import SamplingFrame
from engine.sampling_draw import Draw, draw_number
from engine.sampling_frame import device_record, sampling_frame
from engine.sampling_stages import Context, Points, StageLogits, best, run_stages
from engine.settings import Sampling
from engine.transfer import to_host


def choose(
    logits: Tensor,
    *,
    prompt: Sequence[int],
    output: Sequence[int],
    position: int,
    settings: Sampling,
    points: Points | None = None,
) -> Choice:
    """Choose the token at ``position``.

    Args:
        logits: [d_vocab], any float dtype, any device; must not be written to while the Choice is in use.
        prompt: the ids the run began with. ``output``: the ids generated since.
        points: hook points by short name, called in the order of the pass with the tensor at that place, and
            returning the tensor to go on with: ``hook_penalised``, ``hook_tempered`` (logits float32 [d_vocab]),
            ``hook_topk_mask``, ``hook_topp_mask``, ``hook_minp_mask``, ``hook_typicalp_mask`` (bool [d_vocab], True =
            kept; all True where the stage is off), ``hook_probs`` (float64 [d_vocab]), ``hook_token`` (int64 [1]).

    Nothing is waited for here; where the logits allow no choice, the Choice raises EngineError when it is read.
    """
    points = points or {}
    raw = _workable(logits)
    stages = run_stages(raw, Context(settings, prompt, output), points)
    if settings.takes_the_best and "hook_probs" not in points:
        token = _hooked(best(stages[-1].after), points)
        return Choice(stages, None, False, token, None, position, settings)
    probs = stages[-1].after.softmax(0, dtype=torch.float64)
    if "hook_probs" in points:
        probs = points["hook_probs"](probs).double()
        probs = probs / probs.sum().abs()  # abs keeps a negative entry negative, to be reported
    draw = None if settings.takes_the_best else Draw(probs, draw_number(settings.seed, position))
    token = best(probs) if draw is None else draw.token()
    return Choice(stages, probs, "hook_probs" in points, _hooked(token, points), draw, position, settings)


def _hooked(token: Tensor, points: Points) -> Tensor:
    return points["hook_token"](token) if "hook_token" in points else token


def _workable(logits: Tensor) -> Tensor:
    """float32 where float64 exists too: Apple's MPS has none, so there the row is brought to the CPU."""
    if logits.device.type == "mps":
        return torch.from_numpy(to_host({"logits": logits})["logits"]).float()
    return logits.detach().float()


class Choice:
    """A chosen token. Reading it waits for the device; it stays there until ``token_id`` or ``frame`` is called."""

    def __init__(
        self,
        stages: list[StageLogits],
        probs: Tensor | None,
        hooked: bool,
        token: Tensor,
        draw: Draw | None,
        position: int,
        settings: Sampling,
    ) -> None:
        self._record = stages
        self._probs = probs
        self._hooked = hooked
        self._token = token
        self._draw = draw
        self.position = position
        self.settings = settings

    @property
    def stages(self) -> dict[str, Tensor]:
        """Logits float32 [d_vocab] after each stage by its name, -inf where cut."""
        return {stage.name: stage.after for stage in self._record}

    @cached_property
    def probs(self) -> Tensor:
        """The final distribution, float64 [d_vocab], from which the token was drawn."""
        if self._probs is not None:
            return self._probs
        if self.settings.takes_the_best:  # one token is left: its probability is 1 without an exponential
            after = self._record[-1].after
            return torch.zeros_like(after, dtype=torch.float64).index_fill_(0, best(after), 1.0)
        return self._record[-1].after.softmax(0, dtype=torch.float64)

    def token_id(self) -> int:
        """The chosen id. Raises EngineError where the logits allow no choice."""
        return self._told[0]

    @property
    def log_probability(self) -> float:
        """The natural logarithm of the chosen token's probability in the raw distribution, from float32 figures."""
        return self._told[1]

    def frame(self) -> SamplingFrame:
        """How the token was chosen, as numbers. Raises EngineError where the logits allow no choice."""
        return self._frame

    @cached_property
    def _told(self) -> tuple[int, float]:
        """The chosen id, and the logarithm of its raw probability."""
        raw = self._record[0].before
        logit = raw.gather(0, self._token.clamp(0, raw.numel() - 1))  # one out of range is reported below
        host = to_host({"token": self._token, "peaks": self._peaks(), "log": logit - raw.logsumexp(0)})
        return self._checked(host["token"], host["peaks"]), float(host["log"][0])

    @cached_property
    def _frame(self) -> SamplingFrame:
        record = device_record(self._record, self.probs, self._token, self._draw, self._hooked)
        host = to_host({"token": self._token, "peaks": self._peaks(), **record})
        self._checked(host["token"], host["peaks"])
        return sampling_frame(host, self._record, self.position, self.settings, self._draw)

    def _peaks(self) -> Tensor:
        """Largest raw and final logit, mass and least of a hooked distribution: bad numbers show up in them."""
        first, last = self._record[0].before, self._record[-1].after
        hooked = (
            () if self._probs is None or not self._hooked else (self._probs.sum().float(), self._probs.min().float())
        )
        return torch.stack((first.max(), last.max(), *hooked))

    def _checked(self, token: np.ndarray, peaks: np.ndarray) -> int:
        if not np.isfinite(peaks[0]):
            raise EngineError(
                f"The logits for position {self.position} hold NaN or infinities, or only minus infinity, so no token "
                "can be chosen; look for the layer where they first appear."
            )
        if not np.isfinite(peaks).all() or (peaks[2:] < 0).any():
            raise EngineError(
                f"No token is left to choose from at position {self.position}: the sampling settings or a hook made "
                "the distribution empty or infinite; take the hook out or raise the temperature."
            )
        if not 0 <= token[0] < self._record[0].before.numel():
            raise EngineError(
                f"A hook chose the token {token[0]} at position {self.position}, which is not in the vocabulary; "
                "return an id of the vocabulary."
            )
        return int(token[0])
