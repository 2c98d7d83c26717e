"""The tree of branches: what its rows say, and what mouse and keys ask for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTreeWidgetItem

from app.branch_words import described, own_text, per_token, short_text
from app.compare import Comparison
from app.panels.branches import BranchesPanel
from app.run import Run
from app.theme import DARK, LIGHT
from engine.frames import BackFrame, BranchFacts, Piece, RunFrame, SwitchedFrame, TreeFrame
from tests.app.made_runs import generated
from tests.app.panel_runs import Shown, show


def pieces(*words: str, start: int = 0) -> tuple[Piece, ...]:
    return tuple(Piece(start + at, word, word.encode(), 0, 0) for at, word in enumerate(words))


ROOT = BranchFacts(0, None, 5, pieces(" Paris", ".", " It", " is"), math.log(0.5) * 4, False, 2048)
SECOND = BranchFacts(1, 0, 6, pieces(",", " which"), math.log(0.1) * 2, True, 1024)
THIRD = BranchFacts(2, 1, 7, pieces(" <b>a</b>"), math.log(0.25), False, 512)
TREE = TreeFrame((ROOT, SECOND, THIRD), 1)


@pytest.fixture
def shown(qtbot: Any) -> Shown:
    run = generated(4)
    run.absorb(TREE)
    return show(qtbot, BranchesPanel, run, size=(420, 300))


def item(shown: Shown, number: int) -> QTreeWidgetItem:
    tree = shown.panel.tree
    found = tree.findItems("", Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchRecursive)
    return next(one for one in found if one.data(0, Qt.ItemDataRole.UserRole) == number)


def test_a_run_with_one_branch_says_how_another_begins(qtbot: Any) -> None:
    run = generated(2)
    shown = show(qtbot, BranchesPanel, run)
    assert "Sampling" in shown.panel._pages._sentence.text()
    assert shown.panel.caption() == ""
    run.absorb(TreeFrame((ROOT,), 0))
    shown.panel.show_run()
    assert shown.panel._pages.empty
    empty = show(qtbot, BranchesPanel, Run())
    assert empty.panel._pages._sentence.text().startswith("Open a model")


def test_rows_tell_text_probability_edits_and_bytes(shown: Shown) -> None:
    texts = {number: [item(shown, number).text(column) for column in range(3)] for number in (0, 1, 2)}
    assert texts[0] == ["5: ␣Paris.␣It␣is", "50.0 %", "2.05 kB"]
    assert texts[1] == ["● [edited] 6: ,␣which", "10.0 %", "1.02 kB"]
    assert texts[2] == ["7: ␣<b>a</b>", "25.0 %", "512 B"]
    assert item(shown, 2).parent() is item(shown, 1)
    assert item(shown, 1).parent() is item(shown, 0)
    assert "&lt;b&gt;" in item(shown, 2).toolTip(0), "a stranger's text is no rich text"
    assert shown.panel.caption() == "3 branches, 3.58 kB beside what they share"
    values = shown.panel.values()
    assert values["texts"].tolist() == ["␣Paris.␣It␣is", ",␣which", "␣<b>a</b>"]
    np.testing.assert_array_equal(values["parents"], [-1, 0, 1])
    np.testing.assert_array_equal(values["starts"], [5, 6, 7])
    np.testing.assert_array_equal(values["bytes"], [2048, 1024, 512])


def test_words_of_a_branch() -> None:
    whole = BranchFacts(
        3, 0, 5, (Piece(1, "\ufffd", b"\xf0\x9f", 0, 2), Piece(2, "\ufffd", b"\x99\x82", 2, 4)), -1.0, False, 0
    )
    assert own_text(whole) == "🙂", "a character that is split over tokens is whole again"
    assert own_text(BranchFacts(3, 0, 5, (), 0.0, False, 0)) == ""
    assert own_text(BranchFacts(3, 0, 5, (Piece(7, "⟨7⟩", b"", 0, 0),), 0.0, False, 0)) == "⟨7⟩"
    assert math.isnan(per_token(BranchFacts(3, 0, 5, (), 0.0, False, 0)))
    long = BranchFacts(3, 0, 5, pieces("x" * 100), -1.0, False, 0)
    assert len(short_text(long)) == 24
    assert described(SECOND, str) == (
        "branch 1 of 0 from position 6, 2 tokens of its own, ln p −4.61, 10.0 % a token, edited, "
        "1.02 kB beside what it shares: “,␣which”"
    )


def test_mouse_and_keys_ask(qtbot: Any, shown: Shown) -> None:
    asked: list[tuple[str, int]] = []
    shown.panel.asked.connect(lambda what, number: asked.append((what, number)))
    tree = shown.panel.tree
    place = tree.visualItemRect(item(shown, 2)).center()
    qtbot.mouseClick(tree.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert asked == [("switch", 2)]
    tree.setFocus()
    qtbot.keyClick(tree, Qt.Key.Key_Up)
    assert tree.number == 1
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Delete, Qt.Key.Key_A, Qt.Key.Key_B):
        qtbot.keyClick(tree, key)
    assert asked[1:] == [("switch", 1), ("drop", 1), ("A", 1), ("B", 1)]
    assert not shown.panel.buttons["drop"].isEnabled(), "another branch goes on from it"
    tree.setCurrentItem(item(shown, 0))
    assert not shown.panel.buttons["drop"].isEnabled(), "the run itself"
    tree.setCurrentItem(item(shown, 2))
    qtbot.mouseClick(shown.panel.buttons["drop"], Qt.MouseButton.LeftButton)
    assert asked[-1] == ("drop", 2)
    names = [action.text() for action in tree.menu(2).actions()]
    assert names == ["Switch to this branch", "Compare as A", "Compare as B", "Delete this branch"]
    tree.menu(2).actions()[1].trigger()
    assert asked[-1] == ("A", 2)


def test_pins_show_on_rows_and_buttons(shown: Shown) -> None:
    assert not shown.panel.buttons["switch"].isEnabled(), "the picked branch is the current one"
    shown.panel.context.comparison = Comparison(1, 2)
    shown.panel.show_run()
    assert item(shown, 1).text(0).startswith("● [A] ")
    assert item(shown, 2).text(0).startswith("[B] ")
    assert shown.panel.buttons["A"].isChecked()
    assert not shown.panel.buttons["B"].isChecked()
    shown.panel.tree.setCurrentItem(item(shown, 2))
    assert shown.panel.buttons["B"].isChecked()
    assert shown.panel.buttons["switch"].isEnabled()


def test_another_current_branch_is_picked_and_a_theme_keeps_what_is(shown: Shown) -> None:
    shown.panel.tree.setCurrentItem(item(shown, 0))
    for theme in (LIGHT, DARK):
        shown.panel.context.theme = theme
        shown.panel.restyle()
        assert shown.panel.tree.number == 0
    shown.run.absorb(TreeFrame(TREE.branches, 2))
    shown.panel.show_run()
    assert shown.panel.tree.number == 2
    shown.run.absorb(TreeFrame(TREE.branches[:2], 1))
    shown.panel.show_run()
    assert shown.panel.tree.number == 1


def test_the_run_keeps_the_steps_of_every_branch() -> None:
    run = generated(4)
    of_root = run.steps
    run.absorb(TreeFrame((ROOT,), 0))
    run.absorb(SwitchedFrame(1, tuple(of_root[:2])))
    run.absorb(TreeFrame((ROOT, SECOND), 1))
    assert run.of_branches[0] is of_root
    assert run.steps is run.of_branches[1]
    assert run.n_tokens == run.n_prompt + 2
    run.absorb(BackFrame(run.n_prompt + 1))
    assert len(run.steps) == 1
    assert len(of_root) == 4
    run.absorb(TreeFrame((SECOND,), 1))
    assert run.of_branches == {1: run.steps}
    run.absorb(RunFrame(run.prompt, 4, False))
    assert (run.tree, run.of_branches) == (None, {})
