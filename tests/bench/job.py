"""What the parent tells a measuring process. Plain data: importing this imports no torch, no Qt."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

TITLES = {
    "a": "engine, no listener",
    "b": "engine, everything recorded and answered",
    "c": "window open and painting",
    "d": "transformers, SDPA",
    "e": "transformers, eager, attentions and hidden states",
}
RECORD_TITLES = {  # of tests.bench.record
    "a": TITLES["a"],
    "r": "engine, recording",
    "b": "engine, recording, everything watched and answered",
    "c": "engine, recording, the window open and painting",
    "d": TITLES["d"],
    "e": TITLES["e"],
    "f": "TransformerLens, run_with_cache",
}
START_MARKS = {  # what passes between the start of the program and its first token, in this order
    "imported": "window imported",
    "shown": "window on screen",
    "engine": "engine imported",
    "model": "model on screen",
    "first_token": "first token on screen",
}


@dataclass(frozen=True)
class Job:
    """``text`` encodes to ``ids``; ``opening`` is its beginning. ``spawned`` is time.time() before the process began.

    ``threads`` is what the process begins with; ``bandwidth_mib`` how much memory the bandwidth is measured on,
    ``layout`` which panels the window of side c shows. ``endless``: no token ends a run of the engine.
    ``recording``: of side growth. ``every_ms``: how often the user of side user does something.
    """

    side: str
    model: str
    threads: int
    tokens: int = 0
    ids: tuple[int, ...] = ()
    text: str = ""
    opening: str = ""
    prompt_tokens: int = 0
    bandwidth_mib: int = 512
    layout: str = "all"
    endless: bool = False
    recording: bool = True
    every_ms: int = 0
    spawned: float = 0.0

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def job_from_json(text: str) -> Job:
    values = json.loads(text)
    return Job(**{**values, "ids": tuple(values["ids"])})
