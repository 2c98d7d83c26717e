"""A short run of the state machine; ``python -m tests.app.state_machine`` makes thousands of steps. What it looks at is
shown to find what is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from engine.frames import BranchFacts, Piece, TreeFrame, Where
from tests.app import state_machine
from tests.app.state_machine import Facts, consistent, path

STEPS = 100


@pytest.mark.qt_log_ignore("This plugin does not support")
@pytest.mark.usefixtures("no_leaks")
@pytest.mark.parametrize("seed", [1, 2])
def test_any_commands_in_any_order(qapp: QApplication, tmp_path: Path, seed: int) -> None:
    assert state_machine.run(state_machine.two_models(tmp_path), tmp_path, STEPS, seed) >= STEPS // 2


def _branch(number: int, parent: int | None, start: int, ids: str) -> BranchFacts:
    pieces = tuple(Piece(ord(letter), letter, letter.encode(), 0, 0) for letter in ids)
    return BranchFacts(number, parent, start, pieces, 0.0, False, 0)


def test_a_path_leaves_each_branch_where_the_next_began() -> None:
    branches = (_branch(0, None, 2, "abcd"), _branch(1, 0, 4, "xy"), _branch(2, 1, 5, "z"), _branch(3, 0, 2, "q"))
    paths = ["".join(map(chr, path(TreeFrame(branches, current), 2))) for current in range(4)]
    assert paths == ["abcd", "abxy", "abxz", "q"]


IDLE = Facts((1, 2, 3, 4), 2, 2, 3, (3, 3), ((0, 2), (2, 3)), Where("idle"), False, False)
IN_PASS = replace(IDLE, where=Where("paused", 2, "decode", 3, 4, 0, "add 2"), lengths=(4, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(IDLE, settings=3),
        replace(IDLE, spans=((0, 2),)),
        replace(IDLE, spans=((0, 1), (2, 3))),
        replace(IDLE, lengths=(3, 2)),
        replace(IN_PASS, committed=2),
        replace(IN_PASS, lengths=(5, 3)),
        replace(IN_PASS, spans=((0, 2),)),
    ],
)
def test_what_does_not_hang_together_is_found(wrong: Facts) -> None:
    consistent(IDLE)
    consistent(IN_PASS)
    with pytest.raises(AssertionError):
        consistent(wrong)
