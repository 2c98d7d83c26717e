"""Saved runs in the worker and the window: saving while the run goes on, opening with the model and without it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDropEvent, QImage
from PySide6.QtWidgets import QFileDialog

import engine
from app.command_line import Options, parse
from app.dropping import dropped_model
from app.notices import CancelledFrame, GoesOnFrame, OpenedFrame, SavedFrame
from app.panels import PANELS
from app.saving import Saving
from app.window import Window
from app.worker import OpenRequest, RunRequest, Worker
from engine.frames import AnswerFrame, EndFrame, ErrorFrame, ModelFrame, NeedsModel, RunFrame, StepFrame
from engine.questions import AskAttentionGrid, AskResidualNorms
from engine.run_file_facts import Mark
from engine.run_file_opening import RunFile, open_run
from tests.app.conftest import GREEDY, MakeWindow, trigger
from tests.app.test_worker import LONG, Reader
from tests.engine.run_files import made, rewritten, saved, with_facts


@pytest.fixture
def reader(worker: Worker, mailbox) -> Reader:
    return Reader(mailbox)


@pytest.fixture
def loaded(worker: Worker, reader: Reader, tiny_model: Path) -> Reader:
    """A reader after the tiny model was loaded."""
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    return reader


@pytest.fixture(scope="session")
def run_file(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the tiny model, with a note."""
    session, steps = made(engine.load(tiny_model, device="cpu"), "hello abc", 6, temperature=0.7, seed=5)
    path = tmp_path_factory.mktemp("runs") / "saved.fluoro"
    return saved(path, session, steps, notes=(Mark("look", 3, 1, 0),), reason="limit", max_new_tokens=6)


@pytest.fixture(scope="session")
def orphan(run_file: Path) -> Path:
    """The same, of a model that lies nowhere."""
    return rewritten(
        run_file, run_file.with_name("orphan.fluoro"), with_facts(lambda t: t["model"].update(source="gone"))
    )


# ---- the worker ------------------------------------------------------------------------------------------------------


