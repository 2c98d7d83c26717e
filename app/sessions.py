"""Sessions of windows that are closed: each lies in its folder until a window goes on with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.session import Session, look_at_session
from app.slot import SESSION, folder_of, free_numbers, written_at


@dataclass(frozen=True)
class Kept:
    """The session of ``window-N``."""

    number: int
    folder: Path
    session: Session
    at: float  # when it was last written, in seconds


def kept_sessions(own: Path) -> list[Kept]:
    """Of the folders beside the own one that no program uses, the latest first; what cannot be read is left out."""
    found: list[Kept] = []
    for number in free_numbers(own.parent, own):
        folder = folder_of(own.parent, number)
        session = look_at_session(folder / SESSION)  # what cannot be read is told when a window takes the folder
        if session is not None and session.model:
            found.append(Kept(number, folder, session, written_at(folder / SESSION)))
    return sorted(found, key=lambda kept: kept.at, reverse=True)
