"""The stages between logits and the draw, as a table, each equal to transformers' processor of that name.

Every stage works on float32 logits [d_vocab], where -inf marks a token that was cut. A stage that *weighs*
returns new logits; one that *cuts* returns a mask, True = kept, and never cuts every token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from engine.settings import Sampling

Points = Mapping[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Context:
    """What a stage may read besides the logits: the settings and the tokens of the sequence so far."""

    settings: Sampling
    prompt: Sequence[int]
    output: Sequence[int]


@dataclass(frozen=True)
class Stage:
    """One row of the table. ``setting`` is the field of Sampling it shows; ``point`` the hook point after it."""

    name: str
    setting: str
    active: Callable[[Sampling], bool]
    apply: Callable[[Tensor, Context], Tensor]
    cuts: bool
    point: str | None


@dataclass(frozen=True)
class StageLogits:
    """One stage of one choice: logits [d_vocab] before and after. An inactive stage shares one tensor.

    ``plain`` tells a stage that only weighed, so that no token can have gone.
    """

    name: str
    value: float
    before: Tensor
    after: Tensor
    cuts: bool
    plain: bool

    @property
    def active(self) -> bool:
        """Whether the stage ran, or a hook at its point put something else in its place."""
        return self.after is not self.before


def run_stages(logits: Tensor, context: Context, points: Points) -> list[StageLogits]:
    """Every stage of the table in its order, from raw logits float32 [d_vocab]."""
    record = []
    for stage in STAGES:
        point = points.get(stage.point or "")
        after = (_cut if stage.cuts else _weigh)(stage, logits, context, point)
        plain = not stage.cuts and point is None
        record.append(StageLogits(stage.name, _value(stage, context), logits, after, stage.cuts, plain))
        logits = after
    return record


def _value(stage: Stage, context: Context) -> float:
    return float(getattr(context.settings, stage.setting))


def _weigh(stage: Stage, logits: Tensor, context: Context, point: Callable[[Tensor], Tensor] | None) -> Tensor:
    after = stage.apply(logits, context) if stage.active(context.settings) else logits
    return after if point is None else point(after)


def _cut(stage: Stage, logits: Tensor, context: Context, point: Callable[[Tensor], Tensor] | None) -> Tensor:
    active = stage.active(context.settings)
    if not active and point is None:
        return logits
    mask = stage.apply(logits, context) if active else torch.ones_like(logits, dtype=torch.bool)
    seen = mask if point is None else point(mask)
    return torch.where(seen, logits, logits.new_full((), -torch.inf)) if active or seen is not mask else logits


# --- weighing -------------------------------------------------------------------------------------------------


def repetition(logits: Tensor, context: Context) -> Tensor:
    """Keskar et al. 2019: a logit above zero is divided by the penalty, one below multiplied; prompt and output."""
    ids, _ = _occurrences([*context.prompt, *context.output], logits)
    chosen = logits.gather(0, ids)
    penalty = context.settings.repetition_penalty
    return logits.scatter(0, ids, torch.where(chosen < 0, chosen * penalty, chosen / penalty))


def presence(logits: Tensor, context: Context) -> Tensor:
    """logit - penalty for every token that the output holds."""
    ids, _ = _occurrences(context.output, logits)
    return logits.scatter(0, ids, logits.gather(0, ids) - context.settings.presence_penalty)


def frequency(logits: Tensor, context: Context) -> Tensor:
    """logit - penalty · (how often the output holds the token)."""
    ids, counts = _occurrences(context.output, logits)
    return logits.scatter(0, ids, logits.gather(0, ids) - context.settings.frequency_penalty * counts)


def temperature(logits: Tensor, context: Context) -> Tensor:
    """logit / temperature."""
    return logits / context.settings.temperature


def _occurrences(tokens: Sequence[int], logits: Tensor) -> tuple[Tensor, Tensor]:
    """The different ids among ``tokens`` that have a logit, and how often each occurs (float32)."""
    ids, counts = np.unique(np.asarray(tokens, dtype=np.int64), return_counts=True)
    known = (ids >= 0) & (ids < logits.numel())
    return (
        torch.from_numpy(ids[known]).to(logits.device),
        torch.from_numpy(counts[known].astype(np.float32)).to(logits.device),
    )


# --- cutting --------------------------------------------------------------------------------------------------


def top_k(logits: Tensor, context: Context) -> Tensor:
    """Keep what is not below the k-th largest logit (Fan et al. 2018); ties with it stay."""
    k = min(context.settings.top_k, logits.numel())
    kth = logits.topk(k).values[-1] if k <= _TOPK_PAYS else rising(logits)[-k]
    return logits >= kth


def top_p(logits: Tensor, context: Context) -> Tensor:
    """Keep the smallest set of the most probable tokens whose mass reaches p (Holtzman et al. 2020).

    Of tokens tied at the edge the lowest ids stay (transformers leaves that order to an unstable sort).
    """
    ordered = rising(logits)
    cut = ordered.softmax(0).cumsum(0) <= (1 - context.settings.top_p)
    n_cut = cut.sum().clamp(max=logits.numel() - 1)
    edge = ordered.gather(0, n_cut[None])
    n_ties_kept = logits.numel() - n_cut - (ordered > edge).sum()
    tied = logits == edge
    return (logits > edge) | (tied & (tied.cumsum(0) <= n_ties_kept))


def min_p(logits: Tensor, context: Context) -> Tensor:
    """Keep what is at least min_p times as probable as the most probable (Nguyen et al. 2024)."""
    probabilities = logits.softmax(0)
    return probabilities >= context.settings.min_p * probabilities.amax()


def typical_p(logits: Tensor, context: Context) -> Tensor:
    """Keep the tokens whose surprise is nearest to the entropy, up to mass p (Meister et al. 2022)."""
    log_probabilities = logits.log_softmax(0)
    entropy = -(log_probabilities * log_probabilities.exp()).nansum()
    distance = (-log_probabilities - entropy).abs()
    order = rising(_keys(distance)) & _LOW
    mass = logits.gather(0, order).softmax(0).cumsum(0)
    last = (mass < context.settings.typical_p).sum().clamp(max=logits.numel() - 1)
    return distance <= distance.gather(0, order.gather(0, last[None]))


def greedy(logits: Tensor, context: Context) -> Tensor:
    """Keep the most probable token; of ties the lowest id."""
    return torch.zeros_like(logits, dtype=torch.bool).scatter(0, best(logits), True)


# --- order ----------------------------------------------------------------------------------------------------

_TOPK_PAYS = 1024  # above this many a whole sort of 50 thousand is cheaper on a CPU
_LOW = 2**32 - 1


def best(values: Tensor) -> Tensor:
    """The index of the largest value, int64 [1]; of ties the lowest."""
    if values.device.type == "cpu":  # numpy's argmax is 25 times as fast there
        return torch.tensor([values.numpy().argmax()])
    return values.argmax(0, keepdim=True)


def rising(values: Tensor) -> Tensor:
    """The values in rising order. On a CPU numpy sorts in place of torch: 10 times as fast, the same result."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


