"""Where a pass stands, row by row: token, embed, the layers, final norm, logits, sampling. Plain data: no widgets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from app.run import Run
from engine.frames import ModelFrame, Where

TOKEN = "token"  # what the pass reads: there before any stage of it
BEFORE = ("embed",)
AFTER = ("final norm", "logits", "sampling")
MOST_UNFOLDED = 8  # layers; where there are more, those that are not looked at are folded
FOLD = 10  # layers beside each other in a fold, so that a layer's place tells its number


class State(IntEnum):
    """How much of a row the pass has computed."""

    ABSENT = 0
    PARTIAL = 1
    DONE = 2


@dataclass(frozen=True)
class Row:
    """One row. ``layer`` is None outside the layers; ``stage`` is "" for a layer as a whole.

    ``last``: the row is a fold of the layers ``layer`` to this one.
    """

    layer: int | None
    stage: str
    first: int  # ordinal of its first stage in the pass
    count: int  # how many stages it covers
    last: int | None = None

    @property
    def lines(self) -> int:
        """Of ten layers each, where it is a fold."""
        return 1 if self.last is None or self.layer is None else self.last // FOLD - self.layer // FOLD + 1


def pass_rows(model: ModelFrame | None, opened: int | None) -> tuple[Row, ...]:
    """The rows of a model's pass in order, with the stages of the ``opened`` layer below it."""
    return _rows(model, (opened,))


def _rows(model: ModelFrame | None, opened: tuple[int | None, ...]) -> tuple[Row, ...]:
    if model is None:
        return ()
    rows = [Row(None, name, index, 1) for index, name in enumerate(BEFORE)]
    ordinal = len(BEFORE)
    for layer, facts in enumerate(model.layers):
        rows.append(Row(layer, "", ordinal, len(facts.stages)))
        if layer in opened:
            rows.extend(Row(layer, stage, ordinal + index, 1) for index, stage in enumerate(facts.stages))
        ordinal += len(facts.stages)
    rows.extend(Row(None, name, ordinal + index, 1) for index, name in enumerate(AFTER))
    return tuple(rows)


def map_rows(model: ModelFrame | None, opened: int, standing: int | None) -> tuple[Row, ...]:
    """The same with the token before them, and with the stages of the layer that the pass is ``standing`` in, too. Of a
    deep model only these two layers have rows of their own."""
    if model is None:
        return ()
    rows = [Row(None, TOKEN, 0, 0)]
    for row in _rows(model, (opened, standing)):
        own = row.layer in (None, opened, standing) or model.n_layers <= MOST_UNFOLDED
        before = rows[-1]
        if own or before.layer in (None, opened, standing):
            rows.append(row)
        else:
            rows[-1] = Row(before.layer, "", before.first, before.count + row.count, row.layer)
    return tuple(rows)


def stages_computed(run: Run) -> int:
    """How many stages, counted from embed, the pass under way has computed; all of them after a finished step."""
    if run.model is None:
        return 0
    if not run.in_pass:
        return _before_layer(run.model, run.model.n_layers) + len(AFTER) if run.steps else 0
    return _ordinal(run.model, run.where) + 1


def _ordinal(model: ModelFrame, where: Where) -> int:
    """The place of the last computed stage; -1 before anything is computed."""
    if where.layer is not None:
        stages = model.layers[where.layer].stages
        return _before_layer(model, where.layer) + stages.index(where.stage)
    if where.stage in BEFORE:
        return BEFORE.index(where.stage)
    if where.stage in AFTER:
        return _before_layer(model, model.n_layers) + AFTER.index(where.stage)
    return -1


def _before_layer(model: ModelFrame, layer: int) -> int:
    return len(BEFORE) + sum(len(facts.stages) for facts in model.layers[:layer])


def state(row: Row, computed: int) -> State:
    """The state of a row when ``computed`` stages of the pass are there."""
    if computed <= row.first:
        return State.ABSENT
    return State.DONE if computed >= row.first + row.count else State.PARTIAL
