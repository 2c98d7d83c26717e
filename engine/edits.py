"""Interventions as plain data: what of a pass is changed, where, how, and how strongly. No torch here.

``engine/edit_listeners.py`` makes the listeners that do it. An edit of strength s gives x + s · (edited − x) where that
means something; what is chosen or cut (an expert, a banned token, a knocked-out edge) is so or is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from engine.errors import EngineError

EditKind = Literal[
    "zero", "scale", "mean", "copy", "add", "clamp", "set", "knock out", "force", "forbid", "bias", "ban"
]

GRADUAL: tuple[EditKind, ...] = ("zero", "scale", "mean", "copy", "add", "clamp", "set", "bias")  # have a strength


@dataclass(frozen=True)
class Edit:
    """One intervention. What is barred stays so: a key that a query does not see, a token or an expert at -inf.

    Args:
        kind: "zero"; "scale" by ``value``; "mean" over all positions read so far (those before this pass as their
            passes left them); "copy" the value at position ``sources[0]``; "add" ``value`` times a direction; "clamp"
            to [``low``, ``high``]; "set" to ``value``; "knock out" an attention edge; "force" or "forbid" experts;
            "bias" by adding ``value``; "ban" tokens.
        point: a hook point's name without ``blocks.N.`` ("attn.hook_z"), or of one outside the layers
            ("hook_logits_final").
        layers: those in which it is edited; () for a point outside the layers.
        positions: [start, end) of the run, ``end`` None: from start on; None: every position that a pass reads
            (of a point that shows all keys of a pass: of those keys).
        heads: of a point with heads, () all.
        entries: along the last axis (residual dimensions, neurons, experts, token ids), () all.
        keys: positions that an attention edge goes to, () all; the queries are ``positions``.
        renormalise: of an edge that is knocked out: the rest of its row sums to 1 again (scores −inf), or is left as it
            is (pattern 0). A query that has no other key attends to nothing: its row is 0.
        sources: of "copy" the position; of "add" (p, q): what stands at p less what stands at q; () with ``token``.
            A pass that comes before a source has been read is not edited.
        token: of "add": the row of the unembedding of this token is the direction.
        step: only the pass of this step; None: every pass from now on.
        strength: from 0 (nothing) to 1 (as said), or beyond.

    Raises:
        EngineError: where what is given means nothing together.
    """

    kind: EditKind
    point: str
    layers: tuple[int, ...] = ()
    positions: tuple[int, int | None] | None = None
    heads: tuple[int, ...] = ()
    entries: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()
    value: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    renormalise: bool = True
    sources: tuple[int, ...] = ()
    token: int | None = None
    step: int | None = None
    strength: float = 1.0
    on: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        for what in (self.value, self.strength):
            if not math.isfinite(what):
                raise EngineError(f"The number {what} was given to an edit; it must be finite.")
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise EngineError(f"An edit clamps to [{self.low}, {self.high}]; the first must not exceed the second.")
        if self.positions is not None:
            start, end = self.positions
            if start < 0 or (end is not None and end <= start):
                raise EngineError(f"An edit is for positions {start} to {end}; the first must lie before the last.")
