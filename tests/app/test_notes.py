"""Notes and bookmarks as data: their places, what branches make of them, what a file keeps, what can be undone."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cursor import Look
from app.note_words import as_csv, as_text, axes_text, kind_text, place_text, whereabouts
from app.notes import (
    LONGEST_TEXT,
    MOST_NOTES,
    Note,
    Notes,
    at,
    branch_of,
    from_marks,
    owner,
    present,
    sound,
    to_marks,
)
from app.run import Run
from engine.frames import BackFrame, BranchFacts, SwitchedFrame, TreeFrame
from engine.run_file_facts import Mark
from tests.app.made_runs import generated, grow, prompted


def plain(text: str) -> str:
    return text


def branched() -> Run:
    """Branch 0 is the prompt (5 tokens) and 4 more; branch 1 parts from it at position 7, and is stood on."""
    run = generated(4)
    first = list(run.steps)
    run.absorb(SwitchedFrame(1, tuple(first[:2])))
    grow(run, " Berlin")
    grow(run, " now")
    pieces = [step.piece for step in run.steps]
    whole = BranchFacts(0, None, 5, tuple(step.piece for step in first), 0.0, False, 0)
    run.absorb(TreeFrame((whole, BranchFacts(1, 0, 7, tuple(pieces[2:]), 0.0, False, 0)), 1))
    run.of_branches[0] = first
    return run


# ---- places ----------------------------------------------------------------------------------------------------------


def test_a_note_is_about_what_is_pinned_or_the_newest_token() -> None:
    run = generated(3)
    note = at(run, Look(position=2, layer=4, head=1))
    assert note.place == (2, 4, 1)
    assert (note.token, note.word, note.branch) == (2, "␣of", 0)
    assert at(run, Look(layer=1)).place == (7, 1, 0)
    assert at(run, Look(position=2, layer=4), layer=False).place == (2, None, None), "a head belongs to a layer"
    assert at(run, Look(position=99, layer=4)).position == 7
    assert at(Run(), Look(layer=2)).place == (None, 2, 0)


def test_places_are_put_into_words() -> None:
    run = generated(3)
    note = at(run, Look(position=4, layer=3, head=5))
    assert place_text(note, plain) == "token 4 “␣is” · layer 3 · head 5"
    assert axes_text(note, plain) == "layer 3 · head 5"
    assert place_text(Note(1, "x"), plain) == "the whole run"
    assert place_text(replace(note, word="x" * 99, layer=None, head=None), plain) == f"token 4 “{'x' * 23}…”"
    assert [kind_text(replace(note, bookmark=mark), plain) for mark in (False, True)] == ["note", "bookmark"]


def test_a_branch_owns_the_tokens_behind_its_parting() -> None:
    run = branched()
    assert [owner(run.tree, position) for position in (0, 5, 6, 7, 8)] == [0, 0, 0, 1, 1]
    assert owner(None, 3) == 0


def test_notes_stay_with_the_branch_of_their_token() -> None:
    run = branched()
    shared, own = at(run, Look(position=6)), at(run, Look(position=7))
    assert present(shared, run)
    assert present(own, run)
    tree = run.tree
    assert tree is not None
    run.absorb(SwitchedFrame(0, tuple(run.of_branches[0])))
    run.absorb(replace(tree, current=0))
    assert present(shared, run)
    assert not present(own, run), "another token stands there now"
    assert branch_of(own, run) == 1
    assert whereabouts(own, run, plain) == "on branch 1"
    run.absorb(TreeFrame(tree.branches[:1], 0))  # branch 1 was deleted
    assert branch_of(own, run) is None
    assert whereabouts(own, run, plain) == "not in this run"


def test_a_token_that_was_taken_back_is_there_again_when_it_comes_again() -> None:
    run = generated(3)
    note = at(run, Look(position=7))
    run.absorb(BackFrame(6))
    assert not present(note, run)
    grow(run, " capital")
    grow(run, " of")
    assert run.steps[2].piece.id == note.token
    assert present(note, run)


def test_another_model_may_have_fewer_layers() -> None:
    note = Note(1, "x", layer=5, head=0)
    assert present(note, prompted(n_layers=6))
    assert not present(note, prompted(n_layers=5))
    assert not present(note, Run())


# ---- the list --------------------------------------------------------------------------------------------------------


def test_the_list_is_in_the_order_of_the_run() -> None:
    notes = Notes()
    for place in ((7, 1, 0), (None, 2, None), (3, None, None), (3, 0, 4), (3, 0, 1)):
        notes.add(Note(0, "", position=place[0], layer=place[1], head=place[2]))
    order = [note.place for note in notes]
    assert order == [(None, 2, None), (3, None, None), (3, 0, 1), (3, 0, 4), (7, 1, 0)]
    assert len({note.number for note in notes}) == 5


def test_every_change_can_be_undone() -> None:
    notes, told = Notes(), []
    notes.changed.connect(lambda: told.append(len(notes)))
    first = notes.add(Note(0, "one"))
    second = notes.add(Note(0, "two"))
    assert first is not None
    assert second is not None
    notes.change(first.number, text="changed")
    notes.remove([first.number, second.number])
    assert len(notes) == 0
    notes.undo()
    assert [note.text for note in notes] == ["changed", "two"]
    notes.undo()
    assert notes.find(first.number) == first
    notes.remove([first.number])
    third = notes.add(Note(0, "three"))
    assert third is not None
    assert third.number not in (first.number, second.number), "undo may bring those back"
    for _ in range(9):
        notes.undo()
    assert (len(notes), notes.can_undo) == (0, False)
    assert len(told) == 4 + 2 + 2 + 4


def test_nothing_happens_where_nothing_changes() -> None:
    notes = Notes()
    notes.remove([5])
    notes.change(5, text="x")
    notes.put_away(())
    assert not notes.can_undo


def test_too_many_are_refused_and_long_ones_cut() -> None:
    notes = Notes()
    notes.take(Note(0, "") for _ in range(MOST_NOTES))
    assert notes.add(Note(0, "one more")) is None
    assert len(notes) == MOST_NOTES
    assert sound("x" * 9999) == "x" * LONGEST_TEXT
    assert sound("a\ud800b") == "a?b"


# ---- files -----------------------------------------------------------------------------------------------------------


def test_what_a_file_lacks_is_kept_in_words() -> None:
    run = branched()
    here, mark = at(run, Look(position=6, layer=1, head=2)), at(run, Look(position=8))
    there = replace(at(run, Look(position=7)), branch=0, token=99, word="␣Paris")
    notes, bookmarks = to_marks([replace(here, text="a"), replace(there, text="b"), replace(mark, bookmark=True)], run)
    assert notes == (Mark("a", 6, 1, 2), Mark("b", None, 0, 0, "token 7 “␣Paris”"))
    assert bookmarks == (Mark("", 8, 0, 0),)
    again = from_marks(notes, bookmarks)
    assert [note.once for note in again] == ["", "token 7 “␣Paris”", ""]
    assert to_marks(again, run) == (notes, bookmarks), "nothing is lost by the second saving"


def test_tokens_of_a_file_are_looked_up_as_they_come() -> None:
    notes, run = Notes(), generated(1)
    notes.take(from_marks((Mark("x", 6, 1, 0),), ()))
    notes.look_up(run)
    assert notes.notes[0].token is None
    grow(run, " Rome")
    notes.look_up(run)
    assert (notes.notes[0].token, notes.notes[0].word) == (6, "␣Rome")
    assert not notes.can_undo


@given(st.text(max_size=40), st.booleans(), st.none() | st.integers(0, 8), st.none() | st.integers(0, 5))
def test_marks_come_back_alike(text: str, bookmark: bool, position: int | None, layer: int | None) -> None:
    run = generated(4)
    note = Note(1, text, bookmark, position, layer)
    (found,) = from_marks(*to_marks([note], run))
    assert replace(found, number=1) == note


def test_the_text_for_people() -> None:
    run = generated(2)
    note = replace(at(run, Look(position=3, layer=2, head=1)), text="first\nsecond")
    text = as_text([note, Note(2, "", bookmark=True, layer=4)], {"model": "tiny"}, plain)
    assert text == ("model: tiny\n\nnote: token 3 “␣France” · layer 2 · head 1\nfirst\nsecond\n\nbookmark: layer 4\n")


@pytest.mark.parametrize("text", ["plain", "a\nb", 'say "x", twice', "=1+1", "שלום 🙂", ""])
def test_the_table_for_programs(text: str) -> None:
    note = replace(at(generated(2), Look(position=3, layer=2, head=1)), text=text)
    lines = as_csv([note, Note(2, text, once="token 9 “x”")], {"model": "tiny"})
    assert lines.startswith("# model: tiny\n")
    rows = list(csv.DictReader(io.StringIO(lines.split("\n", 1)[1])))
    shown = f"'{text}" if text.startswith("=") else text  # a spreadsheet must not compute it
    assert rows[0] == {
        "kind": "note", "position": "3", "token": "␣France", "layer": "2", "head": "1", "text": shown, "elsewhere": ""
    }  # fmt: skip
    assert rows[1]["elsewhere"] == "token 9 “x”"
