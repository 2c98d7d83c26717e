"""Notes and bookmarks in words: on screen, as a text, as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping

from app.csv_text import cells
from app.notes import MOST_NOTES, Note, branch_of, present
from app.provenance import to_lines
from app.run import Run

Tr = Callable[[str], str]
_SHORT = 24  # letters of a token among other words


def place_text(note: Note, tr: Tr) -> str:
    """ "token 12 “␣Paris” · layer 3 · head 5", as far as the note says."""
    word = note.word if len(note.word) <= _SHORT else note.word[: _SHORT - 1] + "…"
    token = tr("token {0} “{1}”") if word else tr("token {0}")
    parts = (note.once, "" if note.position is None else token.format(note.position, word), axes_text(note, tr))
    return " · ".join(filter(None, parts)) or tr("the whole run")


def axes_text(note: Note, tr: Tr) -> str:
    """ "layer 3 · head 5", as far as the note says."""
    named = ((tr("layer {0}"), note.layer), (tr("head {0}"), note.head))
    return " · ".join(form.format(axis) for form, axis in named if axis is not None)


def whereabouts(note: Note, run: Run, tr: Tr) -> str:
    """What is to be known of a place that is not on screen; "" where it is."""
    if present(note, run):
        return ""
    branch = branch_of(note, run)
    return tr("not in this run") if branch is None else tr("on branch {0}").format(branch)


def kind_text(note: Note, tr: Tr) -> str:
    return tr("bookmark") if note.bookmark else tr("note")


def full_text(count: int, tr: Tr) -> str:
    """Why there is no room for a new one, "" where there is; a file may have brought more than the window takes."""
    if count < MOST_NOTES:
        return ""
    words = tr("There are {0} notes and bookmarks; a new one needs fewer than {1}. Delete {2} first.")
    return words.format(f"{count:,}", MOST_NOTES, f"{count - MOST_NOTES + 1:,}")


def as_text(notes: Iterable[Note], facts: Mapping[str, str], tr: Tr) -> str:
    """For people: what the run is, then each note below its place."""
    parts = ["\n".join(to_lines(facts))]
    parts += ["\n".join(filter(None, (f"{kind_text(n, tr)}: {place_text(n, tr)}", n.text))) for n in notes]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_csv(notes: Iterable[Note], facts: Mapping[str, str]) -> str:
    """For programs: "# " lines with what the run is, then one row each."""
    text = io.StringIO()
    text.writelines(f"# {each}\n" for each in to_lines(facts))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kind", "position", "token", "layer", "head", "text", "elsewhere"))
    for note in notes:
        kind = "bookmark" if note.bookmark else "note"
        axes = ("" if axis is None else axis for axis in (note.layer, note.head))
        position = "" if note.position is None else note.position
        writer.writerow(cells((kind, position, note.word, *axes, note.text, note.once)))
    return text.getvalue()
