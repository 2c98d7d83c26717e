"""Nothing is lost: the session comes back, the run is saved by itself, and a program that was killed leaves its run."""

from __future__ import annotations

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import Qt

from app import asking, keeping
from app.application import as_held, beginning_of, make_window
from app.command_line import Options, parse
from app.notes import Note
from app.notices import SavedFrame
from app.preferences import Preferences
from app.session import Session, read_session
from app.slot import Slot, take_slot
from app.window import Window
from engine.edits import Edit
from engine.frames import ErrorFrame
from engine.settings import Record
from tests.app.conftest import GREEDY, slow_passes
from tests.app.kept_windows import WAIT, Start, arrived, close, program, run, text_of, wait_for

# ---- the session -----------------------------------------------------------------------------------------------------


def test_everything_is_as_it_was(start: Start, qtbot, state: Path) -> None:
    window = start()
    run(window, qtbot, "hello there", tokens=5)
    text = text_of(window)
    window.set_sampling(replace(window.sampling, top_k=7, seed=3))
    window.context.cursor.pin(position=2, layer=1, head=1)
    window.context.tray.add(Edit("zero", "hook_resid_post", (1,)))
    window.bar.prompt.setPlainText("hello there, again")
    close(window)

    window = start()
    qtbot.waitUntil(lambda: arrived(window, 16), timeout=WAIT)
    assert text_of(window) == text
    assert window.bar.prompt.toPlainText() == "hello there, again"
    assert window.bar.tokens.value() == 5
    assert window.sampling.top_k == 7
    assert window.sampling.seed == 3
    pinned = window.context.cursor.pinned
    assert (pinned.position, pinned.layer, pinned.head) == (2, 1, 1)
    assert window.context.tray.edits == (Edit("zero", "hook_resid_post", (1,)),)
    assert window.windowTitle().endswith("Fluoroscope")
    assert "run.fluoro" not in window.windowTitle(), "it is no file of the user's"
    assert all("run.fluoro" not in source for source in window.preferences.recent())
    assert "window-1" not in window.filing._suggested_name()


def test_edits_that_changed_since_the_run_was_saved_are_as_they_were_last(start: Start, qtbot) -> None:
    first, second = (Edit("zero", "hook_resid_post", (layer,)) for layer in (1, 2))
    window = start()
    window.context.tray.add(first)
    run(window, qtbot)
    qtbot.waitUntil(lambda: window.keeping._own and not window.keeping._is_another(), timeout=WAIT)
    window.context.tray.add(second)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.context.tray.edits == (first, second)
    window.context.tray.clear()
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.context.tray.edits == ()


def test_a_save_of_the_user_is_waited_for_at_the_end_of_the_program(start: Start, qtbot, tmp_path: Path) -> None:
    window = start()
    run(window, qtbot)
    window.filing.save_run_as(tmp_path / "mine.fluoro")
    close(window)
    assert (tmp_path / "mine.fluoro").exists()
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.filing.file == str(tmp_path / "mine.fluoro")


def test_what_is_noted_without_a_run_comes_back(start: Start, qtbot) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    window.context.notes.add(Note(0, "look here", layer=1))
    close(window)
    window = start()
    qtbot.waitUntil(lambda: len(window.context.notes) == 1, timeout=WAIT)
    (note,) = window.context.notes
    assert (note.text, note.layer) == ("look here", 1)


def test_a_model_that_is_away_for_a_while_is_not_forgotten(start: Start, qtbot, tiny_model: Path) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    window.context.notes.add(Note(0, "look here", layer=1))
    close(window)
    away = tiny_model.rename(tiny_model.with_name("away"))
    try:
        window = start()
        qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
        window.bar.prompt.setPlainText("typed meanwhile")
        close(window)
    finally:
        away.rename(tiny_model)
    window = start()
    qtbot.waitUntil(lambda: len(window.context.notes) == 1, timeout=WAIT)
    assert window.bar.prompt.toPlainText() == "typed meanwhile"


