"""The window in other languages: every text is in the table, fits, and says the same things."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from PySide6.QtCore import QLocale, QObject
from PySide6.QtWidgets import QApplication

import resources
from app import languages
from app.languages import LANGUAGES, PARTS, Table, be_quiet, language_of, read, read_part, speak
from tests.app.engine_texts import engine_texts
from tests.app.word_list import ROOT, TABLES, all_texts, called, calls, explanations, strings_of, unread

OTHERS = [name for name in LANGUAGES if name != "en"]
PLACES = re.compile(r"\{\w*[^}]*\}")


@pytest.fixture(autouse=True)
def _english_again(qapp: QApplication) -> Iterator[None]:
    yield
    be_quiet()


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a table, to be damaged."""
    monkeypatch.setattr(resources, "path", lambda name: tmp_path / name)
    (tmp_path / "translations").mkdir()
    return tmp_path / "translations" / "zh_CN.json"


@pytest.mark.parametrize("name", OTHERS)
def test_a_language_has_every_text_and_no_other(name: str) -> None:
    """``python -m tests.app.word_list NAME`` prints what is missing."""
    for part, texts in zip(PARTS, (all_texts(), explanations(), engine_texts()), strict=True):
        table = read_part(name, part)
        assert [text for text in texts if text not in table] == []
        assert [text for text in table if text not in texts] == []


@pytest.mark.parametrize("name", OTHERS)
def test_a_text_has_the_places_of_the_english_one(name: str) -> None:
    """Figures and names are put in there: a text without one would lose them, one with another would break."""
    wrong = {}
    for english, own in read(name).items():
        if sorted(PLACES.findall(english)) != sorted(PLACES.findall(own)) or not own.strip():
            wrong[english] = own
        if _edges(english) != _edges(own):  # pieces are joined to others
            wrong[english] = own
    assert wrong == {}


def _edges(text: str) -> tuple[bool, bool]:
    return text.startswith(" "), text.endswith(" ")


@pytest.mark.parametrize("name", OTHERS)
def test_menus_keep_their_letters(name: str) -> None:
    """Alt and the letter that is underlined; Chinese has it in brackets behind the text."""
    letter = re.compile(r"&([A-Za-z0-9])")
    for english, own in read(name).items():
        found = letter.findall(english)
        assert [each.upper() for each in found] == [each.upper() for each in letter.findall(own)], (english, own)


def test_texts_that_are_not_written_where_they_are_said_stand_in_a_table() -> None:
    """A new table must be named in word_list.py, or its texts stay English in every language."""
    found = {
        call
        for path in sorted((ROOT / "app").rglob("*.py"))
        if path.name not in ("languages.py",)
        for call in unread(path.read_text(encoding="utf-8"))
    }
    assert found == FROM_TABLES
    assert all(list(strings_of(table)) for table in TABLES)


def test_tr_is_given_a_text_and_nothing_else() -> None:
    """A context before it, or figures put in already, and no table has it."""
    for path in sorted((ROOT / "app").rglob("*.py")):
        for call in calls(path.read_text(encoding="utf-8")):
            assert len(call.args) == 1 + (called(call) == "translate" and len(call.args) > 1), ast.unparse(call)
            assert not any(isinstance(each, ast.JoinedStr) for each in call.args), ast.unparse(call)


FROM_TABLES = {
    "QCoreApplication.translate('axes', name)",
    "QCoreApplication.translate('commands', text)",
    "QCoreApplication.translate('experts', text)",
    "QCoreApplication.translate('explanations', text)",
    "QCoreApplication.translate('models', text)",
    "QCoreApplication.translate('sets', text)",
    "QCoreApplication.translate('tokens', text)",
    "told(each.name)",
    "told(example.name)",
    "told(glossary.terms[key].short_name)",
    "told(item.about)",
    "told(story)",
    "told(story_of(model, *place))",
    "told(story_of(model, None, TOKEN))",
    "told(story_of(model, layer, stage))",
    "told(story_of(self._model, layer, ''))",
    "told(term.definition)",
    "told(term.formula)",
    "told(term.mistake)",
    "told(term.name)",
    "told(term.story)",
    "told(text)",
    "told(words)",
    "tr(NOTES[entry.state])",
    "tr(form.text)",
    "tr(note)",
    "tr(text)",
    "translate(TITLES[section])",
    "translate(VERDICTS[item.measure.fits[0].verdict])",
    "translate(command.help)",
    "translate(command.needs)",
    "translate(command.short)",
    "translate(command.text)",
    "translate(head)",
    "translate(menu)",
    "translate(name)",
    "translate(picked.help)",
    "translate(row.help)",
    "translate(row.menu)",
    "translate(row.text)",
    "translate(self.picked.help)",
    "translate(text)",
    "translate(title)",
    "translate(words)",
}


def test_the_desktop_s_language_where_there_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for system, spoken in (("zh_CN", "zh_CN"), ("fr_FR", "en"), ("C", "en")):
        monkeypatch.setattr(QLocale, "system", lambda system=system: QLocale(system))
        assert language_of("system") == spoken
        assert language_of("en") == "en"
        assert language_of("klingon") == spoken


def test_speaking(qapp: QApplication) -> None:
    speak("zh_CN")
    assert QObject().tr("Prompt") == read("zh_CN")["Prompt"] != "Prompt"
    assert QObject().tr("no text of the program") == "no text of the program"
    speak("en")
    assert QObject().tr("Prompt") == "Prompt"


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"Run": 3}', b"\xff\xfe", b'"text"', b"{}" + b" " * 2**22])
def test_a_damaged_table_is_told_and_the_window_is_english(content: bytes, broken: Path) -> None:
    broken.write_bytes(content)
    assert speak("zh_CN").startswith("The texts in 简体中文 cannot be read (")
    assert QObject().tr("Run") == "Run"


def test_a_missing_table_is_told(broken: Path) -> None:
    assert "cannot be read" in speak("zh_CN")


def test_a_computer_without_a_font_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages.QFontDatabase, "families", lambda *_: [])
    assert "has no font for 简体中文" in speak("zh_CN")


def test_the_table_is_sorted_as_the_list_is(qapp: QApplication) -> None:
    """So that a change of it can be read."""
    for name, part in product(OTHERS, PARTS):
        path = resources.path(f"translations/{name}{part}.json")
        assert json.dumps(read_part(name, part), ensure_ascii=False, indent=0, sort_keys=True) + "\n" == path.read_text(
            "utf-8"
        )


def test_a_table_asks_for_no_context() -> None:
    table = Table({"Run": "运行"})
    assert table.translate("any", "Run") == "运行"
    assert table.translate("any", "Pause") is None
    assert not table.isEmpty()
    assert Table({}).isEmpty()