def test_a_run_is_saved_when_it_is_over(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    worker.run(RunRequest("hello", GREEDY, 5))
    loaded.next(EndFrame)
    worker.save_run(tmp_path / "run.fluoro", b"\x89PNG")
    frame = loaded.next(SavedFrame)
    assert frame.size == (tmp_path / "run.fluoro").stat().st_size
    with RunFile(tmp_path / "run.fluoro") as file:
        steps = [f for f in loaded.frames if isinstance(f, StepFrame)]
        assert [step.piece for step in file.steps] == [step.piece for step in steps]
        assert (file.facts.branch.reason, file.facts.branch.max_new_tokens, file.thumbnail) == ("limit", 5, b"\x89PNG")


def test_a_running_run_is_saved_and_goes_on(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    worker.run(RunRequest("hello", GREEDY, LONG))
    loaded.next(StepFrame)
    worker.save_run(tmp_path / "run.fluoro")
    loaded.next(SavedFrame)
    before = sum(isinstance(frame, StepFrame) for frame in loaded.frames)
    with RunFile(tmp_path / "run.fluoro") as file:
        assert 1 <= len(file.steps) <= before + 1
    loaded.next(StepFrame)
    worker.stop()
    assert loaded.next(EndFrame).reason == "stopped"


def test_a_stopped_pass_is_saved_up_to_the_last_step(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    worker.run(RunRequest("hello", GREEDY, 5))
    loaded.next(StepFrame)
    worker.step("layer")
    where = loaded.paused()
    worker.save_run(tmp_path / "run.fluoro")
    loaded.next(SavedFrame)
    with RunFile(tmp_path / "run.fluoro") as file:
        assert len(file.steps) == where.step
    worker.resume()
    loaded.next(EndFrame)


def test_what_is_saved_before_a_run_begins_is_the_one_before_and_waits_for_no_end(
    worker: Worker, loaded: Reader, tmp_path: Path
) -> None:
    worker.run(RunRequest("hello", GREEDY, 5))
    loaded.next(EndFrame)
    worker._commands.put(lambda: time.sleep(0.2))  # the engine has something else to do first
    worker.run(RunRequest("another", GREEDY, LONG))
    worker.save_run(tmp_path / "run.fluoro")
    loaded.next(SavedFrame)
    assert sum(isinstance(frame, EndFrame) for frame in loaded.frames) == 1
    with RunFile(tmp_path / "run.fluoro") as file:
        assert "".join(piece.text for piece in file.prompt) == "hello"
        assert len(file.steps) == 5
    loaded.next(StepFrame)
    worker.stop()
    assert loaded.next(EndFrame).reason == "stopped"


def test_the_first_run_of_all_is_saved_before_it_begins_to_run_too(
    worker: Worker, loaded: Reader, tmp_path: Path, monkeypatch
) -> None:
    """It waits for the first pass, and not for the last."""
    begin = Worker._begin

    def slowly(self, request) -> None:
        time.sleep(0.2)
        begin(self, request)

    monkeypatch.setattr(Worker, "_begin", slowly)
    worker.run(RunRequest("hello", GREEDY, LONG))
    time.sleep(0.05)
    worker.save_run(tmp_path / "run.fluoro")
    loaded.next(SavedFrame)
    with RunFile(tmp_path / "run.fluoro") as file:
        assert "".join(piece.text for piece in file.prompt) == "hello"
    loaded.next(StepFrame)
    worker.stop()
    loaded.next(EndFrame)


def test_a_run_that_is_stopped_while_it_is_saved_is_saved_all_the_same(
    worker: Worker, loaded: Reader, tmp_path: Path
) -> None:
    worker.run(RunRequest("hello", GREEDY, LONG))
    loaded.next(StepFrame)
    worker.save_run(tmp_path / "run.fluoro")
    worker.stop()
    loaded.next(SavedFrame)
    assert open_run(tmp_path / "run.fluoro").steps


@pytest.mark.parametrize("other", ["run", "model"])
def test_what_is_saved_before_another_is_opened_is_the_run_that_was_there(
    worker: Worker, loaded: Reader, tmp_path: Path, tiny_model: Path, run_file: Path, other: str
) -> None:
    worker.run(RunRequest("aaaa", GREEDY, LONG))
    loaded.next(StepFrame)
    worker.pause()
    loaded.paused()
    with worker._lock:  # nothing comes in between
        worker.save_run(tmp_path / "mine.fluoro")
        worker.open_run(OpenRequest(run_file)) if other == "run" else worker.load(str(tiny_model))
    loaded.next(SavedFrame)
    loaded.next(ModelFrame)
    assert "".join(piece.text for piece in open_run(tmp_path / "mine.fluoro").prompt) == "aaaa"


def test_saving_can_be_cancelled(worker: Worker, loaded: Reader, tmp_path: Path, monkeypatch) -> None:
    worker.run(RunRequest("hello", GREEDY, 5))
    loaded.next(EndFrame)
    moved = Saving._moved

    def slowly(self, request, part) -> None:
        time.sleep(0.05)
        moved(self, request, part)

    monkeypatch.setattr(Saving, "_moved", slowly)
    worker.save_run(tmp_path / "run.fluoro")
    worker.cancel_save()
    assert loaded.next(CancelledFrame).task == "save"
    worker.ask("cache", AskResidualNorms())
    loaded.next(AnswerFrame)  # the engine has come by the saving
    assert list(tmp_path.glob("*run.fluoro*")) == list(tmp_path.glob(".run*")) == []


def test_what_cannot_be_saved_is_a_sentence(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    worker.run(RunRequest("hello", GREEDY, 3))
    loaded.next(EndFrame)
    worker.save_run(tmp_path / "none" / "run.fluoro")
    error = loaded.next(ErrorFrame)
    assert (error.task, error.details) == ("save", "")
    assert "save it in another folder" in error.sentence
    worker.run(RunRequest("hello", GREEDY, LONG))
    loaded.next(StepFrame)
    worker.save_run(tmp_path / "none" / "run.fluoro")
    assert loaded.next(ErrorFrame).task == "save"
    worker.stop()


def test_an_opened_run_comes_as_frames_and_goes_on(worker: Worker, reader: Reader, run_file: Path) -> None:
    worker.open_run(OpenRequest(run_file))
    opened = reader.next(OpenedFrame)
    assert (opened.path, opened.why) == (str(run_file), "")
    kinds = [ModelFrame, RunFrame, *[StepFrame] * 6, EndFrame]
    assert [type(reader.next(kind)) for kind in kinds] == kinds
    live = open_run(run_file)
    further = [step.frame() for step in live.session.generate(None, 4)]
    worker.run(RunRequest(None, opened.sampling, 4))
    assert reader.next(GoesOnFrame).max_new_tokens == 10
    steps = [reader.next(StepFrame) for _ in further]
    assert [step.piece for step in steps] == [step.piece for step in further]
    assert [step.index for step in steps] == [6, 7, 8, 9]
    assert reader.next(EndFrame).reason == "limit"


def test_a_run_that_is_opened_and_saved_again_keeps_notes_and_steps(
    worker: Worker, reader: Reader, run_file: Path, tmp_path: Path
) -> None:
    worker.open_run(OpenRequest(run_file))
    opened = reader.next(OpenedFrame)
    worker.run(RunRequest(None, opened.sampling, 2))
    reader.next(GoesOnFrame)
    reader.next(EndFrame)
    worker.save_run(tmp_path / "again.fluoro")
    reader.next(SavedFrame)
    with RunFile(tmp_path / "again.fluoro") as file:
        assert file.facts.notes == (Mark("look", 3, 1, 0),)
        assert len(file.steps) == 8
    worker.run(RunRequest("new", GREEDY, 2))
    reader.next(EndFrame)
    worker.save_run(tmp_path / "new.fluoro")
    reader.next(SavedFrame)
    with RunFile(tmp_path / "new.fluoro") as file:
        assert (file.facts.notes, len(file.steps)) == ((), 2)


def test_the_model_that_is_loaded_is_not_loaded_again(
    worker: Worker, loaded: Reader, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.run_file_opening.load", None)
    worker.open_run(OpenRequest(run_file))
    assert loaded.next(OpenedFrame).why == ""


def test_without_the_model_what_is_recorded_is_answered(worker: Worker, reader: Reader, orphan: Path) -> None:
    worker.open_run(OpenRequest(orphan))
    why = reader.next(OpenedFrame).why
    assert why.startswith("What is not recorded takes the model tiny")
    reader.next(EndFrame)
    worker.ask("residual", AskResidualNorms())
    assert reader.next(AnswerFrame).answer.n == len("hello abc") + 5
    worker.watch("attention", AskAttentionGrid(0))
    assert reader.next(AnswerFrame).answer == NeedsModel(why)
    worker.run(RunRequest(None, GREEDY, 2))
    assert reader.next(ErrorFrame).sentence == why
    worker.run(RunRequest("hello", GREEDY, 2))
    assert reader.next(ErrorFrame).sentence == why


def test_the_model_is_looked_for_among_the_recent_ones(
    worker: Worker, reader: Reader, orphan: Path, tiny_model: Path
) -> None:
    worker.open_run(OpenRequest(orphan, (str(tiny_model),)))
    assert reader.next(OpenedFrame).why == ""


def test_a_bad_file_leaves_model_and_run_as_they_were(worker: Worker, loaded: Reader, tmp_path: Path) -> None:
    worker.run(RunRequest("hello", GREEDY, 3))
    loaded.next(EndFrame)
    (tmp_path / "bad.fluoro").write_bytes(b"hello")
    worker.open_run(OpenRequest(tmp_path / "bad.fluoro"))
    error = loaded.next(ErrorFrame)
    assert error.task == "load"
    assert "bad.fluoro is not a sound run file" in error.sentence
    worker.run(RunRequest(None, GREEDY, 2))
    assert loaded.next(GoesOnFrame).max_new_tokens == 5


def test_nothing_goes_on_where_nothing_was_run(worker: Worker, loaded: Reader) -> None:
    worker.run(RunRequest(None, GREEDY, 2))
    assert "no run that could go on" in loaded.next(ErrorFrame).sentence


# ---- the window ------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_window(make_window: MakeWindow, qtbot):
    """Opens a window on a file, with all panels, and waits until it shows it."""

    def opened(path: Path, **options) -> Window:
        window = make_window(Options(model=str(path), sampling=GREEDY, **options), PANELS, start=True)
        qtbot.waitUntil(lambda: window.context.run.ended is not None and window.complete, timeout=60_000)
        return window

    return opened


def test_the_window_shows_an_opened_run_and_goes_on(open_window, run_file: Path, qtbot) -> None:
    window = open_window(run_file)
    assert window.windowTitle() == "saved.fluoro — Fluoroscope"
    assert window.bar.prompt.toPlainText() == "hello abc"
    assert (window.sampling.temperature, window.sampling.seed) == (0.7, 5)
    assert not any(panel.need for panel in window.board.panels)
    assert window.preferences.recent()[0] == str(run_file)
    window.bar.tokens.setValue(3)
    trigger(window, "go_on")
    qtbot.waitUntil(lambda: len(window.context.run.steps) == 9 and window.context.run.ended is not None)
    assert window.windowTitle() == "saved.fluoro — Fluoroscope"
    trigger(window, "run")
    qtbot.waitUntil(lambda: len(window.context.run.steps) == 3 and window.context.run.ended is not None)
    assert window.windowTitle() == "Fluoroscope"


def test_without_its_model_panels_say_which_one_they_need(open_window, orphan: Path, qtbot) -> None:
    window = open_window(orphan)
    window.workspace.bring_up("attention")
    dock = window.workspace.docks["attention"]
    qtbot.waitUntil(lambda: dock.panel.shows_nothing)
    assert dock.need.isVisible()
    assert dock.need.text() == window.filing.opened.why
    assert not dock.panel.isVisible()
    window.workspace.bring_up("residual")
    residual = window.workspace.docks["residual"]
    qtbot.waitUntil(lambda: any(array.size for array in residual.panel.values().values()))
    assert not residual.need.isVisible()
    window.workspace.bring_up("cache")
    cache = window.workspace.docks["cache"]
    qtbot.waitUntil(lambda: cache.need.isVisible() and cache.panel.isVisible())
    qtbot.waitUntil(lambda: cache.need.height() == cache.need.heightForWidth(cache.need.width()))
    assert window.error_bar.isHidden()
    assert window.filing.opened.why in window.notice_bar.sentences.text()


def test_without_its_model_nothing_runs_and_the_commands_say_why(
    open_window, orphan: Path, tiny_model: Path, qtbot
) -> None:
    window = open_window(orphan)
    for name in ("run", "go_on", "step_layer", "step_stage", "step_token"):
        action = window.actions_by_name[name]
        assert not action.isEnabled()
        assert action.toolTip().endswith(window.filing.opened.why)
    window.run_prompt()
    assert not window.active
    assert "gone" not in window.preferences.recent()
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.filing.opened is None, timeout=60_000)
    assert window.actions_by_name["run"].isEnabled()
    assert "F5" in window.actions_by_name["run"].toolTip()
    assert window.windowTitle() == "Fluoroscope"
    assert not any(panel.need for panel in window.board.panels)


def test_without_its_model_the_map_says_why_nothing_runs_to_a_stage(open_window, orphan: Path) -> None:
    window = open_window(orphan)
    window.workspace.docks["layers"].panel.stage_asked.emit("run to", 1, "rope")
    assert window.error_bar.isVisible()
    assert window.error_bar.sentence.text() == window.filing.opened.why
    assert not window.active


def test_a_run_is_saved_where_the_user_says(open_window, run_file: Path, tmp_path: Path, qtbot, monkeypatch) -> None:
    window = open_window(run_file)
    asked = []

    def choose(parent, title, suggestion, kinds):
        asked.append(suggestion)
        return str(tmp_path / "chosen"), kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    trigger(window, "save_run")
    qtbot.waitUntil(lambda: (tmp_path / "chosen.fluoro").exists() and not window.filing.saving)
    assert asked == [str(run_file)]
    assert window.preferences.run_folder() == str(tmp_path)
    assert window.windowTitle() == "chosen.fluoro — Fluoroscope"
    assert window.preferences.recent()[0] == str(tmp_path / "chosen.fluoro")
    with RunFile(tmp_path / "chosen.fluoro") as file:
        assert file.facts.notes == (Mark("look", 3, 1, 0),)
        assert QImage.fromData(file.thumbnail).width() == 480


def test_a_run_that_cannot_be_saved_is_told_in_the_window(open_window, run_file: Path, tmp_path: Path, qtbot) -> None:
    window = open_window(run_file)
    window.filing.save_run_as(tmp_path / "none" / "x.fluoro")
    qtbot.waitUntil(window.error_bar.isVisible)
    assert "could not be saved" in window.error_bar.sentence.text()
    assert not window.filing.saving


def test_open_asks_in_the_folder_of_last_time(open_window, run_file: Path, tmp_path: Path, qtbot, monkeypatch) -> None:
    window, copy, asked = open_window(run_file), tmp_path / "copy.fluoro", []
    shutil.copy(run_file, copy)

    def choose(parent, title, folder, kinds):
        asked.append(folder)
        return str(copy), kinds

    monkeypatch.setattr(QFileDialog, "getOpenFileName", choose)
    for _ in range(2):
        trigger(window, "open_run")
        qtbot.waitUntil(lambda: not window.filing.loading and window.filing.opened.path == str(copy))
    assert asked == ["", str(tmp_path)]


def test_a_dropped_file_is_opened(open_window, run_file: Path, orphan: Path, qtbot) -> None:
    window, data = open_window(run_file), QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(orphan))])
    assert dropped_model(data) == str(orphan)
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPoint(300, 300).toPointF(), copy, data, left, none))
    qtbot.waitUntil(lambda: window.filing.opened.path == str(orphan), timeout=60_000)


