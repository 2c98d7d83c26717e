"""The language of the window. Texts in the program are English and go through ``tr``; another language is a table of
them, from English text to its own: ``resources/translations/NAME.json`` of the program, ``NAME-explanations.json`` of
the glossary and the stages, ``NAME-engine.json`` of the engine's sentences, which ``app/engine_words.py`` finds again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator
from PySide6.QtGui import QFontDatabase

import resources
from app.engine_words import know

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "zh_CN": "简体中文"}
SCRIPTS = {"zh_CN": QFontDatabase.WritingSystem.SimplifiedChinese}
SENTENCES = "-engine"
PARTS = ("", "-explanations", SENTENCES)
LARGEST = 2**22  # bytes of one file


class Table(QTranslator):
    """Texts of one language by the English ones, whatever class says them. What it lacks stays English."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        super().__init__()
        self._texts = texts

    def translate(  # type: ignore[override]  # the stub knows no missing text
        self, context: str, source: str, disambiguation: str | None = None, n: int = -1
    ) -> str | None:
        return self._texts.get(source)  # None, and not "": that would be a text

    def isEmpty(self) -> bool:  # noqa: N802
        return not self._texts


def language_of(chosen: str) -> str:
    """The language to speak: the chosen one, else that of the desktop where there is a table, else English."""
    if chosen in LANGUAGES:
        return chosen
    wanted = QLocale.system().name()
    return wanted if wanted in LANGUAGES else ENGLISH


def speak(language: str) -> str:
    """Let every text that is made from now on be in this language; the sentence about what is in the way, or "".

    Windows that exist keep their texts.
    """
    be_quiet()
    if language == ENGLISH:
        return ""
    try:
        table, sentences = Table(read(language)), read_part(language, SENTENCES)
    except (OSError, ValueError) as error:
        return f"The texts in {LANGUAGES[language]} cannot be read ({error}), so they are English; install again."
    own = QTranslator()  # of Qt's dialogs; where it is missing they stay English
    own.load(QLocale(language), "qtbase", "_", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath))
    for translator in (own, table):  # the last one is asked first
        QCoreApplication.installTranslator(translator)
        _installed.append(translator)
    know(sentences)
    if not QFontDatabase.families(SCRIPTS[language]):
        return f"This computer has no font for {LANGUAGES[language]}; install one (on Debian: fonts-noto-cjk)."
    return ""


def be_quiet() -> None:
    """English again."""
    while _installed:
        QCoreApplication.removeTranslator(_installed.pop())
    know(())


_installed: list[QTranslator] = []  # Qt does not keep them


def read(language: str) -> dict[str, str]:
    """The table of a language. Raises OSError, or ValueError where it is damaged."""
    return {text: own for part in PARTS for text, own in read_part(language, part).items()}


def read_part(language: str, part: str) -> dict[str, str]:
    """One file of it. Raises OSError, or ValueError."""
    path = resources.path(f"translations/{language}{part}.json")
    if path.stat().st_size > LARGEST:
        raise ValueError("the file is too large")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("it is no table of texts")
    return found