def test_a_model_that_stays_away_is_told_once_and_kept_until_another_is_opened(
    start: Start, qtbot, tiny_model: Path, state: Path, embedded: Path, tmp_path: Path
) -> None:
    """The built-in one stands in for it (here: as tiny); with the prompt."""
    gone = tmp_path / "gone"
    shutil.copytree(tiny_model, gone)
    window = start("--model", str(gone))
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    window.bar.prompt.setPlainText("what was typed")
    window.context.notes.add(Note(0, "look here", layer=1))
    close(window)
    shutil.rmtree(gone)

    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.model.source == "demo"
    assert str(gone) in window.error_bar.sentence.text(), "where it was looked for"
    assert str(gone) in window.notice_bar.sentences.text()
    assert window.bar.prompt.toPlainText() == "what was typed"
    close(window)

    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.model.source == "demo"
    assert window.error_bar.isHidden(), "it was said"
    assert window.notice_bar.isHidden()
    assert window.bar.prompt.toPlainText() == "what was typed"
    window.filing.open_model(str(gone))
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)  # asked for, it is said
    close(window)

    shutil.copytree(tiny_model, gone)
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.model.source == str(gone)
    assert [note.text for note in window.context.notes] == ["look here"]
    close(window)

    shutil.rmtree(gone)
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.error_bar.isVisible(), "it was there meanwhile"
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.context.run.model.source == str(tiny_model), timeout=WAIT)
    close(window)
    session = read_session(state / "window-1" / "session.json")
    assert session is not None
    assert (session.model, session.trouble) == (str(tiny_model), "")


@pytest.fixture
def last_gone(start: Start, tiny_model: Path, tmp_path: Path) -> None:
    """The model of the last session was deleted."""
    gone = tmp_path / "gone"
    shutil.copytree(tiny_model, gone)
    close(start("--model", str(gone)))
    shutil.rmtree(gone)


def test_a_run_of_the_one_that_stands_in_is_the_session(start: Start, qtbot, embedded: Path, last_gone: None) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    run(window, qtbot)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.context.run.model.source == "demo"  # type: ignore[union-attr]


def test_where_nothing_stands_in_there_is_the_start_page(start: Start, qtbot, embedded: Path, last_gone: None) -> None:
    (embedded / "config.json").write_text("{")
    window = start()
    qtbot.waitUntil(lambda: window.keeping._in_vain and not window.filing.loading, timeout=WAIT)
    assert window.pages.currentWidget() is window.start_page
    close(window)