def test_a_bad_file_is_told_and_changes_nothing(open_window, run_file: Path, tmp_path: Path, qtbot) -> None:
    window = open_window(run_file)
    (tmp_path / "bad.fluoro").write_bytes(run_file.read_bytes()[:5000])
    window.filing.open_model(str(tmp_path / "bad.fluoro"))
    qtbot.waitUntil(window.error_bar.isVisible)
    assert "bad.fluoro is not a sound run file" in window.error_bar.sentence.text()
    assert window.windowTitle() == "saved.fluoro — Fluoroscope"
    assert len(window.context.run.steps) == 6
    assert window.actions_by_name["go_on"].isEnabled()


def test_a_long_save_can_be_given_up(open_window, run_file: Path, tmp_path: Path, qtbot, monkeypatch) -> None:
    window = open_window(run_file)
    moved = Saving._moved

    def slowly(self, request, part) -> None:
        time.sleep(0.1)
        moved(self, request, part)

    monkeypatch.setattr(Saving, "_moved", slowly)
    assert not window.actions_by_name["cancel_file"].isEnabled()
    window.filing.save_run_as(tmp_path / "x.fluoro")
    trigger(window, "cancel_file")
    qtbot.waitUntil(lambda: not window.filing.saving)
    assert not window.actions_by_name["cancel_file"].isEnabled()
    qtbot.wait(300)
    assert list(tmp_path.glob("*x.fluoro*")) == list(tmp_path.glob(".x*")) == []


# ---- the command line ------------------------------------------------------------------------------------------------


def test_a_file_alone_is_opened() -> None:
    assert parse(["run1.fluoro"]).model == "run1.fluoro"
    assert parse(["RUN.FLUORO", "--screenshot", "x.png", "--layer", "2"]).pin == {"layer": 2}


def test_a_saved_run_has_its_own_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["run1.fluoro", "--prompt", "x"])
    assert "a saved run has a prompt of its own" in capsys.readouterr().err
