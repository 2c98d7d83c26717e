"""The window says what the program is, what it is built from, and under which licences."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

from app.about import about_text, package_line
from app.command_line import program_version
from app.report import PACKAGES
from app.window import Window


def test_everything_is_named_with_version_and_licence() -> None:
    text = about_text()
    assert f"Fluoroscope {program_version()}" in text
    for name in PACKAGES:
        line = next(line for line in text.splitlines() if line.startswith(f"{name} "))
        assert version(name) in line
        assert "not named" not in line
    assert text.count("SIL Open Font License") >= 1
    assert "Bitstream Vera" in text


def test_a_packed_program_says_where_the_licences_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "“licences”" not in about_text()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert "“licences”" in about_text()


def test_what_it_says_itself_is_said_in_the_language_of_the_window() -> None:
    told = about_text(lambda text: f"<{text}>")
    assert "<X-rays a language model while it runs.>" in told
    assert told.count("<Licence: Apache-2.0>") == 2
    assert package_line("no-such-package", lambda text: f"<{text}>") == "no-such-package: <is not installed>"


def test_a_package_that_is_not_there_is_said_so() -> None:
    assert package_line("no-such-package") == "no-such-package: is not installed"


def test_the_window_shows_it_from_its_beginning(make_window: Callable[..., Window]) -> None:
    window = make_window()
    window.show()
    window.actions_by_name["show_about"].trigger()
    page = window.reporting.page
    assert page.isVisible()
    assert page.text.toPlainText() == about_text()
    assert page.text.textCursor().atStart()
    window.undo_one()
    assert not page.isVisible()