def test_after_a_crash_it_is_the_built_in_model_that_is_missing(
    start: Start, qtbot, tiny_model: Path, state: Path, embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model of the session was not even tried."""
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    close(window)
    (state / "window-1" / "running").write_text("{}")
    monkeypatch.setattr("tests.app.kept_windows.replace", lambda options, **changes: replace(options, sampling=GREEDY))
    (embedded / "config.json").write_text("{")
    window = start()
    qtbot.waitUntil(window.error_bar.isVisible, timeout=WAIT)
    assert "could not be opened" not in window.notice_bar.sentences.text()
    assert window.left_bar.open.text() == f"Open {tiny_model.name} again"


def test_a_run_that_came_back_goes_on(start: Start, qtbot) -> None:
    window = start()
    run(window, qtbot)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    window.go_on()
    qtbot.waitUntil(lambda: arrived(window, 13), timeout=WAIT)


def test_without_a_run_the_model_and_its_settings_come_back(start: Start, qtbot, tiny_model: Path) -> None:
    window = start()
    window.set_sampling(replace(window.sampling, top_k=9))
    window.bar.prompt.setPlainText("only typed")
    window.context.cursor.pin(layer=2)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.model.source == str(tiny_model)
    assert window.bar.prompt.toPlainText() == "only typed"
    assert window.sampling.top_k == 9
    assert window.context.cursor.pinned.layer == 2


def test_the_command_line_wins(start: Start, qtbot, tiny_model: Path) -> None:
    window = start()
    run(window, qtbot)
    close(window)
    window = start("--model", str(tiny_model), "--prompt", "other", "--tokens", "2")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.n_tokens == 0, "a model was named: the last run is not opened"
    assert window.bar.prompt.toPlainText() == "other"
    assert window.bar.tokens.value() == 2


def test_fresh_starts_without(start: Start, qtbot) -> None:
    window = start()
    run(window, qtbot)
    close(window)
    window = start("--fresh")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.bar.prompt.toPlainText() == ""
    assert window.context.run.n_tokens == 0


def test_a_damaged_session_is_told_and_kept(start: Start, qtbot, state: Path) -> None:
    (state / "window-1").mkdir(parents=True)
    (state / "window-1" / "session.json").write_bytes(b"\xff{not json")
    window = start()
    assert "cannot be restored" in window.notice_bar.sentences.text()
    assert (state / "window-1" / "session-unread.json").read_bytes() == b"\xff{not json"


def test_a_damaged_run_is_told_and_its_model_opens(start: Start, qtbot, state: Path, tiny_model: Path) -> None:
    window = start()
    run(window, qtbot)
    close(window)
    (state / "window-1" / "run.fluoro").write_bytes(b"PK nonsense")
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.model.source == str(tiny_model)
    assert "run.fluoro" in window.error_bar.sentence.text()
    assert window.bar.prompt.toPlainText() == "hello"


def test_a_run_of_a_file_is_opened_from_it_again(start: Start, qtbot, tmp_path: Path, state: Path) -> None:
    window = start()
    run(window, qtbot)
    window.filing.save_run_as(tmp_path / "mine.fluoro")
    qtbot.waitUntil(lambda: not window.filing.saving, timeout=WAIT)
    assert window.windowTitle().startswith("mine.fluoro")
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.windowTitle().startswith("mine.fluoro"), "the file that it was saved to is still its own"
    assert window.filing.file == str(tmp_path / "mine.fluoro")


def test_what_is_typed_is_kept_without_a_proper_end(start: Start, qtbot, state: Path) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    window.bar.prompt.setPlainText("typed a moment ago")
    window.keeping._timer.timeout.emit()
    session = read_session(state / "window-1" / "session.json")
    assert session is not None
    assert session.prompt == "typed a moment ago"


# ---- saved by itself -------------------------------------------------------------------------------------------------


def test_the_run_is_saved_by_itself_soon_after_its_end(start: Start, qtbot, state: Path) -> None:
    window = start()
    run(window, qtbot)
    qtbot.waitUntil((state / "window-1" / "run.fluoro").exists, timeout=5000)
    assert not window.filing.saving
    assert "saved" not in window.activity, "nobody has asked for it"


def test_a_run_that_goes_on_is_saved_meanwhile(
    start: Start, qtbot, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "SAVE_EVERY_S", 0.2)
    window = start()
    window.keeping._timer.setInterval(100)
    slow_passes(window, 0.05)
    window.bar.prompt.setPlainText("hello")
    window.bar.tokens.setValue(200)
    window.run_prompt()
    path = state / "window-1" / "run.fluoro"
    qtbot.waitUntil(path.exists, timeout=WAIT)
    first = path.stat().st_mtime_ns
    qtbot.waitUntil(lambda: path.stat().st_mtime_ns > first, timeout=WAIT)
    assert window.context.run.ended is None, "it still goes on"
    window.stop()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)


def test_a_run_that_goes_on_is_saved_at_the_end_of_the_program(start: Start, qtbot) -> None:
    window = start()
    slow_passes(window, 0.02)
    window.bar.prompt.setPlainText("hello")
    window.bar.tokens.setValue(200)
    window.run_prompt()
    qtbot.waitUntil(lambda: len(window.context.run.steps) > 5, timeout=WAIT)
    close(window)
    window = start()
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=WAIT)
    assert len(window.context.run.steps) >= 5


def test_a_large_run_is_not_saved_by_itself_and_that_is_told_once(
    start: Start, qtbot, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LARGEST_RUN", 1_000)
    window = start()
    run(window, qtbot)
    qtbot.waitUntil(lambda: "not saved by itself" in window.notice_bar.sentences.text(), timeout=5000)
    assert not (state / "window-1" / "run.fluoro").exists()


def test_a_run_that_is_not_kept_is_not_let_go_without_a_question(
    start: Start, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(asking, "sure", lambda parent, title, text, action: asked.append(text))
    window = start()
    run(window, qtbot)
    qtbot.waitUntil(lambda: window.keeping._own, timeout=WAIT)
    monkeypatch.setattr(keeping, "LARGEST_RUN", 1_000)
    assert not window.keeping.at_risk, "it is kept as it is"
    run(window, qtbot, "another")
    qtbot.waitUntil(lambda: window.keeping.at_risk and window.context.run.ended is not None, timeout=WAIT)
    window.close()
    assert window.isVisible()
    assert len(asked) == 1
    assert "would be lost" in asked[0]
    run(window, qtbot, "it goes on", 3)
    qtbot.waitUntil(lambda: arrived(window, 13), timeout=WAIT)
    window.filing.save_run_as(tmp_path / "mine.fluoro")
    qtbot.waitUntil(lambda: not window.filing.saving and not window.keeping.at_risk, timeout=WAIT)
    window.close()
    assert not window.isVisible()
    assert len(asked) == 1


def test_nor_is_one_that_could_not_be_saved(start: Start, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    monkeypatch.setattr(asking, "sure", lambda *about: answers.pop(0))
    window = start()
    run(window, qtbot)
    window.mailbox.post(ErrorFrame("autosave", "The disk is full."))
    qtbot.waitUntil(lambda: bool(window.keeping._saving.said), timeout=WAIT)
    window.keeping._moved(None)
    window.close()
    assert window.isVisible()
    window.close()
    assert not window.isVisible()
    assert answers == []


def test_a_save_of_the_user_goes_first(start: Start, qtbot, tmp_path: Path) -> None:
    window = start()
    run(window, qtbot)
    saved: list[SavedFrame] = []
    window.received.connect(lambda frame: saved.append(frame) if isinstance(frame, SavedFrame) else None)
    window.filing.save_run_as(tmp_path / "mine.fluoro")
    assert not window.worker.autosave(tmp_path / "auto.fluoro")
    qtbot.waitUntil(lambda: not window.filing.saving, timeout=WAIT)
    assert [frame.quiet for frame in saved if frame.path.endswith("mine.fluoro")] == [False]


def test_a_full_disk_is_told_as_a_notice_and_the_run_goes_on(start: Start, qtbot) -> None:
    window = start()
    run(window, qtbot)
    window.receive([ErrorFrame("autosave", "There is no room on the disk.")])
    assert "There is no room on the disk." in window.notice_bar.sentences.text()
    assert window.error_bar.isHidden()
    before = window.keeping._asked
    window.keeping._changes += 1
    window.keeping._keep_now()
    assert window.keeping._asked == before, "not at once"


def test_what_could_not_be_saved_is_tried_again_and_each_is_told_once(
    start: Start, qtbot, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the place of the file stands for a disk that takes nothing."""
    window = start()
    now = [1000.0]
    window.keeping._saving.now = lambda: now[0]
    monkeypatch.setattr(keeping, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(keeping, "REST_PER_SAVE", 0.0)
    own, notice = state / "window-1" / "run.fluoro", window.notice_bar.sentences
    for folder in (True, False, True, False):  # and once more, later
        own.unlink(missing_ok=True)
        if folder:
            (own / "full").mkdir(parents=True)
        run(window, qtbot, tokens=3)
        if folder:
            qtbot.waitUntil(lambda: "not saved by itself for now" in notice.text(), timeout=WAIT)
            assert "by itself again" not in notice.text()
            pauses = []
            for _ in range(3):
                asked = now[0]
                while not window.keeping._saving.ready:
                    window.keeping.keep()
                    now[0] += 1.0
                pauses.append(now[0] - asked)
                window.keeping.keep()
                qtbot.waitUntil(lambda: not window.worker.saves and not window.keeping._saving.ready, timeout=WAIT)
            assert pauses == sorted(set(pauses)), "it waits longer every time"
            assert notice.text().count("not saved") == 1
            (own / "full").rmdir()
            own.rmdir()
            now[0] += 10_000.0
            window.keeping.keep()
        qtbot.waitUntil(lambda: own.is_file() and not window.keeping.pending, timeout=WAIT)
        assert "not saved by itself" not in notice.text()
        assert notice.text().count("This run is saved by itself again.") == 1


def test_a_session_that_could_not_be_written_is_written_later(start: Start, qtbot, state: Path) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    path, notice = state / "window-1" / "session.json", window.notice_bar.sentences
    path.unlink(missing_ok=True)
    (path / "full").mkdir(parents=True)
    window.bar.prompt.setPlainText("typed")
    window.keeping.keep()
    assert "The session is not kept" in notice.text()
    (path / "full").rmdir()
    path.rmdir()
    window.keeping.keep()
    assert not path.exists(), "not at once"
    window.keeping.hurry()
    window.keeping.keep()
    assert read_session(path).prompt == "typed"  # type: ignore[union-attr]
    assert notice.text() == "The session is kept again."


def test_what_is_noted_makes_it_another_run_and_comes_back(start: Start, qtbot) -> None:
    window = start()
    run(window, qtbot)
    qtbot.waitUntil(lambda: window.keeping._own and not window.keeping._is_another(), timeout=WAIT)
    window.context.cursor.pin(position=2, layer=1)
    window.noting.bookmark()
    assert window.keeping._is_another()
    close(window)
    window = start()
    qtbot.waitUntil(lambda: arrived(window, 9) and len(window.context.notes) == 1, timeout=WAIT)
    (note,) = window.context.notes
    assert (note.position, note.layer) == (2, 1)
    qtbot.waitUntil(lambda: window.keeping._kept_marks is not None, timeout=WAIT)
    assert not window.keeping._is_another(), "it is as it was saved"


# ---- a program that was killed ---------------------------------------------------------------------------------------


def killed(window: Window, state: Path) -> None:
    """As if the program had been killed: what lies in the folder stays, and its lock is gone with the process."""
    folder = state / "window-1"
    mark = (folder / "running").read_bytes()
    run_file = (folder / "run.fluoro").read_bytes()
    session = (folder / "session.json").read_bytes()
    close(window)
    (folder / "running").write_bytes(mark)
    (folder / "run.fluoro").write_bytes(run_file)
    (folder / "session.json").write_bytes(session)


@pytest.mark.parametrize("session", [b"\xff{not json", b'{"version": 99}'])
def test_a_session_that_cannot_be_read_leaves_its_run(start: Start, qtbot, state: Path, session: bytes) -> None:
    window = start()
    run(window, qtbot, "hello", 4)
    close(window)
    (state / "window-1" / "session.json").write_bytes(session)
    window = start()
    assert "cannot be restored" in window.notice_bar.sentences.text()
    assert window.left_bar.isVisible()
    assert "not opened again" in window.left_bar.sentence.text()
    run(window, qtbot, "another", 3)
    qtbot.waitUntil((state / "window-1" / "run.fluoro").exists, timeout=WAIT)
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)


def test_a_fresh_start_leaves_the_run_before_for_the_next_one(start: Start, qtbot, state: Path) -> None:
    window = start()
    run(window, qtbot, "hello", 4)
    close(window)
    window = start("--fresh")
    assert window.context.run.n_tokens == 0
    assert not window.left_bar.isVisible(), "who asks for a fresh start is left alone"
    close(window)
    window = start()
    assert window.left_bar.isVisible()
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)


