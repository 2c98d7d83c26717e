"""Where one looks beside where the run is: live, looking back while it goes on, or at a pass that stands."""

from __future__ import annotations

from collections.abc import Callable

from app.cursor import Look
from app.run import Run
from app.widgets.live_chip import LiveState

Tr = Callable[[str], str]


def live_state(run: Run, look: Look, tr: Tr) -> LiveState:
    """What the chip of the strip says. Without a pinned position the newest token is followed."""
    if not run.n_tokens:
        return LiveState("", "", "faint")
    paused, over = run.where.state == "paused", run.ended is not None
    if look.position is None:
        if paused:
            return LiveState(tr("Paused at {0}").format(_standing(run, tr)), "pause", "hover")
        return (
            LiveState(tr("At the newest token"), "", "faint") if over else LiveState(tr("Live"), "follow-live", "good")
        )
    here = f"{look.position:,}", f"{run.n_tokens:,}", look.layer
    words = tr("Looking at token {0} of {1}, layer {2}").format(*here)
    if paused:
        words = tr("{0} · paused at {1}").format(words, _standing(run, tr))
    elif not over:
        words = tr("{0} · run goes on").format(words)
    return LiveState(words, "pin", "accent", tr("Jump to the newest") if over else tr("Jump to live"))


def _standing(run: Run, tr: Tr) -> str:
    """ "token 341, layer 3": as the status bar counts, the token that the pass will choose."""
    token = tr("token {0}").format(f"{run.where.end:,}")
    return token if run.where.layer is None else tr("{0}, layer {1}").format(token, run.where.layer)
