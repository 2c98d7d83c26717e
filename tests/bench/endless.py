"""A model without an end of sequence, so that a measured run is as long as was asked for. Imports no torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import engine


def endless(loaded: engine.Loaded) -> engine.Loaded:
    """The same model, weights and all; no token ends its runs."""
    if loaded.tokenizer is not None:
        loaded.tokenizer.eos_ids = ()
    return replace(loaded, config=replace(loaded.config, eos_token_ids=()))


def load_endless() -> None:
    """From here on ``engine.load``, which the window's worker calls, loads models so."""

    def load(*arguments: Any, **named: Any) -> engine.Loaded:
        from engine.loading import load as plain  # with it comes torch: in the worker's thread, as always

        return endless(plain(*arguments, **named))

    engine.load = load