def test_a_run_that_was_left_in_another_folder_is_offered_too(start: Start, state: Path) -> None:
    close(start())
    other = state / "window-2"
    other.mkdir()
    (other / "left-5.fluoro").write_bytes(b"run")
    (other / "run.fluoro").write_bytes(b"the run of a session that was closed")
    window = start()
    assert [path.read_bytes() for path in window.keeping.beginning.slot.left()] == [b"run"]  # type: ignore[union-attr]
    assert window.left_bar.isVisible()
    assert "did not end properly" not in window.left_bar.sentence.text()
    assert not window.keeping.crashed
    assert (other / "run.fluoro").exists(), "that window comes back to it"


@pytest.fixture
def after_a_kill(start: Start, qtbot, state: Path) -> Window:
    window = start()
    run(window, qtbot, "hello", 4)
    qtbot.waitUntil((state / "window-1" / "run.fluoro").exists, timeout=WAIT)
    qtbot.waitUntil(lambda: window.keeping._own, timeout=WAIT)
    killed(window, state)
    return start()


def test_the_run_is_offered_and_not_opened_by_itself(after_a_kill: Window, qtbot) -> None:
    window = after_a_kill
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    assert window.context.run.n_tokens == 0
    assert window.left_bar.isVisible()
    assert "did not end properly" in window.left_bar.sentence.text()
    assert window.left_bar.open.isVisible()
    assert window.bar.prompt.toPlainText() == "hello", "what was typed is harmless"


