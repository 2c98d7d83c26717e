"""A pass that stands inside the attention of a layer: which stage of it is looked at, and what it has not made yet.

Imports no Qt.
"""

from __future__ import annotations

from dataclasses import replace

from app.cursor import Look
from app.run import Run
from engine.frames import AttentionGrid, AttentionMap, AttentionRow
from engine.questions import AttentionStage

MADE_AT: dict[AttentionStage, str] = {  # the stage of the pass that makes each stage of the picture
    "products": "scores",
    "scaled": "scores",
    "masked": "scores",
    "pattern": "softmax",
    "contribution": "mix",
}
LOOKED_AT: dict[str, AttentionStage] = {"scores": "masked", "softmax": "pattern", "mix": "contribution"}


def stage_of_stop(run: Run, look: Look) -> AttentionStage | None:
    """What is looked at while the pass stands there; None where it does not stand in the attention of the layer, or
    somebody looks back."""
    where = run.where
    stands = where.state == "paused" and where.layer == look.layer and look.position is None
    return LOOKED_AT.get(where.stage) if stands else None


def first_unmade(run: Run, layer: int, stage: AttentionStage) -> int | None:
    """The first query whose figures of a stage the pass that is in the layer has still to make; None: there is none."""
    if run.model is None or not run.in_pass or run.where.layer != layer:
        return None
    stages, made_at = run.model.layers[layer].stages, MADE_AT[stage]
    if run.where.stage not in stages or made_at not in stages:
        return None
    return run.where.start if stages.index(run.where.stage) < stages.index(made_at) else None


def unmade_of(run: Run, answer: AttentionGrid | AttentionMap | AttentionRow) -> int | None:
    """The first query of an answer that the pass has still to make; None: all of it is made."""
    stage: AttentionStage = "pattern" if isinstance(answer, AttentionGrid) else answer.stage
    unmade = first_unmade(run, answer.layer, stage)
    end = answer.position + 1 if isinstance(answer, AttentionRow) else answer.n
    return None if unmade is None or unmade >= end else unmade


def made_grid(answer: AttentionGrid, unmade: int | None) -> AttentionGrid:
    """As much of it as the pass has made: queries from ``unmade`` on are not there. A reduced cell is, as soon as all
    of its queries are."""
    if unmade is None:
        return answer
    cells = unmade // answer.block
    return replace(answer, n=cells * answer.block, maps=answer.maps[:, :cells])


def made_map(answer: AttentionMap, unmade: int | None) -> AttentionMap:
    """Likewise."""
    if unmade is None:
        return answer
    first, block = answer.rows[0], answer.block
    cells = max(0, unmade - first) // block
    n = min(unmade, first + cells * block)
    return replace(answer, n=n, map=answer.map[:cells], sight=answer.sight[:cells])


def made_row(answer: AttentionRow, unmade: int | None) -> AttentionRow:
    """All of it, or nothing."""
    return answer if unmade is None else replace(answer, rows=answer.rows[:, :0])
