"""Looks: themes, the size of the text and colour maps as commands, kept; the desktop's theme; a theme for a while."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from app import looks as looking
from app.colour_maps import DIVERGING, SEQUENTIAL
from app.command_line import Options
from app.commands import COLOURS, COMMANDS, identity
from app.looks import Looks
from app.panels import PANELS
from app.preferences import Preferences
from app.run import Run
from app.theme import CONTRAST, DARK, LIGHT, THEMES
from app.window import Window
from tests.app.conftest import GREEDY, MakeWindow
from tests.app.made_runs import context


def ticked(window: Window, name: str) -> list[str]:
    """The arguments of the commands of this name that are shown as chosen."""
    commands = [command for command in COMMANDS if command.name == name]
    return [command.argument for command in commands if window.actions_by_name[identity(command)].isChecked()]


def trigger(window: Window, name: str) -> None:
    window.actions_by_name[name].trigger()


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch):
    """What the desktop wants, as a test says: a function of a theme or None."""

    def wants(theme) -> None:
        monkeypatch.setattr(looking, "system_theme", lambda: theme)
        QGuiApplication.styleHints().colorSchemeChanged.emit(Qt.ColorScheme.Unknown)

    return wants


@pytest.mark.parametrize("name", THEMES)
def test_each_theme_is_a_command(make_window: MakeWindow, name: str) -> None:
    window = make_window()
    trigger(window, f"use_theme.{name}")
    assert window.context.theme.name == name
    assert ticked(window, "use_theme") == [name]
    assert QApplication.palette().color(QPalette.ColorRole.Window).name() == THEMES[name].window


def test_the_menu_has_every_theme_and_every_map(make_window: MakeWindow) -> None:
    made = {(command.name, command.argument) for command in COMMANDS if command.menu == COLOURS}
    assert {("use_theme", name) for name in (*THEMES, "system")} <= made
    assert {("use_sequential", name) for name in SEQUENTIAL} <= made
    assert {("use_diverging", name) for name in DIVERGING} <= made


@pytest.mark.parametrize("name", ["contrast", "system"])
def test_the_command_line_knows_the_themes(make_window: MakeWindow, name: str) -> None:
    window = make_window(Options(sampling=GREEDY, theme=name))
    assert window.looks.chosen == name


def test_colour_maps_are_kept(make_window: MakeWindow) -> None:
    first = make_window()
    trigger(first, "use_sequential.magma")
    trigger(first, "use_diverging.purple-green")
    first.close()
    second = make_window(Options(sampling=GREEDY, theme="light"))
    assert second.context.theme.sequential == "magma"
    assert second.context.theme.diverging == DIVERGING["purple-green"][1]
    assert (ticked(second, "use_sequential"), ticked(second, "use_diverging")) == (["magma"], ["purple-green"])
    trigger(second, "use_theme.dark")
    assert second.context.theme.diverging == DIVERGING["purple-green"][0]
    trigger(second, "use_sequential.viridis")
    trigger(second, "use_diverging.usual")
    assert second.context.theme == DARK


def test_a_damaged_choice_of_looks_gives_the_usual_ones(make_window: MakeWindow, tmp_path: Path) -> None:
    file = tmp_path / "settings" / "fluoroscope" / "window.ini"
    file.parent.mkdir(parents=True)
    file.write_text("theme=pink\n[maps]\nsequential=@Invalid()\ndiverging=rainbow\n")
    assert make_window().context.theme == DARK


def test_a_colour_map_reaches_the_pictures(make_window: MakeWindow, qtbot) -> None:
    window = make_window(Options(sampling=GREEDY, theme="dark"), PANELS)
    window.pages.setCurrentWidget(window.workspace)
    bar = next(widget for widget in window.findChildren(type(window.strip.legend)))
    before = bar.grab().toImage()
    trigger(window, "use_sequential.magma")
    assert bar.grab().toImage() != before


def test_the_desktop_is_followed_where_it_says_what_it_wants(make_window: MakeWindow, desktop) -> None:
    window = make_window()
    trigger(window, "use_theme.system")
    for theme in (LIGHT, CONTRAST, DARK):
        desktop(theme)
        assert window.context.theme is not None
        assert window.context.theme.name == theme.name
    trigger(window, "use_theme.light")
    desktop(CONTRAST)
    assert window.context.theme.name == "light"


def test_a_desktop_that_says_nothing_is_dark_and_that_is_said(make_window: MakeWindow, desktop) -> None:
    desktop(None)
    window = make_window()
    assert (window.context.theme, window.notice_bar.isVisible()) == (DARK, False)  # at a start nobody asked
    trigger(window, "use_theme.system")
    assert "does not say" in window.notice_bar.sentences.text()
    assert ticked(window, "use_theme") == ["system"]


def test_what_the_desktop_wants_is_read_from_qt(monkeypatch: pytest.MonkeyPatch, qapp: QApplication) -> None:
    class Hints:
        scheme, contrast = Qt.ColorScheme.Unknown, Qt.ContrastPreference.NoPreference

        def colorScheme(self):  # noqa: N802
            return self.scheme

        def accessibility(self):
            return self

        def contrastPreference(self):  # noqa: N802
            return self.contrast

    hints = Hints()
    monkeypatch.setattr(QGuiApplication, "styleHints", lambda: hints)
    assert looking.system_theme() is None
    for hints.scheme, theme in ((Qt.ColorScheme.Light, LIGHT), (Qt.ColorScheme.Dark, DARK)):
        assert looking.system_theme() is theme
    hints.contrast = Qt.ContrastPreference.HighContrast
    assert looking.system_theme() is CONTRAST


def test_what_is_worn_for_a_while_is_not_kept(make_window: MakeWindow) -> None:
    window = make_window(Options(sampling=GREEDY))
    trigger(window, "use_theme.light")
    trigger(window, "larger_text")
    chosen = window.looks.points
    window.looks.wear("contrast", 20.0)
    assert (window.context.theme.name, window.looks.points) == ("contrast", 20.0)
    trigger(window, "larger_text")
    assert window.looks.points == pytest.approx(23.0)
    assert window.preferences.points() == pytest.approx(chosen)
    assert window.preferences.theme() == "light"
    window.looks.take_off()
    assert (window.context.theme.name, window.looks.points) == ("light", pytest.approx(chosen))


def test_text_grows_where_nothing_is_kept(qapp: QApplication) -> None:
    looks = Looks(context(Run()), Preferences(kept=False), None, qapp)
    looks.restyle()
    looks.larger_text()
    assert looks.points == pytest.approx(11.5)
    looks.normal_text()
    looks.deleteLater()


def test_text_has_a_least_and_a_largest_size(make_window: MakeWindow) -> None:
    window = make_window()
    for name, end in (("larger_text", 32.0), ("smaller_text", 7.0)):
        for _ in range(15):
            trigger(window, name)
        assert window.looks.points == end
    trigger(window, "normal_text")


def test_the_first_start_follows_the_desktop() -> None:
    assert Preferences().theme() == "system"
    assert Preferences().maps() == ("viridis", "usual")
