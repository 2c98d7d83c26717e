"""What the two keys of a clicker do: look back or on over what is computed, stage by stage, layer by layer or token by
token; where nothing more is computed, one step more is wanted."""

from __future__ import annotations

from typing import Literal

from app import walk
from app.cursor import Look
from app.pass_words import ending_point, place_of
from app.run import Run

Size = Literal["stage", "layer", "token"]
Spot = tuple[int, int, int]  # position, layer, index among the layer's stages
Pins = dict[str, int | str | None]  # what the cursor is to pin

SIZES: dict[str, Size] = {  # what each command that steps or walks says about the size that is wanted next
    "step_stage": "stage",
    "previous_point": "stage",
    "next_point": "stage",
    "step_layer": "layer",
    "finish_layer": "layer",
    "walk_back": "layer",
    "walk_on": "layer",
    "previous_layer": "layer",
    "next_layer": "layer",
    "step_token": "token",
    "previous_position": "token",
    "next_position": "token",
}
STEPS: dict[Size, str] = {"stage": "step_stage", "layer": "step_layer", "token": "step_token"}  # the commands


def nearer(run: Run, look: Look, size: Size) -> Pins | None:
    """Where to look one step back; None: nothing lies before."""
    if size == "token":
        here = walk.place(run, look)
        return None if here is None or here[0] == 0 else {"position": here[0] - 1, "point": ""}
    if size == "layer":
        there = walk.back(run, look)
        return None if there is None else {"position": there[0], "layer": there[1], "point": ""}
    spot = shown_spot(run, look)
    return None if spot is None else _pins(run, _before(run, spot))


def further(run: Run, look: Look, size: Size) -> Pins | None:
    """Where to look one step on, up to where the run stands; None: one looks there already, or nothing is computed."""
    end, here = walk.live_end(run), walk.place(run, look)
    if end is None or here is None or look.position is None:
        return None
    live: Pins = {"position": None, "layer": end[1], "point": ""}
    if size == "token":
        return {"position": here[0] + 1, "point": ""} if here[0] + 1 < end[0] else {**live, "layer": here[1]}
    if size == "layer":
        there = walk.on(run, look)
        return live if there is None else {"position": there[0], "layer": there[1], "point": ""}
    spot, last = shown_spot(run, look), live_spot(run)
    after = None if spot is None else _after(run, spot)
    return _pins(run, after) if after is not None and last is not None and after < last else live


def shown_spot(run: Run, look: Look) -> Spot | None:
    """The stage that is looked at: the pinned one, the last computed one of a place without; who follows the newest
    stands where the pass does. None before anything is computed."""
    here, live = walk.place(run, look), live_spot(run)
    if here is None or live is None or run.model is None:
        return None
    if look.position is None and run.in_pass:
        return live
    stages, picked = run.model.layers[here[1]].stages, place_of(run.model, here[1], look.point)
    last = live[2] if here == live[:2] else len(stages) - 1
    known = picked is not None and picked[0] is not None and picked[1] in stages and look.position is not None
    return (*here, min(last, stages.index(picked[1]))) if known and picked else (*here, last)


def live_spot(run: Run) -> Spot | None:
    """The last stage of a layer that is computed; None before there is one."""
    end = walk.live_end(run)
    if end is None or run.model is None:
        return None
    stages, where = run.model.layers[end[1]].stages, run.where
    inside = run.in_pass and where.layer == end[1] and where.stage in stages
    return (*end, stages.index(where.stage) if inside else len(stages) - 1)


def _before(run: Run, spot: Spot) -> Spot | None:
    position, layer, stage = spot
    if stage > 0:
        return position, layer, stage - 1
    there = walk.back(run, Look(position, layer))
    return None if there is None else (*there, _last_stage(run, there[1]))


def _after(run: Run, spot: Spot) -> Spot:
    assert run.model is not None, "there is a spot"
    position, layer, stage = spot
    if stage < _last_stage(run, layer):
        return position, layer, stage + 1
    return (position, layer + 1, 0) if layer < walk.last_layer(run, position) else (position + 1, 0, 0)


def _last_stage(run: Run, layer: int) -> int:
    assert run.model is not None, "there is a spot"
    return len(run.model.layers[layer].stages) - 1


def _pins(run: Run, spot: Spot | None) -> Pins | None:
    if spot is None or run.model is None:
        return None
    position, layer, stage = spot
    point = ending_point(run.model, layer, run.model.layers[layer].stages[stage])
    return {"position": position, "layer": layer, "point": point or ""}