def test_it_is_opened(after_a_kill: Window, qtbot, state: Path) -> None:
    window = after_a_kill
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: arrived(window, 9), timeout=WAIT)
    assert window.left_bar.isHidden()
    assert window.filing.file == ""
    qtbot.waitUntil(lambda: not list((state / "window-1").glob("left-*")), timeout=WAIT)
    assert (state / "window-1" / "run.fluoro").exists(), "it is the run that is kept now"


def test_it_is_discarded(after_a_kill: Window, state: Path) -> None:
    after_a_kill.left_bar.discard.click()
    assert after_a_kill.left_bar.isHidden()
    assert not list((state / "window-1").glob("left-*"))


def test_unanswered_it_is_offered_again(after_a_kill: Window, start: Start, qtbot) -> None:
    after_a_kill.left_bar.dismiss.click()
    run(after_a_kill, qtbot, "another", 3)
    close(after_a_kill)
    window = start()
    assert window.left_bar.isVisible()
    assert window.keeping.left is not None


def test_one_that_cannot_be_opened_can_be_discarded(after_a_kill: Window, qtbot, state: Path) -> None:
    window = after_a_kill
    left = window.keeping.left
    assert left is not None
    left.write_bytes(b"PK nonsense")
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: window.error_bar.isVisible(), timeout=WAIT)
    assert window.left_bar.isVisible()
    window.left_bar.discard.click()
    assert window.left_bar.isHidden()


