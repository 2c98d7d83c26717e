"""The rows of the list of points: what lies before the layers, one layer by its stages, what lies behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from app.engine_words import stage_title
from engine.frames import ModelFrame, PointFacts, Points
from engine.point_table import ANY_EXPERT, expert_of, full_name

Tr = Callable[[str], str]


@dataclass(frozen=True)
class PointRow:
    """One row: a point with its ``name`` in this layer, or a heading (``facts`` None) of what follows.

    ``layer`` None: outside the layers. ``absent``: not computed at the position that is looked at.
    """

    text: str
    name: str = ""
    layer: int | None = None
    facts: PointFacts | None = None
    absent: bool = False

    @property
    def full_name(self) -> str:
        """Among the points of the model."""
        return self.name if self.layer is None else full_name(self.layer, self.name)


def point_rows(model: ModelFrame, layer: int, states: Points | None, wanted: str, tr: Tr) -> tuple[PointRow, ...]:
    """All rows, experts folded to those that were chosen and the one that is wanted."""
    chosen = () if states is None else states.experts
    looked_at = expert_of(wanted)
    experts = [*chosen, *([looked_at] if looked_at is not None and looked_at not in chosen else [])]
    facts = model.layers[layer]
    rows = [*_section(tr("before the layers"), None, model.points_before, tr)]
    inside = _section(tr("layer {0}").format(layer), layer, facts.points, tr)
    rows += _with_experts(inside, layer, [e for e in experts if e < facts.n_experts], facts.n_experts, tr)
    return (*rows, *_section(tr("behind the layers"), None, model.points_behind, tr))


def known_rows(rows: tuple[PointRow, ...], states: Points | None) -> tuple[PointRow, ...]:
    """The same with what is computed at the position; before there is an answer all are taken to be."""
    if states is None:
        return rows
    known = dict(zip(states.names, states.known.tolist(), strict=True))
    return tuple(
        row if row.facts is None else replace(row, absent=states.position >= known.get(row.full_name, states.position))
        for row in rows
    )


def _section(title: str, layer: int | None, points: Iterable[PointFacts], tr: Tr) -> list[PointRow]:
    rows, group = [], ""
    for point in points:
        if point.group != group:
            group = point.group
            rows.append(PointRow(f"{title} · {stage_title(group, tr)}", layer=layer))
        rows.append(PointRow(point.name, point.name, layer, point))
    return rows


def _with_experts(rows: list[PointRow], layer: int, experts: list[int], n_experts: int, tr: Tr) -> list[PointRow]:
    """The points of some experts instead of those that stand for all of them."""
    folded = [row for row in rows if row.name.startswith(ANY_EXPERT)]
    if not folded:
        return rows
    at = rows.index(folded[0])
    shown = [
        replace(row, text=row.name.replace("*", str(expert)), name=row.name.replace("*", str(expert)))
        for expert in experts
        for row in folded
    ]
    rest = n_experts - len(experts)
    note = (
        [PointRow(tr("{0} other experts did not read this position").format(rest), layer=layer)]
        if experts and rest
        else []
    )
    return [*rows[:at], *shown, *note, *rows[at + len(folded) :]]
