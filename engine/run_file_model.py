"""Which model a saved run needs: whether it is on this computer, or the sentence that says how to get it. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.checkpoint.catalog import entry
from engine.checkpoint.identity import Identity, identity
from engine.checkpoint.shelf import cached
from engine.checkpoint.source import hub_id, resolve
from engine.errors import EngineError
from engine.run_file_facts import ModelFacts


def find_model(facts: ModelFacts, others: Iterable[str] = ()) -> str | None:
    """A source that ``engine.load`` takes without a download and that is the run's model, its own source first.

    ``others``: where else it may lie, such as what was opened lately.
    """
    sources = dict.fromkeys((facts.source, *others))
    return next((source for source in sources if _here(source) == facts.identity), None)


def _here(source: str) -> Identity | None:
    """The identity of what lies there; None where nothing sound does."""
    if source.replace("\\", "/").startswith("//"):  # another computer's folder: nothing goes over the network
        return None
    try:
        path = _local(source)
        return None if path is None else identity(path)
    except EngineError:
        return None


def _local(source: str) -> Path | None:
    found = resolve(source)
    return found.path or cached(found.text)


def absence(facts: ModelFacts) -> str:
    """Which model it takes, why that is not at hand, and how to get it: one sentence."""
    source, takes = facts.source, f"What is not recorded takes the model {facts.name}"
    if _here(source) is not None:
        return f"{takes}; {source} is another one now, whose configuration or headers differ."
    known = entry(source)
    if known is not None and known.built_in:
        return f"{takes}, which comes with Fluoroscope and is missing; install Fluoroscope again."
    if known is not None or hub_id(source) is not None:
        return f"{takes}, which is not on this computer; fluoroscope fetch {source} brings it."
    return f"{takes}, which was opened from {source}; open it here once, then this run again."
