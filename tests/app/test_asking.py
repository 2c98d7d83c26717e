"""Where to save something: the endings of names, and that nothing is overwritten without a question."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QTimer
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox, QWidget
from shiboken6 import isValid

from app.asking import MOST_NAMED, ask_where, sure
from app.panels import PANELS
from tests.app.conftest import MakeWindow, trigger, with_run
from tests.app.test_svg import texts

KINDS = {".txt": "Text", ".csv": "Table"}
Answer = Callable[..., list[str]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answer:
    """The user types these names, choosing this kind of file, and says ``yes`` or no to overwriting; what was asked."""
    monkeypatch.setattr(QMessageBox, "exec", lambda box: 0)

    def give(*names: Path | str, kind: str = "", yes: bool = False) -> list[str]:
        left, asked = list(map(str, names)), []

        def typed(parent: QWidget, title: str, suggestion: str, kinds: str) -> tuple[str, str]:
            asked.append(suggestion)
            return left.pop(0) if left else "", kind or kinds.split(";;")[0]

        def clicked(box: QMessageBox) -> object:
            asked.append(box.text())
            role = QMessageBox.ButtonRole.DestructiveRole if yes else QMessageBox.ButtonRole.RejectRole
            return next(button for button in box.buttons() if box.buttonRole(button) == role)

        monkeypatch.setattr(QFileDialog, "getSaveFileName", typed)
        monkeypatch.setattr(QMessageBox, "clickedButton", clicked)
        return asked

    return give


@pytest.fixture
def parent(qtbot) -> QWidget:
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


@pytest.mark.parametrize(
    ("typed", "kind", "written"),
    [
        ("a", "", "a.txt"),
        ("a", "Table (*.csv)", "a.csv"),
        ("a.csv", "Text (*.txt)", "a.csv"),
        ("a.CSV", "", "a.CSV"),
        ("layer.12", "", "layer.12.txt"),
        (".hidden", "", ".hidden.txt"),
        ("a.", "", "a..txt"),
    ],
)
def test_a_name_has_an_ending_of_its_kind(
    parent: QWidget, answers: Answer, tmp_path: Path, typed: str, kind: str, written: str
) -> None:
    answers(tmp_path / typed if typed != "a." else f"{tmp_path}/a.", kind=kind)
    assert ask_where(parent, "Save", "x.txt", KINDS) == tmp_path / written


def test_giving_up_asks_nothing_more(parent: QWidget, answers: Answer) -> None:
    asked = answers("")
    assert ask_where(parent, "Save", "x.txt", KINDS) is None
    assert asked == ["x.txt"]


def test_what_the_dialog_did_not_ask_about_is_asked(parent: QWidget, answers: Answer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    asked = answers(tmp_path / "a", tmp_path / "b")
    assert ask_where(parent, "Save", "x.txt", KINDS) == tmp_path / "b.txt", "after no the name is asked again"
    assert "a.txt" in asked[1]
    assert asked[2] == str(tmp_path / "a.txt")
    answers(tmp_path / "a", yes=True)
    assert ask_where(parent, "Save", "x.txt", KINDS) == tmp_path / "a.txt"


def test_what_the_dialog_has_asked_about_is_not_asked_twice(parent: QWidget, answers: Answer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    asked = answers(tmp_path / "a.txt")
    assert ask_where(parent, "Save", "x.txt", KINDS) == tmp_path / "a.txt"
    assert len(asked) == 1


def test_a_link_that_leads_nowhere_is_something_too(parent: QWidget, answers: Answer, tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to(tmp_path / "gone")
    asked = answers(tmp_path / "a")
    assert ask_where(parent, "Save", "x.txt", KINDS) is None
    assert "a.txt" in asked[1]


def test_every_file_that_would_be_lost_is_named_up_to_a_few(parent: QWidget, answers: Answer, tmp_path: Path) -> None:
    files = [tmp_path / f"a-{n}.txt" for n in range(MOST_NAMED + 3)]
    for file in files:
        file.write_text("mine")
    asked = answers(tmp_path / "a.txt", yes=True)
    assert ask_where(parent, "Save", "x", KINDS, lambda path: [path, *files]) == tmp_path / "a.txt"
    assert all(file.name in asked[1] for file in files[:MOST_NAMED])
    assert str(tmp_path) in asked[1]
    assert "and 3 more" in asked[1]


@pytest.mark.parametrize("name", ["x" * 5000, "null\0byte", "no/such/folder/a"])
def test_an_odd_name_comes_back_for_the_writer_to_refuse(parent: QWidget, answers: Answer, name: str) -> None:
    answers(name)
    assert ask_where(parent, "Save", "x.txt", KINDS) is not None


# ---- the window ------------------------------------------------------------------------------------------------------


@pytest.fixture
def window(make_window: MakeWindow, tiny_model: Path, qtbot):
    made = with_run(make_window, qtbot, tiny_model, PANELS, tokens=4)
    made.workspace.bring_up("residual")
    qtbot.waitUntil(lambda: made.complete, timeout=60_000)
    made.workspace.docks["residual"].take_focus()
    return made


SAVED = {
    "save_panel.png": "a.png",
    "save_panel.svg": "a.svg",
    "save_panel.csv": "a.csv",
    "save_panel.npy": "a-norms.npy",
    "save_window": "a.png",
    "save_run": "a.fluoro",
    "record_window": "a.mp4",
}


def test_no_command_overwrites_without_a_question(window, answers: Answer, tmp_path: Path, qtbot) -> None:
    for command, name in SAVED.items():
        (tmp_path / name).write_text("mine")
        asked = answers(tmp_path / "a")
        trigger(window, command)
        assert name in asked[1], command
        assert (tmp_path / name).read_text() == "mine", command
    (tmp_path / "a.txt").write_text("mine")
    answers(tmp_path / "a")
    window.noting._save()
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert not window.filming.busy
    assert not window.filing.saving
    assert sorted(path.name for path in tmp_path.glob("a*")) == sorted({*SAVED.values(), "a.txt"})


def test_the_next_name_is_asked_where_the_last_file_went(window, answers: Answer, tmp_path: Path) -> None:
    answers(tmp_path / "first.png")
    trigger(window, "save_panel.png")
    (tmp_path / "deeper").mkdir()
    asked = answers(tmp_path / "deeper" / "second.csv")
    trigger(window, "save_panel.csv")
    assert asked == [str(tmp_path / "residual.csv")]
    for command, name in (("save_panel.svg", "residual.svg"), ("save_window", "fluoroscope.png")):
        asked = answers("")
        trigger(window, command)
        assert asked == [str(tmp_path / "deeper" / name)], "giving up changes nothing"
    answers("nowhere/b.png")
    trigger(window, "save_window")
    assert window.preferences.run_folder() == str(tmp_path / "deeper"), "no folder that is not there is kept"


def test_saving_a_panel_says_as_what(window, answers: Answer, tmp_path: Path) -> None:
    for kind in ("png", "svg", "csv"):
        answers(tmp_path / "a")
        trigger(window, f"save_panel.{kind}")
        assert window.activity == f"saved Residual stream as a.{kind}"
    assert "entering layer" in texts(ElementTree.parse(tmp_path / "a.svg").getroot()), "its axes are no pixels"
    answers(tmp_path / "a")
    trigger(window, "save_panel.npy")
    written = sorted(path.name for path in tmp_path.glob("a*.npy*"))
    assert all(name in window.activity for name in written)
    assert "a.npy.json" in written


def test_a_panel_without_figures_is_refused_before_a_name_is_asked(window, answers: Answer, tmp_path: Path) -> None:
    window.workspace.docks["residual"].panel.values = dict
    for kind in ("csv", "npy"):
        asked = answers(tmp_path / "a")
        trigger(window, f"save_panel.{kind}")
        assert asked == []
        assert window.error_bar.sentence.text().startswith("This panel shows no figures yet.")
    window.workspace.docks["residual"].save("npy", tmp_path / "a.npy")
    assert not list(tmp_path.glob("a*"))


def test_a_question_is_taken_apart_only_by_qts_loop(parent: QWidget) -> None:
    """Qt may still be telling windows which of them is active now, and would look at one that has gone."""
    QTimer.singleShot(0, lambda: QApplication.activeModalWidget().close())
    assert not sure(parent, "Sure?", "It goes.", "Go")
    (box,) = parent.findChildren(QMessageBox)
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not isValid(box)
