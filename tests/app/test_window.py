"""The window with plain panels: what is told to whom, what every command does, and that nothing is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage, QKeyEvent
from PySide6.QtWidgets import QApplication, QTabBar, QToolButton

from app.command_line import Options, parse
from app.commands import COMMANDS, TOOLBAR, identity
from app.export import svg_bytes
from app.panels import PANELS
from app.run_bar import MOST_LINES
from app.theme import THEMES
from app.window import Window
from engine.frames import EndFrame, ErrorFrame, ModelFrame, StepFrame, Where
from engine.questions import AskCacheState
from engine.settings import Sampling
from tests.app.conftest import GREEDY, Journal, MakeWindow, panel_class, trigger, with_journal

LONG = 400


@pytest.fixture
def window(make_window: MakeWindow) -> Window:
    return make_window()


@pytest.fixture
def live(make_window: MakeWindow, qtbot, tiny_model: Path) -> tuple[Window, Journal]:
    """A window with the tiny model loaded, and its journal."""
    return with_journal(make_window, qtbot, tiny_model, tokens=4)


def panel(window: Window, key: str):
    return window.workspace.docks[key].panel


def press(window: Window, key: str, code: Qt.Key, text: str) -> None:
    event = QKeyEvent(QEvent.Type.KeyPress, code, Qt.KeyboardModifier.NoModifier, text)
    QApplication.sendEvent(panel(window, key), event)


# ---- before the engine ---------------------------------------------------------------------------------------


def test_the_window_is_there_before_the_engine(window: Window) -> None:
    assert window.isVisible()
    assert "starting the engine" in window.start_page.headline.text()
    assert not window.start_page.folder.isEnabled()
    assert not window.actions_by_name["run"].isEnabled()


def test_every_control_has_an_accessible_name(window: Window) -> None:
    buttons = [button for button in window.findChildren(QToolButton) if button.isVisible()]
    assert len(buttons) > len(TOOLBAR)
    assert [button for button in buttons if not (button.accessibleName() or button.text())] == []


def test_the_menus_hold_every_command(window: Window) -> None:
    in_menus = {action.objectName() for menu in window.menuBar().actions() for action in menu.menu().actions()}
    assert {identity(command) for command in COMMANDS} <= in_menus


def test_usable_at_1280_by_720_with_the_real_panels(make_window: MakeWindow) -> None:
    window = make_window(Options(size=(1280, 720), sampling=GREEDY), panels=PANELS)
    window.pages.setCurrentWidget(window.workspace)
    QApplication.processEvents()
    assert (window.width(), window.height()) == (1280, 720)
    shown = [key for key, dock in window.workspace.docks.items() if dock.shown]
    assert shown == ["strip", "layers", "attention", "sampling"]
    for key in shown:
        dock = window.workspace.docks[key]
        inside = window.rect().contains(dock.mapTo(window, dock.rect().bottomRight()))
        assert inside, key


@pytest.mark.parametrize("width", [960, 1280, 1920])
def test_a_caption_without_room_ends_with_dots(
    make_window: MakeWindow, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    window = make_window(Options(size=(width, 720), sampling=GREEDY), panels=PANELS)
    window.pages.setCurrentWidget(window.workspace)
    caption = "position 16: entropy 2.893 → 0.413 nats"
    cut = []
    for dock in window.workspace.docks.values():
        if dock.shown:
            monkeypatch.setattr(dock.panel, "caption", lambda: caption)
            dock.refresh()
            QApplication.processEvents()
            label = dock.bar._caption.label
            assert (label.shown() == caption) == (label.needed() <= label.width() + 1)
            assert label.shown() == caption or label.shown().endswith("…")
            cut.append(label.shown() != caption)
    assert any(cut), "the column of the pass is narrow"
    assert not all(cut), "the tokens have the width of the window"


def test_projected_candidates_hold_the_token_that_was_drawn(make_window: MakeWindow, qtbot, tiny_model: Path) -> None:
    drawn = Sampling(temperature=1.5, seed=3)
    options = Options(model=str(tiny_model), size=(1280, 720), sampling=drawn, tokens=4)
    window = make_window(options, panels=PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    window.bar.prompt.setPlainText("hello")
    trigger(window, "run")
    qtbot.waitUntil(lambda: window.context.run.ended is not None, timeout=60_000)
    window.explaining.use_depth("story")
    window.projecting.project()
    window.workspace.bring_up("sampling")
    qtbot.waitUntil(lambda: window.complete, timeout=60_000)
    sampling = panel(window, "sampling")
    for step in window.context.run.steps:
        window.context.cursor.pin(position=step.end)
        QApplication.processEvents()
        table = sampling._table
        assert table.fits() >= 3
        assert any(table.rows[row].chosen for row in table.visible_rows())
        top = table.mapTo(sampling, QPoint(0, round(4 * table._high()))).y()
        assert top <= window.workspace.docks["sampling"].room.viewport().height(), "three rows, without scrolling"


# ---- a run ---------------------------------------------------------------------------------------------------


def test_a_run_from_the_prompt_field(live, qtbot) -> None:
    window, journal = live
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)
    assert window.context.run.n_tokens == len("hello") + 4
    assert "tokens/s" in window.status.speed.text()
    assert "cpu · float32" in window.status.model.text()
    assert not window.actions_by_name["stop"].isEnabled()
    assert panel(window, "attention").calls.count("run") > 0


def test_hidden_panels_are_not_called_and_catch_up_when_shown(live, qtbot) -> None:
    window, journal = live
    hidden = panel(window, "residual")
    hidden.calls.clear()
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)
    assert hidden.calls == []
    window.workspace.docks["residual"].raise_()
    qtbot.waitUntil(lambda: hidden.calls == ["run", "cursor"], timeout=5_000)


def test_only_watches_of_visible_panels_are_asked_and_answered(live, qtbot) -> None:
    window, journal = live
    panel(window, "attention").asked = {"attention.cache": AskCacheState()}
    panel(window, "residual").asked = {"residual.cache": AskCacheState()}
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)
    qtbot.waitUntil(lambda: window.board.complete, timeout=5_000)
    assert panel(window, "attention").answers[-1][1].committed == len("hello") + 3
    assert panel(window, "residual").answers == []
    assert window.board.watched == {"attention.cache"}


def test_step_layer_from_idle_then_on_then_stop(live, qtbot) -> None:
    window, journal = live
    trigger(window, "step_layer")
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=30_000)
    assert "layer 0/3" in window.status.state.text()
    trigger(window, "step_layer")
    qtbot.waitUntil(lambda: window.context.run.where.layer == 1, timeout=5_000)
    trigger(window, "stop")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=5_000)
    assert window.situation().state == "idle"


def test_f6_pauses_and_goes_on(live, qtbot) -> None:
    window, journal = live
    window.bar.tokens.setValue(LONG)
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(StepFrame) > 0, timeout=30_000)
    trigger(window, "pause")
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=5_000)
    assert window.actions_by_name["run"].text() == "&Continue"
    before = journal.count_of(StepFrame)
    trigger(window, "pause")
    qtbot.waitUntil(lambda: journal.count_of(StepFrame) > before, timeout=5_000)
    trigger(window, "stop")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=5_000)


def test_space_on_a_picture_pauses_but_in_the_prompt_it_is_a_space(live, qtbot) -> None:
    window, journal = live
    window.bar.tokens.setValue(LONG)
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(StepFrame) > 0, timeout=30_000)
    qtbot.keyClicks(window.bar.prompt, " f?")
    assert "f?" in window.bar.prompt.toPlainText()
    press(window, "attention", Qt.Key.Key_Space, " ")
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=5_000)


def test_a_running_pass_is_looked_at_only_while_there_is_one(live, qtbot) -> None:
    window, journal = live
    assert not window._look.isActive()
    trigger(window, "step_layer")
    assert window._look.isActive()
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=30_000)
    trigger(window, "stop")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=5_000)
    assert not window._look.isActive()


@pytest.mark.parametrize("moment", ["idle", "paused", "running", "loading"])
def test_closing_at_every_moment(live, qtbot, moment: str, tiny_model: Path) -> None:
    window, journal = live
    window.bar.tokens.setValue(LONG)
    if moment == "paused":
        trigger(window, "step_stage")
        qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=30_000)
    if moment == "running":
        trigger(window, "run")
        qtbot.waitUntil(lambda: journal.count_of(StepFrame) > 0, timeout=30_000)
    if moment == "loading":
        window.filing.open_model(str(tiny_model))
    assert window.close()
    assert window.closed_in_time


def test_another_model_and_prompt_at_any_moment(live, qtbot, tiny_model: Path) -> None:
    window, journal = live
    trigger(window, "step_layer")
    qtbot.waitUntil(lambda: window.situation().state == "paused", timeout=30_000)
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: journal.count_of(ModelFrame) == 2 and not window.filing.loading, timeout=30_000)
    window.bar.prompt.setPlainText("abc")
    window.run_prompt()
    qtbot.waitUntil(lambda: window.context.run.n_tokens == 7, timeout=30_000)


# ---- errors --------------------------------------------------------------------------------------------------


def test_an_error_is_a_bar_with_details_and_the_run_stays(live, qtbot, tmp_path: Path) -> None:
    window, journal = live
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)
    window.filing.open_model(str(tmp_path / "missing"))
    qtbot.waitUntil(window.error_bar.isVisible, timeout=10_000)
    assert "missing" in window.error_bar.sentence.text()
    assert window.context.run.n_tokens == 9
    assert window.actions_by_name["run"].isEnabled()
    trigger(window, "undo_one")
    assert not window.error_bar.isVisible()


def test_an_empty_prompt_says_so_and_can_be_corrected(live, qtbot) -> None:
    window, journal = live
    window.bar.prompt.setPlainText("")
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(ErrorFrame) == 1, timeout=10_000)
    assert window.situation().state == "idle"
    window.bar.prompt.setPlainText("abc")
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)


def test_markup_in_an_error_stays_text_and_repeats_are_counted(window: Window) -> None:
    error = ErrorFrame("load", "<b>wrong</b> & so on", "details <here>")
    window.receive([error])
    window.receive([error])
    assert window.error_bar.sentence.text() == "<b>wrong</b> & so on (×2)"
    assert window.error_bar.sentence.textFormat() == Qt.TextFormat.PlainText
    window.error_bar.copy.click()
    assert QApplication.clipboard().text() == "<b>wrong</b> & so on\ndetails <here>"
    assert not window.error_bar.details.isVisible()
    window.error_bar.more.click()
    assert window.error_bar.details.isVisible()


def test_a_late_report_of_an_ended_run_is_ignored(window: Window) -> None:
    window.receive([EndFrame("stopped"), Where("running", 3, "decode", 4, 5, 1, "rope")])
    assert window.context.run.where.state == "idle"


# ---- looking -------------------------------------------------------------------------------------------------


def test_keys_move_the_pin_and_esc_frees_it(live, qtbot) -> None:
    window, journal = live
    trigger(window, "run")
    qtbot.waitUntil(lambda: journal.count_of(EndFrame) == 1, timeout=30_000)
    cursor = window.context.cursor
    trigger(window, "previous_position")
    assert cursor.pinned.position == 7
    trigger(window, "next_position")
    trigger(window, "next_position")
    assert cursor.pinned.position is None
    trigger(window, "next_layer")
    assert cursor.pinned.layer == 1
    for _ in range(5):
        trigger(window, "next_layer")
    assert cursor.pinned.layer == 2
    trigger(window, "previous_position")
    trigger(window, "undo_one")
    assert cursor.pinned.position is None


def test_hovering_tells_panels_and_asks_nothing(live) -> None:
    window, _ = live
    shown = panel(window, "attention")
    shown.calls.clear()
    shown.asked = {"attention.cache": AskCacheState()}
    window.context.cursor.hover(position=1)
    assert shown.calls == ["cursor"]
    assert window.board.watched == frozenset()


def test_the_value_under_the_mouse_is_in_the_status_bar(window: Window) -> None:
    window.context.cursor.say("0.5 <x>")
    assert window.status.value.text() == "0.5 <x>"


def test_esc_undoes_one_thing_at_a_time(live) -> None:
    window, _ = live
    window.context.cursor.pin(position=1)
    dock = window.workspace.docks["attention"]
    dock.maximise_asked.emit()
    trigger(window, "show_keys")
    trigger(window, "undo_one")
    assert not window.commanding.sheet.isVisible()
    assert window.workspace.maximised is dock
    trigger(window, "undo_one")
    assert window.workspace.maximised is None
    assert window.context.cursor.pinned.position == 1
    trigger(window, "undo_one")
    assert window.context.cursor.pinned.position is None


def test_f_and_question_mark_on_a_picture(live) -> None:
    window, _ = live
    panel(window, "attention").setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    panel(window, "attention").setFocus()
    press(window, "attention", Qt.Key.Key_F, "f")
    assert window.workspace.maximised is window.workspace.docks["attention"]
    press(window, "attention", Qt.Key.Key_Question, "?")
    assert window.commanding.sheet.isVisible()


# ---- layouts, theme, text ------------------------------------------------------------------------------------


def shown_keys(window: Window) -> set[str]:
    QApplication.processEvents()
    return {key for key, dock in window.workspace.docks.items() if dock.shown}


@pytest.mark.qt_log_ignore(r"raise\(\)", extend=True)  # a window of its own, which this plugin cannot put in front
def test_explore_shows_four_and_all_shows_all(live) -> None:
    window, _ = live
    assert shown_keys(window) == {"strip", "layers", "attention", "sampling"}
    trigger(window, "use_layout.all")
    assert shown_keys(window) == {"strip", "layers", "attention", "sampling", "residual", "cache"}
    assert window.actions_by_name["use_layout.all"].isChecked()
    window.workspace.docks["residual"].close()
    window.workspace.docks["cache"].setFloating(True)
    trigger(window, "reset_layout")
    assert shown_keys(window) == {"strip", "layers", "attention", "sampling", "residual", "cache"}
    assert not window.workspace.docks["cache"].isFloating()
    trigger(window, "use_layout.explore")
    assert shown_keys(window) == {"strip", "layers", "attention", "sampling"}


def test_maximising_and_restoring_gives_the_same_docks(live) -> None:
    window, _ = live
    before = shown_keys(window)
    window.workspace.toggle_maximised(window.workspace.docks["attention"])
    assert shown_keys(window) == {"attention"}
    window.workspace.toggle_maximised(window.workspace.docks["attention"])
    assert shown_keys(window) == before


def test_layout_theme_and_text_size_are_remembered(make_window: MakeWindow, qtbot) -> None:
    first = make_window()
    first.pages.setCurrentWidget(first.workspace)
    trigger(first, "use_layout.all")
    trigger(first, "use_theme.light")
    trigger(first, "larger_text")
    points = first.looks.points
    first.close()
    second = make_window()
    assert second.workspace.layout_name == "all"
    assert second.context.theme.name == "light"
    assert second.looks.points == pytest.approx(points)
    trigger(second, "normal_text")
    assert second.looks.points == pytest.approx(10.0)


def test_the_page_of_keys_fits_into_a_small_window_with_large_text(make_window: MakeWindow, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, size=(1280, 720)))
    window.bar.prompt.setFocus()
    for _ in range(3):
        trigger(window, "larger_text")
    trigger(window, "show_keys")
    page = window.commanding.sheet
    assert window.rect().contains(page.geometry())
    assert page.area.widget().height() > page.area.viewport().height()  # the rest is a scroll away
    qtbot.keyClick(page.field, Qt.Key.Key_Down)
    assert page.area.verticalScrollBar().value() > 0
    trigger(window, "undo_one")
    assert page.isHidden()
    assert window.focusWidget() is window.bar.prompt


def test_no_bar_of_tabs_lies_over_another_panel(make_window: MakeWindow, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, layout="grid"), PANELS)
    window.pages.setCurrentWidget(window.workspace)
    qtbot.waitUntil(lambda: window.workspace.docks["attention"].panel.isVisible())
    for _ in range(20):  # what Qt has laid out by then lies where it stays
        QApplication.processEvents()
    assert _bars(window)
    assert all(_is_a_stack(window, bar) for bar in _bars(window))


def _bars(window: Window) -> list[QTabBar]:
    """The bars of tabs that are seen."""
    bars = window.workspace.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return [bar for bar in bars if bar.count() and bar.isVisible()]


def _is_a_stack(window: Window, bar: QTabBar) -> bool:
    """Whether these are all the tabs of one place."""
    docks = [dock for dock in window.workspace.docks.values() if dock.windowTitle() == bar.tabText(0)]
    return bar.count() == 1 + len(window.workspace.tabifiedDockWidgets(docks[0]))


def test_a_damaged_settings_file_changes_nothing(make_window: MakeWindow, tmp_path: Path) -> None:
    file = tmp_path / "settings" / "fluoroscope" / "window.ini"
    file.parent.mkdir(parents=True)
    file.write_text("points=nonsense\ntheme=pink\n[layout]\n1\\name=grid\n1\\state=rubbish\nrecent=@Invalid()\n")
    window = make_window()
    assert window.context.theme.name == "dark"
    assert window.looks.points == pytest.approx(10.0)
    assert window.workspace.layout_name == "explore"


def test_a_theme_reaches_every_panel(window: Window) -> None:
    trigger(window, "use_theme.light")
    assert window.context.theme.name == "light"
    assert all(panel.calls[-1] == "restyle" for panel in window.board.panels)


def test_title_bars_follow_the_theme_back_and_forth(make_window: MakeWindow) -> None:
    window = make_window(Options(theme="dark", sampling=GREEDY))
    window.pages.setCurrentWidget(window.workspace)
    for name in ("light", "dark", "light"):
        trigger(window, f"use_theme.{name}")
        for dock in window.workspace.docks.values():
            picture = dock.bar.grab().toImage()
            assert picture.pixelColor(picture.width() // 2, 1).name() == THEMES[name].raised


def test_the_prompt_grows_and_then_scrolls(window: Window) -> None:
    heights = []
    for lines in (1, 3, MOST_LINES, MOST_LINES + 20):
        window.bar.prompt.setPlainText("\n".join("x" * lines))
        heights.append(window.bar.prompt.height())
    assert heights[0] < heights[1] < heights[2] - 1
    assert heights[2] >= heights[3]  # what scrolls shows no part of one more line
    prompt = window.bar.prompt
    seen = prompt.viewport().height() - round(prompt.document().documentMargin())
    assert seen == MOST_LINES * prompt.fontMetrics().lineSpacing()


def test_shift_return_is_a_new_line(window: Window, qtbot) -> None:
    qtbot.keyClicks(window.bar.prompt, "a")
    qtbot.keyClick(window.bar.prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClicks(window.bar.prompt, "b")
    assert window.bar.prompt.toPlainText() == "a\nb"


# ---- export, drop --------------------------------------------------------------------------------------------


def test_export_in_every_format(live, tmp_path: Path) -> None:
    window, _ = live
    dock = window.workspace.docks["attention"]
    for kind in ("png", "svg", "csv", "npy"):
        dock.save(kind, tmp_path / f"a.{kind}")
    assert QImage(str(tmp_path / "a.png")).size() == dock.panel.picture().size()
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert np.array_equal(np.load(tmp_path / "a.npy"), dock.panel.values()["numbers"])
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert next(line for line in lines if not line.startswith("# ")) == "array,index,value"
    assert lines[-1] == "numbers,1 2,5.0"
    assert len(svg_bytes(dock.panel)) > 100


def test_an_export_that_cannot_be_written_is_told(live, tmp_path: Path) -> None:
    window, _ = live
    window.workspace.docks["attention"].save("png", tmp_path / "none" / "a.png")
    assert window.error_bar.isVisible()
    assert "none" in window.error_bar.sentence.text()


def test_copying_a_picture(live) -> None:
    window, _ = live
    window.workspace.docks["attention"].copy_picture()
    assert not QApplication.clipboard().image().isNull()


def drop(window: Window, *paths: Path) -> bool:
    """Whether it is taken."""
    data, buttons, keys = QMimeData(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    entering = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, buttons, keys)
    entering.ignore()
    window.dragEnterEvent(entering)
    assert entering.isAccepted(), "else the program could not say why it does not open it"
    event = QDropEvent(QPoint(5, 5).toPointF(), Qt.DropAction.CopyAction, data, buttons, keys)
    event.ignore()
    window.dropEvent(event)  # Qt delivers drops only after a real drag has entered
    return event.isAccepted()


def test_dropping_a_folder_opens_it(live, qtbot, tiny_model: Path) -> None:
    window, journal = live
    assert drop(window, tiny_model)
    qtbot.waitUntil(lambda: journal.count_of(ModelFrame) == 2, timeout=30_000)


def test_a_drop_that_is_not_opened_says_why(live, tiny_model: Path) -> None:
    window, journal = live
    for paths, words in (
        ([tiny_model / "model.safetensors"], ("model.safetensors", "weights alone", "config.json")),
        ([Path("/none/<b>notes.txt")], ("<b>notes.txt", "no model or run")),
        ([tiny_model, tiny_model], ("2 files", "one model or run is opened at a time")),
    ):
        assert not drop(window, *paths)
        assert window.error_bar.isVisible()
        for word in words:
            assert word in window.error_bar.sentence.text()
        window.error_bar.hide()
    assert journal.count_of(ModelFrame) == 1, "nothing was opened"


def test_a_dragged_text_is_no_file(live) -> None:
    window, _ = live
    data = QMimeData()
    data.setText("hello")
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entering = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, buttons, keys)
    entering.ignore()
    window.dragEnterEvent(entering)
    assert not entering.isAccepted()


def test_panels_of_the_same_kind_do_not_share_keys() -> None:
    assert len({made.key for made in PANELS}) == len(PANELS)
    assert panel_class("a").key == "a"


# ---- a model's own sampling ----------------------------------------------------------------------------------


@pytest.fixture
def opinionated(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with sampling defaults of its own."""
    folder = tmp_path / "opinionated"
    shutil.copytree(tiny_model, folder)
    (folder / "generation_config.json").write_text('{"do_sample": true, "temperature": 0.6, "top_p": 0.9}')
    return folder


def test_a_model_is_sampled_as_its_makers_do(make_window: MakeWindow, qtbot, opinionated: Path) -> None:
    window = make_window(Options(model=str(opinionated)), PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    assert window.sampling == Sampling(temperature=0.6, top_p=0.9)
    assert panel(window, "sampling").settings() == window.sampling


def test_the_command_line_wins_over_the_model(make_window: MakeWindow, qtbot, opinionated: Path) -> None:
    options = parse(["--model", str(opinionated), "--temperature", "0.3", "--seed", "5"])
    window = make_window(options, PANELS, start=True)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=60_000)
    assert window.sampling == Sampling(temperature=0.3, top_p=0.9, seed=5)
    assert panel(window, "sampling").settings() == window.sampling


def test_a_panel_can_be_brought_to_the_front(make_window: MakeWindow) -> None:
    for panel, behind in (("residual", "attention"), (None, "residual")):
        window = make_window(Options(sampling=GREEDY, panel=panel, layout="focus"))
        window.pages.setCurrentWidget(window.workspace)
        QApplication.processEvents()
        assert window.workspace.docks[panel or "attention"].shown
        assert not window.workspace.docks[behind].shown
