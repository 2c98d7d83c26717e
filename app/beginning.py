"""What a window begins with: its folder, what was there last time, and the options that follow from both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from app.command_line import Options
from app.session import Session, SessionError, read_session, restored
from app.slot import Slot


@dataclass(frozen=True)
class Beginning:
    """``session``: what is restored; an empty one where nothing is. ``last_model``: that of the last session, also
    where it is not opened by itself. ``trouble``: why something cannot be restored, a sentence."""

    slot: Slot
    options: Options
    session: Session = field(default_factory=Session)
    last_model: str = ""
    trouble: str = ""


def begin(slot: Slot, options: Options) -> Beginning:
    """After a program that ended badly, neither its model nor its run is opened by itself: they may be what did it."""
    try:
        found = read_session(slot.session)
    except SessionError as error:
        slot.put_run_aside()  # which it named: it is offered, and not written over
        return Beginning(slot, options, trouble=str(error))
    if options.fresh and found is not None and found.run is not None:
        slot.put_run_aside()
    if found is None or options.fresh:
        return Beginning(slot, options, last_model="" if found is None else found.model)
    run = slot.run if slot.run.exists() and not slot.crashed else None
    now = restored(options, replace(found, model="") if slot.crashed else found, run)
    session = found if now.model == str(slot.run) else replace(found, run=None)
    return Beginning(slot, now, session, found.model)
