"""The presenter's notes: a plain text for each prompt, and one for when there is no run. No Qt here."""

from __future__ import annotations

import hashlib
import json

from app.run import Run

MOST_NOTES = 200  # the oldest go first
MOST_LETTERS = 20_000  # of one note
GENERAL = ""  # the key of the notes without a run


def key_of(run: Run) -> str:
    """The same for every run of the same prompt, whichever model reads it; GENERAL without a run."""
    prompt = b"".join(piece.raw for piece in run.prompt)
    return hashlib.sha256(prompt).hexdigest()[:16] if run.prompt else GENERAL


class PresenterNotes:
    """Texts by key, those written last at the end. ``to_text`` is what the settings keep."""

    def __init__(self, text: str = "") -> None:
        self._notes = _read(text)

    def at(self, key: str) -> str:
        return self._notes.get(key, "")

    def write(self, key: str, note: str) -> None:
        """An empty note is forgotten; of a long one the end is."""
        self._notes.pop(key, None)
        if note.strip():
            self._notes[key] = note[:MOST_LETTERS]
        while len(self._notes) > MOST_NOTES:
            del self._notes[next(iter(self._notes))]

    def to_text(self) -> str:
        return json.dumps(self._notes, ensure_ascii=False)


def _read(text: str) -> dict[str, str]:
    """What is no note is left out: the file of settings may be damaged."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    notes = found.items() if isinstance(found, dict) else ()
    kept = {key: note[:MOST_LETTERS] for key, note in notes if isinstance(note, str) and len(key) <= 64}
    return dict(list(kept.items())[-MOST_NOTES:])
