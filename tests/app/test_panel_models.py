"""The model shelf in the window: found, measured, downloaded, opened, deleted; with a hub on this computer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QPushButton

from app.command_line import Options
from app.notices import DownloadFrame, ReadyFrame
from app.panels import PANELS
from app.panels.models import ModelsPanel
from app.shelf import LookFrame, SearchFrame, ShelfFrame, ShelfItem
from app.token_dialog import TokenDialog
from app.widgets.model_card import duration, progress_line
from app.widgets.model_table import FITS, MODEL, SHOWS
from app.window import Window
from engine.checkpoint.catalog import catalog, entry
from engine.checkpoint.fits import Device
from engine.checkpoint.listing import Choice
from engine.checkpoint.token import keep, source_of_token
from tests.app.conftest import GREEDY, MakeWindow
from tests.engine.fake_hub import FakeHub, Repository, serving

TOKEN = "hf_" + "a" * 34
pytestmark = pytest.mark.usefixtures("own_computer")


@pytest.fixture
def hub(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.is_file()}
    with serving(FakeHub(files=files), monkeypatch) as server:
        yield server


@pytest.fixture
def shelf(make_window: MakeWindow, qtbot) -> tuple[Window, ModelsPanel]:
    """A window without a model, the engine started, the shelf in front and filled."""
    window = make_window(Options(sampling=GREEDY), panels=PANELS, start=True)
    window.resize(1600, 900)
    window.actions_by_name["show_models"].trigger()
    assert window.models_panel is not None
    qtbot.waitUntil(lambda: window.ready and window.context.shelf.complete, timeout=60_000)
    return window, window.models_panel


def row_text(panel: ModelsPanel, source: str, column: int) -> str:
    return panel.table._rows[source].text(column)


def press(panel: ModelsPanel, name: str) -> None:
    button: QPushButton = panel.card.buttons[name]
    assert button.isVisible(), name
    assert button.isEnabled(), name
    button.click()


def shown_buttons(panel: ModelsPanel) -> set[str]:
    return {name for name, button in panel.card.buttons.items() if button.isVisible()}


def answer(monkeypatch: pytest.MonkeyPatch, yes: bool) -> list[str]:
    """The next questions are answered so; their texts are kept."""
    asked: list[str] = []

    def chosen(box: QMessageBox) -> object:
        asked.append(box.text())
        role = QMessageBox.ButtonRole.DestructiveRole if yes else QMessageBox.ButtonRole.RejectRole
        return next(button for button in box.buttons() if box.buttonRole(button) == role)

    monkeypatch.setattr(QMessageBox, "exec", lambda box: 0)
    monkeypatch.setattr(QMessageBox, "clickedButton", chosen)
    return asked


def search(panel: ModelsPanel, text: str, qtbot) -> None:
    panel.words_field.setText(text)
    qtbot.keyClick(panel.words_field, Qt.Key.Key_Return)
    shelf = panel.context.shelf
    qtbot.waitUntil(lambda: shelf.searched == text and not shelf.searching, timeout=10_000)


# ---- what is shown -------------------------------------------------------------------------------------------------


def test_the_catalog_is_listed_with_figures_that_follow_from_its_configs(shelf) -> None:
    _window, panel = shelf
    assert panel.table.sources == tuple(known.name for known in catalog())
    values = panel.values()
    assert values["parameters"].tolist() == [known.parameters for known in catalog()]
    assert values["active"].tolist() == [known.active for known in catalog()]
    assert np.all(values["needed"] > 4 * values["parameters"])  # float32 on the CPU, and a cache
    assert row_text(panel, "demo", MODEL) == "Fluoroscope demo"
    assert "mixture of experts" in row_text(panel, "demo", SHOWS)


def test_the_card_says_what_the_headers_say(shelf) -> None:
    window, panel = shelf
    assert panel.table.pick("smollm2")
    config = entry("smollm2").config
    assert panel.card.facts.text()["layers"] == str(config.n_layers)
    assert panel.card.costs.text()["parameters"] == f"{entry('smollm2').parameters:,}"
    measure = window.context.shelf.item("smollm2").measure
    assert panel.card.verdict.text().startswith(measure.fits[0].sentence)
    assert panel.card.costs.text() == dict(measure.costs)
    assert shown_buttons(panel) == {"download", "inside"}


def test_what_fits_follows_the_context_and_the_type(shelf, qtbot) -> None:
    window, panel = shelf
    panel.table.pick("smollm2")
    before = window.context.shelf.item("smollm2").measure.fits[0]
    panel.context_size.setValue(1000)
    panel.dtype.setCurrentText("bfloat16")
    panel.dtype.activated.emit(2)
    qtbot.waitUntil(lambda: window.context.shelf.complete and window.context.shelf.query.context == 1000)
    after = window.context.shelf.item("smollm2").measure.fits[0]
    assert (after.context, after.dtype) == (1000, "bfloat16")
    assert after.weights == before.weights // 2
    assert after.cache * 4096 * 2 == before.cache * 1000
    assert (window.filing.device, window.filing.dtype) == ("cpu", "bfloat16")  # models are opened as they were judged


def test_a_gpu_is_judged_by_its_own_memory(make_window: MakeWindow, qtbot) -> None:
    window = make_window(panels=PANELS)
    gpu = Device("cuda:0", "A graphics card", 10**9, 2 * 10**9)
    window.receive([ReadyFrame(0.0, 1, (gpu,))])
    window.actions_by_name["show_models"].trigger()
    qtbot.waitUntil(lambda: window.context.shelf.complete, timeout=20_000)
    panel = window.models_panel
    assert [panel.device.itemText(index) for index in range(panel.device.count())] == ["CPU", "A graphics card"]
    assert window.context.shelf.device == gpu
    assert row_text(panel, "llama-3.2-1b", FITS) == "✗ does not fit"
    assert row_text(panel, "demo", FITS) == "✓ fits"


def test_what_lacks_tensors_is_not_said_to_fit(shelf, qtbot) -> None:
    window, panel = shelf
    demo = window.context.shelf.item("demo")
    lacking = replace(demo, source="/x", complaint="The weights lack a tensor.")
    window.receive([ShelfFrame(window.context.shelf.query, (demo, lacking), (), 0, demo.measure.fits[0].device)])
    assert row_text(panel, "demo", FITS) == "✓ fits"
    assert row_text(panel, "/x", FITS) == "cannot be opened"


def test_words_filter_and_leave_what_was_picked(shelf) -> None:
    _window, panel = shelf
    assert not panel.search.isEnabled()
    panel.table.pick("smollm2")
    panel.words_field.setText("135M-Instruct grouped-query")
    assert panel.table.sources == ("smollm2",)
    panel.words_field.setText("no such words")
    assert panel.table.sources == ()
    panel.words_field.clear()
    assert len(panel.table.sources) == len(catalog())


def test_a_folder_of_the_users_own_is_looked_through_and_remembered(
    shelf, qtbot, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, panel = shelf
    shutil.copytree(tiny_model, tmp_path / "mine" / "tiny")
    monkeypatch.setattr("app.shelving.QFileDialog.getExistingDirectory", lambda *arguments: str(tmp_path / "mine"))
    window.shelving.do("folder", "")
    source = str(tmp_path / "mine" / "tiny")
    qtbot.waitUntil(lambda: window.context.shelf.complete and source in panel.table.sources)
    assert window.preferences.model_folders() == [str(tmp_path / "mine")]
    panel.table.pick(source)
    assert shown_buttons(panel) == {"open", "inside"}  # not ours to delete
    press(panel, "open")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    assert window.context.run.model.source == source
    assert window.workspace.maximised is None
    qtbot.waitUntil(lambda: not window.workspace.docks["models"].shown)  # the model is what is looked at now
    window.actions_by_name["show_models"].trigger()
    window.shelving.do("forget folders", "")
    qtbot.waitUntil(lambda: window.context.shelf.complete and source not in panel.table.sources)
    assert window.preferences.model_folders() == []


# ---- download, open, delete ----------------------------------------------------------------------------------------


def test_found_on_the_hub_looked_at_downloaded_opened_and_deleted(
    shelf, hub: FakeHub, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, panel = shelf
    search(panel, "org/model", qtbot)
    assert panel.table.pick("org/model")
    qtbot.waitUntil(lambda: window.context.shelf.item("org/model").measure is not None, timeout=10_000)
    assert not (tmp_path / "cache").exists()  # headers alone so far
    assert shown_buttons(panel) == {"download", "inside"}
    press(panel, "download")
    qtbot.waitUntil(lambda: any(item.fetched for item in window.context.shelf.items), timeout=20_000)
    here = next(item for item in window.context.shelf.items if item.fetched)
    assert panel.table.current == here.source  # what was looked at is looked at still
    assert shown_buttons(panel) == {"open", "inside", "delete"}
    press(panel, "open")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    window.actions_by_name["show_models"].trigger()
    asked = answer(monkeypatch, yes=False)
    press(panel, "delete")
    assert "org/model" in asked[0]
    assert (tmp_path / "cache").exists()
    answer(monkeypatch, yes=True)
    press(panel, "delete")
    qtbot.waitUntil(lambda: "was deleted" in window.activity, timeout=10_000)
    assert not list((tmp_path / "cache").rglob("model.safetensors"))
    qtbot.waitUntil(lambda: not any(item.fetched for item in window.context.shelf.items), timeout=10_000)


def test_pause_resume_and_cancel_of_a_download(
    shelf, hub: FakeHub, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, panel = shelf
    hub.files["model.safetensors"] += b""
    hub.faults.delay = 0.02
    search(panel, "org/model", qtbot)
    panel.table.pick("org/model")
    window.shelving.do("download", "org/model")
    downloads = window.context.shelf.downloads
    qtbot.waitUntil(lambda: "org/model" in downloads and downloads["org/model"].done > 5000, timeout=20_000)
    assert "%" in row_text(panel, "org/model", FITS)
    assert panel.card.progress.isVisible()
    press(panel, "pause")
    qtbot.waitUntil(lambda: downloads["org/model"].state == "paused", timeout=10_000)
    assert row_text(panel, "org/model", FITS).startswith("paused at")
    assert shown_buttons(panel) >= {"resume", "cancel"}
    press(panel, "resume")
    qtbot.waitUntil(lambda: downloads["org/model"].state == "running", timeout=10_000)
    asked = answer(monkeypatch, yes=True)
    press(panel, "cancel")
    qtbot.waitUntil(lambda: "org/model" not in downloads, timeout=10_000)
    assert "pause the download" in asked[0]
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and "safetensors" in path.name] == []


def test_a_gated_model_asks_for_a_token_and_goes_on_with_it(shelf, hub: FakeHub, qtbot) -> None:
    window, _panel = shelf
    hub.gated, hub.tokens = "manual", {TOKEN}
    window.shelving.do("download", "org/model")

    def dialogs() -> list[TokenDialog]:
        return [found for found in window.findChildren(TokenDialog) if found.isVisible()]

    qtbot.waitUntil(lambda: len(dialogs()) == 1, timeout=20_000)
    (dialog,) = dialogs()
    assert not dialog.buttons.buttons()[0].isEnabled() or dialog.field.text()
    qtbot.keyClicks(dialog.field, TOKEN)
    assert TOKEN not in dialog.field.displayText()
    dialog.accept()
    qtbot.waitUntil(lambda: any(item.fetched for item in window.context.shelf.items), timeout=20_000)
    assert TOKEN not in repr(window.context.shelf)


def test_a_locked_model_that_is_looked_at_says_so_and_asks_only_when_told_to(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    hub.gated, hub.tokens = "manual", {TOKEN}
    hub.row = {"gated": "manual"}
    search(panel, "org/model", qtbot)
    panel.table.pick("org/model")
    qtbot.waitUntil(lambda: "token" in shown_buttons(panel), timeout=10_000)
    assert panel.card.complaint.text()
    assert window.findChildren(TokenDialog) == []
    press(panel, "token")
    (dialog,) = window.findChildren(TokenDialog)
    dialog.field.setText(TOKEN)
    dialog.accept()
    qtbot.waitUntil(lambda: window.context.shelf.item("org/model").measure is not None, timeout=10_000)
    assert "token" not in shown_buttons(panel)


def test_opening_from_a_menu_leaves_the_panel_that_is_in_front(shelf, tiny_model: Path, qtbot) -> None:
    window, _ = shelf
    window.actions_by_name["show_models"].trigger()
    window.filing.open_model("demo")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    window.actions_by_name["show_models"].trigger()
    window.workspace.bring_up("residual")
    qtbot.waitUntil(lambda: window.workspace.docks["residual"].shown)
    window.filing.open_model(str(tiny_model))
    qtbot.waitUntil(lambda: window.context.run.model.source == str(tiny_model), timeout=30_000)
    assert window.workspace.docks["residual"].shown
    window.workspace.toggle_maximised(window.workspace.docks["residual"])
    window.filing.open_model("demo")
    qtbot.waitUntil(lambda: window.context.run.model.source == "demo", timeout=30_000)
    assert window.workspace.maximised is window.workspace.docks["residual"]


def test_two_locked_models_ask_once_and_both_go_on(shelf, hub: FakeHub, qtbot) -> None:
    window, _ = shelf
    hub.gated, hub.tokens = "manual", {TOKEN}
    hub.others = {"org/second": Repository(files=dict(hub.files), gated="manual")}
    for source in ("org/model", "org/second"):
        window.shelving.do("download", source)
    failed = window.context.shelf.downloads
    qtbot.waitUntil(lambda: [frame.state for frame in failed.values()] == ["failed", "failed"], timeout=20_000)
    (dialog,) = window.findChildren(TokenDialog)
    dialog.field.setText(TOKEN)
    dialog.accept()
    qtbot.waitUntil(lambda: sum(item.fetched for item in window.context.shelf.items) == 2, timeout=20_000)


def test_a_token_can_be_forgotten_and_that_is_said(shelf, hub: FakeHub, qtbot) -> None:
    window, _ = shelf
    keep(TOKEN)
    window.shelving.do("forget token", "")
    qtbot.waitUntil(lambda: "forgotten" in window.activity, timeout=10_000)
    assert source_of_token() == ""


def test_what_is_no_token_is_refused_with_a_sentence_that_does_not_repeat_it(shelf, qtbot) -> None:
    window, _panel = shelf
    window.shelving.do("token", "")
    (dialog,) = window.findChildren(TokenDialog)
    dialog.field.setText("not a token at all")
    dialog.accept()
    assert window.error_bar.isVisible()
    assert "not a token at all" not in window.error_bar.sentence.text()


def test_a_failed_download_is_told_and_can_be_resumed(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    hub.faults.status = 404
    window.shelving.do("download", "org/model")
    qtbot.waitUntil(window.error_bar.isVisible, timeout=20_000)
    assert "404" in window.error_bar.sentence.text()
    assert panel.table.pick("org/model")
    assert row_text(panel, "org/model", FITS) == "failed"
    assert "404" in panel.card.complaint.text()
    hub.faults.status = 0
    press(panel, "resume")
    qtbot.waitUntil(lambda: any(item.fetched for item in window.context.shelf.items), timeout=20_000)


def test_enter_opens_what_is_here(shelf, qtbot) -> None:
    window, panel = shelf
    panel.table.pick("demo")
    qtbot.keyClick(panel.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    assert window.context.run.model.source == "demo"


def test_the_same_command_leads_back(shelf) -> None:
    window, _panel = shelf
    assert window.workspace.maximised is window.workspace.docks["models"]
    window.actions_by_name["show_models"].trigger()
    assert window.pages.currentWidget() is window.start_page
    window.start_page.shelf.click()
    assert window.pages.currentWidget() is window.workspace


def test_the_window_closes_in_time_while_a_download_is_under_way(shelf, hub: FakeHub, qtbot, tmp_path: Path) -> None:
    window, _panel = shelf
    hub.faults.delay = 0.05
    window.shelving.do("download", "org/model")
    qtbot.waitUntil(lambda: bool(list((tmp_path / "cache").rglob("*.part"))), timeout=20_000)
    window.close()
    assert window.closed_in_time


def test_progress_in_words() -> None:
    moving = DownloadFrame("a", "running", "model.safetensors", 12_000_000, 98_400_000, 3_200_000.0)
    assert progress_line(moving) == "model.safetensors · 12 MB of 98.4 MB · 3.2 MB/s · 27 s left"
    assert progress_line(DownloadFrame("a", "paused", done=50, total=100)) == "paused at 50.0 % · 50 B of 100 B"
    assert [duration(seconds) for seconds in (5, 600, 12_000)] == ["5 s left", "10 min left", "3 h 20 min left"]


# ---- the start page's download, and what happens meanwhile ---------------------------------------------------------


def begin_and_open(window: Window, hub: FakeHub, qtbot) -> None:
    """From the start page; slowly."""
    hub.faults.delay = 0.02
    window.filing.fetch("org/model")
    qtbot.waitUntil(lambda: "org/model" in window.context.shelf.downloads, timeout=20_000)
    qtbot.waitUntil(lambda: window.context.shelf.downloads["org/model"].done > 5000, timeout=20_000)


def test_a_download_that_is_stopped_on_the_start_page_leaves_it_usable(shelf, hub: FakeHub, qtbot) -> None:
    window, _panel = shelf
    window.actions_by_name["show_models"].trigger()
    begin_and_open(window, hub, qtbot)
    page = window.start_page
    assert page.progress.isVisible()
    page.progress.cancel.click()
    qtbot.waitUntil(lambda: window.context.shelf.downloads["org/model"].state == "paused", timeout=10_000)
    assert not page.progress.isVisible()
    assert all(row.button.isEnabled() for row in page.rows.values())
    assert window.activity == "download of org/model: paused"


def test_a_download_does_not_replace_the_model_that_was_opened_meanwhile(shelf, hub: FakeHub, qtbot) -> None:
    window, _panel = shelf
    begin_and_open(window, hub, qtbot)
    window.filing.open_model("demo")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    hub.faults.delay = 0.0
    qtbot.waitUntil(lambda: any(item.fetched for item in window.context.shelf.items), timeout=30_000)
    assert not window.filing.loading
    assert window.context.run.model.source == "demo"


def test_one_that_was_cancelled_is_not_opened_when_it_is_downloaded_later(
    shelf, hub: FakeHub, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, _panel = shelf
    begin_and_open(window, hub, qtbot)
    answer(monkeypatch, yes=True)
    window.shelving.do("cancel", "org/model")
    qtbot.waitUntil(lambda: "org/model" not in window.context.shelf.downloads, timeout=10_000)
    hub.faults.delay = 0.0
    opened: list[str] = []
    window.shelving.open_asked.connect(opened.append)
    window.shelving.do("download", "org/model")
    qtbot.waitUntil(lambda: any(item.fetched for item in window.context.shelf.items), timeout=30_000)
    assert opened == []


# ---- the command that shows the shelf ------------------------------------------------------------------------------


def test_the_command_leads_back_from_a_shelf_whose_tab_was_clicked(shelf, qtbot) -> None:
    window, _panel = shelf
    window.filing.open_model("demo")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    window._before_shelf = ""
    window.workspace.bring_up("models")
    qtbot.waitUntil(lambda: window.workspace.docks["models"].shown)
    window.actions_by_name["show_models"].trigger()
    qtbot.waitUntil(lambda: not window.workspace.docks["models"].shown)


def test_the_shelf_comes_and_goes_while_another_panel_is_maximised(shelf, qtbot) -> None:
    window, _panel = shelf
    window.filing.open_model("demo")
    qtbot.waitUntil(lambda: window.context.run.model is not None, timeout=30_000)
    window.workspace.toggle_maximised(window.workspace.docks["residual"])
    window.actions_by_name["show_models"].trigger()
    qtbot.waitUntil(lambda: window.workspace.docks["models"].shown)
    assert window.workspace.maximised is None
    window.actions_by_name["show_models"].trigger()
    qtbot.waitUntil(lambda: not window.workspace.docks["models"].shown)


# ---- figures belong to what is shown -------------------------------------------------------------------------------


def test_what_the_hub_has_is_judged_anew_by_another_context(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    search(panel, "org/model", qtbot)
    panel.table.pick("org/model")

    def context() -> int:
        measure = window.context.shelf.item("org/model").measure
        return 0 if measure is None else measure.fits[0].context

    qtbot.waitUntil(lambda: context() > 16, timeout=10_000)
    panel.context_size.setValue(16)
    qtbot.waitUntil(lambda: context() == 16, timeout=10_000)


def test_asking_once_more_keeps_what_was_seen_of_the_picked_model(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    search(panel, "org/model", qtbot)
    panel.table.pick("org/model")
    qtbot.waitUntil(lambda: window.context.shelf.item("org/model").measure is not None, timeout=10_000)
    search(panel, "org/model", qtbot)
    assert panel.card.bars.isVisible()


def test_a_look_that_failed_is_tried_again_with_the_next_search(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    search(panel, "org/model", qtbot)
    hub.faults.status = 404
    panel.table.pick("org/model")
    qtbot.waitUntil(lambda: bool(window.context.shelf.item("org/model").complaint), timeout=10_000)
    hub.faults.status = 0
    search(panel, "org/model", qtbot)
    qtbot.waitUntil(lambda: window.context.shelf.item("org/model").measure is not None, timeout=10_000)


def test_passing_by_many_rows_asks_the_hub_for_the_last_alone(shelf, hub: FakeHub, qtbot) -> None:
    window, panel = shelf
    hub.others = {f"org/model{number}": Repository(files=hub.files) for number in range(8)}
    for other in (*hub.others.values(), hub):
        other.row = {"pipeline_tag": "text-generation", "tags": ["safetensors"]}
    search(panel, "model", qtbot)
    before = len(hub.requests)
    for number in range(8):
        panel.table.pick(f"org/model{number}")
    qtbot.waitUntil(lambda: window.context.shelf.item("org/model7").measure is not None, timeout=10_000)
    asked = {path for _, path, _ in hub.requests[before:] if path.startswith("/api/models/")}
    assert len(asked) == 1


@pytest.fixture
def ggufs(hub: FakeHub) -> dict[str, Repository]:
    """Two repositories with the same two files each; as small as a GGUF can be."""
    content = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)
    files = {"m.Q4_1.gguf": content, "m.Q8_0.gguf": content + bytes(64)}
    row = {"pipeline_tag": "text-generation", "tags": ["gguf"]}
    hub.others = {f"some/{name}-GGUF": Repository(files=files, row=row) for name in ("one", "two")}
    return hub.others


def test_the_file_that_is_named_is_the_one_that_is_meant(shelf, ggufs, qtbot) -> None:
    window, panel = shelf
    search(panel, "GGUF", qtbot)
    item = window.context.shelf.item

    def pick(source: str) -> None:
        panel.table.pick(source)
        qtbot.waitUntil(lambda: bool(item(source).choices or item(source).complaint), timeout=10_000)

    pick("some/one-GGUF")
    pick("some/two-GGUF")
    choices = tuple(Choice(name, name, f"m.{name}.gguf", 100, (f"m.{name}.gguf",)) for name in ("Q4_1", "Q8_0"))
    for source, chosen in (("some/one-GGUF", "Q8_0"), ("some/two-GGUF", "Q4_1")):
        looked = replace(item(source), choices=choices, chosen=chosen, complaint=f"about {chosen}")
        window.receive([LookFrame(looked)])
    card = panel.card
    for source, chosen in (("some/one-GGUF", "Q8_0"), ("some/two-GGUF", "Q4_1")):
        panel.table.pick(source)
        assert card.wanted == f"{source}:{chosen}"
        assert card.files.currentData() == chosen
        assert card.complaint.text() == f"about {chosen}"
    card.files.setCurrentIndex(1)
    card.files.activated.emit(1)
    window.receive([])
    panel.show_run()
    assert card.wanted == "some/two-GGUF:Q8_0"
    assert not card.complaint.isVisible()  # that was said of the other file


def test_the_download_of_one_file_of_many_is_what_is_looked_at(
    shelf, ggufs, hub: FakeHub, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, panel = shelf
    hub.faults.status = 503
    monkeypatch.setattr("app.shelving.Downloads.start", lambda self, source: None)
    search_text = "some/one-GGUF"
    window.context.shelf.searched = search_text
    choices = (Choice("Q4_1", "Q4_1", "m.Q4_1.gguf", 100, ("m.Q4_1.gguf",)),)
    found = ShelfItem(search_text, "hub", search_text, complaint="x", choices=choices, chosen="Q4_1")
    window.receive([SearchFrame(search_text, (found,))])
    panel.table.pick(search_text)
    press(panel, "download")
    file = f"{search_text}:Q4_1"
    window.receive([DownloadFrame(file, "running", done=1, total=10)])
    assert panel.table.current == file
    assert panel.card.progress.isVisible()
    window.receive([DownloadFrame(file, "cancelled")])
    assert panel.table.current == search_text


# ---- names of strangers --------------------------------------------------------------------------------------------


def test_names_of_strangers_are_text_on_one_line(shelf, qtbot) -> None:
    window, panel = shelf
    name = "<html><img src='x'>\n" + "a" * 300
    window.receive([DownloadFrame(name, "paused", done=1, total=2)])
    row = panel.table._rows[name]
    assert "\n" not in row.text(MODEL)
    assert "<img" not in row.toolTip(MODEL)
    panel.table.pick(name)
    qtbot.wait(100)  # laid out anew
    assert panel.card._page.width() <= panel.card.viewport().width()
    panel.table.pick("demo")
    qtbot.wait(100)
    assert all(label.width() > 10 for label in panel.card.facts._labels if label.text() and label.isVisible())