def test_without_a_run_the_model_is_offered(start: Start, qtbot, state: Path, tiny_model: Path) -> None:
    window = start()
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=WAIT)
    window.set_sampling(replace(window.sampling, top_k=9))
    window.context.tray.add(Edit("zero", "hook_resid_post", (1,)))
    close(window)
    (state / "window-1" / "running").write_text("{}")
    (state / "window-1" / "crash.txt").write_text("Fatal Python error: Segmentation fault")
    window = start()
    assert window.left_bar.open.text() == f"Open {tiny_model.name} again"
    assert not window.left_bar.discard.isVisible()
    window.left_bar.crash_log.click()
    assert "Segmentation fault" in window.reporting.page.text.toPlainText()
    window.undo_one()
    assert not window.reporting.page.isVisible()
    assert window.filing.opened is None
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: len(window.context.tray.edits) == 1, timeout=WAIT)
    assert window.sampling.top_k == 9


def test_after_a_proper_end_nothing_is_offered(start: Start, qtbot) -> None:
    window = start()
    run(window, qtbot)
    close(window)
    assert start().left_bar.isHidden()


# ---- two programs ----------------------------------------------------------------------------------------------------


def test_two_windows_keep_apart(start: Start, qtbot, state: Path) -> None:
    first = start()
    run(first, qtbot, "first", 3)
    second = start()
    assert second.keeping.beginning is not None
    assert second.keeping.beginning.slot.number == 2
    assert second.bar.prompt.toPlainText() == ""
    run(second, qtbot, "second", 3)
    close(second)
    close(first)
    assert read_session(state / "window-1" / "session.json").prompt == "first"  # type: ignore[union-attr]
    assert read_session(state / "window-2" / "session.json").prompt == "second"  # type: ignore[union-attr]


