"""A step backwards or forwards over what is recorded: layer by layer, and from one token to the next."""

from __future__ import annotations

from app.cursor import Look
from app.run import Run

Place = tuple[int, int]  # position, layer
BEFORE = ("", "start", "embed")  # the stages outside the layers that come before them


def live_end(run: Run) -> Place | None:
    """The newest position that has a column, and the last layer computed there; None before anything is."""
    if run.model is None or not run.n_visible:
        return None
    return run.n_visible - 1, last_layer(run, run.n_visible - 1)


def last_layer(run: Run, position: int) -> int:
    """The last layer computed at a position, or being computed."""
    assert run.model is not None, "there is a column"
    last = run.model.n_layers - 1
    if not run.in_pass or position < run.where.start:
        return last
    behind = run.where.layer is None and run.where.stage not in BEFORE
    return last if behind else min(last, run.where.layer or 0)


def place(run: Run, look: Look) -> Place | None:
    """Where one stands: at what is pinned; who follows the newest stands where the pass does, or at the layer seen."""
    end = live_end(run)
    if end is None:
        return None
    if look.position is None:
        return end if run.in_pass and run.where.state == "paused" else (end[0], min(look.layer, end[1]))
    position = min(look.position, end[0])
    return position, min(look.layer, last_layer(run, position))


def back(run: Run, look: Look) -> Place | None:
    """The layer before; before the first one, the last layer of the token before. None where nothing lies before."""
    here = place(run, look)
    if here is None:
        return None
    position, layer = here
    if layer > 0:
        return position, layer - 1
    return (position - 1, last_layer(run, position - 1)) if position > 0 else None


def on(run: Run, look: Look) -> Place | None:
    """The layer after; after the last one, the first layer of the next token. None: the live end is reached."""
    here = place(run, look)
    if here is None or look.position is None:
        return None
    position, layer = here
    further = (position, layer + 1) if layer < last_layer(run, position) else (position + 1, 0)
    return further if further < (live_end(run) or further) else None
