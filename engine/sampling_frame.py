"""What a SamplingFrame holds, computed on the device and packed into it on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.frames import Array, SamplingFrame, StageFrame
from engine.sampling_draw import Draw
from engine.sampling_stages import StageLogits, best, first_ids, rank_of
from engine.settings import Sampling

N_TOP = 64


def device_record(
    stages: Sequence[StageLogits], probs: Tensor, token: Tensor, draw: Draw | None, hooked: bool
) -> dict[str, Tensor]:
    """The figures of a frame as small tensors; nothing is waited for.

    Candidates are the N_TOP most probable raw tokens, then the chosen one (which may be among them). ``hooked``: the
    final distribution ``probs`` comes from a hook and not from the last stage's logits.
    """
    raw = stages[0].before
    # a token that a hook set may lie outside the vocabulary, which is reported after the transfer
    token = token.clamp(0, raw.numel() - 1)
    ids = torch.cat((first_ids(raw, min(N_TOP, raw.numel())), token))
    raw_probs, raw_entropy, raw_total = _distribution(raw)
    totals = {id(raw): raw_total}
    if not hooked:
        totals[id(stages[-1].after)] = _log_total(stages[-1].after, probs)
    return {
        "ids": ids,
        "rank": rank_of(raw, token),
        "raw": raw_probs.gather(0, ids),
        "final": probs.gather(0, ids),
        "entropies": torch.stack((raw_entropy, _final_entropy(stages, probs, hooked))),
        "interval": draw.interval(token) if draw else probs.new_tensor((0.0, 1.0)),
        "raw_logits": raw.gather(0, ids),
        **_stage_figures(stages, ids, totals),
    }


def _distribution(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Softmax in float64, its entropy in nats, log Σ exp(logit): one exponential for each token serves all three."""
    largest = logits.max().double()
    # the clamp keeps 0 · -inf at zero
    shifted = (logits.double() - largest).clamp_(min=-1e4)
    probs = shifted.exp()
    total = probs.sum()
    probs = probs.div_(total)
    return probs, total.log() - torch.dot(probs, shifted), largest + total.log()


def _final_entropy(stages: Sequence[StageLogits], probs: Tensor, hooked: bool) -> Tensor:
    if hooked:  # log 0 is slow on a CPU, hence the clamp
        return _entropy(probs, probs.clamp(min=1e-300).log())
    if stages[-1].name == "greedy" and stages[-1].active:  # one token is left
        return probs.new_zeros(())
    return _entropy(probs, stages[-1].after)


def _entropy(probs: Tensor, logits: Tensor) -> Tensor:
    """-Σ p log p in nats, where log p = logit - largest logit + log(largest p): no logarithm for each token."""
    # the clamp keeps 0 · -inf at zero
    shifted = (logits.double() - logits.max()).clamp(min=-1e4)
    return -(probs.max().log() + torch.dot(probs, shifted))


def _stage_figures(stages: Sequence[StageLogits], ids: Tensor, totals: dict[int, Tensor]) -> dict[str, Tensor]:
    """``kept`` [n_stages], ``cut`` [n_stages] float64 and ``logits`` [n_stages, n_ids].

    ``totals``: log Σ exp(logit) of the tensors, by identity, where it is known already.
    """
    raw = stages[0].before
    kept, logits = [(raw > -torch.inf).sum()], [raw.gather(0, ids)]
    none = torch.zeros((), dtype=torch.float64, device=raw.device)
    for stage in stages:
        kept.append(kept[-1] if stage.plain or not stage.active else (stage.after > -torch.inf).sum())
        logits.append(stage.after.gather(0, ids) if stage.active else logits[-1])
    cut = [_mass_cut(stage, totals) if stage.active and not stage.plain else none for stage in stages]
    return {"kept": torch.stack(kept[1:]), "cut": torch.stack(cut), "logits": torch.stack(logits[1:])}


def _mass_cut(stage: StageLogits, totals: dict[int, Tensor]) -> Tensor:
    """The probability, in the distribution that enters a stage, of the tokens it removed."""
    if not stage.cuts:  # a hook after a weighing stage may have changed survivors too
        return torch.where(stage.after > -torch.inf, 0.0, stage.before.softmax(0, dtype=torch.float64)).sum()
    for logits in (stage.before, stage.after):
        if id(logits) not in totals:
            totals[id(logits)] = _log_total(logits, logits.softmax(0, dtype=torch.float64))
    return -torch.expm1(totals[id(stage.after)] - totals[id(stage.before)])


def _log_total(logits: Tensor, probs: Tensor) -> Tensor:
    """log Σ exp(logit) in float64, read off the probability of the best token."""
    top = best(logits)
    return (logits.gather(0, top).double() - probs.gather(0, top).log())[0]


def sampling_frame(
    host: Mapping[str, Array],
    stages: Sequence[StageLogits],
    position: int,
    settings: Sampling,
    draw: Draw | None,
) -> SamplingFrame:
    """The frame from the figures of ``device_record`` on the host."""
    n = len(host["ids"]) - 1 if host["ids"][-1] in host["ids"][:-1] else len(host["ids"])
    low, high = host["interval"].tolist()
    return SamplingFrame(
        position=position,
        seed=settings.seed,
        greedy=settings.takes_the_best,
        drawn=draw.drawn if draw else None,
        low=low,
        high=high,
        chosen=int(host["ids"][-1]),
        chosen_rank=int(host["rank"]),
        chosen_raw=float(host["raw"][-1]),
        chosen_final=float(host["final"][-1]),
        entropy_raw=float(host["entropies"][0]),
        entropy_final=max(0.0, float(host["entropies"][1])),
        ids=host["ids"][:n],
        raw=host["raw"][:n],
        final=host["final"][:n],
        cut_by=_cut_by(host["logits"][:, :n], host["raw_logits"][:n]),
        stages=tuple(_stage_frame(stage, host, index, n) for index, stage in enumerate(stages)),
    )


def _stage_frame(stage: StageLogits, host: Mapping[str, Array], index: int, n: int) -> StageFrame:
    return StageFrame(
        name=stage.name,
        value=stage.value,
        active=stage.active,
        kept=int(host["kept"][index]),
        cut=max(0.0, float(host["cut"][index])),
        logits=np.ascontiguousarray(host["logits"][index, :n]),
    )


def _cut_by(logits: Array, raw: Array) -> Array:
    """int64 [n]: the first stage after which a candidate is -inf; -1 for none, and where the raw logit was."""
    gone = np.isneginf(logits) & ~np.isneginf(raw)
    return np.where(gone.any(axis=0), gone.argmax(axis=0), -1).astype(np.int64)