@lru_cache(maxsize=8)
def vocabulary(n: int, device: torch.device) -> Tensor:
    """The ids 0 .. n - 1, int64 [n]; shared, so never to be written to."""
    return torch.arange(n, device=device)


def _keys(values: Tensor) -> Tensor:
    """int64 keys that order float32 values >= 0 rising, ties by id; the low 32 bits are the id."""
    return (values.view(torch.int32).long() << 32) | vocabulary(values.numel(), values.device)


def falling_keys(values: Tensor) -> Tensor:
    """int64 keys, all different, whose falling order is that of float32 values with ties by rising id."""
    bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 one value
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long() << 32
    return ordered - vocabulary(values.numel(), values.device)


def ids_of(keys: Tensor) -> Tensor:
    """The ids behind ``falling_keys``."""
    return -keys & _LOW


def largest(keys: Tensor, k: int) -> Tensor:
    """The k largest of different keys, falling."""
    if keys.device.type == "cpu":
        return torch.from_numpy(np.partition(keys.numpy(), keys.numel() - k)[-k:]).sort(descending=True).values
    return keys.topk(k).values


def first_ids(values: Tensor, n: int) -> Tensor:
    """The ids of the n largest float32 values, falling, ties by rising id: int64 [n]."""
    if values.device.type != "cpu":
        return ids_of(largest(falling_keys(values), n))
    array = values.numpy()
    near = np.flatnonzero(array >= np.partition(array, array.size - n)[array.size - n])
    if len(near) < n:  # NaN among them, which the caller reports
        return ids_of(largest(falling_keys(values), n))
    return torch.from_numpy(near[np.lexsort((near, -array[near]))[:n]])


def rank_of(values: Tensor, index: Tensor) -> Tensor:
    """How many values come before that at ``index`` [1] in falling order, ties by rising id: int64 scalar."""
    value = values.gather(0, index)
    ties = (values == value) & (vocabulary(values.numel(), values.device) < index)
    return (values > value).sum() + ties.sum()


def _sampled(setting: str, off: float) -> Callable[[Sampling], bool]:
    """A stage that only a draw needs: off at its neutral value, and where the best token is taken."""
    return lambda settings: not settings.takes_the_best and getattr(settings, setting) != off


STAGES: tuple[Stage, ...] = (
    Stage("repetition", "repetition_penalty", lambda s: s.repetition_penalty != 1, repetition, False, None),
    Stage("presence", "presence_penalty", lambda s: s.presence_penalty != 0, presence, False, None),
    Stage("frequency", "frequency_penalty", lambda s: s.frequency_penalty != 0, frequency, False, "hook_penalised"),
    Stage("temperature", "temperature", _sampled("temperature", 1), temperature, False, "hook_tempered"),
    Stage("top-k", "top_k", _sampled("top_k", 0), top_k, True, "hook_topk_mask"),
    Stage("top-p", "top_p", _sampled("top_p", 1), top_p, True, "hook_topp_mask"),
    Stage("min-p", "min_p", _sampled("min_p", 0), min_p, True, "hook_minp_mask"),
    Stage("typical-p", "typical_p", _sampled("typical_p", 1), typical_p, True, "hook_typicalp_mask"),
    Stage("greedy", "takes_the_best", lambda s: s.takes_the_best, greedy, True, None),
)
