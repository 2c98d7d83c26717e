"""The tray: every change can be undone, all at once be off, and what the engine refuses goes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.edit_tray import MOST_STATES, Tray
from engine.edits import Edit

HEAD = Edit("zero", "attn.hook_z", layers=(0,), heads=(1,))
STREAM = Edit("scale", "hook_resid_post", layers=(1,), value=0.5)


@pytest.fixture
def tray() -> Tray:
    return Tray()


def test_every_change_is_told_undone_and_done_again(tray: Tray) -> None:
    told: list[tuple[Edit, ...]] = []
    tray.changed.connect(lambda: told.append(tray.edits))
    tray.add(HEAD)
    tray.add(STREAM)
    tray.switch(0, False)
    tray.duplicate(0)
    tray.remove(2)
    tray.clear()
    off = replace(HEAD, on=False)
    states = [(HEAD,), (HEAD, STREAM), (off, STREAM), (off, off, STREAM), (off, off), ()]
    assert told == states
    for state in [*states[-2::-1], ()]:
        tray.undo()
        assert tray.edits == state
    assert not tray.can_undo
    for state in states:
        tray.redo()
        assert tray.edits == state
    assert not tray.can_redo


def test_a_new_change_ends_what_could_be_done_again(tray: Tray) -> None:
    tray.add(HEAD)
    tray.undo()
    tray.add(STREAM)
    assert not tray.can_redo
    assert tray.edits == (STREAM,)


def test_a_slider_is_undone_as_one(tray: Tray) -> None:
    tray.add(STREAM)
    tray.add(STREAM)
    for strength in (0.9, 0.7, 0.2):
        tray.set_strength(0, strength)
    tray.set_strength(1, 0.5)
    assert [edit.strength for edit in tray.edits] == [0.2, 0.5]
    tray.undo()
    assert [edit.strength for edit in tray.edits] == [0.2, 1.0]
    tray.undo()
    assert [edit.strength for edit in tray.edits] == [1.0, 1.0]


def test_a_slider_after_something_else_is_undone_by_itself(tray: Tray) -> None:
    tray.add(STREAM)
    tray.set_strength(0, 0.5)
    tray.switch(0, False)
    tray.set_strength(0, 0.25)
    tray.undo()
    assert (tray.edits[0].strength, tray.edits[0].on) == (0.5, False)


def test_all_off_and_those_on_again_that_were(tray: Tray) -> None:
    tray.add(HEAD)
    tray.add(replace(STREAM, on=False))
    assert tray.on
    tray.switch_all()
    assert not tray.on
    tray.switch_all()
    assert [edit.on for edit in tray.edits] == [True, False]


def test_where_others_are_listed_by_now_all_come_on(tray: Tray) -> None:
    tray.add(replace(HEAD, on=False))
    tray.add(replace(STREAM, on=False))
    tray.switch_all()
    assert [edit.on for edit in tray.edits] == [True, True]


def test_what_is_refused_goes_and_undo_does_not_lead_there(tray: Tray) -> None:
    tray.add(HEAD)
    tray.accepted = tray.edits
    tray.add(STREAM)
    tray.add(STREAM)
    tray.refuse()
    assert tray.edits == (HEAD,)
    tray.refuse()  # the second answer
    assert tray.edits == (HEAD,)
    assert not tray.can_redo
    tray.undo()
    assert tray.edits == ()
    assert not tray.can_undo


def test_the_first_edit_may_be_refused(tray: Tray) -> None:
    tray.add(HEAD)
    tray.refuse()
    assert tray.edits == ()
    assert not tray.can_undo


def test_another_model_has_no_edits(tray: Tray) -> None:
    tray.add(HEAD)
    tray.accepted = tray.edits
    tray.reset()
    assert (tray.edits, tray.accepted, tray.can_undo, tray.can_redo) == ((), (), False, False)


def test_nothing_changes_by_the_same(tray: Tray) -> None:
    tray.add(HEAD)
    told: list[int] = []
    tray.changed.connect(lambda: told.append(1))
    tray.switch(0, True)
    tray.set_strength(0, 1.0)
    assert told == []


def test_the_past_is_bounded(tray: Tray) -> None:
    for _ in range(MOST_STATES + 50):
        tray.add(HEAD)
    undone = 0
    while tray.can_undo:
        tray.undo()
        undone += 1
    assert undone == MOST_STATES