def test_a_second_window_that_was_killed_leaves_its_run_to_the_next_first(start: Start, qtbot, state: Path) -> None:
    slot: Slot = take_slot(state)  # another program
    window = start()
    run(window, qtbot, "second", 3)
    qtbot.waitUntil((state / "window-2" / "run.fluoro").exists, timeout=WAIT)
    close(window)
    (state / "window-2" / "running").write_text("{}")
    slot.leave()
    window = start()
    assert window.keeping.beginning is not None
    assert window.keeping.beginning.slot.number == 1
    assert window.keeping.left is not None
    assert not (state / "window-2" / "running").exists()


# ---- without a session -----------------------------------------------------------------------------------------------


def test_in_safe_mode_nothing_is_restored_or_kept(qtbot, no_leaks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Preferences()
    kept.set_points(20.0)
    kept.set_record(Record(memory=10**9))
    window = make_window(parse(["--safe-mode"]))
    qtbot.addWidget(window)
    window.show()
    assert window.keeping.beginning is None
    assert window.looks.points == 10.0
    assert "Safe mode" in window.notice_bar.sentences.text()
    assert window.windowTitle() == "safe mode — Fluoroscope"
    window.looks.use_theme("light")
    window.close()
    assert Preferences().points() == 20.0
    assert Preferences().theme() != "light"


@pytest.mark.parametrize(("keys", "safe"), [("ShiftModifier", True), ("ControlModifier", False), ("NoModifier", False)])
def test_shift_at_the_start_asks_for_it(keys: str, safe: bool) -> None:
    options = as_held(parse([]), Qt.KeyboardModifier[keys])
    assert options.safe_mode is safe
    assert beginning_of(replace(options, safe_mode=True)) == (None, "")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLUOROSCOPE_STATE", str(tmp_path / "file"))
    beginning, trouble = beginning_of(Options())
    assert beginning is None
    assert "will not be kept" in trouble
    assert str(tmp_path / "file") in trouble


# ---- the real program ------------------------------------------------------------------------------------------------


def test_the_program_is_killed_and_the_next_one_finds_its_run(
    tmp_path: Path, state: Path, tiny_model: Path, start: Start, qtbot
) -> None:
    process = program(state, "--model", str(tiny_model), "--prompt", "hello", "--tokens", "6")
    try:
        wait_for(state / "window-1" / "run.fluoro", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (state / "window-1" / "running").exists()
    window = start()
    assert window.left_bar.isVisible()
    window.left_bar.open.click()
    qtbot.waitUntil(lambda: arrived(window, 11), timeout=WAIT)


def test_a_crash_leaves_the_stack_of_every_thread(tmp_path: Path, state: Path, tiny_model: Path) -> None:
    process = program(state, "--model", str(tiny_model), "--prompt", "hello", "--tokens", "3")
    try:
        wait_for(state / "window-1" / "run.fluoro", process)
    finally:
        process.send_signal(signal.SIGSEGV)
        process.wait()
    slot = take_slot(state)
    try:
        assert slot.crashed
        assert "Segmentation fault" in slot.crash_text
        assert "application.py" in slot.crash_text
        assert "fluoroscope: model" not in slot.crash_text
        assert slot.left()
    finally:
        slot.leave()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGHUP], ids=["told", "terminal closed"])
def test_a_program_that_is_asked_to_end_ends_properly(state: Path, tiny_model: Path, asked: signal.Signals) -> None:
    process = program(state, "--model", str(tiny_model), "--prompt", "hello", "--tokens", "3")
    try:
        wait_for(state / "window-1" / "run.fluoro", process)
        process.send_signal(asked)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
    assert not (state / "window-1" / "running").exists()
    assert not (state / "window-1" / "crash.txt").exists()
    session = read_session(state / "window-1" / "session.json")
    assert isinstance(session, Session)
    assert session.prompt == "hello"
    assert session.model == str(tiny_model)
    assert session.run is not None


def test_an_interrupt_before_there_is_a_window_ends_it_properly(state: Path, tiny_model: Path) -> None:
    process = program(state, "--model", str(tiny_model))
    try:
        wait_for(state / "window-1" / "log.txt", process)  # the log is begun before the window is made
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert not (state / "window-1" / "running").exists()
