"""What the banner of projector mode says: where the pass stands, or where one looks, in large letters; below in words.

Imports no Qt: ``tr`` is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass

from app import walk
from app.clicker import shown_spot
from app.cursor import Look
from app.engine_words import said, stage_title
from app.layer_kinds import Translate
from app.run import Run
from app.widgets.amounts import percent
from engine.frames import StepFrame


@dataclass(frozen=True)
class Headline:
    """``place``: the layer (None: outside the layers) and the stage that the words are about; None: about no stage.
    ``layer``: the one that the rail marks; ``done``: so many layers are computed."""

    text: str
    beside: str = ""  # which token, and whether the pass waits
    place: tuple[int | None, str] | None = None
    words: str = ""  # where there is no stage to tell of
    layer: int | None = None
    done: int = 0


def headline(run: Run, look: Look, activity: str, tr: Translate) -> Headline:
    """What is shown now: the place that is pinned, else the pass, else what came of it.

    Args:
        activity: what the program does while there is nothing of that, "ready" for example.
    """
    if run.model is None:
        return Headline(tr("No model is open"), words=activity)
    if look.position is not None and walk.live_end(run) is not None:
        return _looking_back(run, look, tr)
    if run.in_pass:
        return _in_pass(run, tr)
    if run.steps:
        return _ended(run, run.steps[-1], tr)
    return Headline(run.model.name, words=tr("{0} layers are ready to read a prompt.").format(run.model.n_layers))


def _in_pass(run: Run, tr: Translate) -> Headline:
    where, model = run.where, run.model
    assert model is not None, "a pass has a model"
    beside = tr("token {0} · {1}").format(where.end, said(where.kind, tr))
    if where.state == "paused":
        beside = tr("{0} · paused").format(beside)
    stage = "" if where.stage == "start" else where.stage
    if where.layer is None:
        done = 0 if stage in walk.BEFORE else model.n_layers
        return Headline(_outside(stage, tr), beside, (None, stage), done=done)
    return Headline(_of_layer(run, where.layer, stage, tr), beside, (where.layer, stage), "", where.layer, where.layer)


def _outside(stage: str, tr: Translate) -> str:
    return tr("before the layers") if not stage else tr("outside the layers · {0}").format(stage_title(stage, tr))


def _of_layer(run: Run, layer: int, stage: str, tr: Translate) -> str:
    assert run.model is not None, "a layer is a model's"
    text = tr("layer {0} of {1}").format(layer, run.model.n_layers)
    return tr("{0} · {1}").format(text, stage_title(stage, tr)) if stage else text


def _looking_back(run: Run, look: Look, tr: Translate) -> Headline:
    """The pinned place, with its stage where one is pinned."""
    spot = shown_spot(run, look)
    assert run.model is not None, "something is computed"
    assert spot is not None, "something is computed"
    position, layer, index = spot
    stage = run.model.layers[layer].stages[index] if look.point else ""
    beside = tr("looking at token {0} “{1}”").format(position, run.label(position))
    done = walk.last_layer(run, position) + 1
    return Headline(_of_layer(run, layer, stage, tr), beside, (layer, stage), "", layer, done)


def _ended(run: Run, step: StepFrame, tr: Translate) -> Headline:
    """What the last pass chose, and how probable the model had called it."""
    assert run.model is not None, "a step has a model"
    text = tr("the next token is “{0}”").format(run.label(step.end))
    words = tr("The model gave it a probability of {0}. Tokens read: {1}, made: {2}.")
    told = words.format(percent(step.sampling.chosen_raw), step.end, len(run.steps))
    return Headline(text, tr("token {0}").format(step.end), words=told, done=run.model.n_layers)
