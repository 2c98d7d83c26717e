"""What a SamplingFrame holds, computed on the device and packed into it on the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from engine.frames import Array, SamplingFrame, StageFrame
from engine.sampling_draw import Draw
from engine.sampling_stages import StageLogits, falling_keys, ids_of
from engine.settings import Sampling

N_TOP = 64


def device_record(stages: Sequence[StageLogits], probs: Tensor, token: Tensor, draw: Draw | None) -> dict[str, Tensor]:
    """The figures of a frame as small tensors; nothing is waited for.

    Candidates are the N_TOP most probable raw tokens, then the chosen one (which may be among them).
    """
    raw = stages[0].before
    # a token that a hook set may lie outside the vocabulary, which is reported after the transfer
    token = token.clamp(0, raw.numel() - 1)
    keys = falling_keys(raw)
    ids = torch.cat((ids_of(keys.topk(min(N_TOP, raw.numel())).values, raw.numel()), token))
    raw_probs = raw.softmax(0, dtype=torch.float64)
    return {
        "ids": ids,
        "rank": (keys > keys.gather(0, token)).sum(),
        "raw": raw_probs.gather(0, ids),
        "final": probs.gather(0, ids),
        "entropies": torch.stack((_entropy(raw_probs), _entropy(probs))),
        "interval": draw.interval(token) if draw else probs.new_tensor((0.0, 1.0)),
        "raw_logits": raw.gather(0, ids),
        **_stage_figures(stages, raw_probs, ids),
    }


def _entropy(probs: Tensor) -> Tensor:
    """In nats. The clamp keeps 0 · log 0 at zero, and log off its slow path on a CPU."""
    return -torch.dot(probs, probs.clamp(min=1e-300).log())


def _stage_figures(stages: Sequence[StageLogits], probs: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """``kept`` [n_stages], ``cut`` [n_stages] float64 and ``logits`` [n_stages, n_ids].

    ``probs`` is the raw distribution; each stage then turns the distribution that enters it into the next one.
    """
    kept = [(stages[0].before > -torch.inf).sum()]
    cut = [probs.new_zeros(())]
    logits = [stages[0].before.gather(0, ids)]
    for stage in stages:
        if not stage.active:
            kept.append(kept[-1])
            cut.append(cut[0])
            logits.append(logits[-1])
            continue
        possible = stage.after > -torch.inf
        left = probs * possible
        mass = left.sum()
        kept.append(possible.sum())
        cut.append(1 - mass)
        logits.append(stage.after.gather(0, ids))
        probs = left / mass if stage.cuts else stage.after.softmax(0, dtype=torch.float64)
    return {"kept": torch.stack(kept[1:]), "cut": torch.stack(cut[1:]), "logits": torch.stack(logits[1:])}


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
