"""What the chip of the strip says: live, paused, looking back while the run goes on, and after it."""

from __future__ import annotations

import pytest

from app.cursor import Look
from app.live import live_state
from app.run import Run
from engine.frames import EndFrame, Where
from tests.app.made_runs import generated

WHERES = {
    "running": Where("running", 3, "decode", 7, 8, 2, "rope"),
    "paused": Where("paused", 3, "decode", 7, 8, 2, "rope"),
    "at the start": Where("paused", 3, "decode", 7, 8, None, "start"),
}
SAID = {
    ("running", None): ("Live", ""),
    ("running", 2): ("Looking at token 2 of 8, layer 4 · run goes on", "Jump to live"),
    ("paused", None): ("Paused at token 8, layer 2", ""),
    ("paused", 2): ("Looking at token 2 of 8, layer 4 · paused at token 8, layer 2", "Jump to live"),
    ("at the start", None): ("Paused at token 8", ""),
    ("over", None): ("At the newest token", ""),
    ("over", 2): ("Looking at token 2 of 8, layer 4", "Jump to the newest"),
}


@pytest.mark.parametrize(("moment", "pinned"), SAID)
def test_what_is_said(moment: str, pinned: int | None) -> None:
    run = generated(3)
    run.absorb(EndFrame("limit") if moment == "over" else WHERES[moment])
    state = live_state(run, Look(pinned, 4), lambda text: text)
    assert (state.words, state.jump) == SAID[moment, pinned]
    assert state.icon or moment == "over"


def test_without_a_run_nothing_is_said() -> None:
    assert live_state(Run(), Look(), lambda text: text).words == ""
