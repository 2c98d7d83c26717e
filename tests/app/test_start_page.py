"""The page without a model: what can be opened, what must be downloaded first, progress and cancel."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFont, QImage
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QApplication, QLabel

from app.start_page import StartPage, progress_text
from app.theme import DARK, icon
from engine.checkpoint.catalog import catalog
from engine.frames import ProgressFrame


@pytest.fixture
def page(qtbot) -> StartPage:
    made = StartPage(known for known in catalog() if known.starter)
    qtbot.addWidget(made)
    made.restyle(DARK)
    made.show()
    return made


def test_the_built_in_model_is_first_and_smollm2_follows(page: StartPage) -> None:
    first, second, *_ = page.rows.values()
    assert first.entry.title == "Fluoroscope demo"
    assert second.entry.title == "SmolLM2-135M-Instruct"
    assert (first.entry.licence, second.entry.licence) == ("Apache-2.0", "Apache-2.0")
    said = [label.text() for label in first.findChildren(QLabel)]
    assert said == ["Fluoroscope demo\n13.7 MB · Apache-2.0 · built in, a small mixture of experts"]


def test_the_built_in_model_is_opened_and_never_downloaded(page: StartPage) -> None:
    row = page.rows["demo"]
    page.show_cached([])
    assert (row.button.text(), row.button.isEnabled()) == ("Open", False)
    page.show_engine("ready", True)
    spy = QSignalSpy(page.open_asked)
    row.button.click()
    assert spy.count() == 1
    assert spy.at(0) == ["demo"]


def test_download_works_before_the_engine_is_there_but_open_does_not(page: StartPage) -> None:
    row = page.rows["smollm2"]
    page.show_engine("starting the engine", False)
    assert (row.button.text(), row.button.isEnabled()) == ("Download", True)
    page.show_cached(["smollm2"])
    assert (row.button.text(), row.button.isEnabled()) == ("Open", False)
    page.show_engine("ready", True)
    assert row.button.isEnabled()


@pytest.mark.parametrize(("cached", "signal"), [([], "fetch_asked"), (["smollm2"], "open_asked")])
def test_the_button_asks_for_what_it_says(page: StartPage, cached: list[str], signal: str) -> None:
    page.show_cached(cached)
    page.show_engine("ready", True)
    spy = QSignalSpy(getattr(page, signal))
    page.rows["smollm2"].button.click()
    assert spy.count() == 1
    assert spy.at(0) == ["smollm2"]


def test_the_picture_on_the_button_follows_what_it_does(page: StartPage) -> None:
    button = page.rows["smollm2"].button

    def picture() -> QImage:
        return button.icon().pixmap(32, 32).toImage()

    page.show_cached([])
    assert picture() == icon("download", DARK).pixmap(32, 32).toImage()
    page.show_cached(["smollm2"])
    assert picture() == icon("model", DARK).pixmap(32, 32).toImage()


def test_a_hub_id_is_asked_for_without_its_blanks(page: StartPage) -> None:
    page.show_engine("ready", True)
    spy = QSignalSpy(page.fetch_asked)
    page.hub.setText("   ")
    page.open_hub.click()
    assert spy.count() == 0
    page.hub.setText(" org/name@main ")
    page.open_hub.click()
    assert spy.at(0) == ["org/name@main"]


def test_progress_beyond_32_bits_with_cancel(page: StartPage) -> None:
    page.show_progress(ProgressFrame("fetch", "a model", 3 * 2**40, 4 * 2**40))
    assert page.progress.isVisible()
    assert page.progress.bar.value() == 750
    assert not page.rows["smollm2"].button.isEnabled()
    spy = QSignalSpy(page.cancel_asked)
    page.progress.cancel.click()
    assert spy.count() == 1
    page.show_progress(None)
    assert not page.progress.isVisible()
    assert page.rows["smollm2"].button.isEnabled()


def test_progress_of_unknown_length(page: StartPage) -> None:
    page.show_progress(ProgressFrame("fetch", "asking", 5, 0))
    assert page.progress.bar.maximum() == 0
    assert progress_text(ProgressFrame("fetch", "asking", 5, 0), str) == "asking"
    assert progress_text(ProgressFrame("fetch", "x", 12_000_000, 98_400_000), str) == "x: 12.0 MB of 98.4 MB"


def test_recent_models(page: StartPage) -> None:
    page.show_engine("ready", True)
    assert not page.recent_box.isVisible()
    page.show_recent(["a.gguf", "b"])
    spy = QSignalSpy(page.open_asked)
    page.recent[1].click()
    assert spy.at(0) == ["b"]
    page.show_recent(["c"])
    assert [button.text() for button in page.recent] == ["c"]


def test_the_title_grows_with_the_text(page: StartPage, qapp: QApplication) -> None:
    font, heights = qapp.font(), []
    for points in (10.0, 20.0):
        larger = QFont(font)
        larger.setPointSizeF(points)
        qapp.setFont(larger)
        page.restyle(DARK)
        page.title.ensurePolished()
        heights.append(page.title.fontMetrics().height())
    qapp.setFont(font)
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.05)
