"""Fluoroscope's engine: a decoder-only transformer in torch, instrumented at every named point of its forward pass.

    import engine
    loaded = engine.load("smollm2")
    session = engine.Session(loaded, sampling=engine.Sampling(greedy=True))
    for step in session.generate("The capital of France is", max_new_tokens=7):
        print(step.text, end="")

Importing this package imports no torch: names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.cache import KVCache
    from engine.edits import Edit
    from engine.errors import Cancelled, EngineError
    from engine.gate import Gate
    from engine.loading import Loaded, load
    from engine.run_file_opening import open_run
    from engine.run_file_saving import save_run
    from engine.session import Session, Step
    from engine.settings import Sampling

_HOMES = {
    "Cancelled": "engine.errors",
    "Edit": "engine.edits",
    "EngineError": "engine.errors",
    "Gate": "engine.gate",
    "KVCache": "engine.cache",
    "Loaded": "engine.loading",
    "Sampling": "engine.settings",
    "Session": "engine.session",
    "Step": "engine.session",
    "load": "engine.loading",
    "open_run": "engine.run_file_opening",
    "save_run": "engine.run_file_saving",
}

__all__ = [
    "Cancelled",
    "Edit",
    "EngineError",
    "Gate",
    "KVCache",
    "Loaded",
    "Sampling",
    "Session",
    "Step",
    "load",
    "open_run",
    "save_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
